//! What a vault does with the root's private half: it signs documents that it would install itself, and hands the private half over, sealed.

use bkv_core::id::Time;
use bkv_crypto::delivery::DeliveryError;
use bkv_wire::documents::{self, Content, DocumentError, HandoverError, Kind, add_signature, seal_root};

use super::Vault;
use crate::store::StoreError;

/// Why a document is not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("this vault does not hold the root's private half")]
    NotHeld,
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("the document has {0} signatures already: send it unsigned")]
    Signed(usize),
    #[error("the {kind} has number {got}, but number {seen} is in force: a new one needs a higher number")]
    NotNewer { kind: &'static str, seen: u64, got: u64 },
    #[error(
        "the {kind} has number {got}, but number {seen} is in force: at most {NUMBERS_AHEAD} more are signed at once"
    )]
    TooFar { kind: &'static str, seen: u64, got: u64 },
    #[error("the {0} would be in force for more than two years")]
    TooLong(&'static str),
    #[error(
        "field `shards`: the policy has {got} shards, this fleet has {now}, and the number never changes"
    )]
    Shards { now: usize, got: u16 },
}

/// Document numbers only grow. Sign no number far ahead: with `u64::MAX` no later document could be signed.
const NUMBERS_AHEAD: u64 = 1_000;
/// Longest validity of a document, so that none stays in force for good.
const LONGEST_MS: u64 = 2 * 366 * 24 * 3_600_000;

/// Why the private half is not handed over or accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOverError {
    #[error("this vault does not hold the root's private half")]
    NotHeld,
    #[error("no admission list is in force on this vault")]
    NoDocuments,
    #[error("this vault is not on the admission list")]
    NotAdmitted,
    #[error(transparent)]
    Delivery(#[from] HandoverError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The private half, sealed for one receiver.
pub(crate) struct Sealed {
    pub(crate) slot: u8,
    pub(crate) region: String,
    pub(crate) ciphertext: Vec<u8>,
}

impl Vault {
    /// Signs a document that this vault would install now. The caller has the role `admin`, and an in-fleet root demands no more. The checks prevent
    /// mistakes. They don't stop a malicious administrator.
    pub(crate) fn sign_document(&self, kind: Kind, unsigned: &[u8]) -> Result<Vec<u8>, SignError> {
        let key = self.custody.key().ok_or(SignError::NotHeld)?;
        let shown = documents::show_to_sign(unsigned)?;
        if shown.signatures != 0 {
            return Err(SignError::Signed(shown.signatures));
        }
        let signed = add_signature(kind, unsigned, &key)?;
        let now = Some(Time(self.clock.now_ms()));
        match kind {
            Kind::Admission => documents::admission(&self.root, &signed, now).map(drop)?,
            Kind::Policy => documents::policy(&self.root, &signed, now).map(drop)?,
        }
        let (got, ends) = match &shown.content {
            Content::Admission(a) => (a.number, a.not_after.0),
            Content::Policy(p) => {
                let now = self.node.replicas().len();
                if usize::from(p.shards) != now {
                    return Err(SignError::Shards { now, got: p.shards });
                }
                (p.number, p.not_after.0)
            }
        };
        if ends > self.clock.now_ms().saturating_add(LONGEST_MS) {
            return Err(SignError::TooLong(kind.name()));
        }
        let seen = self.number_in_force(kind);
        // An administrator may ask again for the document in force, for example after a crash. Ed25519 is deterministic, so the bytes are the same.
        if got <= seen && !self.is_in_force(kind, &signed) {
            return Err(SignError::NotNewer { kind: kind.name(), seen, got });
        }
        if got > seen.saturating_add(NUMBERS_AHEAD) {
            return Err(SignError::TooFar { kind: kind.name(), seen, got });
        }
        tracing::info!(kind = kind.name(), number = got, "signed a document with the in-fleet root");
        Ok(signed)
    }

    /// The highest number in force on this vault or in any shard, because this vault may be behind.
    fn number_in_force(&self, kind: Kind) -> u64 {
        let number = |d: &bkv_core::document::Documents| match kind {
            Kind::Admission => d.admission.number,
            Kind::Policy => d.policy.number,
        };
        let here = self.documents().map_or(0, |d| number(&d.documents));
        let shards = self
            .node
            .replicas()
            .iter()
            .filter_map(crate::replica::Replica::fleet)
            .map(|f| number(&f.documents));
        shards.max().unwrap_or(0).max(here)
    }

    fn is_in_force(&self, kind: Kind, signed: &[u8]) -> bool {
        self.documents().is_some_and(|d| match kind {
            Kind::Admission => d.documents.admission_signed == signed,
            Kind::Policy => d.documents.policy_signed == signed,
        })
    }

    /// Seals the private half for each other admitted vault. An attacker who copies the answer has only ciphertext.
    pub(crate) fn seal_root_for_members(&self) -> Result<Vec<Sealed>, HandOverError> {
        let key = self.custody.key().ok_or(HandOverError::NotHeld)?;
        let installed = self.documents().ok_or(HandOverError::NoDocuments)?;
        let me = self.node.node();
        let others = installed.documents.admission.members.iter().filter(|m| m.node != me);
        others
            .map(|m| {
                let delivery =
                    m.delivery.as_slice().try_into().map_err(|_| HandoverError::from(DeliveryError::Key))?;
                let ciphertext = seal_root(&self.root, &key, m.slot, &delivery)?;
                Ok(Sealed { slot: m.slot.0, region: m.region.clone(), ciphertext })
            })
            .collect()
    }

    /// Accepts the private half from another vault. Anybody can seal data to this vault's public key, so it keeps only the pinned root's private
    /// half.
    pub(crate) async fn take_root(&self, sealed: &[u8]) -> Result<(), HandOverError> {
        let slot = self.slot().ok_or(HandOverError::NotAdmitted)?;
        let key = self.keeper.open_root(&self.root, slot, sealed)?;
        if self.custody.key().is_some() {
            return Ok(());
        }
        let (name, row) = self.custody.row(&key);
        self.node.put_secret(name, row).await?;
        self.custody.hold(key);
        tracing::info!("holds the root's private half from now on");
        Ok(())
    }
}
