//! Snapshots that a rooted leader makes up and that go forward (S48): no counter of the receiver goes back, so nothing in its own state contradicts them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bkv_core::account::{Account, Cause, Ended, Pending};
use bkv_core::command::{Command, GiveUp};
use bkv_core::document::Admission;
use bkv_core::id::{AttemptId, Hash, Ordinal, ShardId, Time};
use bkv_core::record::{share_hashes, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::statement;
use bkv_core::writers::{LedgerName, Writer};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;

use bkv_simulation::eventually;
use bkv_simulation::rooted::client::{Client, WRITER, account, blinded, random};
use bkv_simulation::rooted::fleet::{BUDGET, Fleet, HONEST, Keys, ROOTED, now, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::export::NoSnapshot;
use bkv_vault::raft::snapshot::{Head, Row};
use bkv_vault::replica::Phase;

const ALICE: u8 = 0xa1;
/// The attacker's own cancel.
const CANCEL: [u8; 32] = [7; 32];

async fn registered(fleet: &Fleet, leader: &mut Leader, shard: u16) -> Client {
    let alice = Client::new(fleet, account(ALICE, shard), 1);
    leader.commit(fleet, shard, alice.store(None)).await;
    leader.commit(fleet, shard, alice.confirm(fleet, &[1, 2], &alice.owner)).await;
    alice
}

/// Waits until shard 0 of a vault is in a phase.
async fn phase(fleet: &Fleet, i: usize, is: impl Fn(&Phase) -> bool) {
    eventually("the phase", || is(&fleet.phase(i, 0)).then_some(())).await;
}

/// As if all tries but one had failed and the attacker had begun the last.
fn last_try(a: &mut Account) -> AttemptId {
    let attempt = AttemptId([9; 16]);
    a.ordinal = Ordinal(u64::from(BUDGET));
    a.lifetime_failures = BUDGET;
    a.pending = Some(Pending {
        attempt,
        ordinal: a.ordinal,
        blinded: blinded(),
        cancel: statement::cancel_hash(&CANCEL),
        seed: Secret32::new(random()),
        deadline: now().plus(600_000),
        last: true,
        index: 1,
        success_before: Ordinal(0),
        conflicts: 0,
    });
    attempt
}

/// S48: one made-up snapshot would put every account on its last try, and one `GiveUp` for each would destroy every key, without a wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_made_up_snapshot_puts_nobody_on_the_last_try() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader, 0).await;
    for (to, of) in [(HONEST[0], HONEST[1]), (HONEST[1], HONEST[0])] {
        let mut snapshot = leader.further(&fleet, of, 0).await;
        let attempt = last_try(&mut snapshot.1[0].account);
        fleet.certify(&mut snapshot, &[ROOTED]);
        leader.send_snapshot(&fleet, to, 0, leader.vote(0), &snapshot).await.unwrap_err();
        let give_up = GiveUp { account: alice.account, attempt, cancel: Secret32::new(CANCEL) };
        // Two branches in one term would exclude it.
        leader.next_term(0);
        leader.commit_at(&fleet, to, 0, vec![Command::GiveUp(give_up)]).await;
        let here = fleet.account(to, 0, &alice.account).unwrap();
        assert!(here.live.is_some(), "vault {to}: the key is destroyed");
        assert_eq!(here.tries_left(), BUDGET, "vault {to}");
        assert_eq!(fleet.phase(to, 0), Phase::Verified, "vault {to}");
    }
}

type Lie = fn(&mut Head, &mut Vec<Row>);

const FORWARD: [(&str, Lie); 8] = [
    ("the last try", |_, rows| {
        last_try(&mut rows[0].account);
    }),
    ("a wait to the end of time", |_, rows| rows[0].account.next_allowed = Time(u64::MAX)),
    ("the lifetime limit", |_, rows| {
        let a = &mut rows[0].account;
        (a.ordinal, a.lifetime_failures) = (Ordinal(u64::from(BUDGET) - 1), BUDGET - 1);
    }),
    ("the last ledger", |_, rows| {
        let ledger = LedgerName { counter: u64::MAX, hash: Hash([1; 32]) };
        rows[0].account.writers = vec![Writer { id: WRITER, ledger, v: None, before: None, forgotten: None }];
    }),
    ("a destroyed key", |_, rows| {
        let a = &mut rows[0].account;
        let reg_id = a.live.take().unwrap().record.reg_id;
        a.ended = Some(Ended { cause: Cause::Exhausted, at: Time(1), reg_id });
    }),
    ("an account that nobody registered", |_, rows| {
        let mut row = rows[0].clone();
        row.id.0[31] ^= 1;
        row.account.live = None;
        row.secrets.clear();
        rows.push(row);
    }),
    ("a newer policy than is signed", |head, _| head.fleet.documents.policy.number += 1),
    ("a membership of another entry", |head, _| head.membership.at = vec![0x18, 1]),
];

/// S48: each lie goes to the first honest vault, in a shard of its own: with the honest state's certificate, and signed by the attacker alone, in any way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_forward_lies_change_nothing() {
    let shards = u16::try_from(FORWARD.len()).unwrap();
    let (fleet, mut leader) = Fleet::taken_over(shards).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    for ((what, lie), shard) in FORWARD.iter().zip(0u16..) {
        let alice = registered(&fleet, &mut leader, shard).await;
        let before = fleet.account(to, shard, &alice.account);
        let honest = leader.further(&fleet, of, shard).await;
        let mut under_its_certificate = honest.clone();
        lie(&mut under_its_certificate.0, &mut under_its_certificate.1);
        let mut alone = under_its_certificate.clone();
        fleet.certify(&mut alone, &[ROOTED]);
        let mut twice = alone.clone();
        twice.0.certificate.signatures.extend(alone.0.certificate.signatures.clone());
        let mut in_anothers_name = twice.clone();
        in_anothers_name.0.certificate.signatures[1].slot = fleet.list.members[of].slot;
        // The receiver's own signature of an earlier life would be one of t.
        let mut with_the_receivers = alone.clone();
        fleet.certify(&mut with_the_receivers, &[ROOTED, to]);
        for forged in [under_its_certificate, alone, twice, in_anothers_name, with_the_receivers] {
            // Some contradict the receiver, and then it takes nothing more in that term.
            leader.next_term(shard);
            let said = leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &forged).await;
            println!("{what}: {said:?}");
            assert!(said.is_err(), "{what}");
            assert_eq!(fleet.account(to, shard, &alice.account), before, "{what}");
            assert_eq!(fleet.phase(to, shard), Phase::Verified, "{what}");
        }
        // The control: the honest one is taken.
        leader.next_term(shard);
        leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &honest).await.unwrap();
        assert_eq!(fleet.replica(to, shard).applied(), honest.0.checkpoint().index, "{what}");
        assert_eq!(fleet.account(to, shard, &alice.account), fleet.account(of, shard, &alice.account));
    }
}

type Theft = fn(&mut Row);

const LEFT_OUT: [(&str, Theft); 3] = [
    ("no secrets", |row| row.secrets.clear()),
    ("another share of the receiver", |row| row.secrets[0].shares[1].ct[0] ^= 1),
    ("other shares, with hashes that fit them", |row| {
        let secrets = &mut row.secrets[0];
        secrets.shares[1].ct[0] ^= 1;
        secrets.hashes = share_hashes(&secrets.shares);
    }),
];

/// S48: secrets are not in the digest. The receiver does not know the account yet, and would have no share of it for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_left_out_secrets_are_refused() {
    let shards = u16::try_from(LEFT_OUT.len()).unwrap();
    let (fleet, mut leader) = Fleet::taken_over(shards).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    for ((what, theft), shard) in LEFT_OUT.iter().zip(0u16..) {
        let alice = Client::new(&fleet, account(ALICE, shard), 1);
        leader.commit_at(&fleet, of, shard, vec![alice.store(None)]).await;
        leader.commit_at(&fleet, of, shard, vec![alice.confirm(&fleet, &[1, 2], &alice.owner)]).await;
        let honest = leader.further(&fleet, of, shard).await;
        let mut forged = honest.clone();
        theft(&mut forged.1[0]);
        let said = leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &forged).await;
        assert!(said.is_err(), "{what}");
        assert!(fleet.account(to, shard, &alice.account).is_none(), "{what}");
        leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &honest).await.unwrap();
        assert_eq!(fleet.account(to, shard, &alice.account), fleet.account(of, shard, &alice.account));
        let kept = fleet.replica(to, shard).secrets(&alice.account, &alice.record.reg_id).unwrap();
        assert!(kept.is_some(), "{what}");
    }
}

/// S48, P19: a sender that has never had the receiver's share does not keep it out of the shard. The receiver asks the other regions for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_snapshot_without_the_receivers_share_is_installed() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    let alice = Client::new(&fleet, account(ALICE, 0), 1);
    leader.commit_at(&fleet, of, 0, vec![alice.store(None)]).await;
    leader.commit_at(&fleet, of, 0, vec![alice.confirm(&fleet, &[1, 2], &alice.owner)]).await;
    let mut snapshot = leader.further(&fleet, of, 0).await;
    snapshot.1[0].secrets[0].shares.retain(|s| s.slot.0 != 2);
    leader.send_snapshot(&fleet, to, 0, leader.vote(0), &snapshot).await.unwrap();
    assert_eq!(fleet.account(to, 0, &alice.account), fleet.account(of, 0, &alice.account));
    let kept = fleet.replica(to, 0).secrets(&alice.account, &alice.record.reg_id).unwrap();
    assert!(kept.is_some());
}

type Stuffing = fn(&mut Row);

const LARGE: [(&str, Stuffing); 2] = [
    ("a sealed share of a mebibyte, with hashes that fit it", |row| {
        let secrets = &mut row.secrets[0];
        secrets.shares[1].ct = vec![7; 1 << 20];
        secrets.hashes = share_hashes(&secrets.shares);
        row.account.live.as_mut().unwrap().shares = shares_hash(&secrets.shares);
    }),
    ("a mebibyte of ids of failed attempts", |row| row.account.failed = vec![AttemptId([7; 16]); 1 << 16]),
];

/// S48: the number of the rows is signed and their bytes are not. A liar must not fill the disk before the digest is compared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_row_of_a_snapshot_is_bounded() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    registered(&fleet, &mut leader, 0).await;
    let honest = leader.further(&fleet, of, 0).await;
    for (what, stuffing) in LARGE {
        let mut forged = honest.clone();
        stuffing(&mut forged.1[0]);
        let said = leader.send_snapshot(&fleet, to, 0, leader.vote(0), &forged).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("bytes, at most")), "{what}: {said:?}");
    }
    leader.send_snapshot(&fleet, to, 0, leader.vote(0), &honest).await.unwrap();
}

/// S43, S48: z is not in the digest. With another one the receiver would answer right passwords like wrong ones as soon as it leads. The receiver has the account, or does
/// not know it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_snapshot_with_another_z_is_refused() {
    let (fleet, mut leader) = Fleet::taken_over(2).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    registered(&fleet, &mut leader, 0).await;
    let bob = Client::new(&fleet, account(ALICE, 1), 1);
    leader.commit_at(&fleet, of, 1, vec![bob.store(None)]).await;
    for shard in [0, 1] {
        let honest = leader.further(&fleet, of, shard).await;
        let mut forged = honest.clone();
        let mut z = *forged.1[0].secrets[0].z.expose();
        z[0] ^= 1;
        forged.1[0].secrets[0].z = Secret32::new(z);
        let said = leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &forged).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("not the record's")), "{said:?}");
        leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &honest).await.unwrap();
    }
}

/// S48: a sender whose token is away can't read the secrets. It sends nothing, and later everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_sender_without_secrets_sends_no_snapshot() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    registered(&fleet, &mut leader, 0).await;
    let of = HONEST[1];
    leader.further(&fleet, of, 0).await;
    let state = fleet.replica(of, 0).state();
    let export = state.export().unwrap();
    fleet.tokens_away.store(true, Ordering::Relaxed);
    assert!(matches!(state.export_rows(&export, None, 10), Err(NoSnapshot::NoSecrets)));
    fleet.tokens_away.store(false, Ordering::Relaxed);
    assert_eq!(state.export_rows(&export, None, 10).unwrap().len(), 1);
}

/// S48, P20: one liar's other digest halts nobody and certifies nothing. Two digests by one slot count for none. A halt outlasts a restart and ends by its own id only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_one_other_digest_halts_nobody_and_t_do() {
    let (mut fleet, mut leader) = Fleet::taken_over(1).await;
    let to = HONEST[0];
    registered(&fleet, &mut leader, 0).await;
    leader.checkpoint_at(&fleet, to, 0).await;
    let state = fleet.replica(to, 0).state();
    let own = state.newest_checkpoint().unwrap();
    let mut other = own.clone();
    other.digest = Hash([9; 32]);
    leader.tell(&fleet, to, &fleet.certificate(&other, &[ROOTED])).await;
    // The liar's signature on the true digest counts no more.
    leader.tell(&fleet, to, &fleet.certificate(&own, &[ROOTED])).await;
    assert_ne!(state.certified_index(), Some(own.index));
    assert_eq!(fleet.phase(to, 0), Phase::Verified);
    // At the next checkpoint two others contradict: this vault's own state is wrong.
    leader.checkpoint_at(&fleet, to, 0).await;
    let mut other = state.newest_checkpoint().unwrap();
    other.digest = Hash([9; 32]);
    leader.tell(&fleet, to, &fleet.certificate(&other, &[ROOTED])).await;
    assert_eq!(fleet.phase(to, 0), Phase::Verified);
    leader.tell(&fleet, to, &fleet.certificate(&other, &[HONEST[1]])).await;
    assert!(matches!(fleet.phase(to, 0), Phase::Halted(why) if why.contains("another state")));
    leader.tells(p::Told { verified: true, ..Default::default() });
    fleet.restart(to).await;
    phase(&fleet, to, |p| matches!(p, Phase::Halted(why) if why.contains("another state"))).await;
    let stop = fleet.replica(to, 0).stopped().unwrap();
    assert!(!fleet.node(to).lift(ShardId(0), &[7; 16], &[]).await.unwrap());
    assert_eq!(fleet.replica(to, 0).stopped(), Some(stop.clone()));
    assert!(fleet.node(to).lift(ShardId(0), &stop.id, &[]).await.unwrap());
    phase(&fleet, to, |p| *p == Phase::Verified).await;
}

/// S24, P8: no leader that this vault answered shows its signature, and the attacker, who leads, delivers nothing. An unsigned position is then given up. What t regions have
/// signed is not: the vault serves from the old disk only once it has that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_an_old_disk_waits_for_what_t_regions_have_signed() {
    let (mut fleet, mut leader) = Fleet::taken_over(1).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    let alice = registered(&fleet, &mut leader, 0).await;
    leader.tells(p::Told { verified: true, ..Default::default() });
    fleet.keep_disk(to).await;
    phase(&fleet, to, |p| *p == Phase::Verified).await;
    leader.commit(&fleet, 0, Command::Begin(alice.begin(1))).await;
    leader.further(&fleet, of, 0).await;
    fleet.set_disk_back(to).await;
    eventually("the position that no leader delivers is given up", || {
        fleet.node(to).contradictions().first().map(|c| assert_eq!(c.from, fleet.node(of).node()))
    })
    .await;
    assert!(matches!(fleet.phase(to, 0), Phase::CatchingUp { .. }), "{:?}", fleet.phase(to, 0));
    // The other honest vault leads, and delivers it.
    fleet.replica(of, 0).stand_for_election(true);
    phase(&fleet, to, |p| *p == Phase::Verified).await;
    // Its log has the attempt now. It is applied a moment later.
    let ordinal = || fleet.account(to, 0, &alice.account).map(|a| a.ordinal);
    eventually("the attempt is applied", || (ordinal() == Some(Ordinal(1))).then_some(())).await;
}

/// S48: 300 batches without commands at one entry time cost an honest vault no more signatures than one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_flood_of_empty_batches_makes_one_checkpoint() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let to = HONEST[0];
    leader.checkpoint_at(&fleet, to, 0).await;
    let state = fleet.replica(to, 0).state();
    let made = state.newest_checkpoint().unwrap();
    for _ in 0..300 {
        let entry = leader.entry(to, 0, Leader::batch(made.time, Vec::new()));
        assert_eq!(leader.append(&fleet, to, 0, &entry).await, Ok(R::Success(true)));
    }
    let last = leader.end(to, 0).0.index;
    fleet.replica(to, 0).wait_durable(last, soon(10)).await.unwrap();
    assert_eq!(state.newest_checkpoint(), Some(made));
    // The next step of entry time is one again.
    leader.checkpoint_at(&fleet, to, 0).await;
    assert_eq!(state.newest_checkpoint().unwrap().index, last + 1);
}

/// S48, P22: a region that is back by snapshot answers the attempt that is open there, and no other one of that ordinal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_the_open_attempt_of_a_certified_snapshot_becomes_the_floor() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    let alice = registered(&fleet, &mut leader, 0).await;
    let begin = alice.begin(1);
    leader.commit_at(&fleet, of, 0, vec![Command::Begin(begin.clone())]).await;
    let snapshot = leader.further(&fleet, of, 0).await;
    leader.send_snapshot(&fleet, to, 0, leader.vote(0), &snapshot).await.unwrap();
    let floor = fleet.replica(to, 0).floor(&alice.account, soon(10)).await.unwrap();
    assert_eq!((floor.ordinal.0, floor.attempt, floor.blinded), (1, begin.attempt, begin.blinded));
    assert_eq!(fleet.replica(to, 0).state().floor(&alice.account).unwrap(), Some(floor));
}

/// S48, P35: the root has replaced the identity of a region, because an attacker has it. A vault obeys that list already, and the rooted leader keeps it out of the shard's
/// log. The old identity and the leader's own are t signatures under the older list: they must neither make a state nor contradict one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_replaced_identity_counts_for_nothing() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let (to, stolen) = (HONEST[0], HONEST[1]);
    let alice = registered(&fleet, &mut leader, 0).await;
    let mut snapshot = leader.further(&fleet, stolen, 0).await;
    last_try(&mut snapshot.1[0].account);
    fleet.certify(&mut snapshot, &[ROOTED, stolen]);
    let mut newer = Admission { number: 2, ..fleet.list.as_ref().clone() };
    newer.members[stolen].identity = Keys::generate().identity.spki;
    fleet.node(to).set_admission(Arc::new(newer));
    let said = leader.send_snapshot(&fleet, to, 0, leader.vote(0), &snapshot).await;
    assert!(said.as_ref().is_err_and(|e| e.contains("only 1 of the 2 signatures")), "{said:?}");
    assert_eq!(fleet.account(to, 0, &alice.account).unwrap().tries_left(), BUDGET);
    leader.checkpoint_at(&fleet, to, 0).await;
    let mut other = fleet.replica(to, 0).state().newest_checkpoint().unwrap();
    other.digest = Hash([9; 32]);
    leader.tell(&fleet, to, &fleet.certificate(&other, &[ROOTED, stolen])).await;
    assert_eq!(fleet.phase(to, 0), Phase::Verified);
}
