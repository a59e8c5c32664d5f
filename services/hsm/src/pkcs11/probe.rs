//! The capability probe tries each operation once, with an object that ends with the session or is destroyed again. Another library checks the results,
//! so that the probe notices a module with wrong results.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::answer::brief;
use super::objects::{self, KeyLifetime};
use super::session::Pkcs11Conn;
use crate::capability::{Cannot, Capabilities, Capability, Destruction};
use crate::encoding;
use crate::error::TokenError;
use crate::keys::{KeyName, VaultName};

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
    MacLength { got: usize, want: u32 },
    #[error("the HMAC of the same input differs")]
    MacNotRepeated,
    #[error("another key or another input has the same HMAC")]
    MacNotUnique,
    #[error("the object returns another value")]
    OtherValue,
}

impl From<Error> for Lack {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

type Tried = Result<(), Lack>;

pub(super) fn probe(conn: &Pkcs11Conn, context: &Pkcs11, slot: Slot) -> Result<Capabilities, TokenError> {
    let library = context.get_library_info().map_err(conn.refused("the library's description"))?;
    let token = context.get_token_info(slot).map_err(conn.refused("the token's description"))?;
    let session = &conn.session;
    let vault = &conn.common.vault;
    let mut can = Vec::new();
    let mut cannot = Vec::new();
    for (capability, tried) in [
        (Capability::EcdsaP256, ecdsa(session, vault)),
        (Capability::HmacSha256, hmac(session, vault, &Mechanism::Sha256Hmac, 32)),
        (Capability::HmacSha512, hmac(session, vault, &Mechanism::Sha512Hmac, 64)),
        (Capability::DataObjects, data_object(session, vault)),
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
        destruction: destruction(session, vault),
    })
}

fn ecdsa(session: &Session, vault: &VaultName) -> Tried {
    let (public, private) = objects::make_pair(session, vault, PROBE, SHORT_LIVED)?;
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

fn hmac(session: &Session, vault: &VaultName, mechanism: &Mechanism, bytes: u32) -> Tried {
    let key = objects::make_secret(session, vault, PROBE, bytes, SHORT_LIVED)?;
    let other = objects::make_secret(session, vault, PROBE, bytes, SHORT_LIVED)?;
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
    if first.len() != bytes as usize {
        Err(Lack::MacLength { got: first.len(), want: bytes })
    } else if first != again {
        Err(Lack::MacNotRepeated)
    } else if first == other_input || first == other_key {
        Err(Lack::MacNotUnique)
    } else {
        Ok(())
    }
}

fn data_object(session: &Session, vault: &VaultName) -> Tried {
    let label = || Attribute::Label(format!("bkv-probe/{vault}").into_bytes());
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

fn destruction(session: &Session, vault: &VaultName) -> Destruction {
    let find = || objects::find(session, vault, PROBE, ObjectClass::SECRET_KEY);
    let in_token = KeyLifetime { session_only: false };
    let Ok(old) = find() else { return Destruction::Unknown };
    for object in old {
        let _ = session.destroy_object(object);
    }
    let Ok(object) = objects::make_secret(session, vault, PROBE, 32, in_token) else {
        return Destruction::Unknown;
    };
    match (session.destroy_object(object), find()) {
        (Ok(()), Ok(left)) if left.is_empty() => Destruction::Immediate,
        (Ok(()), Ok(_)) => Destruction::Delayed,
        _ => Destruction::Unknown,
    }
}
