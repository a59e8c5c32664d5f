//! The pinned root: the keys whose signatures clients and vaults accept. Clients and vaults get it once, out of band.

use bkv_core::id::{Era, FleetId, Lineage, PublicKey};
use bkv_core::statement;
use prost::Message as _;

use super::error::{DocumentError, field};
use crate::proto::documents as p;

/// The root keys, their threshold, and the fleet that they belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// Distinct Ed25519 keys.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: u8,
    /// The fleet's id, which goes into the lineage.
    pub fleet: FleetId,
    /// Era of the fleet within the lineage.
    pub era: Era,
    /// The private key is unencrypted on a disk. Every program that uses the fleet shows a warning.
    pub development: bool,
}

impl Root {
    /// The lineage that follows from the first root's keys and the fleet id.
    pub fn lineage(&self) -> Lineage {
        statement::lineage(&self.keys, &self.fleet.0)
    }

    /// The encoded root, for a file or message.
    pub fn encode(&self) -> Vec<u8> {
        p::Root {
            keys: self.keys.iter().map(|k| k.0.to_vec().into()).collect(),
            threshold: u32::from(self.threshold),
            fleet: self.fleet.0.to_vec().into(),
            era: self.era.0,
            development: self.development,
        }
        .encode_to_vec()
    }

    /// Decodes a root and checks it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DocumentError> {
        let r = p::Root::decode(bytes)
            .map_err(|e| DocumentError::Malformed { what: "root", why: e.to_string() })?;
        if r.keys.is_empty() || r.keys.len() > 16 {
            return Err(field("keys", format!("{} keys; 1 to 16 are allowed", r.keys.len())));
        }
        let mut keys = Vec::with_capacity(r.keys.len());
        for k in &r.keys {
            let k = PublicKey::try_from(&k[..]).map_err(|e| field("keys", e.to_string()))?;
            if keys.contains(&k) {
                return Err(field("keys", "the same key twice"));
            }
            keys.push(k);
        }
        let threshold = u8::try_from(r.threshold).ok().filter(|t| *t >= 1 && usize::from(*t) <= keys.len());
        Ok(Self {
            threshold: threshold.ok_or_else(|| {
                field("threshold", format!("{}; 1 to {} is possible", r.threshold, keys.len()))
            })?,
            fleet: FleetId::try_from(&r.fleet[..]).map_err(|e| field("fleet", e.to_string()))?,
            era: Era(r.era),
            development: r.development,
            keys,
        })
    }
}
