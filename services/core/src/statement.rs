//! The bytes of every statement that is signed or hashed: a label, then each field after its length (`hash::framed`). Each statement has its own
//! function and label, so an attacker can't use a signature on one as a signature on another.

use crate::account::State;
use crate::checkpoint::Checkpoint;
use crate::hash::{framed, tagged};
use crate::id::{
    AccountId, AttemptId, Element, Era, Generation, Hash, Lineage, NodeId, Ordinal, PublicKey, RegId, Right,
    Route, Slot, Time,
};
use crate::record::KsfParams;
use crate::writers::{AttestedRetired, AttestedWriter, writers_hash};

mod log;

pub use crate::operation::{Operation, Owned, ReceiptKind, owner, read_ledgers};
pub use log::{appended, applies, held, voted};

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
            &c.version.to_be_bytes(),
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
    /// The newest ledger of each writer.
    pub writers: Vec<AttestedWriter>,
    /// H(owner key) of the live record, zeros without one. A client can tell by it whether its key is the live one.
    pub owner: Hash,
    /// Maps of keys that are gone. Only its owner reads one.
    pub retired: Vec<AttestedRetired>,
    /// The lifetime failures.
    pub lifetime_failures: u32,
    /// The region's own clock. An owner's signature expires by the clocks of t regions.
    pub time: Time,
}

/// See [`Attested`].
pub fn attestation(a: &Attested) -> Vec<u8> {
    let one = |r: &AttestedRetired| [&r.owner.0[..], &r.writers.0, &r.until.0.to_be_bytes()].concat();
    let retired: Vec<u8> = a.retired.iter().flat_map(one).collect();
    framed(
        "bkv/attestation/2",
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
            &writers_hash(&a.writers).0,
            &a.owner.0,
            &retired,
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
