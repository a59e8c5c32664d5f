//! A log entry: the commands that a leader gathered, and their version.
//!
//! A program decodes no entry of a version that it can't apply. It could take a field that it does not know for an absent one, and its state would differ from the state
//! of the other replicas without an error.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::command::Command;
use crate::id::Time;
use crate::version::Versions;

/// One Raft entry: what the leader gathered into one commit. Encoded as [version, time, commands]. The version comes first: a program that does not know it must
/// report the version, and not that it can't decode a command.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// The version in force when the leader made it. If another one is in force at its index, it does nothing.
    pub version: u32,
    /// The leader's clock. The state machine takes the larger of this and the last entry time, so entry times never decrease.
    pub time: Time,
    /// Applied in this order.
    pub commands: Vec<Command>,
}

impl Batch {
    /// The version of an encoded entry, whatever it is.
    pub fn version_of(bytes: &[u8]) -> Result<u32, decode::Error> {
        let mut d = Decoder::new(bytes);
        d.array()?;
        d.u32()
    }

    /// True if an encoded entry has a Raise and nothing else, whatever its version.
    pub fn is_raise(bytes: &[u8]) -> bool {
        let kind = |mut d: Decoder<'_>| {
            d.array()?;
            d.u32()?;
            d.u64()?;
            let commands = d.array()?;
            d.array()?;
            Ok::<_, decode::Error>((commands, d.u32()?))
        };
        kind(Decoder::new(bytes)).is_ok_and(|kind| kind == (Some(1), 11))
    }

    /// The version that the entry puts in force, if its raise holds and `in_force` is in force then. A raise is alone in its entry, and raises by one.
    pub fn raises_from(&self, in_force: Option<u32>) -> Option<u32> {
        let [command] = self.commands.as_slice() else { return None };
        let next = in_force.map(|version| version.saturating_add(1));
        command.raises().filter(|version| next.is_none_or(|next| next == *version))
    }

    /// Decodes an entry for a program that can apply these versions.
    pub fn read(bytes: &[u8], versions: Versions) -> Result<Self, decode::Error> {
        Self::decode_of(&mut Decoder::new(bytes), &mut (), versions)
    }

    fn decode_of<C>(d: &mut Decoder<'_>, c: &mut C, versions: Versions) -> Result<Self, decode::Error> {
        let length = d.array()?;
        let version = d.u32()?;
        if !versions.contains(version) {
            return Err(decode::Error::message(versions.cannot(version)));
        }
        if length != Some(3) {
            return Err(decode::Error::message("an entry has three parts"));
        }
        Ok(Self { version, time: d.decode_with(c)?, commands: d.decode_with(c)? })
    }
}

impl<C> Encode<C> for Batch {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?.u32(self.version)?.encode_with(self.time, c)?.encode_with(&self.commands, c)?.ok()
    }
}

/// For a program that can apply [`Versions::OF_THIS_PROGRAM`].
impl<'b, C> Decode<'b, C> for Batch {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, decode::Error> {
        Self::decode_of(d, c, Versions::OF_THIS_PROGRAM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Expire, Raise, VERSION};
    use crate::id::AccountId;

    /// S52: an entry of a version that this program does not know, with a command and fields that it does not know.
    #[test]
    fn s52_a_newer_command_stops_with_words() {
        let commands = vec![Command::Expire(Expire { account: AccountId([1; 32]) })];
        let known = Batch { version: VERSION, time: Time(7), commands };
        let bytes = minicbor::to_vec(&known).unwrap();
        assert_eq!(minicbor::decode::<Batch>(&bytes).unwrap(), known);
        for (found, more) in [(VERSION + 1, 4), (VERSION + 1, 3), (VERSION - 1, 3)] {
            let mut e = Encoder::new(Vec::new());
            e.array(more).unwrap().u32(found).unwrap().u64(7).unwrap();
            e.array(1).unwrap().array(2).unwrap().u32(99).unwrap().str("a command of that version").unwrap();
            let bytes = e.into_writer();
            assert_eq!(Batch::version_of(&bytes).unwrap(), found);
            let error = minicbor::decode::<Batch>(&bytes).unwrap_err().to_string();
            assert!(
                error.contains(&format!(
                    "version {found} of the state, but this program can apply version {VERSION}"
                )),
                "{error}"
            );
        }
    }

    #[test]
    fn s52_a_raise_is_seen_without_decoding_it() {
        let raise = || Command::Raise(Raise { version: 5, signatures: vec![] });
        let expire = || Command::Expire(Expire { account: AccountId([1; 32]) });
        for (commands, is_raise) in
            [(vec![raise()], true), (vec![expire()], false), (vec![raise(), expire()], false)]
        {
            let bytes = minicbor::to_vec(Batch { version: 99, time: Time(7), commands }).unwrap();
            assert_eq!(Batch::is_raise(&bytes), is_raise);
        }
        assert!(!Batch::is_raise(b""));
    }

    #[test]
    fn s52_only_a_raise_by_one_alone_in_its_entry_can_hold() {
        let raise = |version| Command::Raise(Raise { version, signatures: vec![] });
        let of = |commands| Batch { version: 4, time: Time(7), commands };
        assert_eq!(of(vec![raise(5)]).raises_from(Some(4)), Some(5));
        assert_eq!(of(vec![raise(5)]).raises_from(None), Some(5), "not known yet");
        for version in [0, 4, 6, u32::MAX] {
            assert_eq!(of(vec![raise(version)]).raises_from(Some(4)), None, "{version}");
        }
        assert_eq!(of(vec![raise(5), raise(5)]).raises_from(Some(4)), None);
        assert_eq!(of(vec![Command::Expire(Expire { account: AccountId([1; 32]) })]).raises_from(None), None);
    }

    #[test]
    fn s52_a_program_of_two_versions_reads_both() {
        let both = Versions { oldest: VERSION, newest: VERSION + 1 };
        for version in VERSION - 1..=VERSION + 2 {
            let bytes = minicbor::to_vec(Batch { version, time: Time(7), commands: vec![] }).unwrap();
            assert!(!Batch::is_raise(&bytes));
            assert_eq!(Batch::read(&bytes, both).is_ok(), both.contains(version), "{version}");
        }
    }
}
