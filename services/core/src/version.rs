//! The version of the state machine. Every log entry names it, and a program applies no entry of another version: it could take a field that it does not know for one
//! that is not there, and its state would differ from the other replicas' without an error.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// The version that this program applies. A change of a command or of what one does needs a new number.
pub const VERSION: u32 = 2;

/// The number, as encoded first in whatever has a version.
pub(crate) struct Version;

impl<C> Encode<C> for Version {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u32(VERSION)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Version {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        match d.u32()? {
            VERSION => Ok(Self),
            found => {
                let run = if found > VERSION { "run the newer program" } else { "no program reads both" };
                Err(decode::Error::message(format!(
                    "version {found}, but this program knows version {VERSION}: {run}"
                )))
            }
        }
    }
}
