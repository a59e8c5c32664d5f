use ed25519_dalek::Signer as _;
use proptest::prelude::*;

use super::*;
use crate::test_keys::{Vault, list, vault};

const SHARD: u16 = 3;

fn fleet() -> (Vec<Vault>, Admission) {
    let vaults: Vec<Vault> = (1..=3).map(vault).collect();
    let list = list(&vaults);
    (vaults, list)
}

impl Vault {
    /// The vault signs a chain hash as the leader of a term.
    fn signs(&self, list: &Admission, term: u64, index: u64, chain: Hash) -> p::Appended {
        let node = self.member.node;
        let signed = Signed { vote: Ballot { term, node }, index, chain };
        p::Appended {
            vote: Some(p::Vote { term, node: node.0, committed: true }),
            index,
            chain: chain.0.to_vec().into(),
            certificate: self.certificate(list, list.number).into(),
            signature: self.boot.sign(&signed.statement(list, SHARD)).to_bytes().to_vec().into(),
        }
    }
}

fn content(n: u8) -> Hash {
    hash::entry_content(&[n])
}

/// The chain hash behind these entries.
fn behind(entries: &[u8]) -> Hash {
    entries.iter().fold(Hash([0; 32]), |chain, n| hash::chain(&chain, &content(*n)))
}

fn index(entries: &[u8]) -> u64 {
    entries.len() as u64
}

/// Claims that a vault has signed the entries `lower` and then the entries `upper`.
fn accuse(by: &Vault, list: &Admission, lower: &[u8], upper: &[u8]) -> p::Equivocation {
    let contents = upper[lower.len()..].iter().flat_map(|n| content(*n).0);
    p::Equivocation {
        shard: u32::from(SHARD),
        lower: Some(by.signs(list, 7, index(lower), behind(lower))),
        upper: Some(by.signs(list, 7, index(upper), behind(upper))),
        chain: behind(&upper[..lower.len()]).0.to_vec().into(),
        contents: contents.collect::<Vec<_>>().into(),
    }
}

#[test]
fn s48_two_histories_of_one_leader_are_a_proof() {
    let (vaults, list) = fleet();
    for upper in [&[1, 2, 9][..], &[1, 2, 9, 4], &[9, 2, 3], &[9, 2, 3, 4, 5, 6]] {
        let proof = accuse(&vaults[0], &list, &[1, 2, 3], upper);
        assert_eq!(verify(&proof, &list).unwrap().vote.node, vaults[0].member.node, "{upper:?}");
    }
    // A leader may have obeyed a newer list, and its certificate may be older than a day.
    let mut proof = accuse(&vaults[0], &list, &[1, 2], &[1, 3]);
    proof.upper.as_mut().unwrap().certificate = vaults[0].certificate(&list, list.number + 1).into();
    assert!(verify(&proof, &list).is_ok());
}

#[test]
fn s48_nobody_else_can_be_accused() {
    let (vaults, list) = fleet();
    // One history, signed twice.
    let same = accuse(&vaults[0], &list, &[1, 2], &[1, 2, 3]);
    assert_eq!(verify(&same, &list), Err(Unproven::NoContradiction));
    let honest = accuse(&vaults[0], &list, &[1, 2], &[1, 3, 4]);
    assert!(verify(&honest, &list).is_ok());
    let changed = |change: &dyn Fn(&mut p::Equivocation)| {
        let mut proof = honest.clone();
        change(&mut proof);
        verify(&proof, &list)
    };
    let lower = |e: &mut p::Equivocation, a: p::Appended| e.lower = Some(a);
    // A later leader may have replaced what an earlier one had signed.
    let later = vaults[0].signs(&list, 8, 2, behind(&[1, 2]));
    assert_eq!(changed(&|e| lower(e, later.clone())), Err(Unproven::NoContradiction));
    // Two vaults.
    let other = vaults[1].signs(&list, 7, 2, behind(&[1, 2]));
    assert_eq!(changed(&|e| lower(e, other.clone())), Err(Unproven::NoContradiction));
    // A vault that signs in another's name.
    let mut forged = vaults[1].signs(&list, 7, 2, behind(&[1, 2]));
    forged.vote.as_mut().unwrap().node = vaults[0].member.node.0;
    assert!(matches!(changed(&|e| lower(e, forged.clone())), Err(Unproven::OtherNode(..))));
    forged.certificate = vaults[0].certificate(&list, list.number).into();
    assert_eq!(changed(&|e| lower(e, forged.clone())), Err(Unproven::Signature));
    // Another shard, made-up contents, a made-up branch, too many or too few entries between.
    assert_eq!(changed(&|e| e.shard += 1), Err(Unproven::Signature));
    assert_eq!(changed(&|e| e.contents = vec![0; 32].into()), Err(Unproven::NoContradiction));
    assert_eq!(changed(&|e| e.chain = vec![0; 32].into()), Err(Unproven::NoContradiction));
    assert_eq!(changed(&|e| e.contents = vec![0; 64].into()), Err(Unproven::Malformed));
    assert_eq!(changed(&|e| e.contents = vec![0; 31].into()), Err(Unproven::Malformed));
    let swapped = |e: &mut p::Equivocation| std::mem::swap(&mut e.lower, &mut e.upper);
    assert_eq!(changed(&swapped), Err(Unproven::NoContradiction));
    let far = |e: &mut p::Equivocation| {
        e.upper = Some(vaults[0].signs(&list, 7, 3 + MOST_BETWEEN as u64, behind(&[1])));
        e.contents = vec![0; 32 * (MOST_BETWEEN + 1)].into();
    };
    assert_eq!(changed(&far), Err(Unproven::Malformed));
    // A list with another identity of that vault: what its predecessor signed does not exclude it.
    let mut replaced = list.clone();
    replaced.members[0] = vault(1).member;
    assert!(matches!(verify(&honest, &replaced), Err(Unproven::Certificate(_))));
}

proptest! {
    /// Two signatures on one growing log never accuse its leader, whatever else is claimed.
    #[test]
    fn s48_no_claim_accuses_an_honest_leader(
        log in proptest::collection::vec(any::<u8>(), 1..12),
        (lower, upper) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        contents in proptest::collection::vec(any::<u8>(), 0..12),
        chain in prop_oneof![any::<[u8; 32]>(), any::<prop::sample::Index>().prop_map(|_| [0; 32])],
        cut in any::<prop::sample::Index>(),
    ) {
        let (vaults, list) = fleet();
        let at = |i: prop::sample::Index| &log[..=i.index(log.len())];
        let (lower, upper) = (at(lower), at(upper));
        let leader = &vaults[0];
        for chain in [chain, behind(&log[..=cut.index(log.len())]).0] {
            let proof = p::Equivocation {
                shard: u32::from(SHARD),
                lower: Some(leader.signs(&list, 7, index(lower), behind(lower))),
                upper: Some(leader.signs(&list, 7, index(upper), behind(upper))),
                chain: chain.to_vec().into(),
                contents: contents.iter().flat_map(|n| content(*n).0).collect::<Vec<_>>().into(),
            };
            prop_assert!(verify(&proof, &list).is_err());
        }
    }

    #[test]
    fn s38_arbitrary_proofs_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        use prost::Message as _;
        let (_, list) = fleet();
        if let Ok(proof) = p::Equivocation::decode(&bytes[..]) {
            let _ = verify(&proof, &list);
        }
    }
}
