//! The bytes of every statement that is signed or hashed: a label, then each field after its length (`hash::framed`). Each statement has its own
//! function and label, so an attacker can't use a signature on one as a signature on another.

use crate::account::{Manifest, State};
use crate::checkpoint::Checkpoint;
use crate::hash::{framed, tagged};
use crate::id::{
    AccountId, AttemptId, Element, Era, Generation, Hash, Lineage, NodeId, OperationId, Ordinal, PublicKey,
    RegId, Right, Route, Slot, Time,
};
use crate::record::KsfParams;

mod log;

pub use log::{appended, held, voted};

/// A change to the live record that the owner key signs.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Overwrites the record (change of password, rescue). The payload is H(record).
    Register(Hash),
    /// Names the newest backup. The payload is the manifest.
    SetManifest(Manifest),
    /// Deletes the key. The payload is empty.
    Delete,
}

impl Operation {
    /// What the receipt confirms once the operation is done.
    pub const fn receipt(&self) -> ReceiptKind {
        match self {
            Self::Register(_) => ReceiptKind::Registered,
            Self::SetManifest(_) => ReceiptKind::Manifest,
            Self::Delete => ReceiptKind::Deleted,
        }
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
        Operation::SetManifest(m) => {
            ("manifest", tagged("bkv/payload/1", &[&m.sequence.to_be_bytes(), &m.hash.0]))
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

/// The stored record's own owner key signs this to make the record live.
pub fn confirm(
    lineage: &Lineage,
    era: Era,
    account: &AccountId,
    base: Generation,
    reg_id: &RegId,
    record: &Hash,
) -> Vec<u8> {
    framed(
        "bkv/confirm/1",
        &[&lineage.0, &era.0.to_be_bytes(), &account.0, &base.0.to_be_bytes(), &reg_id.0, &record.0],
    )
}

/// The tag of the person whose token a region has verified. Regions sign it, and the client compares it with the claims of its own token (S46). The
/// client draws the nonce: without it, tags in the log would identify people to everybody who can guess subjects.
pub fn subject(nonce: &[u8; 32], issuer: &str, subject: &str, enrolment: u64) -> Hash {
    tagged("bkv/subject/2", &[nonce, issuer.as_bytes(), subject.as_bytes(), &enrolment.to_be_bytes()])
}

/// A region's boot key signs this once the region has verified the person's token, stored a registration and checked its share against the
/// commitments. `subject` is the tag of [`subject`].
pub fn acknowledgement(
    lineage: &Lineage,
    era: Era,
    reg_id: &RegId,
    slot: Slot,
    record: &Hash,
    shares: &Hash,
    subject: &Hash,
) -> Vec<u8> {
    framed(
        "bkv/acknowledgement/1",
        &[&lineage.0, &era.0.to_be_bytes(), &reg_id.0, &[slot.0], &record.0, &shares.0, &subject.0],
    )
}

/// A region's boot key signs this at each checkpoint: the digest of the region's own state.
pub fn checkpoint(c: &Checkpoint, slot: Slot) -> Vec<u8> {
    framed(
        "bkv/checkpoint/1",
        &[
            &[slot.0],
            &c.lineage.0,
            &c.era.0.to_be_bytes(),
            &c.shard.to_be_bytes(),
            &c.term.to_be_bytes(),
            &c.leader.0.to_be_bytes(),
            &c.index.to_be_bytes(),
            &c.chain.0,
            &c.list.to_be_bytes(),
            &c.time.0.to_be_bytes(),
            &c.rows.to_be_bytes(),
            &c.digest.0,
        ],
    )
}

/// One attempt, as each region signs it with its evaluation. All regions sign the same fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Hash of the first root keys and the fleet id.
    pub lineage: Lineage,
    /// Rises when a new fleet takes over the lineage.
    pub era: Era,
    /// The account.
    pub account: AccountId,
    /// The generation of the live record.
    pub generation: Generation,
    /// The ordinal of the attempt.
    pub ordinal: Ordinal,
    /// `last_success.ordinal` when the attempt began. The client derives the tries left from it, the ordinal and the budget.
    pub success: Ordinal,
    /// The id that the client chose.
    pub attempt: AttemptId,
    /// The blinded element B.
    pub blinded: Element,
    /// H(record).
    pub record: Hash,
    /// The commitments C.
    pub commitments: Vec<Element>,
    /// The stretching parameters.
    pub ksf: KsfParams,
    /// The number of attempts that the record allows between successes.
    pub budget: u32,
    /// What the right password gives. The client reports a password as wrong only if its own differs from this.
    pub right: Right,
}

/// The context of the DLEQ proof: a hash of the evaluation's statement with zeros in place of β and of the subject's tag. The tag differs from session to
/// session, and a repeated attempt must get the same proof again.
pub fn proof_context(a: &Attempt, slot: Slot) -> Hash {
    let statement = evaluation(a, slot, &Element([0; 32]), &Hash([0; 32]));
    tagged("bkv/evaluation-context/1", &[&statement])
}

/// A region's boot key signs this: β is the region's evaluation of B, made for the person with the tag `subject` (see [`subject`]).
pub fn evaluation(a: &Attempt, slot: Slot, beta: &Element, subject: &Hash) -> Vec<u8> {
    let commitments: Vec<u8> = a.commitments.iter().flat_map(|c| c.0).collect();
    framed(
        "bkv/evaluation/1",
        &[
            &[slot.0],
            &a.lineage.0,
            &a.era.0.to_be_bytes(),
            &a.account.0,
            &a.generation.0.to_be_bytes(),
            &a.ordinal.0.to_be_bytes(),
            &a.success.0.to_be_bytes(),
            &a.attempt.0,
            &a.blinded.0,
            &beta.0,
            &a.record.0,
            &commitments,
            &a.ksf.memory_kib.to_be_bytes(),
            &a.ksf.passes.to_be_bytes(),
            &a.ksf.lanes.to_be_bytes(),
            &a.budget.to_be_bytes(),
            &a.right.0,
            &subject.0,
        ],
    )
}

/// A region's boot key signs this to permit the last try of an account: the region has verified the person's token, its own state shows that this attempt
/// leaves no try, and its own clock shows that the wait is over. Without permits a rooted leader could begin the last try of people who never log in,
/// and destroy their keys. `admission` is the number of the admission list in force.
#[allow(clippy::too_many_arguments)] // the statement's fields, each once
pub fn permit(
    lineage: &Lineage,
    era: Era,
    account: &AccountId,
    generation: Generation,
    ordinal: Ordinal,
    attempt: &AttemptId,
    blinded: &Element,
    cancel: &Hash,
    admission: u64,
) -> Vec<u8> {
    framed(
        "bkv/permit/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &account.0,
            &generation.0.to_be_bytes(),
            &ordinal.0.to_be_bytes(),
            &attempt.0,
            &blinded.0,
            &cancel.0,
            &admission.to_be_bytes(),
        ],
    )
}

/// OPAQUE's context of one attempt: H("bkv/1" ‖ lineage ‖ era ‖ account ‖ generation ‖ ordinal ‖ attempt id ‖ B). Without ordinal and B an
/// attacker could replay an old attempt under a new B.
pub fn login_context(
    lineage: &Lineage,
    era: Era,
    account: &AccountId,
    generation: Generation,
    ordinal: Ordinal,
    attempt: &AttemptId,
    blinded: &Element,
) -> Hash {
    tagged(
        "bkv/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &account.0,
            &generation.0.to_be_bytes(),
            &ordinal.0.to_be_bytes(),
            &attempt.0,
            &blinded.0,
        ],
    )
}

/// The state of an account, which a region's boot key signs together with the client's nonce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attested {
    /// Drawn by the client.
    pub nonce: [u8; 32],
    /// The tag of the person whose token the region has verified, over the same nonce. See [`subject`].
    pub subject: Hash,
    /// The slot of the region that signs.
    pub slot: Slot,
    /// Hash of the first root keys and the fleet id.
    pub lineage: Lineage,
    /// Rises when a new fleet takes over the lineage.
    pub era: Era,
    /// The account.
    pub account: AccountId,
    /// See [`State`].
    pub state: State,
    /// The generation of the live record, or of the last one.
    pub generation: Generation,
    /// The number of attempts begun.
    pub ordinal: Ordinal,
    /// `last_success.ordinal`.
    pub success: Ordinal,
    /// The tries left.
    pub tries_left: u32,
    /// The entry time before which no attempt may begin.
    pub next_allowed: Time,
    /// H(record) of the live record, zeros without one.
    pub record: Hash,
    /// The log index up to which this region had applied.
    pub index: u64,
    /// The newest backup's sequence and hash.
    pub manifest: Option<Manifest>,
    /// The lifetime failures.
    pub lifetime_failures: u32,
    /// The region's own clock. An owner's signature expires by the clocks of t regions.
    pub time: Time,
}

/// See [`Attested`].
pub fn attestation(a: &Attested) -> Vec<u8> {
    let (sequence, hash) = a.manifest.map_or((0, Hash([0; 32])), |m| (m.sequence, m.hash));
    framed(
        "bkv/attestation/1",
        &[
            &a.nonce,
            &a.subject.0,
            &[a.slot.0],
            &a.lineage.0,
            &a.era.0.to_be_bytes(),
            &a.account.0,
            &[a.state as u8],
            &a.generation.0.to_be_bytes(),
            &a.ordinal.0.to_be_bytes(),
            &a.success.0.to_be_bytes(),
            &a.tries_left.to_be_bytes(),
            &a.next_allowed.0.to_be_bytes(),
            &a.record.0,
            &a.index.to_be_bytes(),
            &[u8::from(a.manifest.is_some())],
            &sequence.to_be_bytes(),
            &hash.0,
            &a.lifetime_failures.to_be_bytes(),
            &a.time.0.to_be_bytes(),
        ],
    )
}

/// A vault's identity key signs this to certify its boot key (ECDSA P-256 with SHA-256, in the token).
#[allow(clippy::too_many_arguments)] // the statement's fields, each once
pub fn boot_certificate(
    lineage: &Lineage,
    era: Era,
    node: NodeId,
    slot: Slot,
    admission: u64,
    key: &PublicKey,
    not_before: Time,
    not_after: Time,
) -> Vec<u8> {
    framed(
        "bkv/boot/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &node.0.to_be_bytes(),
            &[slot.0],
            &admission.to_be_bytes(),
            &key.0,
            &not_before.0.to_be_bytes(),
            &not_after.0.to_be_bytes(),
        ],
    )
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
    /// The newest backup was named.
    Manifest,
}

impl ReceiptKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Registered, Self::Recovered, Self::GivenUp, Self::Deleted, Self::Manifest];

    /// Its name in the statement and in the message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Recovered => "recovered",
            Self::GivenUp => "given-up",
            Self::Deleted => "deleted",
            Self::Manifest => "manifest",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A boot key signs this: the vault applied a change to this account at this log index.
#[allow(clippy::too_many_arguments)] // the statement's fields, each once
pub fn receipt(
    lineage: &Lineage,
    era: Era,
    slot: Slot,
    account: &AccountId,
    generation: Generation,
    ordinal: Ordinal,
    kind: ReceiptKind,
    reference: &[u8],
    index: u64,
    at: Time,
) -> Vec<u8> {
    framed(
        "bkv/receipt/1",
        &[
            &lineage.0,
            &era.0.to_be_bytes(),
            &[slot.0],
            &account.0,
            &generation.0.to_be_bytes(),
            &ordinal.0.to_be_bytes(),
            kind.name().as_bytes(),
            reference,
            &index.to_be_bytes(),
            &at.0.to_be_bytes(),
        ],
    )
}

/// A boot key signs this: one event of the feed. `event` is its canonical encoding.
pub fn event(lineage: &Lineage, era: Era, slot: Slot, shard: u16, cursor: u64, event: &[u8]) -> Vec<u8> {
    framed(
        "bkv/event/1",
        &[&lineage.0, &era.0.to_be_bytes(), &[slot.0], &shard.to_be_bytes(), &cursor.to_be_bytes(), event],
    )
}

/// The HPKE info of a sealed share: H(record) and slot. So the share does not open under another record, account, generation or slot.
pub fn share_info(record: &Hash, slot: Slot) -> Vec<u8> {
    framed("bkv/share/1", &[&record.0, &[slot.0]])
}

/// H(cancel). The client keeps `cancel` to itself until it gives the attempt up.
pub fn cancel_hash(cancel: &[u8; 32]) -> Hash {
    tagged("bkv/cancel/1", &[cancel])
}

/// The public route of a subject. ChatD chooses the shard by it.
pub fn route(issuer: &str, subject: &str) -> Route {
    Route(tagged("bkv/route/1", &[issuer.as_bytes(), subject.as_bytes()]).0)
}

/// The account id holds 30 bytes of the HMAC-SHA-256 of this under `index`.
pub fn account_input(issuer: &str, subject: &str, enrolment: u64) -> Vec<u8> {
    framed("bkv/account/2", &[issuer.as_bytes(), subject.as_bytes(), &enrolment.to_be_bytes()])
}

/// SHA-256("bkv/lineage/1" ‖ first root public keys ‖ fleet id).
pub fn lineage(roots: &[PublicKey], fleet: &[u8; 16]) -> Lineage {
    let mut fields: Vec<&[u8]> = roots.iter().map(|k| k.0.as_slice()).collect();
    fields.push(fleet);
    Lineage(tagged("bkv/lineage/1", &fields).0)
}
