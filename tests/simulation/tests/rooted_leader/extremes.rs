//! Numbers at their limits. One such message must not end a shard: the attacker sends it to both honest vaults and goes, and they must elect a leader and serve.

use std::time::Duration;

use bkv_core::command::{Command, Expire};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::{CommittedLeaderId, LogId};
use prost::Message as _;
use tokio::time::timeout;

use bkv_simulation::eventually;
use bkv_simulation::rooted::client::{Client, account};
use bkv_simulation::rooted::fleet::{Fleet, HONEST, ROOTED, now, soon};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::types::{Entry, Vote, chain as chain_of, entry_out, log_id_out, vote_out};
use bkv_vault::replica::{PeerService as _, Phase};

pub(crate) const SHARD: u16 = 0;

pub(crate) async fn registered(fleet: &Fleet, leader: &mut Leader) -> Client {
    let alice = Client::new(fleet, account(0xa1, SHARD), 1);
    leader.commit(fleet, SHARD, alice.store(None)).await;
    leader.commit(fleet, SHARD, alice.confirm(fleet, &[1, 2], &alice.owner)).await;
    alice
}

/// The attacker is gone. The honest vaults elect a leader, and a command is applied at both.
pub(crate) async fn serves(fleet: &Fleet, alice: &Client) {
    for i in HONEST {
        let excluded = fleet.node(i).equivocators();
        assert!(excluded.iter().all(|e| e.node == fleet.list.members[ROOTED].node), "{excluded:?}");
        assert_eq!(fleet.phase(i, SHARD), Phase::Verified, "vault {i}");
        fleet.replica(i, SHARD).stand_for_election(true);
    }
    let leads = || HONEST.into_iter().find(|i| fleet.replica(*i, SHARD).status().borrow().lead);
    let leader = eventually("an honest leader", leads).await;
    let done = fleet.replica(leader, SHARD).propose(Command::Begin(alice.begin(1)), soon(10)).await.unwrap();
    for i in HONEST {
        fleet.replica(i, SHARD).wait_applied(done.index, soon(10)).await.unwrap();
        assert_eq!(fleet.account(i, SHARD, &alice.account).unwrap().ordinal.0, 1);
    }
}

/// Entries that both vaults have before two unequal ones.
const SHARED: u64 = 130;

/// An append without entries, under this vote.
fn append(vote: Vote, previous: LogId<u64>, chain: [u8; 32]) -> Call {
    Call::Append(p::AppendEntries {
        vote: Some(vote_out(&vote)),
        previous: Some(log_id_out(&previous)),
        previous_chain: chain.to_vec().into(),
        entries: Vec::new(),
        committed: Some(log_id_out(&previous)),
        ..Default::default()
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
                preliminary: false,
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
            ..Default::default()
        });
        let _ = leader.send(&fleet, to, SHARD, call).await;
    }
    serves(&fleet, &alice).await;
}

/// S49: one append of another history and one such snapshot to each honest vault. Each is refused before its vote is taken, and the honest vaults still take each other's
/// entries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_one_forged_append_to_each_honest_region_ends_nothing() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    leader.next_term(SHARD);
    let vote = leader.vote(SHARD);
    for to in HONEST {
        let before = fleet.replica(to, SHARD).raft().unwrap().metrics().borrow().vote;
        let (end, _) = leader.end(to, SHARD);
        let said = leader.send(&fleet, to, SHARD, append(vote, end, [0; 32])).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("another history")), "{said:?}");
        let (head, mut rows) = leader.snapshot(&fleet, to, SHARD).await;
        rows.clear();
        let said = leader.send_snapshot(&fleet, to, SHARD, vote, &(head, rows)).await;
        assert!(said.is_err());
        // Nor does a vote of that term reach Raft now, or an append that would be right.
        let request = p::VoteRequest {
            vote: Some(vote_out(&Vote::new(vote.leader_id.term, leader.node.0))),
            last: Some(log_id_out(&end)),
            preliminary: false,
        };
        let said = leader.send(&fleet, to, SHARD, Call::Vote(request)).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("refused in term")), "{said:?}");
        assert_eq!(fleet.replica(to, SHARD).raft().unwrap().metrics().borrow().vote, before);
        let named = fleet.node(to).contradictions();
        assert_eq!(
            named.iter().map(|c| (c.from, c.term)).collect::<Vec<_>>(),
            [(leader.node, vote.leader_id.term)]
        );
    }
    serves(&fleet, &alice).await;
}

/// S49, S24: an honest vault starts again while the attacker answers its questions: a log that nobody has, a vote of a far term, a signature of its own for the vault's,
/// then another history at the end of the vault's log. Only the vault's own signature would keep it from serving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_one_told_starves_nobody() {
    let (mut fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    let [to, other] = HONEST;
    let (end, chain) = leader.end(to, SHARD);
    let far = p::LogId { term: end.leader_id.term, node: leader.node.0, index: end.index + (1 << 40) };
    let (certificate, signature) = fleet.boot[ROOTED].sign(b"anything").unwrap();
    let vote = Some(p::Vote { term: 1 << 30, node: leader.node.0, committed: false });
    let far = p::Told {
        verified: true,
        vote,
        last: Some(far),
        chain_at_yours: chain.0.to_vec().into(),
        held: Some(p::Held { vote, id: Some(far), chain: vec![1; 32].into(), certificate, signature }),
        ..Default::default()
    };
    let contradicting = p::Told { chain_at_yours: vec![9; 32].into(), ..far.clone() };
    for lie in [far, contradicting] {
        leader.tells(lie);
        fleet.restart(to).await;
        let mut status = fleet.replica(to, SHARD).status();
        let verified = status.wait_for(|s| s.phase == Phase::Verified);
        let reached = timeout(Duration::from_secs(20), verified).await;
        assert!(reached.is_ok(), "{:?}", fleet.phase(to, SHARD));
        let named = fleet.node(to).contradictions();
        assert_eq!(named.iter().map(|c| c.from).collect::<Vec<_>>(), [leader.node]);
    }
    assert_eq!(fleet.phase(other, SHARD), Phase::Verified);
    serves(&fleet, &alice).await;
}

/// S49: each honest vault gets its own entry under one id, and neither is committed. Raft compares ids only, so each would take the other's log for another history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_two_entries_under_one_id_end_nothing() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    let begun = now();
    let (base, chain) = leader.end(HONEST[0], SHARD);
    assert_eq!((base, chain), leader.end(HONEST[1], SHARD));
    let batch = |index, n| Entry {
        log_id: LogId::new(CommittedLeaderId::new(leader.vote(SHARD).leader_id.term, leader.node.0), index),
        payload: Leader::batch(begun, vec![Command::Expire(Expire { account: account(n, SHARD) })]),
    };
    for (to, n) in HONEST.into_iter().zip(1u8..) {
        let (mut end, mut hash) = (base, chain);
        // Before the two come entries that both vaults get and acknowledge, more than a leader sends at once.
        for index in base.index + 1..=base.index + SHARED + 1 {
            let entry = batch(index, if index > base.index + SHARED { n } else { 9 });
            let call = Call::Append(p::AppendEntries {
                vote: Some(vote_out(&leader.vote(SHARD))),
                previous: Some(log_id_out(&end)),
                previous_chain: hash.0.to_vec().into(),
                entries: vec![entry_out(&entry)],
                committed: Some(log_id_out(&base)),
                ..Default::default()
            });
            leader.send(&fleet, to, SHARD, call).await.unwrap();
            (end, hash) = (entry.log_id, chain_of(&hash, &entry));
        }
    }
    serves(&fleet, &alice).await;
    for i in HONEST {
        assert_eq!(fleet.node(i).contradictions(), []);
        // S48: the honest vaults have compared what it signed.
        let excluded = || fleet.node(i).equivocators().iter().any(|e| e.node == leader.node).then_some(());
        eventually("the attacker is excluded", excluded).await;
    }
}
