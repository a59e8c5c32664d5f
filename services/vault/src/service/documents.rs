//! Admission list and policy on this vault: verified against the pinned root, stored, put in force, and proposed to the shards once the fleet is
//! made.

use std::sync::Arc;

use std::time::Duration;

use bkv_core::command::Command;
use bkv_core::document::{Documents, JwksSource, NewDocuments, Policy};
use bkv_core::id::{ShardId, Time};
use bkv_hsm::TokenError;
use bkv_tokens::{Confirmation, KeyRing, KeySource, KeysError, Refresh, Settings, Verifier};
use bkv_wire::documents::{self, DocumentError, Kind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Vault;
use crate::store::StoreError;

/// Leeway for token times, seconds.
pub(super) const LEEWAY: u64 = 60;

/// The documents in force.
#[derive(Debug)]
pub struct Installed {
    /// Both documents, signed and decoded.
    pub documents: Documents,
}

/// Why documents are refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// A document is invalid.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another number of shards would send people to shards where they have no key, and they would register anew.
    #[error(
        "field `shards`: the policy has {policy} shards, vault.toml has {configured}: both must have the same number, which never changes"
    )]
    Shards {
        /// In the policy.
        policy: u16,
        /// In vault.toml.
        configured: usize,
    },
    /// The issuer's keys can't be used.
    #[error("the policy's signing keys: {0}")]
    Keys(#[from] KeysError),
    /// The token failed.
    #[error("the boot key can't be certified: {0}")]
    Boot(#[from] TokenError),
}

impl Vault {
    /// Puts the documents of an earlier start in force.
    pub async fn restore_documents(&self, stop: &CancellationToken) -> Result<(), DocumentsError> {
        let (admission, policy) = (self.node.secret("admission")?, self.node.secret("policy")?);
        let (Some(a), Some(p)) = (admission, policy) else { return Ok(()) };
        // In a made fleet, expired documents stay in force until newer ones arrive: an old list is better than none. Clients check the dates themselves. A shard
        // without a fleet loses nothing by waiting, and its leader could choose a time at which an old list was valid.
        let made = self.node.replicas().iter().any(|r| r.fleet().is_some());
        match documents::bundle(&self.root, &a, &p, (!made).then(|| Time(self.clock.now_ms()))) {
            Ok(documents) => {
                self.check_shards(&documents.policy)?;
                self.obey(documents, stop).await
            }
            Err(error @ (DocumentError::Expired { .. } | DocumentError::NotYet { .. })) => {
                tracing::error!(%error, "the documents of an earlier start are not obeyed, because no fleet is made: install newer ones");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Obeys documents that a shard has applied, if they are newer than those in force. Otherwise a vault that was down while a list replaced a stolen identity
    /// would go on admitting the thief.
    pub(crate) async fn obey_applied(&self, stop: &CancellationToken) -> Result<(), DocumentsError> {
        for replica in self.node.replicas() {
            let Some(fleet) = replica.fleet() else { continue };
            let d = &fleet.documents;
            self.obey_newer(
                &d.admission_signed,
                &d.policy_signed,
                d.admission.number,
                d.policy.number,
                None,
                stop,
            )
            .await?;
        }
        Ok(())
    }

    /// Obeys documents that another vault has sent, if the root has signed them, they are valid now and newer than those in force. Empty: the other vault has none.
    pub async fn obey_sent(
        &self,
        admission: &[u8],
        policy: &[u8],
        stop: &CancellationToken,
    ) -> Result<(), DocumentsError> {
        let now = Some(Time(self.clock.now_ms()));
        let list = match admission {
            [] => 0,
            signed => documents::admission(&self.root, signed, now)?.number,
        };
        let rules = match policy {
            [] => 0,
            signed => documents::policy(&self.root, signed, now)?.number,
        };
        self.obey_newer(admission, policy, list, rules, now, stop).await
    }

    async fn obey_newer(
        &self,
        admission: &[u8],
        policy: &[u8],
        list: u64,
        rules: u64,
        at: Option<Time>,
        stop: &CancellationToken,
    ) -> Result<(), DocumentsError> {
        let _taking = self.taking.lock().await;
        let Some(known) = self.documents() else { return Ok(()) };
        let known = &known.documents;
        let (newer_list, newer_rules) = (list > known.admission.number, rules > known.policy.number);
        if !newer_list && !newer_rules {
            return Ok(());
        }
        let admission: &[u8] = if newer_list { admission } else { &known.admission_signed };
        let policy: &[u8] = if newer_rules { policy } else { &known.policy_signed };
        let documents = documents::bundle(&self.root, admission, policy, at)?;
        // Stored once, such a policy would keep this vault from starting again.
        self.check_shards(&documents.policy)?;
        tracing::info!(
            admission = documents.admission.number,
            policy = documents.policy.number,
            "newer documents are in force"
        );
        self.put_in_force(documents, stop).await
    }

    async fn put_in_force(
        &self,
        documents: Documents,
        stop: &CancellationToken,
    ) -> Result<(), DocumentsError> {
        self.node.put_secret("admission", documents.admission_signed.clone()).await?;
        self.node.put_secret("policy", documents.policy_signed.clone()).await?;
        self.obey(documents, stop).await
    }

    /// The signed documents in force, for a vault that has shown lower numbers. Empty if its number is not lower.
    pub(crate) fn newer_than(&self, admission: u64, policy: u64) -> (Vec<u8>, Vec<u8>) {
        let Some(installed) = self.documents() else { return (Vec::new(), Vec::new()) };
        let d = &installed.documents;
        let list = if d.admission.number > admission { d.admission_signed.clone() } else { Vec::new() };
        let rules = if d.policy.number > policy { d.policy_signed.clone() } else { Vec::new() };
        (list, rules)
    }

    /// Takes one document and returns its number. Nothing is in force before both are there.
    pub async fn install(
        &self,
        kind: Kind,
        signed: Vec<u8>,
        stop: &CancellationToken,
    ) -> Result<u64, DocumentsError> {
        let now = Time(self.clock.now_ms());
        let taking = self.taking.lock().await;
        let known = self.documents();
        let known = known.as_ref().map(|k| &k.documents);
        let number = match kind {
            Kind::Admission => {
                let list = documents::admission(&self.root, &signed, Some(now))?;
                let seen = known.map_or(0, |k| k.admission.number);
                newer(kind, seen, list.number)?;
                list.number
            }
            Kind::Policy => {
                let policy = documents::policy(&self.root, &signed, Some(now))?;
                let seen = known.map_or(0, |k| k.policy.number);
                newer(kind, seen, policy.number)?;
                self.check_shards(&policy)?;
                policy.number
            }
        };
        let pair = {
            let mut waiting = self.waiting_document.lock();
            match kind {
                Kind::Admission => waiting.0 = Some(signed),
                Kind::Policy => waiting.1 = Some(signed),
            }
            let admission = waiting.0.clone().or_else(|| known.map(|k| k.admission_signed.clone()));
            let policy = waiting.1.clone().or_else(|| known.map(|k| k.policy_signed.clone()));
            admission.zip(policy)
        };
        if let Some((admission, policy)) = pair {
            let documents = documents::bundle(&self.root, &admission, &policy, Some(now))?;
            self.put_in_force(documents, stop).await?;
            drop(taking);
            self.propose_documents().await;
        }
        Ok(number)
    }

    fn check_shards(&self, policy: &Policy) -> Result<(), DocumentsError> {
        let configured = self.node.replicas().len();
        if usize::from(policy.shards) == configured {
            return Ok(());
        }
        Err(DocumentsError::Shards { policy: policy.shards, configured })
    }

    /// Ends a halt or quarantine that the root has lifted. False if this vault has none with that id.
    pub(crate) async fn lift(&self, signed: &[u8]) -> Result<bool, DocumentsError> {
        let lift = documents::lift(&self.root, signed)?;
        if lift.node != self.node.node() {
            return Ok(false);
        }
        Ok(self.node.lift(ShardId(lift.shard), &lift.stop, signed).await?)
    }

    async fn obey(&self, documents: Documents, stop: &CancellationToken) -> Result<(), DocumentsError> {
        let list = Arc::new(documents.admission.clone());
        // A list that evicts an identity must not wait for the issuer, who may be slow, or an accomplice. The first list waits: nobody is admitted before.
        if self.documents().is_some() {
            self.node.set_admission(list.clone());
        }
        let policy = documents.policy.clone();
        let source = match &policy.jwks {
            JwksSource::Inline(json) => KeySource::Inline(json.clone()),
            JwksSource::Url(url) => KeySource::Url { url: url.clone(), ca_file: self.jwks_ca_file.clone() },
        };
        let ring = KeyRing::load(source).await?;
        let settings = Settings {
            issuer: policy.issuer.clone(),
            audience: policy.vault_audience.clone(),
            enrolment_claim: policy.enrolment_claim.clone(),
            leeway: LEEWAY,
            max_age: Some(policy.token_max_age_ms / 1000),
            confirmation: if policy.bound_tokens { Confirmation::Required } else { Confirmation::IfPresent },
        };
        let ring = self.put_tokens(Verifier::new(settings, ring));
        self.refresher.replace(ring, Refresh::default(), stop).await;
        self.boot.renew(&list, self.node.node(), self.clock.now_ms()).await?;
        self.keeper.set_slot(list.node(self.node.node()).map(|m| m.slot));
        self.put_documents(Arc::new(Installed { documents }));
        self.node.set_admission(list);
        Ok(())
    }

    /// Proposes the documents to the shards that this vault leads. The other leaders do the same for theirs.
    pub(crate) async fn propose_documents(&self) {
        let Some(installed) = self.documents() else { return };
        let d = &installed.documents;
        for replica in self.node.replicas() {
            let Some(fleet) = replica.fleet() else { continue };
            let behind = fleet.documents.admission.number < d.admission.number
                || fleet.documents.policy.number < d.policy.number;
            if behind && replica.status().borrow().lead {
                let new =
                    NewDocuments { admission: d.admission_signed.clone(), policy: d.policy_signed.clone() };
                let _ =
                    replica.propose(Command::Documents(new), Instant::now() + Duration::from_secs(5)).await;
            }
        }
    }
}

fn newer(kind: Kind, seen: u64, got: u64) -> Result<(), DocumentError> {
    if got < seen { Err(DocumentError::Older { kind: kind.name(), seen, got }) } else { Ok(()) }
}
