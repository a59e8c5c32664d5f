//! An attacker with the host, the module and the PIN tries to extract the keys. The attacker can use the keys while
//! on the host, but must not extract them.

use bkv_hsm::KeyName;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use crate::Stand;

/// S26: token keys never move.
pub(crate) fn s26_keys_cannot_be_read_wrapped_copied_or_loosened(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    token.epoch_create_blocking(1).unwrap();
    let before = token.mask_pad_blocking(b"p", &[0; 16]).unwrap();
    let session = stand.raw_session();
    // Cloud KMS makes no key for this.
    let wrapping = (!stand.kind.is_cloud_kms()).then(|| {
        session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[
                    Attribute::Token(false),
                    Attribute::Encrypt(true),
                    Attribute::Decrypt(true),
                    Attribute::Wrap(true),
                    Attribute::Unwrap(true),
                    Attribute::ValueLen(32u64.into()),
                ],
            )
            .unwrap()
    });
    let wraps = |mechanism: &Mechanism, object| {
        wrapping.is_some_and(|wrapping| session.wrap_key(mechanism, wrapping, object).is_ok())
    };

    for (key, class) in [
        (KeyName::Identity, ObjectClass::PRIVATE_KEY),
        (KeyName::Mask, ObjectClass::SECRET_KEY),
        (KeyName::Epoch(1), ObjectClass::SECRET_KEY),
    ] {
        let label = Attribute::Label(stand.label(key).into_bytes());
        let found = session.find_objects(&[Attribute::Class(class), label]).unwrap();
        assert_eq!(found.len(), 1, "{key}");
        let object = found[0];

        // Read.
        let read = session.get_attributes(object, &[AttributeType::Value]);
        let leaked = read.is_ok_and(|all| all.iter().any(|a| matches!(a, Attribute::Value(_))));
        assert!(!leaked, "{key}: its value can be read");

        // Wrap.
        for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad, Mechanism::AesCbcPad([0; 16])] {
            assert!(!wraps(&mechanism, object), "{key}: {mechanism:?} wraps it");
        }

        // Copy with weaker attributes. A copy without changes must not be weaker either.
        for loosened in [
            vec![Attribute::Extractable(true)],
            vec![Attribute::Sensitive(false)],
            vec![Attribute::Extractable(true), Attribute::Sensitive(false), Attribute::Token(false)],
            vec![Attribute::Private(false)],
        ] {
            assert!(session.copy_object(object, &loosened).is_err(), "{key}: a copy with {loosened:?}");
        }
        if let Ok(copy) = session.copy_object(object, &[Attribute::Token(false)]) {
            let read = session.get_attributes(copy, &[AttributeType::Value]);
            assert!(
                !read.is_ok_and(|all| all.iter().any(|a| matches!(a, Attribute::Value(_)))),
                "{key}: a copy"
            );
            assert!(!wraps(&Mechanism::AesKeyWrapPad, copy), "{key}: a copy");
            session.destroy_object(copy).unwrap();
        }

        // Weaken the attributes.
        for change in [
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::Private(false),
            Attribute::Derive(true),
        ] {
            assert!(
                session.update_attributes(object, std::slice::from_ref(&change)).is_err(),
                "{key}: {change:?}"
            );
        }
        let kept = session
            .get_attributes(
                object,
                &[AttributeType::Sensitive, AttributeType::Extractable, AttributeType::Private],
            )
            .unwrap();
        let right = [
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Private(!stand.kind.is_cloud_kms()),
        ];
        assert_eq!(kept, right, "{key}");

        // Derive a short key, which the attacker could brute-force.
        if class == ObjectClass::SECRET_KEY {
            use cryptoki::mechanism::MechanismType;
            use cryptoki::mechanism::hkdf::HkdfParams;
            let hkdf = Mechanism::HkdfDerive(HkdfParams::new(MechanismType::SHA256, None, None));
            let template = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(cryptoki::object::KeyType::GENERIC_SECRET),
                Attribute::Token(false),
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
                Attribute::ValueLen(1u64.into()),
            ];
            assert!(session.derive_key(&hkdf, object, &template).is_err(), "{key}: derives");
        }
    }
    assert_eq!(token.mask_pad_blocking(b"p", &[0; 16]).unwrap(), before, "and it still works");
}
