//! Different histories for different followers. The attacker may send them, but a replica that has one refuses the other, and none evaluates on both.

use bkv_core::command::Command;
use bkv_core::id::{AccountId, Hash, Ordinal};
use bkv_simulation::eventually;
use bkv_simulation::rooted::client::{Client, account};
use bkv_simulation::rooted::fleet::{BUDGET, Fleet, HONEST, now, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::types::{entry_out, log_id_out, vote_out};
use bkv_vault::replica::{Contradiction, Phase};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;

const fn alice_in(shard: u16) -> AccountId {
    account(0xa1, shard)
}

async fn registered(fleet: &Fleet, leader: &mut Leader, shard: u16) -> Client {
    let alice = Client::new(fleet, alice_in(shard), 1);
    leader.commit(fleet, shard, alice.store(None)).await;
    leader.commit(fleet, shard, alice.confirm(fleet, &[1, 2], &alice.owner)).await;
    alice
}

/// What a vault reports of the first vault that has contradicted it in a shard.
fn named(fleet: &Fleet, i: usize, shard: u16) -> Option<Contradiction> {
    fleet.node(i).contradictions().into_iter().find(|c| c.shard == shard)
}

/// A vault has refused the attacker's other history, names the attacker and is still verified.
fn refuses(fleet: &Fleet, leader: &Leader, i: usize, shard: u16, answer: &str) {
    assert!(answer.contains("has another history at"), "{answer}");
    let named = named(fleet, i, shard).unwrap();
    assert_eq!((named.from, named.why.as_str()), (leader.node, answer));
    assert_eq!(fleet.phase(i, shard), Phase::Verified);
}

/// S43: the two honest vaults notice two histories as soon as they talk to each other. Neither takes the other's, and the one that was offered it names the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_two_histories_are_noticed_when_the_honest_meet() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader, 0).await;
    for to in HONEST {
        // Another attempt at the same place in the log.
        leader.commit_at(&fleet, to, 0, vec![Command::Begin(alice.begin(1))]).await;
    }
    let attempts = HONEST.map(|i| fleet.account(i, 0, &alice_in(0)).unwrap().pending.unwrap().attempt);
    assert_ne!(attempts[0], attempts[1]);
    // The attacker falls silent and the honest vaults elect a leader.
    for i in HONEST {
        fleet.replica(i, 0).stand_for_election(true);
    }
    let named =
        eventually("a vault that names the other", || HONEST.into_iter().find_map(|i| named(&fleet, i, 0)))
            .await;
    assert!(named.why.contains("has another history at"), "{}", named.why);
    assert!(HONEST.iter().any(|i| fleet.node(*i).node() == named.from));
    for (i, attempt) in HONEST.into_iter().zip(attempts) {
        let account = fleet.account(i, 0, &alice_in(0)).unwrap();
        assert_eq!((account.pending.as_ref().unwrap().attempt, account.tries_left()), (attempt, BUDGET - 1));
        assert_eq!(fleet.replica(i, 0).state().floor(&alice_in(0)).unwrap().unwrap().attempt, attempt);
    }
}

/// S23: a leader that hung and comes back offers an entry that no follower took, at a place where another entry is applied. The followers refuse it and none halts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s23_a_deposed_leader_halts_no_replica() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let to = HONEST[0];
    let alice = registered(&fleet, &mut leader, 0).await;
    let (past, end) = (leader.vote(0), leader.end(to, 0));
    let never_taken = leader.entry(to, 0, Leader::batch(now(), vec![Command::Begin(alice.begin(1))]));
    leader.next_term(0);
    leader.commit_at(&fleet, to, 0, vec![Command::Begin(alice.begin(1))]).await;
    let before = fleet.account(to, 0, &alice_in(0));
    let call = p::AppendEntries {
        vote: Some(vote_out(&past)),
        previous: Some(log_id_out(&end.0)),
        previous_chain: end.1.0.to_vec().into(),
        entries: vec![entry_out(&never_taken)],
        committed: Some(log_id_out(&end.0)),
        ..Default::default()
    };
    let answer = leader.send(&fleet, to, 0, Call::Append(call)).await;
    let higher = matches!(&answer, Ok(Answer::Append(a)) if matches!(a.result, Some(R::HigherVote(_))));
    assert!(higher, "{answer:?}");
    assert!(!matches!(fleet.phase(to, 0), Phase::Halted(_)), "{:?}", fleet.phase(to, 0));
    assert_eq!(fleet.account(to, 0, &alice_in(0)), before);
}

/// S43: a replica never gives up an entry that it applied and evaluated on, whatever term the leader claims.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s43_history_is_not_rewritten_under_a_replica() {
    let (fleet, mut leader) = Fleet::taken_over(4).await;
    let to = HONEST[0];

    // The same place again with another content.
    let alice = registered(&fleet, &mut leader, 0).await;
    let end = leader.end(to, 0);
    let batch = || Leader::batch(now(), vec![Command::Begin(alice.begin(1))]);
    let (first, second) = (leader.entry(to, 0, batch()), leader.entry(to, 0, batch()));
    assert_eq!(leader.append(&fleet, to, 0, &first).await, Ok(R::Success(true)));
    fleet.replica(to, 0).wait_durable(first.log_id.index, soon(10)).await.unwrap();
    // The same entry twice is no contradiction.
    assert_eq!(leader.append_behind(&fleet, to, 0, end, &first).await, Ok(R::Success(true)));
    let before = fleet.account(to, 0, &alice_in(0));
    let answer = leader.append_behind(&fleet, to, 0, end, &second).await.unwrap_err();
    refuses(&fleet, &leader, to, 0, &answer);
    assert_eq!(fleet.account(to, 0, &alice_in(0)), before);

    // An append without the chain hash of the entry before it.
    let alice = registered(&fleet, &mut leader, 1).await;
    let entry = leader.entry(to, 1, Leader::batch(now(), vec![Command::Begin(alice.begin(1))]));
    for previous_chain in [Vec::new(), vec![0; 31]] {
        let call = p::AppendEntries {
            vote: Some(vote_out(&leader.vote(1))),
            previous: Some(log_id_out(&leader.end(to, 1).0)),
            previous_chain: previous_chain.into(),
            entries: vec![entry_out(&entry)],
            committed: Some(log_id_out(&entry.log_id)),
            ..Default::default()
        };
        let answer = leader.send(&fleet, to, 1, Call::Append(call)).await.unwrap_err();
        assert!(answer.contains("chain hash"), "{answer}");
    }
    assert_eq!(fleet.account(to, 1, &alice_in(1)).unwrap().ordinal, Ordinal(0));
    let wrong = (leader.end(to, 1).0, Hash([7; 32]));
    let answer = leader.append_behind(&fleet, to, 1, wrong, &entry).await.unwrap_err();
    refuses(&fleet, &leader, to, 1, &answer);

    // A later term would take back the attempt that this region may have evaluated.
    let alice = registered(&fleet, &mut leader, 2).await;
    let end = leader.end(to, 2);
    leader.commit_at(&fleet, to, 2, vec![Command::Begin(alice.begin(1))]).await;
    let before = fleet.account(to, 2, &alice_in(2));
    leader.next_term(2);
    let mut other = leader.entry(to, 2, batch());
    other.log_id.index = end.0.index + 1;
    let answer = leader.append_behind(&fleet, to, 2, end, &other).await.unwrap_err();
    refuses(&fleet, &leader, to, 2, &answer);
    assert_eq!(fleet.account(to, 2, &alice_in(2)), before);

    // An entry that this replica has but has not applied gives way, as Raft requires.
    let alice = registered(&fleet, &mut leader, 3).await;
    let end = leader.end(to, 3);
    let entry = leader.entry(to, 3, Leader::batch(now(), vec![Command::Begin(alice.begin(1))]));
    let call = p::AppendEntries {
        vote: Some(vote_out(&leader.vote(3))),
        previous: Some(log_id_out(&end.0)),
        previous_chain: end.1.0.to_vec().into(),
        entries: vec![entry_out(&entry)],
        committed: Some(log_id_out(&end.0)),
        ..Default::default()
    };
    leader.send(&fleet, to, 3, Call::Append(call)).await.unwrap();
    leader.next_term(3);
    leader.commit_at(&fleet, to, 3, vec![Command::Begin(alice.begin(1))]).await;
    assert_eq!(fleet.account(to, 3, &alice_in(3)).unwrap().ordinal, Ordinal(1));
    assert_eq!(fleet.phase(to, 3), Phase::Verified);
}
