//! Debug of the messages with a person's token: a log must never show one, because it is valid for some minutes.

use std::fmt::{Debug, Formatter, Result};

use super::{inner, peer};

/// Shows the shard and not the rest.
macro_rules! without_token {
    ($($message:ty),*) => {$(
        impl Debug for $message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.debug_struct(stringify!($message)).field("shard", &self.shard).finish_non_exhaustive()
            }
        }
    )*};
}

without_token!(peer::Evaluate, peer::Attest, peer::Acknowledge, peer::Permit);

impl Debug for inner::Open {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Open").field("attest", &self.attest).finish_non_exhaustive()
    }
}
