//! Numbers at their limits. One such message must not end a shard: the attacker sends it to both honest vaults and goes, and they must elect a leader and serve.

use bkv_core::command::Command;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::{CommittedLeaderId, LogId};
use prost::Message as _;

use bkv_simulation::eventually;
use bkv_simulation::rooted::client::{Client, account};
use bkv_simulation::rooted::fleet::{Fleet, HONEST, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::types::{Vote, log_id_out, vote_out};
use bkv_vault::replica::Phase;

const SHARD: u16 = 0;

async fn registered(fleet: &Fleet, leader: &mut Leader) -> Client {
    let alice = Client::new(fleet, account(0xa1, SHARD), 1);
    leader.commit(fleet, SHARD, alice.store(None)).await;
    leader.commit(fleet, SHARD, alice.confirm(fleet, &[1, 2], &alice.owner)).await;
    alice
}

/// The attacker is gone. The honest vaults elect a leader, and a command is applied at both.
async fn serves(fleet: &Fleet, alice: &Client) {
    for i in HONEST {
        assert_eq!(fleet.phase(i, SHARD), Phase::Verified, "vault {i}");
        fleet.replica(i, SHARD).raft().unwrap().runtime_config().elect(true);
    }
    let leads = || HONEST.into_iter().find(|i| fleet.replica(*i, SHARD).status().borrow().lead);
    let leader = eventually("an honest leader", leads).await;
    let done = fleet.replica(leader, SHARD).propose(Command::Begin(alice.begin(1)), soon(10)).await.unwrap();
    for i in HONEST {
        fleet.replica(i, SHARD).wait_applied(done.index, soon(10)).await.unwrap();
        assert_eq!(fleet.account(i, SHARD, &alice.account).unwrap().ordinal.0, 1);
    }
}

/// An append without entries, under this vote.
fn append(vote: Vote, previous: LogId<u64>, chain: [u8; 32]) -> Call {
    Call::Append(p::AppendEntries {
        vote: Some(vote_out(&vote)),
        previous: Some(log_id_out(&previous)),
        previous_chain: chain.to_vec().into(),
        entries: Vec::new(),
        committed: Some(log_id_out(&previous)),
    })
}

/// S49: nobody could lead after the last term. A vote is kept on disk, so a restart would not help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_the_last_term_ends_no_shard() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    for to in HONEST {
        let (end, chain) = leader.end(to, SHARD);
        for term in [u64::MAX, u64::MAX - 1, 1 << 60] {
            let vote = Vote::new_committed(term, leader.node.0);
            let said = leader.send(&fleet, to, SHARD, append(vote, end, chain.0)).await;
            assert!(said.is_err_and(|e| e.contains("term")));
            let request = p::VoteRequest {
                vote: Some(vote_out(&Vote::new(term, leader.node.0))),
                last: Some(log_id_out(&end)),
            };
            assert!(
                leader.send(&fleet, to, SHARD, Call::Vote(request)).await.is_err_and(|e| e.contains("term"))
            );
            let snapshot = leader.snapshot(&fleet, to, SHARD).await;
            let said = leader.send_snapshot(&fleet, to, SHARD, vote, &snapshot).await;
            assert!(said.is_err_and(|e| e.contains("term")));
        }
    }
    serves(&fleet, &alice).await;
}

/// S49: a membership without the honest vaults would make both of them learners for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_membership_that_leaves_members_out_is_refused() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    let honest = fleet.list.members[HONEST[0]].node.0;
    for to in HONEST {
        for members in [&[leader.node.0][..], &[leader.node.0, honest]] {
            let entry = leader.entry(to, SHARD, Leader::membership(members));
            let said = leader.append(&fleet, to, SHARD, &entry).await.unwrap_err();
            assert!(said.contains("admission list"), "{said}");
        }
        let (mut head, rows) = leader.snapshot(&fleet, to, SHARD).await;
        let Leader { node, .. } = leader;
        let alone = openraft::Membership::new(
            vec![[node.0].into()],
            std::collections::BTreeMap::from([(node.0, openraft::EmptyNode {})]),
        );
        head.membership.membership = bkv_vault::raft::types::membership_out(&alone).encode_to_vec();
        let said = leader.send_snapshot(&fleet, to, SHARD, leader.vote(SHARD), &(head, rows)).await;
        assert!(said.is_err_and(|e| e.contains("admission list")));
    }
    serves(&fleet, &alice).await;
}

/// S49: there is no index after the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_the_last_index_ends_no_shard() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    for to in HONEST {
        for index in [u64::MAX, u64::MAX - 1] {
            let (mut head, rows) = leader.snapshot(&fleet, to, SHARD).await;
            let id = LogId::new(leader.end(to, SHARD).0.leader_id, index);
            head.certificate.checkpoint.index = index;
            let said = leader.send_snapshot(&fleet, to, SHARD, leader.vote(SHARD), &(head, rows)).await;
            assert!(said.is_err_and(|e| e.contains("index")));
            let said = leader.send(&fleet, to, SHARD, append(leader.vote(SHARD), id, [1; 32])).await;
            assert!(said.is_err_and(|e| e.contains("index")));
        }
    }
    serves(&fleet, &alice).await;
}

/// S49: a committed position that goes back, or past the end of the log, by another term than the log has there. openraft would look for entries that are not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_a_committed_position_that_the_log_does_not_have_ends_no_shard() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    leader.next_term(SHARD);
    let vote = leader.vote(SHARD);
    for to in HONEST {
        let (end, chain) = leader.end(to, SHARD);
        let other = CommittedLeaderId::new(vote.leader_id.term, leader.node.0);
        for index in 1..=end.index {
            // Refused or taken as far as the log agrees.
            let _ = leader.send(&fleet, to, SHARD, append(vote, LogId::new(other, index), [1; 32])).await;
        }
        let beyond = LogId::new(CommittedLeaderId::new(0, 0), end.index + 50);
        let call = Call::Append(p::AppendEntries {
            vote: Some(vote_out(&vote)),
            previous: Some(log_id_out(&end)),
            previous_chain: chain.0.to_vec().into(),
            entries: Vec::new(),
            committed: Some(log_id_out(&beyond)),
        });
        let _ = leader.send(&fleet, to, SHARD, call).await;
    }
    serves(&fleet, &alice).await;
}
