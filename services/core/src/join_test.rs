use proptest::prelude::*;

use super::*;

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

fn chain(p: LogPosition) -> Hash {
    Hash([u8::try_from(p.term * 31 + p.index).unwrap_or(0); 32])
}

fn mine(last: LogPosition) -> Mine {
    Mine {
        node: NodeId(1),
        ballot: Ballot { term: last.term, node: NodeId(1) },
        last,
        chain: chain(last),
        truncated: Ballot::default(),
        excused: LogPosition::default(),
        anchored: false,
    }
}

/// Signed by this node, whose log has it if it reaches that far.
fn signed(at: LogPosition) -> Acknowledged {
    let vote = Ballot { term: at.term, node: NodeId(2) };
    Acknowledged { vote, at, chain: chain(at), mine: None }
}

fn told(verified: bool, last: LogPosition, acknowledged: Option<LogPosition>) -> Told {
    Told {
        verified,
        ballot: Ballot { term: last.term, node: NodeId(2) },
        last,
        applied: None,
        certified: None,
        chain_at_ours: None,
        acknowledged: acknowledged.map(signed),
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
        matches!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::CatchUp { goals, .. } if goals.iter().map(|g| g.last).eq([at(3, 12), at(3, 10)]))
    );
    assert!(matches!(decide(&mine(at(3, 12)), &THREE, &answers), Decision::Verified { .. }));
}

/// S51: rule 1 needs no answer and follows no unsigned one. A signature of its own, and what t regions have signed, count all the same.
#[test]
fn s51_an_anchored_disk_needs_nobody() {
    let anchored = Mine { anchored: true, ..mine(at(3, 9)) };
    assert!(matches!(decide(&anchored, &THREE, &BTreeMap::new()), Decision::Verified { .. }));
    let further = BTreeMap::from([(NodeId(2), told(true, at(4, 12), None))]);
    let ballot = Ballot { term: 4, node: NodeId(2) };
    assert_eq!(decide(&anchored, &THREE, &further), Decision::Verified { ballot });
    let acknowledged = BTreeMap::from([(NodeId(2), told(true, at(3, 12), Some(at(3, 12))))]);
    assert!(matches!(decide(&anchored, &THREE, &acknowledged), Decision::Quarantine(_)));
    let signed = Certified { at: at(3, 12), chain: chain(at(3, 12)), mine: None };
    let certified = Told { certified: Some(signed), ..told(true, at(3, 12), None) };
    let decision = decide(&anchored, &THREE, &BTreeMap::from([(NodeId(2), certified)]));
    assert!(matches!(decision, Decision::CatchUp { goals, .. } if goals.iter().all(|g| g.certified)));
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
fn s24_a_signature_on_another_history_quarantines() {
    let mut ack = signed(at(3, 8));
    ack.mine = Some(Hash([0xee; 32]));
    let answers =
        BTreeMap::from([(NodeId(2), Told { acknowledged: Some(ack), ..told(true, at(3, 12), None) })]);
    assert!(matches!(decide(&mine(at(3, 9)), &THREE, &answers), Decision::Quarantine(Reason::Forked { .. })));
}

/// S24: a leader of a later term had the acknowledged entry removed. The disk has everything, and knows why the entry is gone.
#[test]
fn s24_an_entry_that_a_later_leader_had_removed_does_not_quarantine() {
    let mut answers = BTreeMap::from([(NodeId(2), told(true, at(3, 9), Some(at(3, 11))))]);
    answers.insert(NodeId(3), told(true, at(3, 9), None));
    let with = |term, node| Mine { truncated: Ballot { term, node: NodeId(node) }, ..mine(at(3, 9)) };
    for (term, node) in [(4, 1), (3, 3)] {
        assert!(matches!(decide(&with(term, node), &THREE, &answers), Decision::Verified { .. }));
    }
    assert!(matches!(decide(&with(3, 2), &THREE, &answers), Decision::Quarantine(_)));
}

/// S24: the root excused exactly what one quarantine named. A signature one entry further, or of a later term, shows that the disk is older than that.
#[test]
fn s24_a_lift_excuses_no_later_signature() {
    let excused = Mine { excused: at(3, 11), ..mine(at(3, 9)) };
    let decided = |signed_at| {
        let mut answers = BTreeMap::from([(NodeId(2), told(true, at(3, 9), Some(signed_at)))]);
        answers.insert(NodeId(3), told(true, at(3, 9), None));
        decide(&excused, &THREE, &answers)
    };
    for excused in [at(3, 10), at(3, 11)] {
        assert!(matches!(decided(excused), Decision::Verified { .. }), "{excused:?}");
    }
    for later in [at(3, 12), at(4, 10)] {
        assert!(matches!(decided(later), Decision::Quarantine(Reason::RolledBack { .. })), "{later:?}");
    }
}

/// S49: a voter that has another history at the end of what this node has applied may lie. It is named, it has answered, and it sets no goal.
#[test]
fn s49_a_contradiction_without_a_signature_stops_nobody() {
    let liar = told(true, at(9, 1 << 40), None);
    let other = Hash([0xee; 32]);
    let applied = Applied { index: 5, chain: other, mine: Some(chain(at(3, 5))) };
    let at_applied = Told { chain_at_ours: Some(other), ..liar.clone() };
    for liar in [at_applied, Told { applied: Some(applied), ..liar }] {
        let answers = BTreeMap::from([(NodeId(2), liar), (NodeId(3), told(true, at(3, 9), None))]);
        let me = mine(at(3, 9));
        assert_eq!(contradicting(&me, &answers), [NodeId(2)]);
        assert!(matches!(decide(&me, &THREE, &answers), Decision::Verified { .. }));
    }
}

/// S24: a rooted leader feeds an old disk a made-up history up to the position that the others saw.
#[test]
fn s24_a_goal_is_reached_with_its_history_only() {
    let applied = Some(Applied { index: 11, chain: Hash([1; 32]), mine: None });
    let goal = Goal { of: NodeId(2), last: at(3, 12), applied, certified: false };
    let with = |chain: Option<[u8; 32]>| move |_| chain.map(Hash);
    assert_eq!(goal.progress(at(3, 11), with(Some([1; 32]))), Progress::Behind);
    assert_eq!(goal.progress(at(4, 10), with(None)), Progress::Behind, "a higher term, but not there yet");
    assert_eq!(goal.progress(at(3, 12), with(Some([1; 32]))), Progress::Reached);
    assert_eq!(goal.progress(at(4, 12), with(Some([2; 32]))), Progress::Contradicted);
    assert_eq!(goal.progress(at(4, 90), with(None)), Progress::Reached, "it came with a snapshot");
    assert_eq!(Goal { applied: None, ..goal }.progress(at(3, 12), with(None)), Progress::Reached);
}

/// S24: the voter that shows what t regions have signed may contradict this node otherwise, and the rest of its answer may be short.
#[test]
fn s24_what_t_regions_have_signed_is_a_goal_whoever_shows_it() {
    let me = mine(at(3, 9));
    let certified = |at, mine| Some(Certified { at, chain: Hash([1; 32]), mine });
    let liar = Told { chain_at_ours: Some(Hash([0xee; 32])), ..told(true, at(3, 9), None) };
    let decide_with = |certified| {
        let showing = Told { certified, ..liar.clone() };
        decide(&me, &THREE, &BTreeMap::from([(NodeId(2), showing), (NodeId(3), told(true, at(3, 9), None))]))
    };
    for (at, mine) in [(at(3, 10), None), (at(2, 10), None), (at(3, 5), Some(Hash([2; 32])))] {
        let Decision::CatchUp { goals, .. } = decide_with(certified(at, mine)) else { panic!("{at:?}") };
        assert_eq!(goals.iter().map(|g| (g.last, g.certified)).collect::<Vec<_>>(), [(at, true)]);
    }
    for (at, mine) in [(at(3, 5), None), (at(3, 5), Some(Hash([1; 32])))] {
        assert!(matches!(decide_with(certified(at, mine)), Decision::Verified { .. }));
    }
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
            Decision::CatchUp { goals, ballot } => {
                let until = goals.iter().map(|g| g.last).max().unwrap();
                prop_assert!(until > my && answers.values().all(|t| t.last <= until && t.ballot <= ballot));
            }
            Decision::Wait { missing } => prop_assert!(!missing.is_empty()),
            Decision::Quarantine(_) => prop_assert!(answers.values().any(|t| t.acknowledged.as_ref().is_some_and(|a| a.at > my))),
        }
    }
}
