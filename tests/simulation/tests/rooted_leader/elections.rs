//! A rooted vault asks for votes while no leader is heard. A vault that votes for it waits for it to lead, and an honest candidate in an earlier term loses that vote.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use bkv_simulation::eventually;
use bkv_simulation::rooted::fleet::{Fleet, HONEST, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::types::{Vote, log_id_out, vote_out};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;
use tokio::time::Instant;

use crate::answers::{applies, leads, term};
use crate::extremes::{SHARD, registered};

/// Time between two requests of the attacker.
const PACE: Duration = Duration::from_millis(20);
/// How many votes an honest vault grants to each other one in a minute.
const VOTES: usize = 3;

/// The attacker as a candidate that never leads.
struct Candidate<'a> {
    fleet: &'a Fleet,
    leader: &'a Leader,
    /// Which honest vault has granted it a vote, and in which term.
    granted: Mutex<BTreeSet<(usize, u64)>>,
}

impl Candidate<'_> {
    /// Asks an honest vault for its vote, with a log that is complete, and without the preliminary question.
    async fn asks(&self, to: usize, term: u64) -> bool {
        let ends = HONEST.map(|i| self.fleet.replica(i, SHARD).state().log().last().map(|(id, _)| id));
        let request = p::VoteRequest {
            vote: Some(vote_out(&Vote::new(term, self.leader.node.0))),
            last: ends.into_iter().max().flatten().as_ref().map(log_id_out),
            preliminary: false,
        };
        let answer = self.leader.send(self.fleet, to, SHARD, Call::Vote(request)).await;
        let Answer::Vote(answer) = answer.unwrap() else { panic!("no answer to a request for a vote") };
        if answer.granted {
            self.granted.lock().unwrap().insert((to, term));
        }
        answer.granted
    }

    /// Asks in a later term than those of the honest vaults.
    async fn asks_later(&self, to: usize) {
        self.asks(to, term(self.fleet) + 1).await;
    }
}

/// The honest vaults elect a leader while the attack goes on, and it serves. Returns how many votes the attacker got.
async fn elect_despite(attack: impl AsyncFn(&Candidate<'_>)) -> usize {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    registered(&fleet, &mut leader).await;
    for i in HONEST {
        fleet.replica(i, SHARD).stand_for_election(true);
    }
    let candidate = Candidate { fleet: &fleet, leader: &leader, granted: Mutex::default() };
    let start = Instant::now();
    let serves = async {
        eventually("an honest leader", || leads(&fleet)).await;
        applies(&fleet, 1).await;
    };
    tokio::select! {
        () = serves => {}
        () = attack(&candidate) => panic!("the attack ends"),
    }
    let minutes = usize::try_from(start.elapsed().as_secs() / 60 + 1).unwrap();
    let granted = candidate.granted.into_inner().unwrap();
    for honest in HONEST {
        let votes = granted.iter().filter(|(to, _)| *to == honest).count();
        assert!(votes <= minutes * VOTES, "vault {honest}: {votes} votes in {minutes} minutes");
    }
    granted.len()
}

/// S49: each vote that the attacker gets in a later term takes it away from an honest candidate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_requests_for_ever_later_votes_delay_an_election_by_few_rounds() {
    let granted = elect_despite(async |candidate| {
        loop {
            for to in HONEST {
                candidate.asks_later(to).await;
            }
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
    assert!(granted > 0, "no honest vault has voted for the attacker");
}

/// S49: a vault that votes waits for the outcome. The attacker asks again and again for the vote that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_vote_that_is_asked_for_again_delays_no_election() {
    let granted = elect_despite(async |candidate| {
        let mut terms = HONEST.map(|to| (to, 0));
        loop {
            for (to, asked) in &mut terms {
                if !candidate.asks(*to, *asked).await {
                    *asked = term(candidate.fleet) + 1;
                }
            }
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
    assert!(granted > 0, "no honest vault has voted for the attacker");
}

/// S49: the attacker asks at the worst moment, when an honest vault is about to ask for votes, so that it takes one of its votes for each election that it spoils.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_each_vote_of_a_rooted_candidate_spoils_one_election_at_most() {
    elect_despite(async |candidate| {
        loop {
            candidate.leader.is_asked().await;
            for to in HONEST {
                candidate.asks_later(to).await;
            }
        }
    })
    .await;
}

/// S49: a voter that has voted for the attacker in a far later term costs the candidate no election, because it names that vote when it is asked whether it would vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_candidate_stands_above_the_votes_that_the_others_name() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    registered(&fleet, &mut leader).await;
    let [stands, votes] = HONEST;
    let candidate = Candidate { fleet: &fleet, leader: &leader, granted: Mutex::default() };
    let (far, until) = (term(&fleet) + 1000, soon(60));
    while !candidate.asks(votes, far).await {
        assert!(Instant::now() < until, "no vote while no leader is heard");
        tokio::time::sleep(PACE).await;
    }
    fleet.replica(stands, SHARD).stand_for_election(true);
    let elected = eventually("an honest leader", || leads(&fleet)).await;
    assert_eq!((elected, term(&fleet)), (stands, far + 1));
    assert!(leader.requests() <= 1, "{} elections", leader.requests());
}
