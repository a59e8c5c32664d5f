//! The bytes of every statement that is signed or hashed: a label, then each field behind its length (`hash::framed`). Each statement has its own
//! function and label, so that an attacker can't pass one off as another.

use crate::account::{Manifest, State};
use crate::hash::{framed, tagged};
use crate::id::{
    AccountId, AttemptId, Element, Era, Generation, Hash, Lineage, NodeId, OperationId, Ordinal, PublicKey,
    RegId, Route, Slot, Time,
};
use crate::record::KsfParams;

/// What an owner key signs about a change to what is live.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// Overwrite (change of password, rescue): payload is H(record).
    Register(&'a Hash),
    /// Name the newest backup.
    SetManifest(&'a Manifest),
    /// Remove the key.
    Delete,
}

/// The frame of an owner-signed operation.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'a> {
    /// Of the fleet.
    pub lineage: &'a Lineage,
    /// Of the fleet.
    pub era: Era,
    /// Whose.
    pub account: &'a AccountId,
    /// The live generation.
    pub generation: Generation,
    /// Random.
    pub operation: &'a OperationId,
    /// The signature is void after this.
    pub expires: Time,
}

/// {label, operation, lineage, era, account, live generation, H(payload), operation id, expiry}.
pub fn owner(owned: &Owned<'_>, what: &Operation<'_>) -> Vec<u8> {
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

/// Signed by the record's own owner key to make a stored registration live.
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

/// Signed by a region's boot key once it has stored a registration and its share fits: {reg_id, slot, H(record), H(sealed shares)}.
pub fn acknowledgement(
    lineage: &Lineage,
    era: Era,
    reg_id: &RegId,
    slot: Slot,
    record: &Hash,
    shares: &Hash,
) -> Vec<u8> {
    framed(
        "bkv/acknowledgement/1",
        &[&lineage.0, &era.0.to_be_bytes(), &reg_id.0, &[slot.0], &record.0, &shares.0],
    )
}

/// One attempt, as every region signs it. Only the slot differs between regions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Of the fleet.
    pub lineage: Lineage,
    /// Of the fleet.
    pub era: Era,
    /// Whose.
    pub account: AccountId,
    /// Live.
    pub generation: Generation,
    /// Its place.
    pub ordinal: Ordinal,
    /// `last_success.ordinal` when it began: the tries left follow from it and the ordinal.
    pub success: Ordinal,
    /// The id that the client chose.
    pub attempt: AttemptId,
    /// B.
    pub blinded: Element,
    /// H(record).
    pub record: Hash,
    /// C.
    pub commitments: Vec<Element>,
    /// Parameters of the stretching.
    pub ksf: KsfParams,
    /// Attempts that the record allows between successes.
    pub budget: u32,
}

/// The part of the attempt that the challenge of the DLEQ proof hashes, beside the points.
pub fn proof_context(a: &Attempt, slot: Slot) -> Hash {
    Hash(tagged("bkv/evaluation-context/1", &[&evaluation(a, slot, &Element([0; 32]))]).0)
}

/// Signed by a region's boot key: β is its evaluation of B.
pub fn evaluation(a: &Attempt, slot: Slot, beta: &Element) -> Vec<u8> {
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

/// The state of an account, signed by a region's boot key over the client's nonce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attested {
    /// The client's.
    pub nonce: [u8; 32],
    /// The region that signs.
    pub slot: Slot,
    /// Of the fleet.
    pub lineage: Lineage,
    /// Of the fleet.
    pub era: Era,
    /// Whose.
    pub account: AccountId,
    /// See [`State`].
    pub state: State,
    /// Live or last.
    pub generation: Generation,
    /// Attempts begun.
    pub ordinal: Ordinal,
    /// `last_success.ordinal`.
    pub success: Ordinal,
    /// Tries left, derived.
    pub tries_left: u32,
    /// Entry time.
    pub next_allowed: Time,
    /// H(record), zero if none.
    pub record: Hash,
    /// What this region had applied.
    pub index: u64,
    /// The newest backup's sequence and hash, zero if none.
    pub manifest: Option<Manifest>,
    /// Lifetime failures.
    pub lifetime_failures: u32,
}

/// See [`Attested`].
pub fn attestation(a: &Attested) -> Vec<u8> {
    let (sequence, hash) = a.manifest.map_or((0, Hash([0; 32])), |m| (m.sequence, m.hash));
    framed(
        "bkv/attestation/1",
        &[
            &a.nonce,
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
        ],
    )
}

/// What an identity signs about its boot key (ECDSA P-256 with SHA-256, in the token).
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

/// What a receipt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptKind {
    /// A registration is live.
    Registered,
    /// The password was proved.
    Recovered,
    /// An attempt was closed.
    GivenUp,
    /// The key is gone.
    Deleted,
    /// The newest backup was named.
    Manifest,
}

impl ReceiptKind {
    /// All of them.
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

/// Signed by a boot key: a change was applied, for this account, at this log index.
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

/// Signed by a boot key: one event of the feed. `event` is its canonical encoding.
pub fn event(lineage: &Lineage, era: Era, slot: Slot, shard: u16, cursor: u64, event: &[u8]) -> Vec<u8> {
    framed(
        "bkv/event/1",
        &[&lineage.0, &era.0.to_be_bytes(), &[slot.0], &shard.to_be_bytes(), &cursor.to_be_bytes(), event],
    )
}

/// HPKE info of a sealed share: H(record) and slot. So it opens in no other record, account, generation or region.
pub fn share_info(record: &Hash, slot: Slot) -> Vec<u8> {
    framed("bkv/share/1", &[&record.0, &[slot.0]])
}

/// H(cancel): the client keeps `cancel` until it gives the attempt up.
pub fn cancel_hash(cancel: &[u8; 32]) -> Hash {
    tagged("bkv/cancel/1", &[cancel])
}

/// The public route of a subject: where ChatD sends its messages.
pub fn route(issuer: &str, subject: &str) -> Route {
    Route(tagged("bkv/route/1", &[issuer.as_bytes(), subject.as_bytes()]).0)
}

/// What HMAC-SHA-256 under `index` turns into the account id.
pub fn account_input(issuer: &str, subject: &str, enrolment: u64) -> Vec<u8> {
    framed("bkv/account/1", &[issuer.as_bytes(), subject.as_bytes(), &enrolment.to_be_bytes()])
}

/// SHA-256("bkv/lineage/1" ‖ first root public keys ‖ fleet id).
pub fn lineage(roots: &[PublicKey], fleet: &[u8; 16]) -> Lineage {
    let mut fields: Vec<&[u8]> = roots.iter().map(|k| k.0.as_slice()).collect();
    fields.push(fleet);
    Lineage(tagged("bkv/lineage/1", &fields).0)
}
