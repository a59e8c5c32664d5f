use proptest::prelude::*;

use super::*;

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

fn chain(p: LogPosition) -> Hash {
    Hash([u8::try_from(p.term * 31 + p.index).unwrap_or(0); 32])
}

fn mine(last: LogPosition) -> Mine {
    Mine { node: NodeId(1), ballot: Ballot { term: last.term, node: NodeId(1) }, last, chain: chain(last) }
}

fn told(verified: bool, last: LogPosition, acknowledged: Option<LogPosition>) -> Told {
    Told {
        verified,
        ballot: Ballot { term: last.term, node: NodeId(2) },
        last,
        chain_at_ours: None,
        acknowledged,
    }
}

const THREE: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

#[test]
fn a_single_voter_is_verified_at_once() {
    let d = decide(&mine(at(3, 9)), &[NodeId(1)], &BTreeMap::new());
    assert_eq!(d, Decision::Verified { ballot: Ballot { term: 3, node: NodeId(1) } });
}

#[test]
fn rule_2_needs_f_plus_one_verified_and_the_highest_log() {
    let mut answers = BTreeMap::from([(NodeId(2), told(true, at(3, 12), Some(at(3, 9))))]);
    assert_eq!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::Wait { missing: vec![NodeId(3)] });
    answers.insert(NodeId(3), told(true, at(3, 10), None));
    assert!(
        matches!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::CatchUp { until, .. } if until == at(3, 12))
    );
    assert!(matches!(decide(&mine(at(3, 12)), &THREE, &answers), Decision::Verified { .. }));
}

#[test]
fn rule_3_needs_everybody() {
    let mut answers = BTreeMap::from([(NodeId(2), told(false, at(3, 9), None))]);
    assert_eq!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::Wait { missing: vec![NodeId(3)] });
    answers.insert(NodeId(3), told(false, at(2, 50), None));
    // A higher term beats a longer log.
    assert!(matches!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::Verified { .. }));
    assert!(matches!(decide(&mine(at(2, 60)), &THREE, &answers), Decision::CatchUp { .. }));
}

#[test]
fn s24_a_disk_older_than_what_others_saw_is_quarantined() {
    let answers = BTreeMap::from([(NodeId(2), told(true, at(3, 12), Some(at(3, 11))))]);
    assert!(matches!(
        decide(&mine(at(3, 9)), &THREE, &answers),
        Decision::Quarantine(Reason::RolledBack { .. })
    ));
}

#[test]
fn s24_another_history_at_the_same_place_is_quarantined() {
    let mut t = told(true, at(3, 12), None);
    t.chain_at_ours = Some(Hash([0xee; 32]));
    let answers = BTreeMap::from([(NodeId(2), t)]);
    assert!(matches!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::Quarantine(Reason::Forked { .. })));
}

fn position() -> impl Strategy<Value = LogPosition> {
    (0u64..4, 0u64..8).prop_map(|(t, i)| at(t, i))
}

proptest! {
    /// A node that becomes verified or catches up ends at least at the highest position reported, and with the highest vote.
    #[test]
    fn s24_nobody_serves_behind_what_was_told(
        my in position(),
        others in proptest::collection::btree_map(2u64..6, (any::<bool>(), position(), proptest::option::of(position())), 0..5),
    ) {
        let voters: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let answers: BTreeMap<NodeId, Told> = others.iter().map(|(n, (v, l, a))| (NodeId(*n), told(*v, *l, *a))).collect();
        match decide(&mine(my), &voters, &answers) {
            Decision::Verified { ballot } => {
                prop_assert!(answers.values().all(|t| t.last <= my && t.ballot <= ballot));
                prop_assert!(answers.values().filter(|t| t.verified).count() >= 3 || answers.len() == 4);
            }
            Decision::CatchUp { until, ballot } => {
                prop_assert!(until > my && answers.values().all(|t| t.last <= until && t.ballot <= ballot));
            }
            Decision::Wait { missing } => prop_assert!(!missing.is_empty()),
            Decision::Quarantine(_) => prop_assert!(answers.values().any(|t| t.acknowledged.is_some_and(|a| a > my))),
        }
    }
}
