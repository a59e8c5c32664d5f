//! The ceremony, the keys in service, and what the pool does under load.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use bkv_hsm::{Capability, Destruction, KeyName, Op, Outcome, Token, TokenError, VaultName};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};

use crate::Stand;
use crate::stand::Kind;

const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn verify(spki: &[u8], message: &[u8], signature: &[u8]) {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[26..]).verify(message, signature).unwrap();
}

pub(crate) fn ceremony_makes_what_is_missing_and_can_be_repeated(stand: &Stand) {
    let token = stand.connect().unwrap();
    assert!(matches!(token.mask_pad_blocking(b"p", &[0; 16]), Err(TokenError::NotProvisioned { .. })));
    let error = token.sign_ecdsa_p256_blocking(b"m").unwrap_err();
    assert!(
        error.to_string().contains(&stand.label(KeyName::Identity)) && error.to_string().contains("ceremony"),
        "{error}"
    );
    assert!(token.health().is_up());

    let first = token.provision_blocking().unwrap();
    assert_eq!(first.made, [stand.label(KeyName::Identity), stand.label(KeyName::Mask)]);
    assert!(first.found.is_empty() && first.removed.is_empty());
    let again = token.provision_blocking().unwrap();
    assert_eq!(again.found, first.made);
    assert!(again.made.is_empty() && again.removed.is_empty());
    assert_eq!(again.identity_spki, first.identity_spki);
    assert_eq!(token.identity_spki_blocking().unwrap(), first.identity_spki);
    for i in 0..stand.rounds(200u32) {
        let message = i.to_be_bytes();
        verify(&first.identity_spki, &message, &token.sign_ecdsa_p256_blocking(&message).unwrap());
    }
}

/// A token after a crash in the ceremony has one or more halves of identities and no mask.
pub(crate) fn ceremony_resumes_after_a_crash_half_way(stand: &Stand) {
    let mut token = stand.connect_one();
    let session = stand.raw_session();
    let label = || Attribute::Label(KeyName::Identity.label(&Stand::vault()).into_bytes());
    let make = |public_stays: bool, private_stays: bool| {
        let (public, private) = session
            .generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &[
                    Attribute::Token(true),
                    Attribute::EcParams(P256.to_vec()),
                    Attribute::Verify(true),
                    label(),
                ],
                &[
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Sign(true),
                    Attribute::Derive(false),
                    label(),
                ],
            )
            .unwrap();
        if !public_stays {
            session.destroy_object(public).unwrap();
        }
        if !private_stays {
            session.destroy_object(private).unwrap();
        }
    };
    let mask = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Label(KeyName::Mask.label(&Stand::vault()).into()),
    ];
    for halves in [
        &[(true, false)][..],
        &[(false, true)],
        &[(true, true), (true, true)],
        &[(true, false), (false, true), (true, false)],
    ] {
        for (public, private) in halves {
            make(*public, *private);
        }
        let done = token.provision_blocking().unwrap();
        let left: usize = halves.iter().map(|(a, b)| usize::from(*a) + usize::from(*b)).sum();
        assert_eq!(done.removed, [("bkv/test/one/identity".to_owned(), left)]);
        assert_eq!(done.made.len(), 2);
        verify(&done.identity_spki, b"m", &token.sign_ecdsa_p256_blocking(b"m").unwrap());
        // Remove all keys and connect again, as after a ceremony that never ended.
        for object in session.find_objects(&mask).unwrap() {
            session.destroy_object(object).unwrap();
        }
        for object in session.find_objects(&[label()]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        token = stand.connect_one();
    }
    // Halves of two pairs have the right number of objects. Only a signature shows the mismatch.
    make(true, false);
    make(false, true);
    let error = token.provision_blocking().unwrap_err();
    assert!(matches!(error, TokenError::Damaged { .. }), "{error}");
    assert!(
        session.find_objects(&mask).unwrap().is_empty(),
        "a pair that does not match must not end the ceremony"
    );
}

pub(crate) fn ceremony_refuses_to_touch_a_damaged_token(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    let session = stand.raw_session();
    let label = Attribute::Label(KeyName::Identity.label(&Stand::vault()).into_bytes());
    let public =
        session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), label.clone()]).unwrap()[0];
    session.destroy_object(public).unwrap();
    let error = token.provision_blocking().unwrap_err();
    let TokenError::Damaged { what, .. } = &error else { panic!("{error}") };
    assert!(what.contains("1 private and 0 public"), "{what}");
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), label];
    assert_eq!(session.find_objects(&private).unwrap().len(), 1, "nothing was removed");
}

/// An attacker with the PIN stores an extractable key under our label and waits for the vault to use it.
pub(crate) fn a_weak_key_under_our_label_is_refused(stand: &Stand) {
    let token = stand.connect_one();
    let session = stand.raw_session();
    let plant = |key: KeyName, bytes: u64, sensitive: bool, extractable: bool, derive: bool| {
        session
            .generate_key(
                &Mechanism::GenericSecretKeyGen,
                &[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(sensitive),
                    Attribute::Extractable(extractable),
                    Attribute::Derive(derive),
                    Attribute::Sign(true),
                    Attribute::ValueLen(bytes.into()),
                    Attribute::Label(key.label(&Stand::vault()).into_bytes()),
                ],
            )
            .unwrap()
    };
    for (sensitive, extractable, derive, named) in [
        (true, true, false, "CKA_EXTRACTABLE"),
        (false, false, false, "CKA_SENSITIVE"),
        (true, false, true, "CKA_DERIVE"),
    ] {
        let mask = plant(KeyName::Mask, 64, sensitive, extractable, derive);
        let error = token.mask_pad_blocking(b"p", &[0; 16]).unwrap_err();
        assert!(matches!(error, TokenError::WeakKey { .. }) && error.to_string().contains(named), "{error}");
        assert!(matches!(stand.connect(), Err(TokenError::WeakKey { .. })), "{named} at connection");
        assert!(
            matches!(token.provision_blocking(), Err(TokenError::WeakKey { .. })),
            "{named} in the ceremony"
        );
        session.destroy_object(mask).unwrap();
        let epoch = plant(KeyName::Epoch(1), 32, sensitive, extractable, derive);
        assert!(matches!(token.epoch_create_blocking(1), Err(TokenError::WeakKey { .. })), "{named}");
        assert!(matches!(token.epoch_mac_blocking(1, b"i"), Err(TokenError::WeakKey { .. })), "{named}");
        session.destroy_object(epoch).unwrap();
    }
}

/// An attacker with the PIN stores keys whose values the attacker chose, under our labels, before the vault makes them.
pub(crate) fn s26_a_key_that_was_brought_in_is_refused(stand: &Stand) {
    let token = stand.connect_one();
    let session = stand.raw_session();
    let plant = |key: KeyName, value: Vec<u8>| {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Derive(false),
            Attribute::Sign(true),
            Attribute::Value(value),
            Attribute::Label(stand.label(key).into_bytes()),
        ];
        session.create_object(&template).unwrap()
    };
    let brought_in = |result: Result<(), TokenError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, TokenError::WeakKey { .. }) && error.to_string().contains("CKA_LOCAL"),
            "{error}"
        );
    };
    token.provision_blocking().unwrap();
    let epoch = plant(KeyName::Epoch(1), vec![7; 32]);
    brought_in(token.epoch_create_blocking(1).map(drop));
    brought_in(token.epoch_mac_blocking(1, b"i").map(drop));
    session.destroy_object(epoch).unwrap();
    plant(KeyName::Mask, vec![7; 64]);
    brought_in(token.provision_blocking().map(drop));
    brought_in(stand.connect().map(drop));
}

pub(crate) fn results_survive_a_reconnect_and_differ_by_input(stand: &Stand) {
    let results = |token: &Token| {
        let mut all = vec![];
        for (place, salt) in [(&b"a"[..], [0; 16]), (b"b", [0; 16]), (b"a", [1; 16]), (b"", [0; 16])] {
            all.push(token.mask_pad_blocking(place, &salt).unwrap().to_vec());
        }
        for (epoch, info) in [(1, &b"a"[..]), (1, b"b"), (2, b"a")] {
            all.push(token.epoch_mac_blocking(epoch, info).unwrap().to_vec());
        }
        all
    };
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    for epoch in [1, 2] {
        assert!(token.epoch_create_blocking(epoch).unwrap());
    }
    let first = results(&token);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), first.len());
    let spki = token.identity_spki_blocking().unwrap();
    assert!(token.close());
    let token = stand.connect().unwrap();
    assert_eq!(results(&token), first);
    assert_eq!(token.identity_spki_blocking().unwrap(), spki);
}

pub(crate) fn epochs_come_and_go(stand: &Stand) {
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    assert_eq!(token.epochs_blocking().unwrap(), Vec::<u64>::new());
    assert!(token.epoch_create_blocking(7).unwrap());
    assert!(!token.epoch_create_blocking(7).unwrap());
    assert!(token.epoch_create_blocking(3).unwrap());
    assert_eq!(token.epochs_blocking().unwrap(), [3, 7]);
    let key = token.epoch_mac_blocking(7, b"i").unwrap();
    assert!(token.epoch_destroy_blocking(7).unwrap());
    assert!(!token.epoch_destroy_blocking(7).unwrap());
    // Every session may still hold the old handle.
    for _ in 0..20 {
        let error = token.epoch_mac_blocking(7, b"i").unwrap_err();
        assert_eq!(error, TokenError::NoEpoch { token: crate::stand::LABEL.into(), epoch: 7 });
    }
    assert_eq!(token.epochs_blocking().unwrap(), [3]);
    if stand.kind.is_cloud_kms() {
        // A destroyed CryptoKey keeps its name, and its version could be restored.
        let why = token.epoch_create_blocking(7).unwrap_err().to_string();
        assert!(why.contains("keeps its name") && why.contains(&stand.label(KeyName::Epoch(7))), "{why}");
    } else {
        assert!(token.epoch_create_blocking(7).unwrap());
        assert_ne!(token.epoch_mac_blocking(7, b"i").unwrap(), key, "a new key, not the old one again");
    }
    assert!(token.health().is_up());
}

/// S26: a token is bound to its vault.
pub(crate) fn s26_a_token_of_another_vault_is_refused_by_both_names(stand: &Stand) {
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    let other = VaultName::new("test/two").unwrap();
    let error = Token::connect(&stand.config(), &other).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TokenError::ForeignVault { .. }), "{text}");
    assert!(
        text.contains("'test/one'") && text.contains("'test/two'") && text.contains(crate::stand::LABEL),
        "{text}"
    );
}

pub(crate) fn capabilities_are_probed(stand: &Stand) {
    let token = stand.connect_one();
    let before = stand.raw_session().find_objects(&[]).unwrap().len();
    let found = token.probe_blocking().unwrap();
    println!("{found:?}");
    assert!(found.serves());
    let needed = [Capability::EcdsaP256, Capability::HmacSha256, Capability::HmacSha512];
    if matches!(stand.kind, Kind::Gcp | Kind::Aws) {
        assert_eq!(found.can, needed);
        let [data] = found.cannot.as_slice() else { panic!("{:?}", found.cannot) };
        assert_eq!(data.capability, Capability::DataObjects);
        assert!(data.why.contains("C_CreateObject"), "{}", data.why);
    } else {
        assert_eq!(found.can, [needed.as_slice(), &[Capability::DataObjects]].concat());
    }
    let restorable = stand.kind.is_cloud_kms();
    assert_eq!(found.destruction, if restorable { Destruction::Delayed } else { Destruction::Immediate });
    assert!(!found.library.is_empty() && !found.library_version.is_empty() && !found.token_model.is_empty());
    assert_eq!(stand.raw_session().find_objects(&[]).unwrap().len(), before, "the probe leaves nothing");
    assert_eq!(token.epochs_blocking().unwrap(), Vec::<u64>::new());
}

/// Two threads and eight tasks use three sessions while epoch keys are made and destroyed. Every result is right.
pub(crate) fn threads_and_tasks_hammer_the_pool(stand: &Stand) {
    let token = stand.connect().unwrap();
    let rounds = stand.rounds(300u32);
    let spki = token.provision_blocking().unwrap().identity_spki;
    token.epoch_create_blocking(1).unwrap();
    let expected =
        Arc::new((0..8u8).map(|i| token.mask_pad_blocking(&[i], &[i; 16]).unwrap()).collect::<Vec<_>>());
    let data_key = token.epoch_mac_blocking(1, b"i").unwrap();

    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (token, spki) = (token.clone(), spki.clone());
            std::thread::spawn(move || {
                for i in 0..rounds {
                    let message = i.to_be_bytes();
                    verify(&spki, &message, &token.sign_ecdsa_p256_blocking(&message).unwrap());
                }
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..8u8 {
            let (token, expected, data_key) = (token.clone(), Arc::clone(&expected), data_key.clone());
            tasks.spawn(async move {
                for _ in 0..rounds {
                    assert_eq!(token.mask_pad(&[i], &[i; 16]).await.unwrap(), expected[usize::from(i)]);
                    assert_eq!(token.epoch_mac(1, b"i").await.unwrap(), data_key);
                }
            });
        }
        for epoch in 100..110 {
            assert!(token.epoch_create(epoch).await.unwrap());
            token.epoch_mac(epoch, b"i").await.unwrap();
            assert!(token.epoch_destroy(epoch).await.unwrap());
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        token.check().await.unwrap();
    });
    for thread in threads {
        thread.join().unwrap();
    }
    let count = |op, outcome| {
        token.counters().iter().find(|c| c.op == op && c.outcome == outcome).map_or(0, |c| c.count)
    };
    // The pool answers the caller before it counts the call.
    bkv_fixtures::eventually("all are counted", || {
        let counted = [
            count(Op::MaskPad, Outcome::Ok),
            count(Op::SignIdentity, Outcome::Ok),
            count(Op::EpochDestroy, Outcome::Ok),
        ];
        counted == [8 + 8 * u64::from(rounds), 2 * u64::from(rounds), 10]
    });
    assert!(token.counters().iter().all(|c| c.outcome == Outcome::Ok), "{:?}", token.counters());
}

/// S24: an anchor proves one start. A second one replaces it, a copy of it planted beside it voids both, and a reconnect changes nothing.
pub(crate) fn s24_an_anchor_is_taken_once(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    assert_eq!(token.anchor_take_blocking().unwrap(), None);
    token.anchor_put_blocking([1; 32]).unwrap();
    token.anchor_put_blocking([2; 32]).unwrap();
    assert!(token.close());
    let token = stand.connect_one();
    assert_eq!(token.anchor_take_blocking().unwrap(), Some([2; 32]));
    assert_eq!(token.anchor_take_blocking().unwrap(), None);

    token.anchor_put_blocking([3; 32]).unwrap();
    let raw = stand.raw_session();
    raw.create_object(&[
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Label(format!("bkv/{}/anchor", Stand::vault()).into_bytes()),
        Attribute::Value(vec![3; 32]),
    ])
    .unwrap();
    assert_eq!(token.anchor_take_blocking().unwrap(), None);
    assert_eq!(token.anchor_take_blocking().unwrap(), None);
}
