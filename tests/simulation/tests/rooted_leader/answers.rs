//! A rooted follower's answers to an honest leader. openraft 0.9.25 panics on an answer that no honest follower gives, because it takes that answer for its own bug.

use bkv_core::command::{Command, Expire};
use bkv_core::join::Ballot;
use bkv_simulation::eventually;
use bkv_simulation::rooted::client::account;
use bkv_simulation::rooted::fleet::{Fleet, HONEST, ROOTED, soon};
use bkv_simulation::rooted::leader::{AppendLie, Leader};
use bkv_vault::raft::types::{Vote, log_id_out, vote_out};
use bkv_vault::replica::Phase;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;

use crate::extremes::{SHARD, registered, serves};

/// The appends that the attacker answers with each lie.
const ANSWERS: usize = 6;

/// Every second answer is a lie, so that it may contradict what was acknowledged before.
fn second(lie: impl Fn(&p::AppendEntries) -> R + Send + 'static) -> AppendLie {
    Box::new(move |append, n| if n % 2 == 0 { R::Success(true) } else { lie(append) })
}

fn partial(term: u64, index: u64) -> AppendLie {
    second(move |_| R::Partial(p::LogId { term, node: 1, index }))
}

/// S49: the process of the leader would end, and the next leader's too, as soon as it asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_no_answer_of_one_vault_ends_a_leader() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    serves(&fleet, &alice).await;
    let leads = || HONEST.into_iter().find(|i| fleet.replica(*i, SHARD).status().borrow().lead);
    let honest = eventually("an honest leader", leads).await;
    let own = |append: &p::AppendEntries| R::HigherVote(append.vote.unwrap());
    let lies: [AppendLie; 9] = [
        Box::new(|_, _| R::Conflict(true)),
        second(|_| R::Conflict(true)),
        partial(0, 0),
        partial(0, 1),
        partial(1, u64::MAX),
        partial(u64::MAX, 3),
        second(|append| R::Partial(append.committed.unwrap_or_default())),
        second(|_| R::HigherVote(p::Vote { term: 0, node: 0, committed: false })),
        second(own),
    ];
    for lie in lies {
        leader.answers(lie);
        for n in 0..2 {
            let expire = Command::Expire(Expire { account: account(n, SHARD) });
            fleet.replica(honest, SHARD).propose(expire, soon(10)).await.unwrap();
        }
        let answered = || (leader.answered() >= ANSWERS).then_some(());
        eventually("the attacker has answered", answered).await;
    }
    for i in HONEST {
        assert_eq!(fleet.phase(i, SHARD), Phase::Verified);
    }
    assert_eq!(leads(), Some(honest));
    let named = fleet.node(honest).contradictions();
    assert_eq!(named.iter().map(|c| c.from).collect::<Vec<_>>(), [leader.node]);
}

pub(crate) fn term(fleet: &Fleet) -> u64 {
    HONEST.map(|i| fleet.replica(i, SHARD).status().borrow().term).into_iter().max().unwrap()
}

pub(crate) fn leads(fleet: &Fleet) -> Option<usize> {
    HONEST.into_iter().find(|i| fleet.replica(*i, SHARD).status().borrow().lead)
}

/// Proposes until a command is applied. A leader that is deposed meanwhile refuses it.
pub(crate) async fn applies(fleet: &Fleet, n: u8) {
    let until = soon(30);
    loop {
        let honest = eventually("an honest leader", || leads(fleet)).await;
        let expire = Command::Expire(Expire { account: account(n, SHARD) });
        match fleet.replica(honest, SHARD).propose(expire, soon(5)).await {
            Ok(_) => return,
            Err(e) => assert!(tokio::time::Instant::now() < until, "{e}"),
        }
    }
}

async fn with_an_honest_leader() -> (Fleet, Leader) {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    serves(&fleet, &alice).await;
    (fleet, leader)
}

/// S49: openraft obeys every later vote in an answer, without a lease. A follower that answers each append and each request for votes with one ended every leader and every
/// candidate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_later_votes_of_one_follower_end_few_terms() {
    let (fleet, leader) = with_an_honest_leader().await;
    let before = term(&fleet);
    leader.answers_with_later_votes(false, false);
    for n in 0..10 {
        applies(&fleet, n).await;
    }
    let answered = || (leader.answered() >= 100).then_some(());
    eventually("the attacker has answered", answered).await;
    applies(&fleet, 10).await;
    // Each honest vault obeys one, and each of the two then needs a term of its own.
    let after = term(&fleet);
    assert!(after <= before + 6, "{} terms", after - before);
    let named = |i: usize| fleet.node(i).contradictions().iter().any(|c| c.from == leader.node);
    assert!(HONEST.into_iter().any(named));
}

/// S49: a vault whose log is complete asks for votes again and again, without asking first whether it would get them. openraft has no lease for the leader itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_requests_for_votes_end_no_leader_whom_a_majority_hears() {
    let (fleet, leader) = with_an_honest_leader().await;
    let honest = eventually("an honest leader", || leads(&fleet)).await;
    let before = term(&fleet);
    // Longer than openraft's lease, which begins with the election.
    let until = soon(8);
    let mut n = 0;
    while tokio::time::Instant::now() < until {
        n = (n + 1) % 100;
        applies(&fleet, n).await;
        let last = fleet.replica(honest, SHARD).state().log().last().map(|(id, _)| log_id_out(&id));
        for to in HONEST {
            let vote = Some(vote_out(&Vote::new(term(&fleet) + 1, leader.node.0)));
            let request = p::VoteRequest { vote, last, preliminary: false };
            let _ = leader.send(&fleet, to, SHARD, Call::Vote(request)).await;
        }
    }
    assert_eq!((leads(&fleet), term(&fleet)), (Some(honest), before));
}

/// S49: openraft takes a vault for the leader of a later term, or for a candidate for ever, if a peer answers with a later vote for that vault itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_vote_for_the_asker_reaches_no_leader() {
    let (fleet, leader) = with_an_honest_leader().await;
    let before = (leads(&fleet), term(&fleet));
    for committed in [false, true] {
        leader.answers_with_later_votes(committed, true);
        for n in 0..5 {
            applies(&fleet, n).await;
        }
        let answered = || (leader.answered() >= 20).then_some(());
        eventually("the attacker has answered", answered).await;
        applies(&fleet, 9).await;
        assert_eq!((leads(&fleet), term(&fleet)), before, "{committed}");
    }
    // The same in answers to a candidate.
    let honest = before.0.unwrap();
    let other = HONEST.into_iter().find(|i| *i != honest).unwrap();
    fleet.replica(honest, SHARD).stand_for_election(false);
    // Again and again: elections take seconds here, and the leader resumes sooner.
    let other_leads = || {
        if leads(&fleet) == Some(other) {
            return Some(());
        }
        fleet.replica(honest, SHARD).step_down();
        None
    };
    eventually("the other leads", other_leads).await;
    applies(&fleet, 10).await;
    assert!(term(&fleet) <= before.1 + 4, "{} terms", term(&fleet) - before.1);
}

/// An append without entries that fits this vault's log.
fn heartbeat(fleet: &Fleet, to: usize, vote: Vote) -> p::AppendEntries {
    let (end, chain) = fleet.replica(to, SHARD).state().log().last().unwrap();
    p::AppendEntries {
        vote: Some(vote_out(&vote)),
        previous: Some(log_id_out(&end)),
        previous_chain: chain.0.to_vec().into(),
        committed: Some(log_id_out(&end)),
        ..Default::default()
    }
}

/// S49: an append under a later vote that no majority gave. Each of them ended a leader: openraft takes an append for a leader's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_claimed_term_ends_no_leader() {
    let (fleet, leader) = with_an_honest_leader().await;
    let before = (leads(&fleet), term(&fleet));
    for n in 1..=10 {
        let claimed = Ballot { term: before.1 + u64::from(n), node: leader.node };
        let vote = Vote::new_committed(claimed.term, leader.node.0);
        let by = |i: usize, shard, vote| vec![Leader::voted(&fleet, i, shard, vote)];
        let earlier = Ballot { term: before.1, ..claimed };
        let other = Ballot { node: fleet.node(HONEST[0]).node(), ..claimed };
        let lies = [
            Vec::new(),
            by(ROOTED, SHARD, claimed),
            by(HONEST[0], SHARD, earlier),
            by(HONEST[0], SHARD, other),
            by(HONEST[0], SHARD + 1, claimed),
        ];
        for (votes, to) in lies.into_iter().flat_map(|votes| HONEST.map(|to| (votes.clone(), to))) {
            let none = votes.is_empty();
            let append = p::AppendEntries { votes, ..heartbeat(&fleet, to, vote) };
            let call = p::RaftCall { id: 0, shard: u32::from(SHARD), call: Some(Call::Append(append)) };
            match leader.raft(&fleet, to, call).await {
                Ok(Answer::Append(a)) => assert_eq!((a.result, none), (Some(R::Unelected(true)), true)),
                Err(why) => assert!(why.contains("was not elected"), "{why}"),
                Ok(other) => panic!("{other:?}"),
            }
            let chunk = p::SnapshotChunk { vote: Some(vote_out(&vote)), last: true, ..Default::default() };
            let refused = leader.send_chunk(&fleet, to, chunk).await.unwrap_err();
            assert!(refused.contains("has not seen the votes"), "{refused}");
        }
        applies(&fleet, n).await;
    }
    assert_eq!((leads(&fleet), term(&fleet)), before);
    for i in HONEST {
        assert!(fleet.node(i).contradictions().iter().any(|c| c.from == leader.node));
    }
}

/// A follower that starts again has forgotten who elected its leader, and asks for the votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_vault_that_starts_asks_for_the_votes_again() {
    let (mut fleet, mut attacker) = Fleet::taken_over(1).await;
    registered(&fleet, &mut attacker).await;
    let to = HONEST[0];
    let call = |fleet: &Fleet| {
        let append = heartbeat(fleet, to, attacker.vote(SHARD));
        p::RaftCall { id: 0, shard: u32::from(SHARD), call: Some(Call::Append(append)) }
    };
    let result = |answer| match answer {
        Ok(Answer::Append(p::AppendAnswer { result, .. })) => result.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(result(attacker.raft(&fleet, to, call(&fleet)).await), R::Success(true));
    attacker.tells(p::Told { verified: true, ..Default::default() });
    fleet.restart(to).await;
    let starts = || fleet.replica(to, SHARD).raft().map(|_| ());
    eventually("the vault has joined", starts).await;
    assert_eq!(result(attacker.raft(&fleet, to, call(&fleet)).await), R::Unelected(true));
    let shown = Call::Append(heartbeat(&fleet, to, attacker.vote(SHARD)));
    assert_eq!(result(attacker.send(&fleet, to, SHARD, shown).await), R::Success(true));
    assert_eq!(result(attacker.raft(&fleet, to, call(&fleet)).await), R::Success(true));
}

/// S49: the attacker grants its vote without a signature that holds. The candidate would lead, and no other vault could follow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_vote_without_its_signature_elects_nobody() {
    let (mut fleet, leader) = with_an_honest_leader().await;
    let honest = leads(&fleet).unwrap();
    let other = HONEST.into_iter().find(|i| *i != honest).unwrap();
    let before = term(&fleet);
    leader.grants_votes(p::Voted {
        signature: vec![7; 64].into(),
        ..Leader::voted(&fleet, ROOTED, SHARD, Ballot::default())
    });
    fleet.stop(honest).await;
    let asked = || (leader.granted() >= 3).then_some(());
    eventually("the other asks for votes", asked).await;
    assert!(!fleet.replica(other, SHARD).raft_leads());
    let named = fleet.node(other).contradictions();
    assert!(named.iter().any(|c| c.from == leader.node && c.why.contains("signature")), "{named:?}");
    assert!(fleet.replica(other, SHARD).status().borrow().term > before);
}

/// S49: the attacker has an honest follower's vote for a far later term again and again, leads it there, and is silent. The leader has no majority without that follower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_later_terms_of_a_silent_vault_cost_seconds() {
    let (fleet, leader) = with_an_honest_leader().await;
    // Two of three are at the same leader.
    for n in 0..3 {
        let honest = eventually("an honest leader", || leads(&fleet)).await;
        let to = HONEST.into_iter().find(|i| *i != honest).unwrap();
        let before = term(&fleet);
        let vote = Vote::new_committed(before + 1_000_000, leader.node.0);
        leader.send(&fleet, to, SHARD, Call::Append(heartbeat(&fleet, to, vote))).await.unwrap();
        let has_moved = || (term(&fleet) > before + 1_000_000).then_some(());
        eventually("an election in a later term", has_moved).await;
        applies(&fleet, n).await;
    }
}
