//! Objects in the token: makes keys, finds them, checks their attributes.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::answer;
use crate::encoding::P256_PARAMS;
use crate::keys::{KeyName, VaultName};

type Result<T> = std::result::Result<T, Error>;

/// Objects of `class` under the key's label.
pub(super) fn find(
    session: &Session,
    vault: &VaultName,
    key: KeyName,
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>> {
    session.find_objects(&[
        Attribute::Class(class),
        Attribute::Token(true),
        Attribute::Label(key.label(vault).into_bytes()),
    ])
}

/// Every key in the token whose label has our form, whichever vault it names.
pub(super) fn our_labels(session: &Session) -> Result<Vec<(VaultName, KeyName)>> {
    let mut ours = Vec::new();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY, ObjectClass::SECRET_KEY] {
        for object in session.find_objects(&[Attribute::Class(class), Attribute::Token(true)])? {
            // Another session may have destroyed the object since the search.
            let Ok(attributes) = session.get_attributes(object, &[AttributeType::Label]) else { continue };
            for attribute in attributes {
                if let Attribute::Label(label) = attribute
                    && let Ok(label) = std::str::from_utf8(&label)
                    && let Some(named) = KeyName::parse_label(label)
                {
                    ours.push(named);
                }
            }
        }
    }
    Ok(ours)
}

/// How long a key exists. The probe makes `session_only` keys, which the token destroys at the end of the session.
#[derive(Clone, Copy)]
pub(super) struct KeyLifetime {
    pub(super) session_only: bool,
}

fn named(vault: &VaultName, key: KeyName) -> [Attribute; 2] {
    [Attribute::Label(key.label(vault).into_bytes()), Attribute::Id(key.id(vault))]
}

/// Attributes of every key that this crate makes. They keep the key inside the token.
fn key_attributes(lifetime: KeyLifetime) -> Vec<Attribute> {
    vec![
        Attribute::Token(!lifetime.session_only),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        // CKA_DERIVE must be false. With CKM_EXTRACT_KEY_FROM_KEY an attacker could derive a one-byte key from each byte of this secret
        // and brute-force it byte by byte.
        Attribute::Derive(false),
    ]
}

/// Some modules refuse CKA_MODIFIABLE and CKA_COPYABLE. Then the key is made without them.
fn optional_attributes() -> [Attribute; 2] {
    [Attribute::Modifiable(false), Attribute::Copyable(false)]
}

/// Makes an EC P-256 pair. Returns the public and the private part.
pub(super) fn make_pair(
    session: &Session,
    vault: &VaultName,
    key: KeyName,
    lifetime: KeyLifetime,
) -> Result<(ObjectHandle, ObjectHandle)> {
    let mut public = vec![
        Attribute::Token(!lifetime.session_only),
        Attribute::Private(false),
        Attribute::EcParams(P256_PARAMS.to_vec()),
        Attribute::Verify(true),
    ];
    public.extend(named(vault, key));
    let mut private = key_attributes(lifetime);
    private.extend(named(vault, key));
    let strict = [private.as_slice(), &optional_attributes()].concat();
    match session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &strict) {
        Err(e) if answer::is_template(&e) => {
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        }
        done => done,
    }
}

/// Makes a generic secret of `bytes` bytes.
pub(super) fn make_secret(
    session: &Session,
    vault: &VaultName,
    key: KeyName,
    bytes: u32,
    lifetime: KeyLifetime,
) -> Result<ObjectHandle> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(u64::from(bytes).into()),
    ];
    template.extend(key_attributes(lifetime));
    template.extend(named(vault, key));
    let strict = [template.as_slice(), &optional_attributes()].concat();
    match session.generate_key(&Mechanism::GenericSecretKeyGen, &strict) {
        Err(e) if answer::is_template(&e) => session.generate_key(&Mechanism::GenericSecretKeyGen, &template),
        done => done,
    }
}

/// The attribute with which the key could leave the token, or None. An attribute that the module does not report counts as unsafe, except the optional
/// `CKA_DERIVE`.
pub(super) fn weakness(session: &Session, key: ObjectHandle) -> Result<Option<&'static str>> {
    let mut sensitive = false;
    let mut extractable = true;
    let mut private = false;
    let mut derives = false;
    let asked =
        [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::Private, AttributeType::Derive];
    for attribute in session.get_attributes(key, &asked)? {
        match attribute {
            Attribute::Sensitive(value) => sensitive = value,
            Attribute::Extractable(value) => extractable = value,
            Attribute::Private(value) => private = value,
            Attribute::Derive(value) => derives = value,
            _ => {}
        }
    }
    Ok(if extractable {
        Some("CKA_EXTRACTABLE is not false")
    } else if !sensitive {
        Some("CKA_SENSITIVE is not true")
    } else if !private {
        Some("CKA_PRIVATE is not true")
    } else if derives {
        Some("CKA_DERIVE is true")
    } else {
        None
    })
}
