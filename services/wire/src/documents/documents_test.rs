use bkv_core::document::{JwksSource, Member};
use bkv_core::id::{Era, FleetId, Hash, Lineage, NodeId, Slot};
use bkv_core::record::{AttemptPolicy, KsfParams};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

fn key(n: u8) -> RootKey {
    RootKey::from_seed(&Zeroizing::new([n; 32]))
}

fn root(threshold: u8, keys: &[u8]) -> Root {
    Root {
        keys: keys.iter().map(|k| key(*k).public()).collect(),
        threshold,
        fleet: FleetId([7; 16]),
        era: Era(1),
        development: false,
    }
}

fn member(slot: u8) -> Member {
    let mut identity = body::P256_SPKI.to_vec();
    identity.resize(91, slot);
    Member {
        region: format!("region-{slot}"),
        slot: Slot(slot),
        node: NodeId(100 + u64::from(slot)),
        identity,
        delivery: vec![slot; 32],
    }
}

fn list(lineage: Lineage) -> Admission {
    Admission {
        lineage,
        era: Era(1),
        number: 3,
        not_before: Time(10),
        not_after: Time(1_000),
        threshold: 2,
        members: (1..=3).map(member).collect(),
        hash: Hash([0; 32]),
    }
}

fn rules(lineage: Lineage) -> Policy {
    Policy {
        lineage,
        era: Era(1),
        number: 1,
        not_before: Time(10),
        not_after: Time(1_000),
        issuer: "https://issuer.example".into(),
        vault_audience: "vault".into(),
        chatd_audience: "chatd".into(),
        jwks: JwksSource::Inline("{\"keys\":[]}".into()),
        enrolment_claim: None,
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0, 0, 60_000],
            last_try_ms: 86_400_000,
            attempt_ms: 60_000,
        },
        store_ms: 60_000,
        ksf_floor: KsfParams { memory_kib: 65_536, passes: 3, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 1 << 20, passes: 10, lanes: 4 },
        shards: 4,
        hash: Hash([0; 32]),
        development: false,
        token_max_age_ms: 600_000,
        bound_tokens: true,
    }
}

fn signed(kind: Kind, body: Vec<u8>, keys: &[u8]) -> Vec<u8> {
    keys.iter().fold(unsigned(kind, body), |doc, k| add_signature(kind, &doc, &key(*k)).unwrap())
}

#[test]
fn both_documents_round_trip() {
    let root = root(2, &[1, 2, 3]);
    let a = signed(Kind::Admission, write_admission(&list(root.lineage())).unwrap(), &[1, 3]);
    let p = signed(Kind::Policy, write_policy(&rules(root.lineage())).unwrap(), &[2, 3]);
    let read = bundle(&root, &a, &p, Some(Time(500))).unwrap();
    assert_eq!(Admission { hash: Hash([0; 32]), ..read.admission.clone() }, list(root.lineage()));
    assert_eq!(Policy { hash: Hash([0; 32]), ..read.policy.clone() }, rules(root.lineage()));
    assert_ne!(read.admission.hash, read.policy.hash);
    assert_eq!(Root::decode(&root.encode()).unwrap(), root);
}

/// S41: the same body with other signatures around it is the same document. Otherwise a signature that was added later would look like a second document of that number.
#[test]
fn s41_other_signatures_make_no_other_document() {
    let root = root(2, &[1, 2, 3]);
    let body = write_admission(&list(root.lineage())).unwrap();
    let hash =
        |keys: &[u8]| admission(&root, &signed(Kind::Admission, body.clone(), keys), None).unwrap().hash;
    assert_eq!(hash(&[1, 3]), hash(&[2, 1]));
    assert_eq!(hash(&[1, 3]), hash(&[1, 2, 3]));
    let next = write_admission(&Admission { number: 9, ..list(root.lineage()) }).unwrap();
    let next = admission(&root, &signed(Kind::Admission, next, &[1, 3]), None).unwrap();
    assert_ne!(hash(&[1, 3]), next.hash);
}

/// S06, S26: a document that the pinned root did not sign is refused.
#[test]
fn s06_what_the_root_did_not_sign_is_refused() {
    let root = root(2, &[1, 2, 3]);
    let body = write_admission(&list(root.lineage())).unwrap();
    let refused = |doc: &[u8]| admission(&root, doc, Some(Time(500))).unwrap_err();
    let short = DocumentError::Signatures { kind: "admission", want: 2, got: 1 };
    assert_eq!(refused(&signed(Kind::Admission, body.clone(), &[1])), short);
    assert_eq!(
        refused(&signed(Kind::Admission, body.clone(), &[1, 9])),
        short,
        "a stranger's key does not count"
    );
    // Two copies of one key's signature count once.
    let mut doc = p::SignedDocument::decode(&signed(Kind::Admission, body.clone(), &[1])[..]).unwrap();
    doc.signatures.push(doc.signatures[0].clone());
    assert_eq!(refused(&doc.encode_to_vec()), short);
    // A policy is not an admission list, even when the same bytes are signed.
    let as_policy = signed(Kind::Policy, body.clone(), &[1, 2]);
    assert!(matches!(refused(&as_policy), DocumentError::Kind { .. }));
    let mut relabelled = p::SignedDocument::decode(&as_policy[..]).unwrap();
    relabelled.kind = "admission".into();
    assert_eq!(
        refused(&relabelled.encode_to_vec()),
        DocumentError::Signatures { kind: "admission", want: 2, got: 0 }
    );
    // The same root keys signed a document of another fleet.
    let other = Root { fleet: FleetId([8; 16]), ..root.clone() };
    let foreign = signed(Kind::Admission, write_admission(&list(other.lineage())).unwrap(), &[1, 2]);
    assert_eq!(refused(&foreign), DocumentError::OtherFleet { kind: "admission" });
}

#[test]
fn s06_dates_are_judged() {
    let root = root(1, &[1]);
    let doc = signed(Kind::Admission, write_admission(&list(root.lineage())).unwrap(), &[1]);
    assert!(matches!(admission(&root, &doc, Some(Time(9))), Err(DocumentError::NotYet { .. })));
    assert!(matches!(admission(&root, &doc, Some(Time(1_001))), Err(DocumentError::Expired { .. })));
    assert!(admission(&root, &doc, None).is_ok());
}

#[test]
fn every_rule_of_the_admission_list_names_its_field() {
    let lineage = root(1, &[1]).lineage();
    let breaks: [(&str, fn(&mut Admission)); 10] = [
        ("members", |a| a.members.truncate(2)),
        ("members", |a| a.members.clear()),
        ("members[1].slot", |a| a.members[1].slot = Slot(3)),
        ("members[0].slot", |a| a.members[0].slot = Slot(0)),
        ("members[2].node", |a| a.members[2].node = a.members[0].node),
        ("members[2].region", |a| a.members[2].region = "region-1".into()),
        ("members[1].identity", |a| a.members[1].identity = a.members[0].identity.clone()),
        ("members[1].identity", |a| a.members[1].identity.truncate(90)),
        ("members[0].delivery", |a| a.members[0].delivery.push(0)),
        ("threshold", |a| a.threshold = 1),
    ];
    for (name, change) in breaks {
        let mut a = list(lineage);
        change(&mut a);
        match write_admission(&a) {
            Err(DocumentError::Field { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn every_rule_of_the_policy_names_its_field() {
    let lineage = root(1, &[1]).lineage();
    let breaks: [(&str, fn(&mut Policy)); 11] = [
        ("vault_audience", |p| p.vault_audience = "chatd".into()),
        ("issuer", |p| p.issuer.clear()),
        ("jwks_url", |p| p.jwks = JwksSource::Url("http://plain.example/jwks".into())),
        ("attempts.max", |p| p.attempts.max = 0),
        ("attempts.max", |p| p.attempts.max = 21),
        ("attempts.lifetime_failures", |p| p.attempts.lifetime_failures = 9),
        ("ksf_floor", |p| p.ksf_floor.memory_kib = 1024),
        ("ksf_floor", |p| p.ksf_ceiling.passes = 2),
        ("shards", |p| p.shards = 0),
        ("token_max_age_ms", |p| p.token_max_age_ms = 59_999),
        ("token_max_age_ms", |p| p.token_max_age_ms = 86_400_001),
    ];
    for (name, change) in breaks {
        let mut p = rules(lineage);
        change(&mut p);
        match write_policy(&p) {
            Err(DocumentError::Field { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// An offline root's policy that says `development` would drop the floor of key stretching: passwords would be unstretched for whoever has the data of
/// t regions later.
#[test]
fn s56_a_development_policy_needs_a_development_root() {
    let root = root(1, &[1]);
    let mut rules = rules(root.lineage());
    rules.development = true;
    rules.ksf_floor = KsfParams { memory_kib: 8, passes: 1, lanes: 1 };
    let document = signed(Kind::Policy, write_policy(&rules).unwrap(), &[1]);
    let list = signed(Kind::Admission, write_admission(&list(root.lineage())).unwrap(), &[1]);
    for refused in [policy(&root, &document, None).err(), bundle(&root, &list, &document, None).err()] {
        assert!(matches!(refused, Some(DocumentError::Field { field, .. }) if field == "development"));
    }
    let development = Root { development: true, ..root };
    assert!(policy(&development, &document, None).unwrap().development);
}

/// S56: a field that this version does not know can't be shown, so it is not signed.
#[test]
fn s56_a_document_with_unknown_fields_is_not_signed() {
    let lineage = root(1, &[1]).lineage();
    for (kind, body) in [
        (Kind::Policy, write_policy(&rules(lineage)).unwrap()),
        (Kind::Admission, write_admission(&list(lineage)).unwrap()),
    ] {
        assert!(show_to_sign(&unsigned(kind, body.clone())).is_ok());
        // Field 99, varint 1; and a repeated known field, of which the last one counts.
        for tail in [&[0x98, 0x06, 0x01][..], &body] {
            let more = unsigned(kind, [&body, tail].concat());
            assert!(show_to_sign(&more).is_err(), "{kind:?}");
        }
        let more = unsigned(kind, [&body[..], &[0x98, 0x06, 0x01]].concat());
        assert!(
            show(&more).is_ok()
                && show_to_sign(&more).err() == Some(DocumentError::NotWhole { kind: kind.name() })
        );
    }
}

#[test]
fn s56_an_unknown_kind_reaches_no_terminal_raw() {
    let mut doc = p::SignedDocument::decode(&unsigned(Kind::Policy, vec![])[..]).unwrap();
    doc.kind = "\u{1b}[2J".into();
    let error = show(&doc.encode_to_vec()).unwrap_err().to_string();
    assert!(error.chars().all(|c| matches!(c, ' '..='~')), "{error}");
}

proptest! {
    #[test]
    fn s38_arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let root = root(1, &[1]);
        prop_assert!(admission(&root, &bytes, None).is_err());
        prop_assert!(policy(&root, &bytes, None).is_err());
        let _ = Root::decode(&bytes);
        let _ = body::read_admission(&bytes, Hash([0; 32]));
        let _ = body::read_policy(&bytes, Hash([0; 32]));
    }

    #[test]
    fn s38_a_changed_document_says_the_same_or_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let root = root(1, &[1]);
        let mut doc = signed(Kind::Policy, write_policy(&rules(root.lineage())).unwrap(), &[1]);
        let at = at.index(doc.len());
        doc[at] ^= 1 << bit;
        if let Ok(read) = policy(&root, &doc, Some(Time(500))) {
            prop_assert_eq!(Policy { hash: Hash([0; 32]), ..read }, rules(root.lineage()));
        }
    }
}
