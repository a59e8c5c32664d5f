//! The capability probe tries each operation once, with an object that ends with the session or is destroyed again. Another library checks the results,
//! so that the probe notices a module with wrong results.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::answer::brief;
use super::objects::{self, Keeping};
use super::session::Pkcs11Conn;
use crate::capability::{Cannot, Capabilities, Capability, Destruction};
use crate::encoding;
use crate::error::TokenError;
use crate::keys::{KeyName, VaultName};

const SHORT_LIVED: Keeping = Keeping { session_only: true };
/// An interrupted probe leaves objects of this name. The next probe removes them.
const PROBE: KeyName = KeyName::Probe;

type Tried = Result<(), String>;

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
            Err(why) => cannot.push(Cannot { capability, why }),
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
    let (public, private) = objects::make_pair(session, vault, PROBE, SHORT_LIVED).map_err(|e| brief(&e))?;
    let message = b"bkv/probe/1";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
    let signed = session.sign(&Mechanism::Ecdsa, private, digest.as_ref());
    let point = session.get_attributes(public, &[AttributeType::EcPoint]);
    let _ = session.destroy_object(private);
    let _ = session.destroy_object(public);
    let signature =
        encoding::signature_der(&signed.map_err(|e| brief(&e))?).ok_or("not r and s of 32 bytes")?;
    let point = point
        .map_err(|e| brief(&e))?
        .iter()
        .find_map(
            |a| if let Attribute::EcPoint(bytes) = a { encoding::uncompressed_point(bytes) } else { None },
        )
        .ok_or("no uncompressed P-256 point")?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(message, &signature)
        .map_err(|_| "its signature is wrong".to_owned())
}

fn hmac(session: &Session, vault: &VaultName, mechanism: &Mechanism, bytes: u32) -> Tried {
    let key = objects::make_secret(session, vault, PROBE, bytes, SHORT_LIVED).map_err(|e| brief(&e))?;
    let other = objects::make_secret(session, vault, PROBE, bytes, SHORT_LIVED).map_err(|e| brief(&e))?;
    // The key's value stays in the token, so the result can't be computed here. It must repeat, differ for another key or input, and have the right
    // length.
    let sign = |key, input: &[u8]| session.sign(mechanism, key, input);
    let results = (
        sign(key, b"bkv/probe/1"),
        sign(key, b"bkv/probe/1"),
        sign(key, b"bkv/probe/2"),
        sign(other, b"bkv/probe/1"),
    );
    let _ = session.destroy_object(key);
    let _ = session.destroy_object(other);
    let (Ok(first), Ok(again), Ok(input), Ok(key)) = &results else {
        let failed = [results.0, results.1, results.2, results.3].into_iter().find_map(Result::err);
        return Err(failed.map_or_else(String::new, |e| brief(&e)));
    };
    if first.len() != bytes as usize {
        Err(format!("gives {} bytes instead of {bytes}", first.len()))
    } else if first != again {
        Err("does not repeat its result".to_owned())
    } else if first == input || first == key {
        Err("gives the same result for another key or input".to_owned())
    } else {
        Ok(())
    }
}

fn data_object(session: &Session, vault: &VaultName) -> Tried {
    let label = || Attribute::Label(format!("bkv-probe/{vault}").into_bytes());
    let value = b"bkv/probe/1".to_vec();
    // An interrupted probe may have left some.
    let old = session.find_objects(&[Attribute::Class(ObjectClass::DATA), label()]).map_err(|e| brief(&e))?;
    for object in old {
        let _ = session.destroy_object(object);
    }
    let object = session
        .create_object(&[
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            label(),
            Attribute::Value(value.clone()),
        ])
        .map_err(|e| brief(&e))?;
    let read = session.get_attributes(object, &[AttributeType::Value]);
    session.destroy_object(object).map_err(|e| brief(&e))?;
    let same = read.map_err(|e| brief(&e))?.iter().any(|a| matches!(a, Attribute::Value(v) if *v == value));
    same.then_some(()).ok_or_else(|| "gives back another value".to_owned())
}

fn destruction(session: &Session, vault: &VaultName) -> Destruction {
    let find = || objects::find(session, vault, PROBE, ObjectClass::SECRET_KEY);
    let in_token = Keeping { session_only: false };
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
