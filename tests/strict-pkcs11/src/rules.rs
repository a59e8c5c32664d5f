//! Decides on templates: what a vendor's module would take, and what SoftHSM then gets in its place. No unsafe code and no call into SoftHSM.

use cryptoki_sys::*;

use crate::profile::{Algorithm, CKA_KMS_ALGORITHM, Profile, Rule};
use crate::template::{Template, number};

const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A key that Cloud KMS would make.
pub(crate) struct CloudKey {
    pub(crate) label: Vec<u8>,
    pub(crate) algorithm: &'static Algorithm,
}

/// kmsp11's `ExtractKeyGenerationParams` (session.cc).
pub(crate) fn cloud_key(
    profile: &'static Profile,
    given: &Template,
    mechanism: CK_MECHANISM_TYPE,
) -> Result<CloudKey, CK_RV> {
    if given.0.iter().any(|(a, _)| ![CKA_LABEL, CKA_KMS_ALGORITHM].contains(a)) {
        return Err(CKR_TEMPLATE_INCONSISTENT);
    }
    let label = given.get(CKA_LABEL).ok_or(CKR_TEMPLATE_INCOMPLETE)?;
    let may = |b: &u8| b.is_ascii_alphanumeric() || b"_-".contains(b);
    if !(1..=63).contains(&label.len()) || !label.iter().all(may) {
        return Err(CKR_ATTRIBUTE_VALUE_INVALID);
    }
    let asked = given.get(CKA_KMS_ALGORITHM).ok_or(CKR_TEMPLATE_INCOMPLETE)?;
    let asked = number(asked).ok_or(CKR_ATTRIBUTE_VALUE_INVALID)?;
    let algorithm =
        profile.algorithms.iter().find(|a| a.number == asked).ok_or(CKR_ATTRIBUTE_VALUE_INVALID)?;
    if algorithm.made_by != mechanism {
        return Err(CKR_TEMPLATE_INCONSISTENT);
    }
    Ok(CloudKey { label: label.to_vec(), algorithm })
}

impl CloudKey {
    fn named(&self) -> Template {
        let version = [
            b"projects/p/locations/l/keyRings/k/cryptoKeys/".as_slice(),
            &self.label,
            b"/cryptoKeyVersions/1",
        ];
        // CKA_PRIVATE is false, so that SoftHSM finds the key without a login, as kmsp11 does.
        Template::default()
            .bool(CKA_TOKEN, true)
            .bool(CKA_PRIVATE, false)
            .with(CKA_LABEL, &self.label)
            .with(CKA_ID, &version.concat())
    }

    fn guarded(&self) -> Template {
        self.named()
            .bool(CKA_SENSITIVE, true)
            .bool(CKA_EXTRACTABLE, false)
            .bool(CKA_DERIVE, false)
            .bool(CKA_SIGN, true)
            .bool(CKA_MODIFIABLE, false)
            .number(CKA_ALLOWED_MECHANISMS, self.algorithm.used_by)
    }

    /// The public and the private part.
    pub(crate) fn pair(&self) -> (Template, Template) {
        (self.named().with(CKA_EC_PARAMS, &P256).bool(CKA_VERIFY, true), self.guarded())
    }

    pub(crate) fn secret(&self) -> Template {
        self.guarded()
            .number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
            .number(CKA_VALUE_LEN, self.algorithm.size)
    }
}

/// Refuses a template that CloudHSM refuses. Sets what CloudHSM has as a default and SoftHSM has not.
pub(crate) fn by_table(
    profile: &Profile,
    mut given: Template,
    rule: fn(CK_ATTRIBUTE_TYPE) -> Rule,
) -> Result<Template, CK_RV> {
    if given.0.iter().any(|(a, _)| profile.lacks == Some(*a)) {
        return Err(CKR_TEMPLATE_INCONSISTENT);
    }
    for (attribute, value) in &given.0 {
        match rule(*attribute) {
            Rule::Any => {}
            Rule::OnlyTrue if value.as_slice() == [CK_TRUE] => {}
            Rule::OnlyTrue => return Err(CKR_ATTRIBUTE_VALUE_INVALID),
            Rule::ReadOnly => return Err(CKR_ATTRIBUTE_READ_ONLY),
            Rule::Unsupported => return Err(CKR_TEMPLATE_INCONSISTENT),
        }
    }
    if given.get(CKA_PRIVATE).is_none() {
        given = given.bool(CKA_PRIVATE, true);
    }
    Ok(given)
}
