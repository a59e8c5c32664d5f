//! Commands for the tests: valid ones, and the invalid ones that an attacker would try.

use proptest::prelude::*;

use super::fake::{ERA, LINEAGE, REGIONS, documents, ke3, response, server_key, sign, signed_by};
use super::machine::{account, route};
use super::rules::Model;
use bkv_core::command::{
    Begin, Command, Confirm, Delete, Expire, Finish, ForgetWriter, GiveUp, SetLedger, Store,
};
use bkv_core::id::{
    AttemptId, Element, Generation, Hash, OperationId, Ordinal, PublicKey, RegId, Right, Slot, Time, WriterId,
};
use bkv_core::record::{AttemptPolicy, KsfParams, Record, SealedShare, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::statement::{self, Operation, Owned};
use bkv_core::writers::{LedgerName, v_hash};

/// The tag of the person for whom the regions acknowledge.
pub(super) const SUBJECT: Hash = Hash([0x5b; 32]);

/// Which key signs as the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Owner,
    Nobody,
    Stranger,
    /// The owner, with a signature that has expired.
    Late,
}

/// One step of a schedule. Small numbers choose among few ids, so that ids collide often.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Store {
        who: u8,
        reg: u8,
        by: By,
        harm: u8,
    },
    Confirm {
        who: u8,
        acks: u8,
        harm: u8,
    },
    Begin {
        who: u8,
        attempt: u8,
        b: u8,
        skew: i8,
        agreed: bool,
        harm: u8,
    },
    GiveUp {
        who: u8,
        attempt: u8,
        right: bool,
    },
    Finish {
        who: u8,
        attempt: Option<u8>,
        harm: u8,
    },
    Expire {
        who: u8,
    },
    /// `stale`: expects another ledger than the one that is named.
    Ledger {
        who: u8,
        writer: u8,
        counter: u8,
        v: u8,
        stale: bool,
        operation: u8,
        by: By,
    },
    Forget {
        who: u8,
        writer: u8,
        stale: bool,
        operation: u8,
        by: By,
    },
    Delete {
        who: u8,
        operation: u8,
        by: By,
    },
    /// An exact repetition of an earlier command of the schedule.
    Replay(u16),
    /// Time passes.
    Wait(u16),
    Days(u8),
    /// The next leader's clock is behind.
    Back(u16),
    Documents {
        number: u8,
    },
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![6 => Just(By::Owner), 1 => Just(By::Nobody), 1 => Just(By::Stranger), 1 => Just(By::Late)]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let who = 0u8..2;
    let writers = prop_oneof![8 => 0u8..2, 1 => 2u8..20];
    let harm = prop_oneof![4 => Just(0u8), 1 => 1u8..17];
    prop_oneof![
        2 => (who.clone(), prop_oneof![4 => 0u8..6, 1 => 8u8..10], by(), harm.clone()).prop_map(|(who, reg, by, harm)| Op::Store { who, reg, by, harm }),
        2 => (who.clone(), 1u8..=REGIONS, harm.clone()).prop_map(|(who, acks, harm)| Op::Confirm { who, acks, harm }),
        9 => (who.clone(), 0u8..24, 0u8..4, prop_oneof![9 => Just(0i8), 1 => -1i8..3], prop::bool::weighted(0.8), harm.clone())
            .prop_map(|(who, attempt, b, skew, agreed, harm)| Op::Begin { who, attempt, b, skew, agreed, harm }),
        2 => (who.clone(), 0u8..24, prop::bool::weighted(0.8)).prop_map(|(who, attempt, right)| Op::GiveUp { who, attempt, right }),
        4 => (who.clone(), prop::option::weighted(0.3, 0u8..24), harm).prop_map(|(who, attempt, harm)| Op::Finish { who, attempt, harm }),
        2 => who.clone().prop_map(|who| Op::Expire { who }),
        6 => (who.clone(), writers.clone(), 0u8..12, 0u8..5, prop::bool::weighted(0.1), 0u8..4, by())
            .prop_map(|(who, writer, counter, v, stale, operation, by)| Op::Ledger { who, writer, counter, v, stale, operation, by }),
        1 => (who.clone(), writers, prop::bool::weighted(0.1), 0u8..4, by())
            .prop_map(|(who, writer, stale, operation, by)| Op::Forget { who, writer, stale, operation, by }),
        1 => (who, 0u8..4, by()).prop_map(|(who, operation, by)| Op::Delete { who, operation, by }),
        4 => any::<u16>().prop_map(Op::Replay),
        5 => (0u16..130).prop_map(Op::Wait),
        1 => (400u16..2000).prop_map(Op::Wait),
        1 => (0u16..200).prop_map(Op::Back),
        1 => (1u8..50).prop_map(Op::Days),
        1 => (0u8..4).prop_map(|number| Op::Documents { number }),
    ]
}

pub(super) fn attempts() -> impl Strategy<Value = AttemptPolicy> {
    (1u32..6, 1u32..14, prop::collection::vec(0u64..90, 0..4)).prop_map(
        |(max, lifetime_failures, waits_ms)| AttemptPolicy {
            max,
            lifetime_failures,
            waits_ms,
            last_try_ms: 500,
            attempt_ms: 100,
        },
    )
}

pub(super) fn attempt_id(n: u8) -> AttemptId {
    AttemptId([n; 16])
}

/// Element 0 is not canonical.
pub(super) fn blinded(b: u8) -> Element {
    Element([b; 32])
}

pub(super) fn cancel(attempt: u8) -> [u8; 32] {
    [attempt ^ 0x55; 32]
}

/// The client's key pair of a registration. Both halves are the same bytes.
pub(super) fn client_key(who: u8, reg: u8) -> PublicKey {
    PublicKey([0x20 + who * 16 + reg; 32])
}

/// Registrations 8 to 15 are under the owner key of an earlier one, as after a change of password: 15 too is under that of 0.
pub(super) fn owner_key(who: u8, reg: u8) -> PublicKey {
    let key = if reg == 15 { 0 } else { reg % 8 };
    PublicKey([0x80 + who * 16 + key; 32])
}

/// The server's secret of a registration.
fn z(reg: u8) -> [u8; 32] {
    [reg ^ 0x33; 32]
}

pub(super) fn record(model: &Model, who: u8, reg: u8) -> Record {
    let (admission, policy) = (&model.documents.admission, &model.documents.policy);
    let generation = model.people.get(&account(who)).map_or(0, |p| p.generation) + 1;
    let mut upload = client_key(who, reg).0.to_vec();
    upload.resize(Record::UPLOAD_LEN, 0xab);
    Record {
        lineage: LINEAGE,
        era: ERA,
        account: account(who),
        generation: Generation(generation),
        reg_id: RegId([reg + 1; 16]),
        threshold: admission.threshold,
        slots: REGIONS,
        admission: admission.number,
        policy: policy.number,
        attempts: policy.attempts.clone(),
        upload,
        commitments: (0..admission.threshold).map(|i| Element([i + 1; 32])).collect(),
        ciphertext: vec![0xcd; 60],
        owner: owner_key(who, reg),
        ksf: KsfParams { memory_kib: 64, passes: 3, lanes: 1 },
        server: server_key(&z(reg)),
        right: Right([reg ^ 0x44; 32]),
    }
}

pub(super) fn shares(reg: u8) -> Vec<SealedShare> {
    (1..=REGIONS).map(|s| SealedShare { slot: Slot(s), enc: vec![reg; 32], ct: vec![s; 48] }).collect()
}

pub(super) fn owner_signature(
    model: &Model,
    who: u8,
    operation: u8,
    what: &Operation,
    by: By,
    now: Time,
) -> OwnerSignature {
    let person = model.people.get(&account(who));
    let key = match (by, person.and_then(|p| p.key.as_ref())) {
        (By::Stranger, _) | (_, None) => PublicKey([1; 32]),
        (_, Some(k)) => k.owner,
    };
    let expires = if by == By::Late { Time(now.0.saturating_sub(1)) } else { now.plus(150) };
    let operation = OperationId([operation; 16]);
    let owned = Owned {
        lineage: &LINEAGE,
        era: ERA,
        account: &account(who),
        generation: Generation(person.map_or(0, |p| p.generation)),
        operation: &operation,
        expires,
    };
    OwnerSignature { operation, expires, signature: sign(&key, &statement::owner(&owned, what)) }
}

pub(super) fn store(model: &Model, now: Time, who: u8, reg: u8, by: By, harm: u8) -> Command {
    let mut record = record(model, who, reg);
    let mut shares = shares(reg);
    match harm {
        1 => record.generation.0 += 1,
        2 => record.attempts.max += 5,
        3 => record.threshold -= 1,
        4 => record.commitments.push(Element([9; 32])),
        5 => record.commitments[0] = Element([0; 32]),
        6 => record.ksf.memory_kib = 1,
        7 => record.ksf.lanes = 99,
        8 => record.ciphertext = vec![0; 300],
        9 => shares[1].slot = Slot(1),
        10 => record.account = account(who ^ 1),
        11 => record.upload[0] = 0xff,
        12 => record.policy += 1,
        13 => record.era.0 += 1,
        16 => record.server.0[0] ^= 1,
        _ => {}
    }
    let (request, z) = (vec![reg; 32], Secret32::new(z(reg)));
    let mut response = response(z.expose(), &request);
    if harm == 14 {
        response[0] ^= 1;
    }
    if harm == 15 {
        shares.pop();
    }
    let owner = (by != By::Nobody)
        .then(|| owner_signature(model, who, reg, &Operation::Register(record.hash()), by, now));
    Command::Store(Box::new(Store {
        account: account(who),
        route: route(who),
        request,
        response,
        record,
        shares,
        z,
        owner,
    }))
}

/// A Confirm of the registration in the given Store.
pub(super) fn confirm(stored: &Store, acks: u8, harm: u8) -> Command {
    let (record, shares) = (&stored.record, shares_hash(&stored.shares));
    let hash = record.hash();
    let base = Generation(record.generation.0.saturating_sub(1));
    let acknowledgement = |slot: u8| {
        let (about, of) = if harm == 1 { (Hash([0; 32]), shares) } else { (hash, shares) };
        let statement =
            statement::acknowledgement(&LINEAGE, ERA, &record.reg_id, Slot(slot), &about, &of, &SUBJECT);
        signed_by(Slot(slot), &statement)
    };
    let mut acknowledgements: Vec<_> = (1..=acks).map(acknowledgement).collect();
    match harm {
        2 => acknowledgements = vec![acknowledgement(1); usize::from(acks)],
        3 => acknowledgements.iter_mut().for_each(|a| a.certificate = vec![9; 32]),
        4 => acknowledgements.iter_mut().for_each(|a| a.slot = Slot(a.slot.0 + 10)),
        _ => {}
    }
    let key = if harm == 5 { PublicKey([2; 32]) } else { record.owner };
    let statement = statement::confirm(&LINEAGE, ERA, &record.account, base, &record.reg_id, &hash);
    Command::Confirm(Confirm {
        account: record.account,
        reg_id: record.reg_id,
        record: if harm == 6 { Hash([3; 32]) } else { hash },
        acknowledgements,
        signature: sign(&key, &statement),
        subject: if harm == 7 { Hash([4; 32]) } else { SUBJECT },
    })
}

pub(super) fn begin(model: &Model, who: u8, attempt: u8, b: u8, skew: i8, agreed: bool) -> Command {
    let person = model.people.get(&account(who));
    let tries = person.map_or(0, |p| p.tries.len() as u64);
    let open = person.and_then(|p| p.open()).is_some_and(|t| t.id == attempt_id(attempt));
    let next = if open { tries } else { tries + 1 };
    let begin = Begin {
        account: account(who),
        generation: Generation(person.map_or(0, |p| p.generation)),
        ordinal: Ordinal(next.saturating_add_signed(i64::from(skew))),
        attempt: attempt_id(attempt),
        blinded: blinded(b),
        cancel: statement::cancel_hash(&cancel(attempt)),
        seed: Secret32::new([attempt ^ 0x77; 32]),
        may_be_last: agreed,
        permits: vec![],
    };
    let permits = permits(&begin, model.documents.admission.number, &[1, 2]);
    Command::Begin(Begin { permits, ..begin })
}

/// Permits of these regions for exactly this attempt.
pub(super) fn permits(begin: &Begin, admission: u64, slots: &[u8]) -> Vec<RegionSignature> {
    let statement = begin.permit(&LINEAGE, ERA, admission);
    slots.iter().map(|slot| signed_by(Slot(*slot), &statement)).collect()
}

/// What a leader without enough permits would try.
fn harm_permits(command: Command, admission: u64, harm: u8) -> Command {
    let Command::Begin(mut begin) = command else { return command };
    let of = |lie: Begin| permits(&lie, admission, &[1, 2]);
    begin.permits = match harm {
        1 => vec![],
        2 => permits(&begin, admission, &[1]),
        3 => permits(&begin, admission, &[3, 3]),
        4 => permits(&begin, admission + 1, &[1, 2]),
        5 => of(Begin { attempt: attempt_id(99), ..begin.clone() }),
        6 => of(Begin { blinded: blinded(9), ..begin.clone() }),
        7 => of(Begin { cancel: Hash([9; 32]), ..begin.clone() }),
        8 => of(Begin { ordinal: Ordinal(begin.ordinal.0 + 1), ..begin.clone() }),
        9 => of(Begin { generation: Generation(begin.generation.0 + 1), ..begin.clone() }),
        10 => of(Begin { account: account(9), ..begin.clone() }),
        11 => permits(&begin, admission, &[1, 2, 3]),
        12 => permits(&begin, admission, &[1, 7]),
        _ => begin.permits,
    };
    Command::Begin(begin)
}

pub(super) fn give_up(who: u8, attempt: u8, right: bool) -> Command {
    let preimage = if right { cancel(attempt) } else { [0; 32] };
    Command::GiveUp(GiveUp {
        account: account(who),
        attempt: attempt_id(attempt),
        cancel: Secret32::new(preimage),
    })
}

/// A Finish by a client that has the password, unless `harm` makes it invalid. Without `attempt` it is for the open attempt.
pub(super) fn finish(model: &Model, who: u8, attempt: Option<u8>, harm: u8) -> Command {
    let person = model.people.get(&account(who)).cloned().unwrap_or_default();
    let id = attempt.map(attempt_id).or(person.open().map(|t| t.id)).unwrap_or(attempt_id(0));
    let place = person.tries.iter().rposition(|t| t.id == id);
    let b = place.map_or(blinded(1), |i| person.tries[i].b);
    let ordinal = place.map_or(1, |i| i as u64 + 1);
    let upload = person.key.as_ref().map_or(vec![0; 192], |k| k.upload.clone());
    let mut key = PublicKey(*upload.first_chunk().unwrap());
    let (mut b, mut ordinal, mut generation, mut signed_id) = (b, ordinal, person.generation, id);
    match harm {
        1 => key = PublicKey([1; 32]),
        2 => b.0[31] ^= 1,
        3 => ordinal -= 1,
        4 => generation = generation.saturating_sub(1),
        5 => signed_id.0[0] ^= 1,
        6 => ordinal += 1,
        _ => {}
    }
    let context = statement::login_context(
        &LINEAGE,
        ERA,
        &account(who),
        Generation(generation),
        Ordinal(ordinal),
        &signed_id,
        &b,
    );
    let (ke1, ke2) = (vec![1; 96], vec![2; 192]);
    let mut ke3 = ke3(&key, &context, &ke1, &ke2);
    match harm {
        7 => ke3[63] ^= 1,
        8 => ke3.truncate(63),
        _ => {}
    }
    Command::Finish(Finish { account: account(who), attempt: id, ke1, ke2, ke3 })
}

pub(super) fn expire(who: u8) -> Command {
    Command::Expire(Expire { account: account(who) })
}

pub(super) fn writer(number: u8) -> WriterId {
    WriterId([number; 16])
}

pub(super) fn ledger_name(counter: u8) -> LedgerName {
    LedgerName { counter: u64::from(counter), hash: Hash([counter; 32]) }
}

fn named(model: &Model, who: u8, of: u8) -> Option<Hash> {
    model.people.get(&account(who))?.writers.get(&writer(of)).map(|w| w.ledger.hash)
}

/// Names ledger `counter` of writer `of`, with V if that is not 0.
#[allow(clippy::too_many_arguments)] // the command's fields, each once
pub(super) fn set_ledger(
    model: &Model,
    now: Time,
    who: u8,
    of: u8,
    counter: u8,
    v: u8,
    operation: u8,
    by: By,
) -> SetLedger {
    let (account, writer, expected) = (account(who), writer(of), named(model, who, of));
    let v = (v > 0).then(|| Secret32::new([v; 32]));
    let ledger = ledger_name(counter);
    let naming = bkv_core::writers::Naming { writer, expected, ledger, v: v.as_ref().map(v_hash) };
    let owner = owner_signature(model, who, operation, &Operation::SetLedger(naming), by, now);
    SetLedger { account, writer, expected, ledger, v, owner }
}

pub(super) fn forget_writer(
    model: &Model,
    now: Time,
    who: u8,
    of: u8,
    operation: u8,
    by: By,
) -> ForgetWriter {
    let (account, writer) = (account(who), writer(of));
    let expected = named(model, who, of).unwrap_or(Hash([0xee; 32]));
    let what = Operation::ForgetWriter(writer, expected);
    ForgetWriter { account, writer, expected, owner: owner_signature(model, who, operation, &what, by, now) }
}

pub(super) fn delete(model: &Model, now: Time, who: u8, operation: u8, by: By) -> Command {
    let owner = owner_signature(model, who, operation, &Operation::Delete, by, now);
    Command::Delete(Delete { account: account(who), owner })
}

/// The command of a step. None for steps that only change the clock.
pub(super) fn command(op: &Op, model: &Model, now: Time, past: &[Command]) -> Option<Command> {
    Some(match *op {
        Op::Store { who, reg, by, harm } => store(model, now, who, reg, by, harm),
        Op::Confirm { who, acks, harm } => {
            let newest = past.iter().rev().find_map(|c| match c {
                Command::Store(s) if s.account == account(who) => Some(s),
                _ => None,
            });
            confirm(newest?, acks, harm)
        }
        Op::Begin { who, attempt, b, skew, agreed, harm } => {
            let begin = begin(model, who, attempt, b, skew, agreed);
            harm_permits(begin, model.documents.admission.number, harm)
        }
        Op::GiveUp { who, attempt, right } => give_up(who, attempt, right),
        Op::Finish { who, attempt, harm } => finish(model, who, attempt, harm),
        Op::Expire { who } => expire(who),
        Op::Ledger { who, writer, counter, v, stale, operation, by } => {
            let mut stale_model = model.clone();
            if let Some(person) = stale_model.people.get_mut(&account(who)).filter(|_| stale) {
                person.writers.clear();
            }
            let set = set_ledger(&stale_model, now, who, writer, counter, v, operation, by);
            Command::SetLedger(set)
        }
        Op::Forget { who, writer, stale, operation, by } => {
            let mut forget = forget_writer(model, now, who, writer, operation, by);
            if stale {
                forget.expected.0[0] ^= 1;
            }
            Command::ForgetWriter(forget)
        }
        Op::Delete { who, operation, by } => delete(model, now, who, operation, by),
        Op::Replay(i) => past.get(usize::from(i) % past.len().max(1))?.clone(),
        Op::Documents { number } => {
            let policy = &model.documents.policy;
            let mut attempts = policy.attempts.clone();
            attempts.max += u32::from(number % 2);
            let number = (policy.number + u64::from(number)).saturating_sub(1);
            Command::Documents(documents(number, &attempts))
        }
        Op::Wait(_) | Op::Back(_) | Op::Days(_) => return None,
    })
}
