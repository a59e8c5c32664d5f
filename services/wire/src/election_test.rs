use ed25519_dalek::Signer as _;

use super::*;
use crate::test_keys::{Vault, list, vault};

const SHARD: u16 = 3;
const VOTE: Ballot = Ballot { term: 7, node: NodeId(1) };

fn fleet(regions: u8) -> (Vec<Vault>, Admission) {
    let vaults: Vec<Vault> = (1..=regions).map(vault).collect();
    let list = list(&vaults);
    (vaults, list)
}

impl Vault {
    fn votes(&self, list: &Admission, shard: u16, vote: Ballot) -> p::Voted {
        let statement = statement::voted(&list.lineage, list.era, self.member.node, shard, vote);
        p::Voted {
            certificate: self.certificate(list, list.number).into(),
            signature: self.boot.sign(&statement).to_bytes().to_vec().into(),
        }
    }
}

/// S49: the leader and these voters.
#[test]
fn s49_a_leader_shows_the_votes_of_a_majority() {
    for (regions, needed) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let (vaults, list) = fleet(regions);
        let votes: Vec<_> = vaults[1..].iter().map(|v| v.votes(&list, SHARD, VOTE)).collect();
        assert_eq!(verify(&votes, SHARD, VOTE, &list), Ok(()), "{regions}");
        assert_eq!(verify(&votes[..needed], SHARD, VOTE, &list), Ok(()), "{regions}");
        if let Some(holds) = needed.checked_sub(1) {
            let few = NotElected { vote: VOTE, holds, needed, unknown_voter: false };
            assert_eq!(verify(&votes[..holds], SHARD, VOTE, &list), Err(few), "{regions}");
        }
    }
}

/// S49: what a rooted vault has without the votes of a majority.
#[test]
fn s49_nothing_else_shows_a_majority() {
    let (vaults, list) = fleet(5);
    let voted = |i: usize| vaults[i].votes(&list, SHARD, VOTE);
    let node = vaults[0].member.node;
    let (stranger, mut junk) = (vault(3), voted(2));
    junk.signature = vec![0; 64].into();
    let mut borrowed = voted(2);
    borrowed.certificate = voted(1).certificate;
    let none = [
        ("its own", voted(0)),
        ("the same voter twice", voted(1)),
        ("another shard", vaults[2].votes(&list, SHARD + 1, VOTE)),
        ("another term", vaults[2].votes(&list, SHARD, Ballot { term: 6, node })),
        ("another candidate", vaults[2].votes(&list, SHARD, Ballot { term: 7, node: NodeId(2) })),
        ("an identity that is not admitted", stranger.votes(&list, SHARD, VOTE)),
        ("another voter's certificate", borrowed),
        ("no signature of that length", p::Voted { signature: vec![0; 63].into(), ..voted(2) }),
        ("no signature", junk),
        ("nothing", p::Voted::default()),
    ];
    for (what, other) in none {
        let votes = [voted(1), other];
        let error = verify(&votes, SHARD, VOTE, &list).unwrap_err();
        assert_eq!(error.holds, 1, "{what}");
        assert_eq!(error.unknown_voter, what == "an identity that is not admitted", "{what}");
    }
    // A voter may obey a newer list, and its certificate is older than a day.
    let mut later = voted(2);
    later.certificate = vaults[2].certificate(&list, list.number + 1).into();
    assert_eq!(verify(&[voted(1), later], SHARD, VOTE, &list), Ok(()));
    // No more are read than the list has vaults.
    let many: Vec<_> = std::iter::repeat_n(p::Voted::default(), 5).chain([voted(1), voted(2)]).collect();
    assert!(verify(&many, SHARD, VOTE, &list).is_err());
}
