//! The same record in another shard. A rooted region knows every record, and copies it where the account has a fresh budget, or where its deletion is not known.

use bkv_core::statement::Operation;

use bkv_simulation::rooted::client::{Client, account};
use bkv_simulation::rooted::fleet::{Fleet, HONEST, now};
use bkv_vault::replica::Phase;

const HOME: u16 = 0;
const OTHER: u16 = 1;

/// S09, S10: the registration's own entries, appended to another shard's log. Each honest region would answer a whole budget there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s09_s10_a_record_copied_by_the_log_has_no_second_budget() {
    let (fleet, mut leader) = Fleet::taken_over(2).await;
    let alice = Client::new(&fleet, account(0xa1, HOME), 1);
    for shard in [HOME, OTHER] {
        leader.commit(&fleet, shard, alice.store(None)).await;
        leader.commit(&fleet, shard, alice.confirm(&fleet, &[1, 2], &alice.owner)).await;
    }
    for i in HONEST {
        assert!(fleet.account(i, HOME, &alice.account).unwrap().live.is_some());
        assert!(fleet.account(i, OTHER, &alice.account).is_none());
        assert_eq!(fleet.phase(i, OTHER), Phase::Verified);
    }
}

/// S09, S10, S14: a row of another shard in a snapshot. It needs no entry and no signature, and brings a deleted key back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s09_s10_s14_a_record_copied_by_a_snapshot_is_refused() {
    let (fleet, mut leader) = Fleet::taken_over(2).await;
    let to = HONEST[0];
    let alice = Client::new(&fleet, account(0xa1, HOME), 1);
    leader.commit(&fleet, HOME, alice.store(None)).await;
    leader.commit(&fleet, HOME, alice.confirm(&fleet, &[1, 2], &alice.owner)).await;
    let (_, before) = leader.further(&fleet, HONEST[1], HOME).await;
    assert_eq!(before.len(), 1);
    let deletion = alice.owned(&Operation::Delete, now().plus(600_000), &alice.owner);
    // One vault has another entry there. Two branches in one term would exclude the leader.
    leader.next_term(HOME);
    leader.commit(&fleet, HOME, alice.delete(deletion)).await;

    let mut snapshot = leader.further(&fleet, HONEST[1], OTHER).await;
    assert!(snapshot.1.is_empty());
    snapshot.1.extend(before);
    let said = leader.send_snapshot(&fleet, to, OTHER, leader.vote(OTHER), &snapshot).await;
    assert!(said.as_ref().is_err_and(|e| e.contains("more accounts than were signed")), "{said:?}");
    // Even with the signatures of all.
    fleet.certify(&mut snapshot, &[0, 1, 2]);
    let said = leader.send_snapshot(&fleet, to, OTHER, leader.vote(OTHER), &snapshot).await;
    assert!(said.as_ref().is_err_and(|e| e.contains("lies in another shard")), "{said:?}");
    assert!(fleet.account(to, OTHER, &alice.account).is_none());
    assert!(fleet.account(to, HOME, &alice.account).unwrap().live.is_none());
}
