//! Converts ECDSA signatures and P-256 public keys from the encoding of PKCS#11 to the encoding of TLS.

/// SPKI of a P-256 key up to the point: SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING … } (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// `CKA_EC_PARAMS` of P-256: the DER of OID 1.2.840.10045.3.1.7.
pub(crate) const P256_PARAMS: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// `CKA_EC_POINT` as the uncompressed point of 65 bytes. The standard requires a DER OCTET STRING. Some modules return the bare point.
pub(crate) fn uncompressed_point(attribute: &[u8]) -> Option<[u8; 65]> {
    let bare = match attribute {
        [0x04, 0x41, point @ ..] if point.len() == 65 => point,
        other => other,
    };
    let point: [u8; 65] = bare.try_into().ok()?;
    (point.first() == Some(&0x04)).then_some(point)
}

/// SPKI DER (91 bytes) of an uncompressed P-256 point.
pub(crate) fn spki(point: &[u8; 65]) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), point].concat()
}

/// `CKM_ECDSA`'s r ‖ s (32 bytes each) as DER `ECDSA-Sig-Value` (RFC 3279, 2.2.3). Returns `None` for another length, and if r or s is zero, which no
/// valid signature has.
pub(crate) fn signature_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 64 {
        return None;
    }
    let (r, s) = raw.split_at_checked(32)?;
    let (r, s) = (integer(r)?, integer(s)?);
    let mut der = Vec::with_capacity(2 + r.len() + s.len());
    der.push(0x30);
    der.push(u8::try_from(r.len() + s.len()).ok()?);
    der.extend_from_slice(&r);
    der.extend_from_slice(&s);
    Some(der)
}

/// A positive DER INTEGER in its shortest form.
fn integer(big_endian: &[u8]) -> Option<Vec<u8>> {
    let first = big_endian.iter().position(|byte| *byte != 0)?;
    let digits = big_endian.get(first..)?;
    // With a set top bit the integer would be negative.
    let pad = digits.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut der = vec![0x02, u8::try_from(digits.len() + usize::from(pad)).ok()?];
    if pad {
        der.push(0);
    }
    der.extend_from_slice(digits);
    Some(der)
}

#[cfg(test)]
#[path = "encoding_test.rs"]
mod tests;
