//! What a pass hands over for the status.

use bkv_wire::documents::{Root, admission, fingerprint, policy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::apply::ApplyReport;
use crate::conditions::Trouble;
use crate::decide::Decision;
use crate::journal::Journal;
use crate::observe::Observed;
use crate::resource::status::CertificateStatus;
use crate::validate::{Fleet, Tls};
use crate::vaults::Answers;

/// What a pass observed, decided and applied.
pub(crate) struct Outcome<'a> {
    /// The valid spec.
    pub fleet: &'a Fleet,
    /// What exists.
    pub observed: &'a Observed,
    /// What the vaults answered.
    pub answers: &'a Answers,
    /// What was decided.
    pub decision: &'a Decision,
    /// The journal as this pass observed it, before its actions.
    pub journal: Option<&'a Journal>,
    /// What became of the plan.
    pub applied: &'a ApplyReport,
    /// Every certificate.
    pub certificates: &'a [CertificateStatus],
    /// When the next web authority begins to sign. None if there is no next one.
    pub web_change: Option<Timestamp>,
    /// What failed or is missing.
    pub troubles: Vec<Trouble>,
    /// The time of the pass.
    pub now: Time,
}

impl Outcome<'_> {
    /// Fingerprint of the published root.
    pub(super) fn root_fingerprint(&self) -> Option<String> {
        self.observed.root.as_ref().map(|b| fingerprint("root", b))
    }

    /// Numbers of the documents in force: admission list and policy.
    pub(super) fn numbers(&self) -> (Option<u64>, Option<u64>) {
        let documents = &self.observed.documents;
        let Some(root) = self.observed.root.as_ref().and_then(|b| Root::decode(b).ok()) else {
            return (None, None);
        };
        let list = documents.admission.as_ref().and_then(|b| admission(&root, b, None).ok());
        let rules = documents.policy.as_ref().and_then(|b| policy(&root, b, None).ok());
        (list.map(|l| l.number), rules.map(|p| p.number))
    }

    /// Whether a certificate should have been renewed by now. A leaf with a validity below the margin is not late merely because it ends soon.
    pub(super) fn renewal_is_late(&self, certificate: &CertificateStatus) -> bool {
        let (Tls::Builtin { leaf_validity, .. } | Tls::CertManager { leaf_validity, .. }) = &self.fleet.tls;
        let life = i64::try_from(leaf_validity.as_secs()).unwrap_or(i64::MAX);
        let left = certificate.not_after.0.as_second().saturating_sub(self.now.0.as_second());
        certificate.kind == "Authority" || left < life / 6
    }
}
