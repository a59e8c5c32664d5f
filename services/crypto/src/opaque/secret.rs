//! Keys that OPAQUE derives. They are wiped on drop, hidden in `Debug` and compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 64]);

        impl $name {
            pub(crate) fn take(bytes: &mut [u8]) -> Result<Self, super::OpaqueError> {
                let key = <[u8; 64]>::try_from(&*bytes).map(Self).map_err(|_| super::OpaqueError::Library);
                bytes.zeroize();
                key
            }

            /// The raw bytes, for the call that uses the key.
            pub const fn expose(&self) -> &[u8; 64] {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }
        impl Eq for $name {}
    };
}

secret!(
    /// Shared by client and leader after KE3. It protects the reply.
    SessionKey);
secret!(
    /// Known to the client only. It encrypts the backup key.
    ExportKey);
