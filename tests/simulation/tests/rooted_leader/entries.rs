//! Entries that a rooted leader makes up. An entry that the state machine refuses must leave the account unchanged, to the last byte, at both honest
//! vaults. An entry that is refused on arrival must not reach their logs.

use bkv_core::account::Account;
use bkv_core::batch::Batch;
use bkv_core::command::{Begin, Command, Confirm, Expire, Finish, Raise, VERSION};
use bkv_core::id::{AccountId, Generation, Hash, Ordinal};
use bkv_core::secret::Secret32;
use bkv_core::statement::Operation;
use bkv_core::writers::LedgerName;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;
use ed25519_dalek::SigningKey;
use openraft::EntryPayload;
use rand::rngs::OsRng;

use bkv_simulation::rooted::client::{Client, account, blinded, random};
use bkv_simulation::rooted::fleet::{BUDGET, Fleet, HONEST, now, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::types::{Payload, Vote, entry_out, log_id_out, vote_out};
use bkv_vault::replica::Phase;

use crate::extremes::serves;

const SHARD: u16 = 0;
const ALICE: AccountId = account(0xa1, SHARD);
const MALLORY: AccountId = account(0x3a, SHARD);

async fn register(fleet: &Fleet, leader: &mut Leader, account: AccountId) -> Client {
    let person = Client::new(fleet, account, 1);
    leader.commit(fleet, SHARD, person.store(None)).await;
    leader.commit(fleet, SHARD, person.confirm(fleet, &[1, 2], &person.owner)).await;
    person
}

fn seen(fleet: &Fleet) -> [Account; 2] {
    HONEST.map(|i| fleet.account(i, SHARD, &ALICE).unwrap())
}

/// Commits an entry at both honest vaults and checks that it changes nothing.
async fn refused(fleet: &Fleet, leader: &mut Leader, what: &str, command: Command) {
    let before = seen(fleet);
    leader.commit(fleet, SHARD, command).await;
    assert_eq!(seen(fleet), before, "{what}");
    for i in HONEST {
        assert_eq!(fleet.phase(i, SHARD), Phase::Verified, "{what}");
    }
}

/// S43, S15: only the client's own signature over this attempt refills the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_a_finish_that_the_client_did_not_sign_for_this_attempt_refills_nothing() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    // Generation 1 has a success. Then the password is changed.
    let old = register(&fleet, &mut leader, ALICE).await;
    let begun = old.begin(1);
    let of_the_old_generation = old.finish(&begun);
    leader.commit(&fleet, SHARD, Command::Begin(begun)).await;
    leader.commit(&fleet, SHARD, Command::Finish(of_the_old_generation.clone())).await;
    let alice = Client::new(&fleet, ALICE, 2);
    let owner = old.owned(&Operation::Register(alice.record.hash()), now().plus(60_000), &old.owner);
    leader.commit(&fleet, SHARD, alice.store(Some(owner))).await;
    leader.commit(&fleet, SHARD, alice.confirm(&fleet, &[1, 2], &alice.owner)).await;
    assert_eq!(seen(&fleet)[0].generation, Generation(2));
    // First a success. Then an attempt that the client proved, whose Finish the attacker held back until it was superseded. Then the open attempt.
    let first = alice.begin(1);
    let of_the_success = alice.finish(&first);
    leader.commit(&fleet, SHARD, Command::Begin(first)).await;
    leader.commit(&fleet, SHARD, Command::Finish(of_the_success.clone())).await;
    let second = alice.begin(2);
    let held_back = alice.finish(&second);
    leader.commit(&fleet, SHARD, Command::Begin(second.clone())).await;
    let open = alice.begin(3);
    leader.commit(&fleet, SHARD, Command::Begin(open.clone())).await;
    for account in seen(&fleet) {
        assert_eq!(account.tries_left(), BUDGET - 2);
    }

    let genuine = alice.finish(&open);
    let mallory = Client::new(&fleet, ALICE, 2); // the attacker's keys under alice's account
    let someone = Client::new(&fleet, MALLORY, 2);
    let of_another_account = someone.finish(&Begin { account: MALLORY, ..open.clone() });
    let changed = |at: usize| {
        let mut ke3 = genuine.ke3.clone();
        ke3[at] ^= 1;
        Finish { ke3, ..genuine.clone() }
    };
    let in_place = |f: &Finish| Finish { account: ALICE, attempt: open.attempt, ..f.clone() };
    let forged: [(&str, Finish); 14] = [
        ("random", Finish { ke3: random::<128>().to_vec(), ..genuine.clone() }),
        ("all zero", Finish { ke3: vec![0; 128], ..genuine.clone() }),
        ("empty", Finish { ke3: Vec::new(), ..genuine.clone() }),
        ("a changed R", changed(0)),
        ("a changed s", changed(63)),
        ("without its MAC", Finish { ke3: genuine.ke3[..64].to_vec(), ..genuine.clone() }),
        ("an old success, as it was", of_the_success.clone()),
        ("an old success under this attempt", in_place(&of_the_success)),
        ("a genuine one of a superseded attempt, as it was", held_back.clone()),
        ("a genuine one of a superseded attempt, under this one", in_place(&held_back)),
        ("the old generation's", in_place(&of_the_old_generation)),
        ("by the attacker's own client key", mallory.finish(&open)),
        ("another account's", in_place(&of_another_account)),
        ("another KE1", Finish { ke1: held_back.ke1.clone(), ..genuine.clone() }),
    ];
    for (what, finish) in forged {
        refused(&fleet, &mut leader, what, Command::Finish(finish)).await;
    }
    for (what, lie) in [
        ("another B", Begin { blinded: blinded(), ..open.clone() }),
        ("another ordinal", Begin { ordinal: Ordinal(4), ..open.clone() }),
        ("another generation", Begin { generation: Generation(1), ..open.clone() }),
        ("another account", Begin { account: MALLORY, ..open.clone() }),
    ] {
        let finish = in_place(&alice.finish(&lie)); // the client was made to sign this
        refused(&fleet, &mut leader, what, Command::Finish(finish)).await;
    }
    // The control: only the genuine Finish refills the budget.
    leader.commit(&fleet, SHARD, Command::Finish(genuine)).await;
    for account in seen(&fleet) {
        assert_eq!((account.tries_left(), account.success_ordinal()), (BUDGET, Ordinal(3)));
    }
}

/// S43: the replicas themselves check order and ids of attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_a_begin_out_of_order_or_under_a_used_name_is_not_begun() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    let ended = alice.begin(1);
    let open = alice.begin(2);
    leader.commit(&fleet, SHARD, Command::Begin(ended.clone())).await;
    leader.commit(&fleet, SHARD, Command::Begin(open.clone())).await;
    for (what, begin) in [
        ("a repeated ordinal", alice.begin(2)),
        ("a lower ordinal", alice.begin(1)),
        ("ordinal zero", alice.begin(0)),
        ("an ordinal left out", alice.begin(4)),
        ("the largest ordinal", alice.begin(u64::MAX)),
        ("a lower generation", Begin { generation: Generation(0), ..alice.begin(3) }),
        ("a higher generation", Begin { generation: Generation(2), ..alice.begin(3) }),
        ("the same id with another B", Begin { blinded: blinded(), ..open.clone() }),
        ("the same id with another cancel", Begin { cancel: Hash([1; 32]), ..open.clone() }),
        ("an ended attempt's id", Begin { ordinal: Ordinal(3), ..ended.clone() }),
        ("the identity for B", Begin { blinded: bkv_core::id::Element([0; 32]), ..alice.begin(3) }),
    ] {
        refused(&fleet, &mut leader, what, Command::Begin(begin)).await;
    }
    leader.commit(&fleet, SHARD, Command::Begin(alice.begin(3))).await;
    assert_eq!(seen(&fleet)[0].ordinal, Ordinal(3));
}

/// S43, S16: operations that only the owner or the client can authorise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_overwriting_confirming_and_deleting_need_their_signatures() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    for _ in 1..=2 {
        let next = seen(&fleet)[0].ordinal.0 + 1;
        leader.commit(&fleet, SHARD, Command::Begin(alice.begin(next))).await;
    }
    let (later, mallory) = (now().plus(600_000), SigningKey::generate(&mut OsRng));
    let new = Client::new(&fleet, ALICE, 2);
    let register =
        |by: &SigningKey, of: &Client| of.owned(&Operation::Register(new.record.hash()), later, by);
    let anew = Client::new(&fleet, ALICE, 1);
    let ledger = |counter: u8| LedgerName { counter: u64::from(counter), hash: Hash([counter; 32]) };
    let v = Some(Secret32::new([7; 32]));
    for (what, command) in [
        ("an overwrite without a signature", new.store(None)),
        ("an overwrite signed by the attacker", new.store(Some(register(&mallory, &alice)))),
        ("an overwrite signed by the new record's own owner", new.store(Some(register(&new.owner, &alice)))),
        (
            "an overwrite that the owner signed for another generation",
            new.store(Some(register(&alice.owner, &new))),
        ),
        (
            "an overwrite with another operation's signature",
            new.store(Some(alice.owned(&Operation::Delete, later, &alice.owner))),
        ),
        ("the same generation once more", anew.store(Some(register(&alice.owner, &alice)))),
        ("a confirmation of what is not stored", new.confirm(&fleet, &[1, 2], &new.owner)),
        ("a deletion signed by the attacker", alice.delete(alice.owned(&Operation::Delete, later, &mallory))),
        (
            "a deletion that the owner signed for another generation",
            alice.delete(new.owned(&Operation::Delete, later, &alice.owner)),
        ),
        (
            "a deletion whose signature has expired",
            alice.delete(alice.owned(&Operation::Delete, bkv_core::id::Time(1), &alice.owner)),
        ),
        ("a ledger signed by the attacker", alice.set_ledger(None, ledger(9), None, &mallory)),
        ("a new V signed by the attacker", alice.set_ledger(None, ledger(9), v.clone(), &mallory)),
        (
            "an expected ledger that is not named",
            alice.set_ledger(Some(ledger(8).hash), ledger(9), v, &alice.owner),
        ),
    ] {
        refused(&fleet, &mut leader, what, command).await;
    }
    // A record that the owner signed is stored. It becomes live only by its own confirmation and two regions' acknowledgements.
    leader.commit(&fleet, SHARD, new.store(Some(register(&alice.owner, &alice)))).await;
    for (what, command) in [
        ("a confirmation signed by the attacker", new.confirm(&fleet, &[1, 2], &mallory)),
        ("a confirmation signed by the old owner", new.confirm(&fleet, &[1, 2], &alice.owner)),
        ("one region's word", new.confirm(&fleet, &[1], &new.owner)),
        ("one region's word twice", new.confirm(&fleet, &[1, 1], &new.owner)),
    ] {
        refused(&fleet, &mut leader, what, command).await;
    }
    assert_eq!(seen(&fleet)[0].tries_left(), BUDGET - 2);
    leader.commit(&fleet, SHARD, new.confirm(&fleet, &[1, 2], &new.owner)).await;
    assert_eq!(seen(&fleet)[0].generation, Generation(2));
    let deletion = new.delete(new.owned(&Operation::Delete, later, &new.owner));
    leader.commit(&fleet, SHARD, deletion).await;
    assert!(seen(&fleet).iter().all(|a| a.live.is_none()));
}

/// S43, S40, S26: refused on arrival, before the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_entries_from_the_future_strangers_and_borrowed_names_do_not_reach_the_log() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    let before = seen(&fleet);
    let ends = HONEST.map(|i| fleet.replica(i, SHARD).state().log().last());
    let begin = || vec![Command::Begin(alice.begin(1))];
    for to in HONEST {
        let other = fleet.node(HONEST[usize::from(to == HONEST[0])]).node();
        for (payload, why) in [
            (Leader::batch(now().plus(40_000), begin()), "30 s in the future"),
            (Leader::batch(bkv_core::id::Time(u64::MAX), begin()), "30 s in the future"),
            (Leader::membership(&[leader.node.0, 4711]), "other nodes than the admission list"),
        ] {
            let entry = leader.entry(to, SHARD, payload);
            let answer = leader.append(&fleet, to, SHARD, &entry).await.unwrap_err();
            assert!(answer.contains(why), "{answer}");
        }
        // An append, a vote request and a snapshot in the other honest vault's name, at a later term.
        let borrowed = Vote::new_committed(leader.vote(SHARD).leader_id.term + 1, other.0);
        let end = leader.end(to, SHARD).0;
        let append = p::AppendEntries {
            vote: Some(vote_out(&borrowed)),
            previous: Some(log_id_out(&end)),
            ..Default::default()
        };
        let answer = leader.send(&fleet, to, SHARD, Call::Append(append)).await.unwrap_err();
        assert!(answer.contains("in another node's name"), "{answer}");
        let request = p::VoteRequest {
            vote: Some(vote_out(&Vote::new(borrowed.leader_id.term, other.0))),
            last: Some(log_id_out(&end)),
            preliminary: false,
        };
        let answer = leader.send(&fleet, to, SHARD, Call::Vote(request)).await.unwrap_err();
        assert!(answer.contains("in another node's name"), "{answer}");
        let snapshot = leader.snapshot(&fleet, to, SHARD).await;
        let answer = leader.send_snapshot(&fleet, to, SHARD, borrowed, &snapshot).await.unwrap_err();
        assert!(answer.contains("in another node's name"), "{answer}");
    }
    assert_eq!(HONEST.map(|i| fleet.replica(i, SHARD).state().log().last()), ends);
    assert_eq!(seen(&fleet), before);
    // The control: a follower accepts the same entry at the right time in the leader's own name.
    let batch = Leader::batch(now(), begin());
    for to in HONEST {
        let entry = leader.entry(to, SHARD, batch.clone());
        assert_eq!(leader.append(&fleet, to, SHARD, &entry).await, Ok(R::Success(true)));
    }
    let request =
        p::VoteRequest { vote: Some(vote_out(&Vote::new(99, leader.node.0))), ..Default::default() };
    assert!(matches!(leader.send(&fleet, HONEST[0], SHARD, Call::Vote(request)).await, Ok(Answer::Vote(_))));
}

/// S49: an attacker who asks whether it would be elected moves no term and no vote. Otherwise it could end an honest leader's term by questions alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_question_about_a_vote_changes_nothing() {
    let (fleet, leader) = Fleet::taken_over(1).await;
    let to = HONEST[0];
    let vote = || fleet.replica(to, SHARD).raft().unwrap().metrics().borrow().vote;
    let before = vote();
    let end = leader.end(to, SHARD).0;
    let ask = |term, last| {
        let vote = Some(vote_out(&Vote::new(term, leader.node.0)));
        leader.send(&fleet, to, SHARD, Call::Vote(p::VoteRequest { vote, last, preliminary: true }))
    };
    let granted = |answer: Result<Answer, String>| match answer {
        Ok(Answer::Vote(a)) => a.granted,
        other => panic!("{other:?}"),
    };
    let term = leader.vote(SHARD).leader_id.term;
    // The vault that has led is silent. At first the lease still protects its term.
    let until = soon(30);
    while !granted(ask(term + 1, Some(log_id_out(&end))).await) {
        assert!(tokio::time::Instant::now() < until, "the lease never ended");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(!granted(ask(term + 1, None).await), "the log is older");
    assert_eq!(vote(), before);
}

/// S50, S49: what no client can cause is refused on arrival, whoever leads. Otherwise a rooted leader fills the disks of the others, and leaves entries in their
/// logs that they can't send to each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s50_an_entry_of_a_rooted_leader_is_bounded() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    let before = seen(&fleet);
    let ends = HONEST.map(|i| fleet.replica(i, SHARD).state().log().last());
    let begun = alice.begin(1);
    let Command::Confirm(confirm) = alice.confirm(&fleet, &[1, 2], &alice.owner) else { unreachable!() };
    let finish = |ke1| Command::Finish(Finish { ke1, ..alice.finish(&begun) });
    let certificate = |len| {
        let mut confirm = confirm.clone();
        confirm.acknowledgements[0].certificate = vec![7; len];
        Command::Confirm(confirm)
    };
    let many = |acknowledgements| {
        let one = confirm.acknowledgements[0].clone();
        Command::Confirm(Confirm { acknowledgements: vec![one; acknowledgements], ..confirm.clone() })
    };
    for to in HONEST {
        for (commands, why) in [
            (vec![certificate(513)], "certificate has 513 bytes, at most 512"),
            (vec![many(16)], "acknowledgements has 16 elements, at most 15"),
            (vec![finish(vec![7; 97])], "ke1 has 97 bytes, at most 96"),
            (vec![Command::Begin(begun.clone()); 257], "257 commands, at most 256"),
            (vec![certificate(2 << 20)], "at most 1052672 are allowed"),
        ] {
            let entry = leader.entry(to, SHARD, Leader::batch(now(), commands));
            let answer = leader.append(&fleet, to, SHARD, &entry).await.unwrap_err();
            assert!(answer.contains(why), "{answer}");
        }
    }
    assert_eq!(HONEST.map(|i| fleet.replica(i, SHARD).state().log().last()), ends);
    assert_eq!(seen(&fleet), before);
    // The control: the largest that is allowed is taken, and refused by the state machine.
    leader.commit(&fleet, SHARD, many(15)).await;
    leader.commit(&fleet, SHARD, certificate(512)).await;
    assert_eq!(seen(&fleet), before);
}

/// S52: a rooted leader sends an entry of the next version, and a raise that no other region has signed. The honest vaults stay at the present version, and none says that it is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s52_a_rooted_leader_puts_no_other_version_in_force() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    let newer = || {
        let commands = vec![Command::Begin(alice.begin(1))];
        let batch = Batch { version: VERSION + 1, time: now(), commands };
        EntryPayload::Normal(Payload(minicbor::to_vec(batch).unwrap().into()))
    };
    for _ in 0..2 {
        let ends = HONEST.map(|i| fleet.replica(i, SHARD).state().log().last());
        for to in HONEST {
            let entry = leader.entry(to, SHARD, newer());
            let answer = leader.append(&fleet, to, SHARD, &entry).await.unwrap_err();
            let (found, in_force) = (VERSION + 1, VERSION);
            let why = format!("version {found} of the state, where version {in_force} is in force");
            assert!(answer.contains(&why), "{answer}");
        }
        assert_eq!(HONEST.map(|i| fleet.replica(i, SHARD).state().log().last()), ends);
        let raise = Raise { version: VERSION + 1, signatures: Vec::new() };
        refused(&fleet, &mut leader, "a raise without signatures", Command::Raise(raise)).await;
    }
    assert_eq!(HONEST.map(|i| fleet.replica(i, SHARD).state().version()), [Some(VERSION); 2]);
}

/// S52: a rooted leader sends a raise that nobody has signed, keeps its commit from one honest vault, and falls silent. That vault can't know whether the raise holds, and takes nothing
/// behind it. A new leader, whose first append lies far behind the raise, finds out where the two logs agree, and brings the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s52_a_raise_without_its_commit_keeps_no_region_from_a_new_leader() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    let [ahead, behind] = HONEST;
    let raise = Command::Raise(Raise { version: VERSION + 1, signatures: Vec::new() });
    let entry = leader.entry(behind, SHARD, Leader::batch(now(), vec![raise]));
    let (previous, chain) = leader.end(behind, SHARD);
    let uncommitted = p::AppendEntries {
        vote: Some(vote_out(&leader.vote(SHARD))),
        previous: Some(log_id_out(&previous)),
        previous_chain: chain.0.to_vec().into(),
        entries: vec![entry_out(&entry)],
        committed: Some(log_id_out(&previous)),
        ..Default::default()
    };
    let answer = leader.send(&fleet, behind, SHARD, Call::Append(uncommitted)).await.unwrap();
    assert!(matches!(answer, Answer::Append(a) if a.result == Some(R::Success(true))));
    assert_eq!(leader.append(&fleet, ahead, SHARD, &entry).await, Ok(R::Success(true)));
    // openraft begins in the middle of a log whose end at the other vault it does not know.
    for n in 0..4 * u8::try_from(entry.log_id.index).unwrap() {
        let expire = Command::Expire(Expire { account: account(n, SHARD) });
        leader.commit_at(&fleet, ahead, SHARD, vec![expire]).await;
    }
    serves(&fleet, &alice).await;
    assert_eq!(HONEST.map(|i| fleet.replica(i, SHARD).state().version()), [Some(VERSION); 2]);
}

/// S08: the floor of the live key's attempt outlives registrations that are stored beside it and dropped. The attempt can still be evaluated, and the
/// next wait is measured from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s08_a_dropped_registration_takes_no_floor_with_it() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = register(&fleet, &mut leader, ALICE).await;
    let open = alice.begin(1);
    leader.commit(&fleet, SHARD, Command::Begin(open.clone())).await;
    let floor = |i: usize| fleet.replica(i, SHARD).state().floor(&ALICE).unwrap();
    for _ in 0..2 {
        // The second one drops the first.
        let new = Client::new(&fleet, ALICE, 2);
        let owner = alice.owned(&Operation::Register(new.record.hash()), now().plus(60_000), &alice.owner);
        leader.commit(&fleet, SHARD, new.store(Some(owner))).await;
    }
    assert!(HONEST.iter().all(|i| floor(*i).is_some_and(|f| f.attempt == open.attempt)));
    // Deleting the key removes the floor.
    let owner = alice.owned(&Operation::Delete, now().plus(60_000), &alice.owner);
    leader.commit(&fleet, SHARD, alice.delete(owner)).await;
    assert!(HONEST.iter().all(|i| floor(*i).is_none()));
}
