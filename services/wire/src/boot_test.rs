use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use bkv_core::document::Member;
use proptest::prelude::*;

use super::*;
use crate::test_keys::{list_of, spki};

struct Region {
    identity: EcdsaKeyPair,
    member: Member,
}

fn region(slot: u8) -> Region {
    let identity = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let member = Member {
        region: format!("r{slot}"),
        slot: Slot(slot),
        node: NodeId(u64::from(slot) * 7),
        identity: spki(&identity),
        delivery: vec![slot; 32],
    };
    Region { identity, member }
}

fn fleet() -> (Vec<Region>, Admission) {
    let regions: Vec<Region> = (1..=3).map(region).collect();
    let admission = list_of(regions.iter().map(|r| r.member.clone()).collect());
    (regions, admission)
}

fn claims(slot: u8) -> Claims {
    Claims {
        lineage: Lineage([1; 32]),
        era: Era(1),
        node: NodeId(u64::from(slot) * 7),
        slot: Slot(slot),
        admission: 4,
        key: PublicKey([9; 32]),
        not_before: Time(1_000),
        not_after: Time(1_000 + MAX_VALIDITY_MS),
    }
}

fn certify(r: &Region, c: &Claims) -> Vec<u8> {
    c.encode(r.identity.sign(&SystemRandom::new(), &c.statement()).unwrap().as_ref())
}

#[test]
fn a_certificate_by_the_admitted_identity_is_believed_within_its_dates() {
    let (rs, list) = fleet();
    let cert = certify(&rs[1], &claims(2));
    assert_eq!(verify(&cert, &list, Time(2_000)), Ok(BootKey { slot: Slot(2), key: PublicKey([9; 32]) }));
    for at in [999, 1_001 + MAX_VALIDITY_MS] {
        assert_eq!(verify(&cert, &list, Time(at)), Err(BootError::Dates(Slot(2))));
    }
}

/// S26: only the identity that the root admitted can certify keys for a slot.
#[test]
fn s26_a_boot_key_of_an_identity_that_is_not_on_the_list_is_refused() {
    let (rs, list) = fleet();
    let at = Time(2_000);
    assert_eq!(
        verify(&certify(&rs[0], &claims(2)), &list, at),
        Err(BootError::Signature(Slot(2))),
        "another region's identity"
    );
    assert_eq!(
        verify(&certify(&region(2), &claims(2)), &list, at),
        Err(BootError::Signature(Slot(2))),
        "a stranger's identity"
    );
    let changes: [fn(&mut Claims); 6] = [
        |c| c.node = NodeId(99),
        |c| c.slot = Slot(4),
        |c| c.admission = 5,
        |c| c.era = Era(2),
        |c| c.lineage = Lineage([2; 32]),
        |c| c.not_after = Time(1_001 + MAX_VALIDITY_MS),
    ];
    for change in changes {
        let mut c = claims(2);
        change(&mut c);
        assert!(verify(&certify(&rs[1], &c), &list, at).is_err(), "{c:?}");
    }
}

proptest! {
    #[test]
    fn s38_arbitrary_bytes_are_never_a_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(verify(&bytes, &fleet().1, Time(2_000)).is_err());
    }

    #[test]
    fn s38_a_changed_certificate_is_refused(at in 0usize..250, bit in 0u8..8) {
        let (rs, list) = fleet();
        let mut cert = certify(&rs[1], &claims(2));
        let at = at % cert.len();
        cert[at] ^= 1 << bit;
        // Protobuf may skip an unknown field: the test requires only that no other content is accepted.
        if let Ok(boot) = verify(&cert, &list, Time(2_000)) {
            prop_assert_eq!(boot, BootKey { slot: Slot(2), key: PublicKey([9; 32]) });
        }
    }
}
