//! The capability probe tries each operation once, with an object that ends with the session or is destroyed again. Another library checks the results,
//! so that the probe notices a module with wrong results.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::answer::brief;
use super::dialect::{KeyLifetime, Names, Secret};
use super::objects::{self, NoKey};
use super::session::Pkcs11Conn;
use crate::capability::{Cannot, Capabilities, Capability, Destruction};
use crate::encoding;
use crate::error::TokenError;
use crate::keys::KeyName;

const SHORT_LIVED: KeyLifetime = KeyLifetime { session_only: true };
/// An interrupted probe leaves objects of this name. The next probe removes them.
const PROBE: KeyName = KeyName::Probe;

/// Why the module lacks a capability. The text goes into the report of the probe.
#[derive(Debug, thiserror::Error)]
enum Lack {
    #[error("{}", brief(.0))]
    Refused(Error),
    #[error("the signature is not r and s of 32 bytes")]
    SignatureForm,
    #[error("the public key is no uncompressed P-256 point")]
    PointForm,
    #[error("the signature is wrong")]
    WrongSignature,
    #[error("the HMAC has {got} bytes instead of {want}")]
    MacLength { got: usize, want: u8 },
    #[error("the HMAC of the same input differs")]
    MacNotRepeated,
    #[error("another key or another input has the same HMAC")]
    MacNotUnique,
    #[error("the object returns another value")]
    OtherValue,
    #[error("the module does not list {0}")]
    NotListed(MechanismType),
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<NoKey> for Lack {
    fn from(no_key: NoKey) -> Self {
        Self::Refused(no_key.error)
    }
}

type Tried = Result<(), Lack>;

pub(super) fn probe(conn: &Pkcs11Conn, context: &Pkcs11, slot: Slot) -> Result<Capabilities, TokenError> {
    let library = context.get_library_info().map_err(conn.refused("the library's description"))?;
    let token = context.get_token_info(slot).map_err(conn.refused("the token's description"))?;
    let session = &conn.session;
    let names = conn.common.names();
    let mut can = Vec::new();
    let mut cannot = Vec::new();
    // A service that uses a name once would keep the keys of each probe. Its list of mechanisms must do instead.
    let [ecdsa, sha256, sha512] = if names.dialect.uses_names_once() {
        let listed = context.get_mechanism_list(slot).map_err(conn.refused("the list of mechanisms"))?;
        [MechanismType::ECDSA, MechanismType::SHA256_HMAC, MechanismType::SHA512_HMAC]
            .map(|m| if listed.contains(&m) { Ok(()) } else { Err(Lack::NotListed(m)) })
    } else {
        [
            ecdsa(session, names),
            hmac(session, names, &Mechanism::Sha256Hmac, Secret::Sha256),
            hmac(session, names, &Mechanism::Sha512Hmac, Secret::Sha512),
        ]
    };
    for (capability, tried) in [
        (Capability::EcdsaP256, ecdsa),
        (Capability::HmacSha256, sha256),
        (Capability::HmacSha512, sha512),
        (Capability::DataObjects, data_object(session, names)),
    ] {
        match tried {
            Ok(()) => can.push(capability),
            Err(lack) => cannot.push(Cannot { capability, why: lack.to_string() }),
        }
    }
    Ok(Capabilities {
        library: library.library_description().trim().to_owned(),
        library_version: library.library_version().to_string(),
        cryptoki_version: library.cryptoki_version().to_string(),
        token_model: format!("{} {}", token.manufacturer_id().trim(), token.model().trim()),
        firmware_version: token.firmware_version().to_string(),
        can,
        cannot,
        destruction: destruction(session, names),
    })
}

fn ecdsa(session: &Session, names: Names<'_>) -> Tried {
    let (public, private) = objects::make_pair(session, names, PROBE, SHORT_LIVED)?;
    let message = b"bkv/probe/1";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
    let signed = session.sign(&Mechanism::Ecdsa, private, digest.as_ref());
    let point = session.get_attributes(public, &[AttributeType::EcPoint]);
    let _ = session.destroy_object(private);
    let _ = session.destroy_object(public);
    let signature = encoding::signature_der(&signed?).ok_or(Lack::SignatureForm)?;
    let point = point?
        .iter()
        .find_map(
            |a| if let Attribute::EcPoint(bytes) = a { encoding::uncompressed_point(bytes) } else { None },
        )
        .ok_or(Lack::PointForm)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(message, &signature)
        .map_err(|_| Lack::WrongSignature)
}

fn hmac(session: &Session, names: Names<'_>, mechanism: &Mechanism, secret: Secret) -> Tried {
    let key = objects::make_secret(session, names, PROBE, secret, SHORT_LIVED)?;
    let other = objects::make_secret(session, names, PROBE, secret, SHORT_LIVED)?;
    // The key's value stays in the token, so the result can't be computed here. It must repeat, differ for another key or input, and have the right
    // length.
    let sign = |key, input: &[u8]| session.sign(mechanism, key, input);
    let first = sign(key, b"bkv/probe/1");
    let again = sign(key, b"bkv/probe/1");
    let other_input = sign(key, b"bkv/probe/2");
    let other_key = sign(other, b"bkv/probe/1");
    let _ = session.destroy_object(key);
    let _ = session.destroy_object(other);
    let (first, again, other_input, other_key) = (first?, again?, other_input?, other_key?);
    if first.len() != usize::from(secret.bytes()) {
        Err(Lack::MacLength { got: first.len(), want: secret.bytes() })
    } else if first != again {
        Err(Lack::MacNotRepeated)
    } else if first == other_input || first == other_key {
        Err(Lack::MacNotUnique)
    } else {
        Ok(())
    }
}

fn data_object(session: &Session, names: Names<'_>) -> Tried {
    let label = || Attribute::Label(format!("bkv-probe/{}", names.vault).into_bytes());
    let value = b"bkv/probe/1".to_vec();
    // Remove what an interrupted probe left.
    for object in session.find_objects(&[Attribute::Class(ObjectClass::DATA), label()])? {
        let _ = session.destroy_object(object);
    }
    let object = session.create_object(&[
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Private(true),
        label(),
        Attribute::Value(value.clone()),
    ])?;
    let read = session.get_attributes(object, &[AttributeType::Value]);
    session.destroy_object(object)?;
    let same = read?.iter().any(|a| matches!(a, Attribute::Value(v) if *v == value));
    same.then_some(()).ok_or(Lack::OtherValue)
}

fn destruction(session: &Session, names: Names<'_>) -> Destruction {
    if names.dialect.uses_names_once() {
        // Cloud KMS can restore the version of a key for a month after its destruction (https://cloud.google.com/kms/docs/destroy-restore).
        return Destruction::Delayed;
    }
    let find = || objects::find(session, names, PROBE, ObjectClass::SECRET_KEY);
    let in_token = KeyLifetime { session_only: false };
    let Ok(old) = find() else { return Destruction::Unknown };
    for object in old {
        let _ = session.destroy_object(object);
    }
    let Ok(object) = objects::make_secret(session, names, PROBE, Secret::Sha256, in_token) else {
        return Destruction::Unknown;
    };
    match (session.destroy_object(object), find()) {
        (Ok(()), Ok(left)) if left.is_empty() => Destruction::Immediate,
        (Ok(()), Ok(_)) => Destruction::Delayed,
        _ => Destruction::Unknown,
    }
}
