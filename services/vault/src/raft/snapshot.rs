//! Snapshots. A snapshot is the state at a certified checkpoint. Its sender reads it row by row from a view of that moment. Its receiver stages the rows on its disk
//! as they come, as another copy beside the live one.

use bkv_core::account::Account;
use bkv_core::checkpoint::{Certificate, Checkpoint};
use bkv_core::digest::Digest;
use bkv_core::fleet::Fleet;
use bkv_core::id::{AccountId, Hash, NodeId, RegId};
use bkv_core::record::SealedShare;
use bkv_core::secret::Secret32;
use minicbor::{Decode, Encode};
use openraft::CommittedLeaderId;

use super::rows::InForce;
use super::types::LogId;

/// The version of the snapshot's format. A receiver that does not know it refuses the snapshot.
pub const FORMAT: u16 = 3;

/// The snapshot data that openraft passes around.
#[derive(Debug)]
pub enum SnapshotData {
    /// The local state, read from the store when needed.
    Local,
    /// A snapshot received from another vault.
    Received(Box<Received>),
}

/// A snapshot as received: all rows are staged, and they have the certified digest.
#[derive(Debug)]
pub struct Received {
    pub(crate) head: Head,
    /// The copy that its rows are.
    pub(crate) copy: u32,
    /// Of its rows.
    pub(crate) digest: Digest,
    /// Accounts whose first registration is not confirmed.
    pub(crate) unconfirmed: u32,
}

/// The first part of a snapshot.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Head {
    /// See [`FORMAT`].
    #[n(0)]
    pub format: u16,
    /// The place of the snapshot, with the digest of its state and the signatures of t regions.
    #[n(1)]
    pub certificate: Certificate,
    /// The fleet of the shard, with the documents in force.
    #[n(2)]
    pub fleet: Fleet,
    /// The membership in force.
    #[n(3)]
    pub membership: InForce,
}

/// The part of a head that all formats have.
#[derive(Decode)]
struct AnyHead {
    #[n(0)]
    format: u16,
}

/// Why the head of a snapshot is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// A format of another version of this program.
    #[error("a snapshot of format {0}, and this vault reads format {FORMAT}")]
    Format(u16),
    /// Not the encoding of a head.
    #[error("a snapshot whose head can't be decoded")]
    Malformed,
}

impl Head {
    /// Decodes a head.
    pub fn read(bytes: &[u8]) -> Result<Self, HeadError> {
        let any: AnyHead = minicbor::decode(bytes).map_err(|_| HeadError::Malformed)?;
        if any.format != FORMAT {
            return Err(HeadError::Format(any.format));
        }
        minicbor::decode(bytes).map_err(|_| HeadError::Malformed)
    }

    /// The place of the snapshot.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.certificate.checkpoint
    }

    /// The digest that the state of this head has with these accounts.
    pub fn digest_with(&self, accounts: &Digest) -> Hash {
        self.membership.digest_with(self.checkpoint().shard, &self.fleet, accounts)
    }
}

/// The log id of a checkpoint.
pub fn log_id_of(c: &Checkpoint) -> LogId {
    LogId::new(CommittedLeaderId::new(c.term, c.leader.0), c.index)
}

pub(crate) const fn leader_of(id: &LogId) -> NodeId {
    NodeId(id.leader_id.node_id)
}

/// One account with the secrets of its registrations. z travels in the clear inside the TLS between vaults, and the receiver masks it anew. Shares
/// travel as the client sealed them.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Row {
    /// The account's id.
    #[n(0)]
    pub id: AccountId,
    /// The account as replicated.
    #[n(1)]
    pub account: Account,
    /// Secrets of its live and its stored registration.
    #[n(2)]
    pub secrets: Vec<RowSecrets>,
}

/// Secrets of one registration in a snapshot for another vault.
#[derive(Clone, Debug, Encode, Decode)]
pub struct RowSecrets {
    /// Id of the registration.
    #[n(0)]
    pub reg_id: RegId,
    /// z in the clear.
    #[n(1)]
    pub z: Secret32,
    /// The sealed shares that the sender holds: all but its own.
    #[n(2)]
    pub shares: Vec<SealedShare>,
    /// The hash of each sealed share. H(shares) in the account is their hash, so each share that is sent can be checked.
    #[n(3)]
    pub hashes: Vec<Hash>,
}
