//! A leader that sends each honest vault another branch. Each branch is committed by the leader's own vote. Its signatures show which vault has lied.

use bkv_core::command::{Command, Expire};
use bkv_core::id::{Hash, NodeId};
use bkv_core::join::Ballot;
use bkv_simulation::eventually;
use bkv_simulation::rooted::client::account;
use bkv_simulation::rooted::fleet::{Fleet, HONEST, ROOTED, now};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::peer::Body;
use bkv_vault::raft::types::{Entry, LogId, Vote, entry_out, log_id_out, vote_out};
use bkv_vault::replica::PeerService as _;
use bkv_wire::equivocation::Signed;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::append_answer::Result as R;
use bkv_wire::proto::peer::raft_answer::Answer;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::EntryPayload;

use crate::extremes::{SHARD, registered, serves};

/// Entries that change nothing, behind the end of a vault's log. `n` distinguishes branches.
fn branch(leader: &Leader, to: usize, shard: u16, n: u8, count: u64) -> Vec<Entry> {
    let first = leader.entry(to, shard, EntryPayload::Blank).log_id;
    let at = now();
    let entry = |i| {
        let expire = Command::Expire(Expire { account: account(n, shard) });
        Entry {
            log_id: LogId::new(first.leader_id, first.index + i),
            payload: Leader::batch(at, vec![expire]),
        }
    };
    (0..count).map(entry).collect()
}

/// The attacker appends entries behind the end that it and this vault have had so far, in one batch that is committed or not.
fn append(leader: &Leader, to: usize, shard: u16, entries: &[Entry], committed: bool) -> p::AppendEntries {
    let (end, hash) = leader.end(to, shard);
    let committed = entries.last().filter(|_| committed).map_or(end, |e| e.log_id);
    p::AppendEntries {
        vote: Some(vote_out(&leader.vote(shard))),
        previous: Some(log_id_out(&end)),
        previous_chain: hash.0.to_vec().into(),
        entries: entries.iter().map(entry_out).collect(),
        committed: Some(log_id_out(&committed)),
        ..Default::default()
    }
}

async fn takes(fleet: &Fleet, leader: &Leader, to: usize, shard: u16, entries: &[Entry], committed: bool) {
    let call = Call::Append(append(leader, to, shard, entries, committed));
    let answer = leader.send(fleet, to, shard, call).await;
    assert!(matches!(&answer, Ok(Answer::Append(a)) if a.result == Some(R::Success(true))), "{answer:?}");
}

fn excluded(fleet: &Fleet, i: usize) -> Vec<(u16, NodeId)> {
    fleet.node(i).equivocators().iter().map(|e| (e.shard, e.node)).collect()
}

async fn both_exclude(fleet: &Fleet, leader: &Leader, shard: u16) {
    for i in HONEST {
        let excluded = || (excluded(fleet, i) == [(shard, leader.node)]).then_some(());
        eventually("the attacker is excluded", excluded).await;
    }
}

/// S48: the shard has forked, and before there were signatures the two honest vaults could only accuse each other. Now both know who lied. They take nothing from it in
/// this shard, in no term and after no restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_leader_that_appends_two_branches_is_excluded_by_its_signatures() {
    let (mut fleet, mut leader) = Fleet::taken_over(2).await;
    let alice = registered(&fleet, &mut leader).await;
    for to in HONEST {
        leader.commit_at(&fleet, to, SHARD, vec![Command::Begin(alice.begin(1))]).await;
    }
    both_exclude(&fleet, &leader, SHARD).await;
    leader.next_term(SHARD);
    for to in HONEST {
        let entries = branch(&leader, to, SHARD, 7, 1);
        let call = Call::Append(append(&leader, to, SHARD, &entries, true));
        let said = leader.send(&fleet, to, SHARD, call).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("excluded")), "{said:?}");
        let vote = Vote::new(leader.vote(SHARD).leader_id.term, leader.node.0);
        let last = Some(log_id_out(&leader.end(to, SHARD).0));
        let request = p::VoteRequest { vote: Some(vote_out(&vote)), last, preliminary: false };
        let said = leader.send(&fleet, to, SHARD, Call::Vote(request)).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("excluded")), "{said:?}");
        let snapshot = leader.snapshot(&fleet, to, SHARD).await;
        let said = leader.send_snapshot(&fleet, to, SHARD, leader.vote(SHARD), &snapshot).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("excluded")), "{said:?}");
        // Not in the other shard, of which it has told one story.
        let entries = branch(&leader, to, 1, 7, 1);
        takes(&fleet, &leader, to, 1, &entries, true).await;
    }
    fleet.restart(HONEST[0]).await;
    assert_eq!(excluded(&fleet, HONEST[0]), [(SHARD, leader.node)]);
}

/// S48: the two batches end at different entries, so no two signatures are for one index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_two_branches_of_different_lengths_are_a_proof() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    registered(&fleet, &mut leader).await;
    for (to, count) in HONEST.into_iter().zip([9, 40]) {
        let entries = branch(&leader, to, SHARD, u8::try_from(to).unwrap(), count);
        takes(&fleet, &leader, to, SHARD, &entries, true).await;
    }
    both_exclude(&fleet, &leader, SHARD).await;
}

/// S48: one vault alone gets both branches. It keeps what it had, and the other vault takes the proof from it. Both serve on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_the_proof_is_passed_on() {
    for (first, second) in [(3, 3), (3, 1), (1, 3)] {
        let (fleet, mut leader) = Fleet::taken_over(1).await;
        let alice = registered(&fleet, &mut leader).await;
        let to = HONEST[0];
        takes(&fleet, &leader, to, SHARD, &branch(&leader, to, SHARD, 1, first), false).await;
        let had = fleet.replica(to, SHARD).state().log().last();
        let call = Call::Append(append(&leader, to, SHARD, &branch(&leader, to, SHARD, 2, second), false));
        let said = leader.send(&fleet, to, SHARD, call).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("two entries under the id")), "{said:?}");
        assert_eq!(fleet.replica(to, SHARD).state().log().last(), had);
        both_exclude(&fleet, &leader, SHARD).await;
        serves(&fleet, &alice).await;
    }
}

/// S48: what a restart leaves of the evidence is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_the_evidence_outlasts_a_restart() {
    let (mut fleet, mut leader) = Fleet::taken_over(1).await;
    registered(&fleet, &mut leader).await;
    let [first, second] = HONEST;
    takes(&fleet, &leader, first, SHARD, &branch(&leader, first, SHARD, 1, 5), true).await;
    fleet.restart(first).await;
    takes(&fleet, &leader, second, SHARD, &branch(&leader, second, SHARD, 2, 2), true).await;
    both_exclude(&fleet, &leader, SHARD).await;
}

/// S48: an append that its leader has not signed as it is does not reach Raft. One without entries needs no signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_unsigned_entries_are_refused() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    let to = HONEST[0];
    let before = fleet.replica(to, SHARD).state().log().last();
    let entries = branch(&leader, to, SHARD, 1, 2);
    let unsigned = append(&leader, to, SHARD, &entries, true);
    let mut signed = unsigned.clone();
    leader.sign(&fleet, SHARD, &mut signed);
    let signature = signed.appended.clone().unwrap();
    let call = |append| p::RaftCall { id: 0, shard: u32::from(SHARD), call: Some(Call::Append(append)) };
    let with = |appended| call(p::AppendEntries { appended: Some(appended), ..unsigned.clone() });
    let other = leader.end(to, SHARD).1;
    // By the boot key of another vault.
    let (certificate, _) = fleet.boot[HONEST[1]].sign(b"anything").unwrap();
    let mut of_one_entry = signed.clone();
    of_one_entry.entries.pop();
    let mut of_another_shard = unsigned.clone();
    leader.sign(&fleet, 1, &mut of_another_shard);
    let lies = [
        call(unsigned.clone()),
        call(of_one_entry),
        call(of_another_shard),
        with(p::Appended { certificate, ..signature.clone() }),
        with(p::Appended { chain: other.0.to_vec().into(), ..signature.clone() }),
        with(p::Appended { index: signature.index + 1, ..signature.clone() }),
        with(p::Appended { signature: vec![0; 64].into(), ..signature.clone() }),
        with(p::Appended { vote: None, ..signature.clone() }),
    ];
    for lie in lies {
        let said = leader.raft(&fleet, to, lie).await;
        assert!(said.as_ref().is_err_and(|e| e.contains("has not signed")), "{said:?}");
    }
    assert_eq!(fleet.replica(to, SHARD).state().log().last(), before);
    assert!(leader.raft(&fleet, to, call(append(&leader, to, SHARD, &[], true))).await.is_ok());
    assert!(leader.raft(&fleet, to, call(signed)).await.is_ok());
    assert_eq!(excluded(&fleet, to), []);
    takes(&fleet, &leader, HONEST[1], SHARD, &entries, true).await;
    serves(&fleet, &alice).await;
}

/// S48, S49: what one vault says of another proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s48_a_lying_region_excludes_nobody() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    // An honest leader, whose signatures the other one has.
    serves(&fleet, &alice).await;
    let leads = || HONEST.into_iter().find(|i| fleet.replica(*i, SHARD).status().borrow().lead);
    let honest = eventually("an honest leader", leads).await;
    let to = HONEST.into_iter().find(|i| *i != honest).unwrap();
    let vote = fleet.replica(honest, SHARD).raft().unwrap().metrics().borrow().vote;
    let (end, hash) = fleet.replica(to, SHARD).state().log().last().unwrap();
    let ballot = Ballot { term: vote.leader_id.term, node: NodeId(vote.leader_id.node_id) };
    let (theirs, _) = fleet.boot[honest].sign(b"anything").unwrap();
    for index in [end.index, end.index - 1, end.index + 1] {
        let signed = Signed { vote: ballot, index, chain: Hash([7; 32]) };
        // The attacker has no other key than its own.
        let (own, signature) = fleet.boot[ROOTED].sign(&signed.statement(&fleet.list, SHARD)).unwrap();
        for certificate in [own, theirs.clone()] {
            let forged = p::Appended {
                vote: Some(vote_out(&vote)),
                index,
                chain: vec![7; 32].into(),
                certificate,
                signature: signature.clone(),
            };
            let seen = p::Seen { shard: u32::from(SHARD), newest: Some(forged.clone()) };
            let answer = leader.call(&fleet, to, Body::Seen(seen)).await;
            assert!(matches!(answer, Ok(Body::SeenAnswer(_))), "{answer:?}");
            let proof = p::Equivocation {
                shard: u32::from(SHARD),
                lower: Some(forged.clone()),
                upper: Some(p::Appended { chain: hash.0.to_vec().into(), ..forged }),
                chain: hash.0.to_vec().into(),
                contents: Vec::new().into(),
            };
            let said = leader.call(&fleet, to, Body::Equivocation(proof)).await;
            assert!(said.as_ref().is_err_and(|e| e.contains("no proof")), "{said:?}");
        }
    }
    for i in HONEST {
        assert_eq!(excluded(&fleet, i), []);
    }
    assert_eq!(leads(), Some(honest));
}
