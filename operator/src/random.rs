//! Random PINs, passwords and fleet ids.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::api_server::ObjectError;

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, ObjectError> {
    let mut bytes = Zeroizing::new([0u8; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| ObjectError::Refused {
        kind: "Secret",
        name: String::new(),
        why: "the system gives no randomness".into(),
    })?;
    Ok(bytes)
}

/// A PIN of 24 digits, about 80 bits. The bias of `% 10` costs less than a fiftieth of a bit.
pub(crate) fn digits() -> Result<Zeroizing<String>, ObjectError> {
    let bytes = random::<24>()?;
    Ok(Zeroizing::new(bytes.iter().map(|b| char::from(b'0' + b % 10)).collect()))
}

/// A password of 128 bits.
pub(crate) fn letters() -> Result<Zeroizing<String>, ObjectError> {
    Ok(Zeroizing::new(hex::encode(random::<16>()?.as_slice())))
}

/// The public id of a new fleet, 32 hexadecimal digits.
pub(crate) fn new_id() -> Result<String, ObjectError> {
    Ok(hex::encode(random::<16>()?.as_slice()))
}
