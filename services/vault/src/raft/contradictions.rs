//! Which vaults have contradicted what this replica has applied. The word of one vault never halts a replica: otherwise a rooted vault could end every shard by one
//! message to each honest vault. The message is refused, its sender is named, and nothing more is taken from the sender in that term.

use std::collections::BTreeMap;
use std::sync::Arc;

use bkv_core::id::NodeId;
use parking_lot::Mutex;

/// The contradictions of one vault in one shard, since this vault started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// The shard.
    pub shard: u16,
    /// The sender.
    pub from: NodeId,
    /// Term of the newest one.
    pub term: u64,
    /// What the newest one was.
    pub why: String,
    /// How many there were.
    pub times: u64,
}

/// The contradictions of all vaults. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Contradictions(Arc<Mutex<BTreeMap<(u16, NodeId), Contradiction>>>);

impl Contradictions {
    /// Names a vault.
    pub(crate) fn note(&self, shard: u16, from: NodeId, term: u64, why: &str) {
        let mut all = self.0.lock();
        let first = || Contradiction { shard, from, term, why: String::new(), times: 0 };
        let known = all.entry((shard, from)).or_insert_with(first);
        known.term = known.term.max(term);
        why.clone_into(&mut known.why);
        known.times = known.times.saturating_add(1);
        // A lying vault may repeat itself as fast as it can send, and must not fill the disk with log lines.
        if known.times.is_power_of_two() {
            tracing::error!(
                shard,
                node = from.0,
                term,
                why,
                times = known.times,
                "a vault contradicts this replica"
            );
        }
    }

    /// Why nothing is taken from a vault in a term: it has contradicted this replica in that term or in a later one.
    pub(crate) fn refusal(&self, shard: u16, from: NodeId, term: u64) -> Option<String> {
        let all = self.0.lock();
        let known = all.get(&(shard, from)).filter(|c| term <= c.term)?;
        Some(format!("refused in term {term}: {}", known.why))
    }

    pub(crate) fn all(&self) -> Vec<Contradiction> {
        self.0.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_counts_for_its_shard_sender_and_term_only() {
        let (all, liar) = (Contradictions::default(), NodeId(7));
        all.note(1, liar, 5, "another history");
        all.note(1, liar, 4, "another history");
        assert!(all.refusal(1, liar, 4).is_some());
        assert!(all.refusal(1, liar, 5).is_some());
        assert_eq!(all.refusal(1, liar, 6), None, "a later term is judged anew");
        assert_eq!(all.refusal(2, liar, 5), None);
        assert_eq!(all.refusal(1, NodeId(8), 5), None);
        let why = "another history".into();
        assert_eq!(all.all(), [Contradiction { shard: 1, from: liar, term: 5, why, times: 2 }]);
    }
}
