//! Periodic work of a vault: deadlines, boot keys, clock checks, and documents that a shard lacks.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::command::{Command, Expire};
use bkv_core::id::{NodeId, Time};
use bkv_core::outcome::Outcome;
use bkv_wire::proto::peer as p;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::overdue::Overdue;
use crate::peer::Body;
use crate::service::Vault;

/// A leader whose clock differs by more than this from the majority's median steps down.
const SKEW_MS: i64 = 5_000;
/// Time limit of a question for the clock, beside its round trip.
const CLOCK: Duration = Duration::from_secs(1);
/// Time limit of an entry that ends attempts, beside two round trips.
const EXPIRE: Duration = Duration::from_secs(2);

/// Time limit of the entries that raise the version of the state, beside two round trips.
const RAISE: Duration = Duration::from_secs(2);

/// Runs until `stop`.
pub async fn chores(vault: Arc<Vault>, stop: CancellationToken) {
    let mut tick = interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0u32;
    let mut overdue = Overdue::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        turn = turn.wrapping_add(1);
        expire(&vault, &mut overdue).await;
        if let Err(error) = vault.obey_applied(&stop).await {
            tracing::error!(%error, "newer documents that a shard has applied can't be put in force");
        }
        if turn.is_multiple_of(10) {
            clocks(&vault, &stop).await;
            vault.propose_documents().await;
            vault.sweep();
        }
        if turn.is_multiple_of(120)
            && let Err(e) = vault.renew_boot_key().await
        {
            tracing::error!(error = %e, "the boot key can't be renewed");
        }
    }
}

async fn expire(vault: &Vault, overdue: &mut Overdue) {
    let now = Time(vault.now_ms());
    for replica in vault.node().replicas() {
        if !replica.status().borrow().lead {
            continue;
        }
        let accounts = overdue.next(replica.shard(), Instant::now(), |most| replica.due(now, most));
        let deadline = vault.node().peers().deadline(EXPIRE, 2);
        // All at once: they share an entry, and one that is not committed in time costs the others nothing.
        let proposed = accounts.into_iter().map(|account| async move {
            (account, replica.propose(Command::Expire(Expire { account }), deadline).await)
        });
        for (account, committed) in futures_util::future::join_all(proposed).await {
            if committed.is_ok_and(|c| matches!(c.outcome, Outcome::Refused(_))) {
                overdue.refused(replica.shard(), account, Instant::now());
            }
        }
    }
}

/// Compares clocks and document numbers with the other vaults. Asks who has no room, and whose program can apply the next version of the state. A leader with a wrong clock would misjudge waits, so it steps down. A vault with older documents takes
/// the newer ones, which the root has signed.
async fn clocks(vault: &Vault, stop: &CancellationToken) {
    let Some(d) = vault.documents() else { return };
    let me = vault.node().node();
    let version = vault.next_version();
    let mine =
        p::Clock { admission: d.documents.admission.number, policy: d.documents.policy.number, version };
    let others = d.documents.admission.members.iter().map(|m| m.node).filter(|n| *n != me);
    let asked = futures_util::future::join_all(others.map(|n| async move {
        let sent = vault.now_ms();
        match vault.node().peers().call(n, Body::Clock(mine), vault.node().peers().deadline(CLOCK, 1)).await {
            Ok(Body::ClockAnswer(c)) => {
                Some((n, signed(c.time_ms) - signed(sent.midpoint(vault.now_ms())), c))
            }
            _ => None,
        }
    }));
    let answers: Vec<(NodeId, i64, p::ClockAnswer)> = asked.await.into_iter().flatten().collect();
    for (node, _, newer) in &answers {
        if let Err(error) = vault.obey_sent(&newer.admission, &newer.policy, stop).await {
            tracing::warn!(node = node.0, %error, "newer documents of another vault can't be put in force");
        }
    }
    let signed: Vec<_> = answers.iter().map(|(node, _, answer)| (*node, answer)).collect();
    let deadline = vault.node().peers().deadline(RAISE, 2);
    vault.raise(version, &d.documents.admission, &signed, deadline).await;
    let offsets: Vec<i64> = answers.iter().map(|(_, offset, _)| *offset).collect();
    let full = answers.iter().filter(|(_, _, answer)| answer.full).count();
    if vault.node().volume().others(full, d.documents.admission.members.len()) {
        for r in vault.node().replicas().iter().filter(|r| r.status().borrow().lead) {
            tracing::warn!(shard = r.shard().0, "this vault has no room and a majority has: stepping down");
            r.step_down();
        }
    }
    let Some(median) = median_offset(offsets, d.documents.admission.members.len()) else { return };
    vault.metrics().skew.set(median / 1000);
    if median.abs() > SKEW_MS {
        tracing::error!(median_ms = median, "this clock differs from the majority's: stepping down");
        for r in vault.node().replicas() {
            r.step_down();
        }
    }
}

/// The members' median clock relative to this one, in milliseconds. `offsets` are those of the other members that answered. None without a majority.
/// An even number of clocks has two in the middle: take the lower. If two regions disagree, neither can know which is right, but the one behind
/// refuses the entries of the one ahead, so the one ahead must step down.
fn median_offset(mut offsets: Vec<i64>, members: usize) -> Option<i64> {
    offsets.push(0);
    if offsets.len() * 2 <= members {
        return None; // no majority to compare with
    }
    offsets.sort_unstable();
    offsets.get((offsets.len() - 1) / 2).copied()
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S40: a majority decides which clock is wrong. Of two that disagree the one ahead steps down, because the other refuses its entries.
    #[test]
    fn s40_the_majoritys_median_decides_and_in_doubt_the_one_ahead_gives_way() {
        let hour = 3_600_000;
        assert_eq!(median_offset(vec![1, -2], 3), Some(0));
        assert_eq!(median_offset(vec![hour, hour + 9], 3), Some(hour));
        assert_eq!(median_offset(vec![-hour, 5], 3), Some(0), "one other alone is off");
        assert_eq!(median_offset(vec![hour], 3), Some(0), "this one is behind, or the other is ahead");
        assert_eq!(median_offset(vec![-hour], 3), Some(-hour), "this one is ahead, or the other is behind");
        assert_eq!(median_offset(vec![], 3), None);
        assert_eq!(median_offset(vec![], 1), Some(0));
        assert_eq!(median_offset(vec![-hour, -hour], 5), Some(-hour));
        assert_eq!(median_offset(vec![hour], 5), None);
    }
}
