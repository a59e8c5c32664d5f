//! What the modules of clouds refuse, and what a vault does then.

use bkv_hsm::{Capability, KeyName, Op, Outcome, Token, TokenError, VaultName};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use crate::Stand;

/// Cloud KMS makes both parts of a pair at once, so a ceremony can stop only between its two keys.
pub(crate) fn a_ceremony_that_stopped_after_the_identity_goes_on(stand: &Stand) {
    let token = stand.connect_one();
    let template = [
        Attribute::Label(stand.label(KeyName::Identity).into_bytes()),
        // CKA_KMS_ALGORITHM: EC_SIGN_P256_SHA256.
        Attribute::VendorDefined((AttributeType::VendorDefined(0x8001_E101), 12u64.to_ne_bytes().to_vec())),
    ];
    stand.raw_session().generate_key_pair(&Mechanism::EccKeyPairGen, &[], &template).unwrap();
    let done = token.provision_blocking().unwrap();
    assert_eq!(done.found, [stand.label(KeyName::Identity)]);
    assert_eq!(done.made, [stand.label(KeyName::Mask)]);
    assert!(done.removed.is_empty());
}

pub(crate) fn a_region_name_that_is_too_long_is_refused_at_the_start(stand: &Stand) {
    let long = VaultName::new(&"x".repeat(50)).unwrap();
    let why = Token::connect(&stand.config(), &long).unwrap_err().to_string();
    assert!(why.contains("63 characters") && why.contains("shorter region name"), "{why}");
}

/// S24: without data objects there is no anchor. The start then asks the other vaults, and nothing else changes.
pub(crate) fn s24_a_module_without_data_objects_leaves_no_anchor(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    let why = token.anchor_put_blocking([1; 32]).unwrap_err();
    assert!(matches!(&why, TokenError::Refused { what: "a data object for the anchor", .. }), "{why}");
    assert_eq!(token.anchor_take_blocking().unwrap(), None);
    assert!(token.health().is_up());
    token.mask_pad_blocking(b"p", &[0; 16]).unwrap();
}

/// CloudHSM has no CKA_COPYABLE. Without it, a key is still made with CKA_MODIFIABLE false.
pub(crate) fn a_key_is_as_strict_as_the_module_allows(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    let session = stand.raw_session();
    for (key, class) in
        [(KeyName::Identity, ObjectClass::PRIVATE_KEY), (KeyName::Mask, ObjectClass::SECRET_KEY)]
    {
        let label = Attribute::Label(stand.label(key).into_bytes());
        let found = session.find_objects(&[Attribute::Class(class), label]).unwrap();
        let strict = session.get_attributes(found[0], &[AttributeType::Modifiable]).unwrap();
        assert_eq!(strict, [Attribute::Modifiable(false)], "{key}");
    }
}

/// A quota refuses operations like a broken device does. The vault waits a moment and keeps its sessions: otherwise a busy second would cut it off.
pub(crate) fn a_quota_that_is_used_up_delays_and_loses_nothing(stand: &Stand) {
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    let threads: Vec<_> = (0..8u8)
        .map(|i| {
            let token = token.clone();
            std::thread::spawn(move || {
                (0..20).map(|_| token.mask_pad_blocking(&[i], &[i; 16])).collect::<Result<Vec<_>, _>>()
            })
        })
        .collect();
    for thread in threads {
        let pads = thread.join().unwrap().unwrap();
        assert!(pads.windows(2).all(|two| two[0] == two[1]));
    }
    assert!(token.counters().iter().all(|c| c.outcome == Outcome::Ok), "{:?}", token.counters());
    let connected = token.counters().iter().find(|c| c.op == Op::Connect).map(|c| c.count);
    assert_eq!(connected, Some(3), "no session was opened again");
}

pub(crate) fn fewer_sessions_than_wanted_are_enough(stand: &Stand) {
    let mut config = stand.config();
    config.pool = 12;
    let token = Token::connect(&config, &Stand::vault()).unwrap();
    token.provision_blocking().unwrap();
    bkv_fixtures::eventually("the module refuses a session", || {
        token.counters().iter().any(|c| c.op == Op::Connect && c.outcome == Outcome::Refused)
    });
    assert!(token.health().is_up());
    token.mask_pad_blocking(b"p", &[0; 16]).unwrap();
}

pub(crate) fn a_module_without_hmac_is_named(stand: &Stand) {
    let token = stand.connect_one();
    let found = token.probe_blocking().unwrap();
    assert!(!found.serves());
    assert_eq!(found.can, [Capability::EcdsaP256]);
    assert!(found.cannot.iter().any(|c| c.why.contains("CKM_SHA512_HMAC")), "{:?}", found.cannot);
    let why = token.provision_blocking().unwrap_err().to_string();
    assert!(why.contains("a 64-byte generic secret"), "{why}");
}

pub(crate) fn the_attribute_that_is_refused_is_named(stand: &Stand) {
    let token = stand.connect_one();
    let before = stand.raw_session().find_objects(&[]).unwrap().len();
    let why = token.provision_blocking().unwrap_err().to_string();
    assert!(why.contains("makes the key without CKA_DERIVE"), "{why}");
    assert_eq!(stand.raw_session().find_objects(&[]).unwrap().len(), before, "no trial key is left");
}
