//! The part of a vault's service that its replicas need: a boot key, certified by an identity in software.

use bkv_core::document::Admission;
use bkv_core::id::{NodeId, PublicKey, Time};
use bkv_fixtures::SoftwareIdentity;
use bkv_vault::peer::Body;
use bkv_vault::replica::PeerService;
use bkv_wire::boot::{Claims, MAX_VALIDITY_MS};
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use rand::rngs::OsRng;

use crate::rooted::fleet::now;

pub struct BootKey {
    key: SigningKey,
    certificate: Bytes,
}

impl BootKey {
    /// A new boot key of a member of the list.
    pub fn new(list: &Admission, node: NodeId, identity: &SoftwareIdentity) -> Self {
        let key = SigningKey::generate(&mut OsRng);
        let from = now().0 - 60_000;
        let claims = Claims {
            lineage: list.lineage,
            era: list.era,
            node,
            slot: list.node(node).unwrap().slot,
            admission: list.number,
            key: PublicKey(key.verifying_key().to_bytes()),
            not_before: Time(from),
            not_after: Time(from + MAX_VALIDITY_MS),
        };
        let certificate = claims.encode(&identity.sign(&claims.statement())).into();
        Self { key, certificate }
    }
}

#[async_trait::async_trait]
impl PeerService for BootKey {
    async fn handle(&self, _: NodeId, _: Body) -> Body {
        Body::Failed(bkv_wire::proto::peer::Failed { reason: "not here".into() })
    }

    fn sign(&self, statement: &[u8]) -> Option<(Bytes, Bytes)> {
        Some((self.certificate.clone(), self.key.sign(statement).to_bytes().to_vec().into()))
    }
}
