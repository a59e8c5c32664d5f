//! The writers of an account and the ledgers that their owner names. A writer is one device at one destination. Its ledger lists its backups and lies at the
//! destination, sealed under the backup key and V. V lies here: without it a leaked backup key opens no backup that a later ledger has let go.

use minicbor::{Decode, Encode};

use crate::hash::tagged;
use crate::id::{Generation, Hash, PublicKey, Time, WriterId};
use crate::secret::Secret32;

/// The most writers of an account. A row must stay small, however many devices and destinations a person has.
pub const MAX_WRITERS: usize = 16;
/// How long a vault keeps a V that was replaced and a writer that was forgotten: 7 days. Meanwhile the owner can take both back. Otherwise a thief of the backup key could make all
/// backups unreadable at once. After 7 days no signature from before the change is valid any more.
pub const GRACE_MS: u64 = 7 * 24 * 3600 * 1000;
/// How long the map is kept for the owner key after a key was destroyed or replaced: 90 days.
pub const RETIRED_MS: u64 = 90 * 24 * 3600 * 1000;
/// The most maps that are kept so. When a further one comes, that of the youngest owner key goes.
pub const MAX_RETIRED: usize = 2;

/// Number and hash of a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct LedgerName {
    /// Rises with each ledger of a writer. Of [`WriterId::FILES`]: the backup's sequence.
    #[n(0)]
    pub counter: u64,
    /// SHA-256 of the ledger's object. Of [`WriterId::FILES`]: the hash of the backup's header.
    #[n(1)]
    pub hash: Hash,
}

/// A writer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Writer {
    /// Drawn by the device.
    #[n(0)]
    pub id: WriterId,
    /// Its newest ledger.
    #[n(1)]
    pub ledger: LedgerName,
    /// V. None without forward secrecy.
    #[n(2)]
    pub v: Option<Secret32>,
    /// The V before it, for the grace time.
    #[n(3)]
    pub before: Option<Before>,
    /// The owner has forgotten this writer. After this entry time it goes. A new ledger takes that back.
    #[n(4)]
    pub forgotten: Option<Time>,
}

/// A V that was replaced.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Before {
    /// It.
    #[n(0)]
    pub v: Secret32,
    /// After this entry time it is erased.
    #[n(1)]
    pub until: Time,
}

/// The writers of a key that has no live record any more. Only its owner reads them.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Retired {
    /// The public half of the owner key.
    #[n(0)]
    pub owner: PublicKey,
    /// As they were.
    #[n(1)]
    pub writers: Vec<Writer>,
    /// After this entry time they go.
    #[n(2)]
    pub until: Time,
    /// The generation in which its owner key was first registered.
    #[n(3)]
    pub since: Generation,
}

/// A change of a writer's entry, as the owner signs it. It has the hash of V, because what is signed may be logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Naming {
    /// The writer.
    pub writer: WriterId,
    /// The hash of the ledger that must be named now. None for a writer that the vault does not know.
    pub expected: Option<Hash>,
    /// The new ledger.
    pub ledger: LedgerName,
    /// H(V) of a new V, or of the V before it, which is taken back. None keeps V.
    pub v: Option<Hash>,
}

impl Naming {
    /// The name and the payload of the owner's statement. A change of V has a name of its own, so no signature on a ledger alone changes V.
    pub fn signed(&self) -> (&'static str, Hash) {
        let expected: &[u8] = self.expected.as_ref().map_or(&[], |h| &h.0);
        let (name, v): (_, &[u8]) = match &self.v {
            None => ("ledger", &[]),
            Some(v) => ("ledger-and-v", &v.0),
        };
        let counter = self.ledger.counter.to_be_bytes();
        (name, tagged("bkv/payload/1", &[&self.writer.0, expected, &counter, &self.ledger.hash.0, v]))
    }
}

/// The earliest time at which something of an account's maps goes.
pub(crate) fn deadline(writers: &[Writer], retired: &[Retired]) -> Option<Time> {
    let times = |w: &Writer| w.before.as_ref().map(|b| b.until).into_iter().chain(w.forgotten);
    let all = writers.iter().chain(retired.iter().flat_map(|r| &r.writers));
    all.flat_map(times).chain(retired.iter().map(|r| r.until)).min()
}

/// H(V). It tells nothing of V, which is random.
pub fn v_hash(v: &Secret32) -> Hash {
    tagged("bkv/v/1", &[v.expose()])
}

/// A writer as regions sign it: with H(V) in V's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttestedWriter {
    /// See [`Writer::id`].
    pub id: WriterId,
    /// See [`Writer::ledger`].
    pub ledger: LedgerName,
    /// H(V).
    pub v: Option<Hash>,
    /// H(V before it), and until when that is kept.
    pub before: Option<(Hash, Time)>,
    /// See [`Writer::forgotten`].
    pub forgotten: Option<Time>,
}

impl From<&Writer> for AttestedWriter {
    fn from(w: &Writer) -> Self {
        Self {
            id: w.id,
            ledger: w.ledger,
            v: w.v.as_ref().map(v_hash),
            before: w.before.as_ref().map(|b| (v_hash(&b.v), b.until)),
            forgotten: w.forgotten,
        }
    }
}

/// A map of a key that is gone, as regions sign it. Its owner recognises it by the owner key. Nobody else learns anything from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttestedRetired {
    /// H(owner key).
    pub owner: Hash,
    /// H(writers).
    pub writers: Hash,
    /// See [`Retired::until`].
    pub until: Time,
}

impl From<&Retired> for AttestedRetired {
    fn from(r: &Retired) -> Self {
        let writers = writers_hash(&attested(&r.writers));
        Self { owner: owner_hash(&r.owner), writers, until: r.until }
    }
}

/// H(owner key).
pub fn owner_hash(owner: &PublicKey) -> Hash {
    tagged("bkv/owner-hash/1", &[&owner.0])
}

/// The writers as regions sign them.
pub fn attested(writers: &[Writer]) -> Vec<AttestedWriter> {
    writers.iter().map(AttestedWriter::from).collect()
}

/// H(writers). The list is sorted by id.
pub fn writers_hash(writers: &[AttestedWriter]) -> Hash {
    let entries: Vec<Hash> = writers
        .iter()
        .map(|w| {
            let v: &[u8] = w.v.as_ref().map_or(&[], |v| &v.0);
            let before: &[u8] = w.before.as_ref().map_or(&[], |(v, _)| &v.0);
            let until = w.before.map_or(0, |(_, until)| until.0).to_be_bytes();
            let forgotten = w.forgotten.map(|t| t.0.to_be_bytes());
            let forgotten: &[u8] = forgotten.as_ref().map_or(&[], |t| t);
            let counter = w.ledger.counter.to_be_bytes();
            tagged("bkv/writer/1", &[&w.id.0, &counter, &w.ledger.hash.0, v, before, &until, forgotten])
        })
        .collect();
    tagged("bkv/writers/1", &entries.iter().map(|h| h.0.as_slice()).collect::<Vec<_>>())
}
