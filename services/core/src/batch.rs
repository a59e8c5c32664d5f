//! A log entry: the commands that a leader gathered, and their version.
//!
//! A program applies no entry of another version. It could take a field that it does not know for an absent one, and its state would differ from the state of the
//! other replicas without an error.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::command::{Command, VERSION};
use crate::id::Time;

/// One Raft entry: what the leader gathered into one commit. Encoded as [version, time, commands]. The version comes first: a program that does not know it must
/// report the version, and not that it can't decode a command.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The leader's clock. The state machine takes the larger of this and the last entry time, so entry times never decrease.
    pub time: Time,
    /// Applied in this order.
    pub commands: Vec<Command>,
}

impl<C> Encode<C> for Batch {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?.u32(VERSION)?.encode_with(self.time, c)?.encode_with(&self.commands, c)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Batch {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, decode::Error> {
        let length = d.array()?;
        check_version(d.u32()?)?;
        if length != Some(3) {
            return Err(decode::Error::message("an entry has three parts"));
        }
        Ok(Self { time: d.decode_with(c)?, commands: d.decode_with(c)? })
    }
}

fn check_version(found: u32) -> Result<(), decode::Error> {
    if found == VERSION {
        return Ok(());
    }
    let run = if found > VERSION { "run the newer program" } else { "no program reads both" };
    Err(decode::Error::message(format!("version {found}, but this program knows version {VERSION}: {run}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Expire;
    use crate::id::AccountId;

    /// S52: an entry of a version that this program does not know, with a command and fields that it does not know.
    #[test]
    fn s52_a_newer_command_stops_with_words() {
        let known =
            Batch { time: Time(7), commands: vec![Command::Expire(Expire { account: AccountId([1; 32]) })] };
        let bytes = minicbor::to_vec(&known).unwrap();
        assert_eq!(minicbor::decode::<Batch>(&bytes).unwrap(), known);
        for (found, more) in [(VERSION + 1, 4), (VERSION + 1, 3), (VERSION - 1, 3)] {
            let mut e = Encoder::new(Vec::new());
            e.array(more).unwrap().u32(found).unwrap().u64(7).unwrap();
            e.array(1).unwrap().array(2).unwrap().u32(99).unwrap().str("a command of that version").unwrap();
            let error = minicbor::decode::<Batch>(e.writer()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("version {found}, but this program knows version {VERSION}")),
                "{error}"
            );
        }
    }
}
