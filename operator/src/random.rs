//! Random PINs, passwords and fleet ids.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// The system's random number generator fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator fails: check the node")]
pub(crate) struct NoRandomness;

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0u8; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A PIN of 24 digits, about 80 bits. The bias of `% 10` costs less than a fiftieth of a bit.
pub(crate) fn pin() -> Result<Zeroizing<String>, NoRandomness> {
    let bytes = random::<24>()?;
    Ok(Zeroizing::new(bytes.iter().map(|b| char::from(b'0' + b % 10)).collect()))
}

/// A password of 128 bits.
pub(crate) fn password() -> Result<Zeroizing<String>, NoRandomness> {
    Ok(Zeroizing::new(hex::encode(random::<16>()?.as_slice())))
}

/// The public id of a new fleet, 32 hexadecimal digits.
pub(crate) fn new_id() -> Result<String, NoRandomness> {
    Ok(hex::encode(random::<16>()?.as_slice()))
}
