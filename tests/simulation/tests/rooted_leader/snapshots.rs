//! Snapshots whose signatures all hold, as if more regions were rooted than the fleet withstands, each sent to a replica whose state contradicts it. Nothing is installed.
//! Snapshots with too few signatures are in `certified`.

use bkv_core::account::{Account, Cause, Live, Success};
use bkv_core::command::{Begin, Command, Finish};
use bkv_core::id::{Generation, Hash, Ordinal, PublicKey, Signature, Time};
use bkv_core::record::shares_hash;
use bkv_core::secret::Secret32;
use bkv_core::statement::Operation;
use bkv_core::writers::LedgerName;
use bkv_wire::documents::RootKey;
use ed25519_dalek::SigningKey;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use bkv_simulation::rooted::client::{Client, account, blinded, random};
use bkv_simulation::rooted::fleet::{BUDGET, Fleet, HONEST, Keys, ROOTED, now, signed, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::snapshot::{Head, Row};
use bkv_vault::raft::types::membership_out;
use bkv_vault::replica::Phase;

const ALICE: u8 = 0xa1;
const BOB: u8 = 0xb0;

/// A shard before the forged snapshot: alice has two successes and an open attempt, bob has deleted his key.
struct Scene {
    alice: Client,
    /// Bob's account as it was before he deleted it.
    bob_before: Account,
    /// The first success.
    older: Success,
    /// The client's proof of attempt 4, held back until attempt 5 superseded it.
    held_back: Success,
}

async fn scene(fleet: &Fleet, leader: &mut Leader, shard: u16) -> Scene {
    let alice = Client::new(fleet, account(ALICE, shard), 1);
    let bob = Client::new(fleet, account(BOB, shard), 1);
    for person in [&alice, &bob] {
        leader.commit(fleet, shard, person.store(None)).await;
        leader.commit(fleet, shard, person.confirm(fleet, &[1, 2], &person.owner)).await;
    }
    let bob_before = fleet.account(HONEST[0], shard, &bob.account).unwrap();
    let deletion = bob.owned(&Operation::Delete, now().plus(600_000), &bob.owner);
    leader.commit(fleet, shard, bob.delete(deletion)).await;
    let mut proofs = Vec::new();
    for ordinal in 1..=5 {
        let begin = alice.begin(ordinal);
        let finish = alice.finish(&begin);
        proofs.push(success(&begin, &finish));
        leader.commit(fleet, shard, Command::Begin(begin)).await;
        if ordinal == 1 || ordinal == 3 {
            leader.commit(fleet, shard, Command::Finish(finish)).await;
        }
    }
    Scene { alice, bob_before, older: proofs.remove(0), held_back: proofs.remove(2) }
}

fn success(begin: &Begin, f: &Finish) -> Success {
    let (transcript, signature) = bkv_crypto::opaque::success_proof(&f.ke1, &f.ke2, &f.ke3).unwrap();
    Success {
        ordinal: begin.ordinal,
        attempt: begin.attempt,
        blinded: begin.blinded,
        transcript,
        signature: Signature(signature),
    }
}

fn is(row: &Row, name: u8) -> bool {
    row.id.0.ends_with(&[name])
}

fn row(rows: &mut [Row], name: u8) -> &mut Account {
    &mut rows.iter_mut().find(|r| is(r, name)).unwrap().account
}

/// Another record, so that its hash fits.
fn swap(account: &mut Account, change: impl Fn(&mut Live)) {
    let live = account.live.as_mut().unwrap();
    change(live);
    live.hash = live.record.hash();
}

type Lie = fn(&mut Head, &mut Vec<Row>, &Scene, &Fleet);

/// (description, forgery, the reason that the replica must report).
const BACK: [(&str, Lie, &str); 20] = [
    (
        "a lower ordinal",
        |_, rows, _, _| {
            let a = row(rows, ALICE);
            (a.ordinal, a.pending) = (Ordinal(4), None);
        },
        "a lower ordinal",
    ),
    (
        "a made-up last success",
        |_, rows, _, _| {
            let a = row(rows, ALICE);
            let p = a.pending.take().unwrap();
            let (transcript, signature) = (random::<416>().to_vec(), Signature(random()));
            let s =
                Success { ordinal: p.ordinal, attempt: p.attempt, blinded: p.blinded, transcript, signature };
            (a.last_success, a.finished) = (Some(s), Some(p.attempt));
        },
        "a success that is not proved",
    ),
    (
        "the older success at the open attempt's ordinal",
        |_, rows, scene, _| {
            let a = row(rows, ALICE);
            let p = a.pending.take().unwrap();
            let s =
                Success { ordinal: p.ordinal, attempt: p.attempt, blinded: p.blinded, ..scene.older.clone() };
            (a.last_success, a.finished) = (Some(s), Some(p.attempt));
        },
        "a success that is not proved",
    ),
    (
        "a success by the attacker's own client key",
        |_, rows, scene, fleet| {
            let a = row(rows, ALICE);
            let p = a.pending.take().unwrap();
            let mallory = Client::new(fleet, scene.alice.account, 1);
            let mut begin = mallory.begin(p.ordinal.0);
            (begin.attempt, begin.blinded) = (p.attempt, p.blinded);
            (a.last_success, a.finished) = (Some(success(&begin, &mallory.finish(&begin))), Some(p.attempt));
        },
        "a success that is not proved",
    ),
    (
        "a genuine success of an attempt that failed here",
        |_, rows, scene, _| {
            let a = row(rows, ALICE);
            (a.last_success, a.finished) = (Some(scene.held_back.clone()), Some(scene.held_back.attempt));
            a.pending.as_mut().unwrap().success_before = scene.held_back.ordinal;
        },
        "a success that is not proved",
    ),
    (
        "a genuine, older success",
        |_, rows, scene, _| {
            let a = row(rows, ALICE);
            (a.last_success, a.finished) = (Some(scene.older.clone()), Some(scene.older.attempt));
            a.pending.as_mut().unwrap().success_before = scene.older.ordinal;
        },
        "a success that is not proved",
    ),
    (
        "another client key",
        |_, rows, scene, fleet| {
            let mallory = Client::new(fleet, scene.alice.account, 1);
            swap(row(rows, ALICE), |l| l.record.upload[..32].copy_from_slice(&mallory.record.upload[..32]));
        },
        "another record in the same generation",
    ),
    (
        "another client key, and no success that could contradict it",
        |_, rows, scene, fleet| {
            let mallory = Client::new(fleet, scene.alice.account, 1);
            let a = row(rows, ALICE);
            swap(a, |l| l.record.upload[..32].copy_from_slice(&mallory.record.upload[..32]));
            (a.last_success, a.finished, a.ordinal, a.pending) = (None, None, Ordinal(5), None);
        },
        "another record in the same generation",
    ),
    (
        "another owner key",
        |_, rows, _, _| {
            let mallory = SigningKey::generate(&mut OsRng);
            swap(row(rows, ALICE), |l| l.record.owner = PublicKey(mallory.verifying_key().to_bytes()));
        },
        "another record in the same generation",
    ),
    (
        "a larger budget",
        |_, rows, _, _| {
            swap(row(rows, ALICE), |l| l.record.attempts.max = BUDGET + 1000);
        },
        "another record in the same generation",
    ),
    (
        "another record whole",
        |_, rows, scene, fleet| {
            let mallory = Client::new(fleet, scene.alice.account, 1);
            let a = row(rows, ALICE);
            let hash = mallory.record.hash();
            let shares = shares_hash(&mallory.shares);
            a.live =
                Some(Live { hash, shares, record: mallory.record, since: a.live.as_ref().unwrap().since });
            (a.last_success, a.finished, a.ordinal, a.pending) = (None, None, Ordinal(0), None);
        },
        "another record in the same generation",
    ),
    (
        "a key that was deleted",
        |_, rows, scene, _| *row(rows, BOB) = scene.bob_before.clone(),
        "a key that is gone lives again",
    ),
    (
        "another cause of the end",
        |_, rows, _, _| {
            row(rows, BOB).ended.as_mut().unwrap().cause = Cause::Exhausted;
        },
        "another record in the same generation",
    ),
    (
        "fewer failures over the life",
        |_, rows, _, _| row(rows, ALICE).lifetime_failures = 0,
        "fewer lifetime failures",
    ),
    (
        "an earlier next attempt",
        |_, rows, _, _| row(rows, ALICE).next_allowed = Time(0),
        "an earlier next attempt",
    ),
    (
        "another attempt at the same ordinal",
        |_, rows, _, _| {
            row(rows, ALICE).pending.as_mut().unwrap().blinded = blinded();
        },
        "another attempt at the same ordinal",
    ),
    ("an account left out", |_, rows, _, _| rows.retain(|r| !is(r, BOB)), "an account is missing"),
    (
        "a lower generation",
        |_, rows, _, _| {
            let a = row(rows, BOB);
            a.generation = Generation(0);
        },
        "a lower generation",
    ),
    (
        "an admission list that the root did not sign",
        |head, _, _, fleet| {
            // A changed list with the same number is refused by the number alone. A higher number needs a signature.
            let d = &mut head.fleet.documents;
            let mut list = (*fleet.list).clone();
            list.number = 2;
            list.members[1].identity = Keys::generate().identity.spki;
            let own = signed(&list, &fleet.policy, &RootKey::from_seed(&Zeroizing::new([66; 32])));
            (d.admission, d.admission_signed) = (list, own.admission);
        },
        "documents that the root did not sign",
    ),
    (
        "another index key",
        |head, _, _, _| {
            head.fleet.index = bkv_core::secret::Secret32::new([9; 32]);
        },
        "the shard's head goes back",
    ),
];

/// (description, forgery, the reason that the replica must report). Claims that only the certificate refutes, and claims about the head.
const OTHERS: [(&str, Lie, &str); 3] = [
    (
        "an account twice",
        |_, rows, scene, fleet| {
            let mut forged = rows.iter().find(|r| is(r, ALICE)).unwrap().clone();
            let mallory = Client::new(fleet, scene.alice.account, 2);
            let (hash, shares) = (mallory.record.hash(), shares_hash(&mallory.shares));
            forged.account.live = Some(Live { hash, shares, record: mallory.record, since: Time(1) });
            let a = &mut forged.account;
            (a.last_success, a.finished, a.ordinal, a.pending) = (None, None, Ordinal(0), None);
            a.generation = Generation(2);
            rows.push(forged);
        },
        "one account twice",
    ),
    // Waits and deadlines of every account would be over by entry time, and entry time would stop.
    (
        "a time from the future",
        |head, _, _, _| head.certificate.checkpoint.time = now().plus(3_600_000),
        "30 s in the future",
    ),
    (
        "a stranger among the voters",
        |head, _, _, fleet| {
            let nodes = [fleet.list.members[0].node.0, 4711].map(|n| (n, openraft::EmptyNode {}));
            let all: std::collections::BTreeMap<u64, openraft::EmptyNode> = nodes.into();
            let m = openraft::Membership::new(vec![all.keys().copied().collect()], all);
            head.membership.membership = prost::Message::encode_to_vec(&membership_out(&m));
        },
        "other nodes than the admission list",
    ),
];

/// S43, the second line: each forged snapshot goes to the first honest vault, in a shard of its own, with the signatures of all three vaults. It contradicts what the vault has
/// applied itself. The vault refuses it, names the contradiction and goes on: one message halts no shard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_no_snapshot_takes_anything_back() {
    let shards = u16::try_from(BACK.len() + OTHERS.len() + 1).unwrap();
    let (fleet, mut leader) = Fleet::taken_over(shards).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    for ((what, lie, says), shard) in BACK.iter().chain(&OTHERS).zip(0u16..) {
        let scene = scene(&fleet, &mut leader, shard).await;
        let seen = |name: u8| fleet.account(to, shard, &account(name, shard)).unwrap();
        let floor = || fleet.replica(to, shard).state().floor(&account(ALICE, shard)).unwrap().unwrap();
        let before = (seen(ALICE), seen(BOB), floor(), fleet.replica(to, shard).applied());
        assert_eq!(before.0.tries_left(), BUDGET - 2);
        let mut snapshot = leader.further(&fleet, of, shard).await;
        lie(&mut snapshot.0, &mut snapshot.1, &scene, &fleet);
        fleet.certify(&mut snapshot, &[0, 1, 2]);
        let answer = leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &snapshot).await;
        let answer = answer.expect_err(what);
        assert!(answer.contains(says), "{what}: {answer}");
        assert_eq!((seen(ALICE), seen(BOB), floor(), fleet.replica(to, shard).applied()), before, "{what}");
        assert_eq!(fleet.phase(to, shard), Phase::Verified, "{what}");
        let named = fleet.node(to).contradictions().into_iter().find(|c| c.shard == shard);
        let contradicts = answer.contains("contradicts this replica");
        assert_eq!(named.map(|c| c.why), contradicts.then_some(answer), "{what}");
        if contradicts {
            // The replica takes nothing more from the leader in this term, not even a correct entry.
            let next = Leader::batch(now(), vec![Command::Begin(scene.alice.begin(6))]);
            let entry = leader.entry(to, shard, next);
            let answer = leader.append(&fleet, to, shard, &entry).await.unwrap_err();
            assert!(answer.contains("refused in term"), "{what}: {answer}");
        }
        // The other vault has another entry there. Two branches in one term would exclude the leader.
        leader.next_term(shard);
        leader.commit_at(&fleet, to, shard, vec![Command::Begin(scene.alice.begin(6))]).await;
        assert_eq!(seen(ALICE).ordinal, Ordinal(6), "{what}");
    }
    // The control: the vault installs a true snapshot in the one remaining shard, with a deletion that it has missed.
    let shard = shards - 1;
    let Scene { alice, .. } = scene(&fleet, &mut leader, shard).await;
    let deletion = alice.owned(&Operation::Delete, now().plus(600_000), &alice.owner);
    leader.commit_at(&fleet, of, shard, vec![alice.delete(deletion)]).await;
    let snapshot = leader.further(&fleet, of, shard).await;
    leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &snapshot).await.unwrap();
    let index = snapshot.0.checkpoint().index;
    fleet.replica(to, shard).wait_applied(index, soon(10)).await.unwrap();
    assert_eq!(fleet.account(to, shard, &alice.account), fleet.account(of, shard, &alice.account));
    assert!(fleet.account(to, shard, &alice.account).unwrap().live.is_none());
}

fn ledger(counter: u8) -> LedgerName {
    LedgerName { counter: u64::from(counter), hash: Hash([counter; 32]) }
}

const OLDER_LEDGERS: [(&str, fn(&mut Account)); 5] = [
    ("the ledger before", |a| a.writers[0].ledger = ledger(1)),
    ("another ledger of the same number", |a| a.writers[0].ledger.hash = Hash([9; 32])),
    ("another V", |a| a.writers[0].v = Some(Secret32::new([9; 32]))),
    ("no V", |a| a.writers[0].v = None),
    ("no writer", |a| a.writers.clear()),
];

/// S29: a rooted leader would show a new device an older ledger, and so hide the newest backups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s29_a_rooted_leader_rolls_no_ledger_back() {
    let (fleet, mut leader) = Fleet::taken_over(u16::try_from(OLDER_LEDGERS.len()).unwrap()).await;
    let (to, of) = (HONEST[0], HONEST[1]);
    for ((what, lie), shard) in OLDER_LEDGERS.iter().zip(0u16..) {
        let alice = Client::new(&fleet, account(ALICE, shard), 1);
        let first = alice.set_ledger(None, ledger(1), Some(Secret32::new([1; 32])), &alice.owner);
        let second = alice.set_ledger(Some(ledger(1).hash), ledger(2), None, &alice.owner);
        for command in [
            alice.store(None),
            alice.confirm(&fleet, &[1, 2], &alice.owner),
            first.clone(),
            second,
            // Again what the owner has signed before.
            first,
        ] {
            leader.commit(&fleet, shard, command).await;
        }
        let seen = || fleet.account(to, shard, &alice.account).unwrap();
        assert_eq!((seen().writers[0].ledger, seen().writers.len()), (ledger(2), 1));
        let before = seen();
        let honest = leader.further(&fleet, of, shard).await;
        // By the attacker alone the first line refuses it: t regions must have signed the digest of the rows. By t regions the second does.
        for (by, says) in [(&[ROOTED][..], ""), (&[0, 1, 2], "an older map of the writers")] {
            let mut forged = honest.clone();
            lie(row(&mut forged.1, ALICE));
            fleet.certify(&mut forged, by);
            leader.next_term(shard);
            let answer = leader.send_snapshot(&fleet, to, shard, leader.vote(shard), &forged).await;
            let answer = answer.expect_err(what);
            println!("{what}: {answer}");
            assert!(answer.contains(says), "{what}: {answer}");
            assert_eq!(seen(), before, "{what}");
        }
    }
}
