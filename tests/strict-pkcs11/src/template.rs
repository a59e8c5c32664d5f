//! Templates in safe Rust.

use cryptoki_sys::*;

/// The attributes of a template, with copies of their values.
#[derive(Default)]
pub(crate) struct Template(pub(crate) Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>);

impl Template {
    /// Copies a caller's template.
    ///
    /// # Safety
    /// `first` points to `count` attributes, each with a value of its length, as PKCS#11 requires of the caller.
    pub(crate) unsafe fn read(first: CK_ATTRIBUTE_PTR, count: CK_ULONG) -> Self {
        let mut copied = Vec::new();
        for at in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: the caller of this function vouches for `count` attributes.
            let attribute = unsafe { &*first.add(at) };
            let length = usize::try_from(attribute.ulValueLen).unwrap_or(0);
            let value = if attribute.pValue.is_null() {
                Vec::new()
            } else {
                // SAFETY: the caller vouches for a value of this length.
                unsafe { std::slice::from_raw_parts(attribute.pValue.cast::<u8>(), length) }.to_vec()
            };
            copied.push((attribute.type_, value));
        }
        Self(copied)
    }

    pub(crate) fn get(&self, attribute: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.iter().find(|(a, _)| *a == attribute).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn with(mut self, attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        self.0.push((attribute, value.to_vec()));
        self
    }

    pub(crate) fn bool(self, attribute: CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        self.with(attribute, &[u8::from(value)])
    }

    pub(crate) fn number(self, attribute: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        self.with(attribute, &value.to_ne_bytes())
    }

    /// The same attributes for SoftHSM. They point into `self`.
    pub(crate) fn lend(&mut self) -> Vec<CK_ATTRIBUTE> {
        self.0
            .iter_mut()
            .map(|(type_, value)| CK_ATTRIBUTE {
                type_: *type_,
                pValue: value.as_mut_ptr().cast(),
                ulValueLen: value.len() as CK_ULONG,
            })
            .collect()
    }
}

/// A `CK_ULONG` attribute.
pub(crate) fn number(value: &[u8]) -> Option<CK_ULONG> {
    value.try_into().ok().map(CK_ULONG::from_ne_bytes)
}
