//! The bytes that the owner key signs.

use crate::hash::{framed, tagged};
use crate::id::{AccountId, Era, Generation, Hash, Lineage, OperationId, Time, WriterId};
use crate::writers::Naming;

/// A change that the owner key signs.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Overwrites the record (change of password, rescue). The payload is H(record).
    Register(Hash),
    /// Names a writer's newest ledger. The payload is the naming.
    SetLedger(Naming),
    /// Forgets a writer. The payload is its id and the hash of the ledger that must be named now.
    ForgetWriter(WriterId, Hash),
    /// Deletes the key. The payload is empty.
    Delete,
}

impl Operation {
    /// What the receipt confirms once the operation is done.
    pub const fn receipt(&self) -> ReceiptKind {
        match self {
            Self::Register(_) => ReceiptKind::Registered,
            Self::SetLedger(_) => ReceiptKind::Named,
            Self::ForgetWriter(..) => ReceiptKind::Forgotten,
            Self::Delete => ReceiptKind::Deleted,
        }
    }
}

/// The change that a receipt confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptKind {
    /// A registration is live.
    Registered,
    /// An attempt finished with the client's proof.
    Recovered,
    /// An attempt was closed.
    GivenUp,
    /// The key was deleted.
    Deleted,
    /// A writer's newest ledger was named.
    Named,
    /// A writer was forgotten.
    Forgotten,
}

impl ReceiptKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Registered, Self::Recovered, Self::GivenUp, Self::Deleted, Self::Named, Self::Forgotten];

    /// Its name in the statement and in the message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Recovered => "recovered",
            Self::GivenUp => "given-up",
            Self::Deleted => "deleted",
            Self::Named => "named",
            Self::Forgotten => "forgotten",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The fields that all owner-signed operations have.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'a> {
    /// Hash of the first root keys and the fleet id.
    pub lineage: &'a Lineage,
    /// Rises when a new fleet takes over the lineage.
    pub era: Era,
    /// The account.
    pub account: &'a AccountId,
    /// The generation of the live record.
    pub generation: Generation,
    /// Drawn by the client.
    pub operation: &'a OperationId,
    /// The entry time after which the signature is void.
    pub expires: Time,
}

/// {label, operation, lineage, era, account, live generation, H(payload), operation id, expiry}.
pub fn owner(owned: &Owned<'_>, what: &Operation) -> Vec<u8> {
    let (name, payload) = match what {
        Operation::Register(record) => ("register", tagged("bkv/payload/1", &[&record.0])),
        Operation::SetLedger(naming) => naming.signed(),
        Operation::ForgetWriter(writer, expected) => {
            ("forget-writer", tagged("bkv/payload/1", &[&writer.0, &expected.0]))
        }
        Operation::Delete => ("delete", tagged("bkv/payload/1", &[])),
    };
    framed(
        "bkv/owner-operation/1",
        &[
            name.as_bytes(),
            &owned.lineage.0,
            &owned.era.0.to_be_bytes(),
            &owned.account.0,
            &owned.generation.0.to_be_bytes(),
            &payload.0,
            &owned.operation.0,
            &owned.expires.0.to_be_bytes(),
        ],
    )
}

/// The owner key signs this to read V. `channel` is keying material of the inner channel, to which both ends have added fresh randomness. So the signature holds for one
/// channel with one vault, and an attacker who has seen it reads nothing with it.
pub fn read_ledgers(lineage: &Lineage, era: Era, account: &AccountId, channel: &[u8; 32]) -> Vec<u8> {
    framed("bkv/read-ledgers/1", &[&lineage.0, &era.0.to_be_bytes(), &account.0, channel])
}
