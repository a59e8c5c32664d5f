//! What a pass hands over for the status.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::conditions::Trouble;
use crate::decide::Decision;
use crate::journal::Journal;
use crate::observe::Observed;
use crate::resource::status::CertificateStatus;
use crate::validate::{Fleet, Tls};

/// What a pass observed and decided.
pub(crate) struct Pass<'a> {
    /// The valid spec.
    pub fleet: &'a Fleet,
    /// What exists.
    pub observed: &'a Observed,
    /// What was decided.
    pub decision: &'a Decision,
    /// The journal as it is now.
    pub journal: Option<&'a Journal>,
    /// What failed or is missing.
    pub troubles: &'a [Trouble],
    /// Every certificate.
    pub certificates: &'a [CertificateStatus],
    /// Fingerprint of the published root.
    pub root_fingerprint: Option<String>,
    /// Numbers of the documents in force.
    pub numbers: (Option<u64>, Option<u64>),
    /// Whether ChatD reaches its database. None if no ChatD was asked.
    pub database: Option<bool>,
    /// Hash of each region's pod template as planned.
    pub templates: &'a dyn Fn(&str) -> Option<String>,
    /// Waits older than the operator's patience: check and target.
    pub overdue: HashSet<(String, String)>,
    /// The operator's version.
    pub version: &'a str,
    /// Now.
    pub now: Time,
}

impl Pass<'_> {
    /// Whether a certificate should have been renewed by now. A leaf with a validity below the margin is not late merely because it ends soon.
    pub(super) fn renewal_is_late(&self, certificate: &CertificateStatus) -> bool {
        let (Tls::Builtin { leaf_validity, .. } | Tls::CertManager { leaf_validity, .. }) = &self.fleet.tls;
        let life = i64::try_from(leaf_validity.as_secs()).unwrap_or(i64::MAX);
        let left = certificate.not_after.0.as_second().saturating_sub(self.now.0.as_second());
        certificate.kind == "Authority" || left < life / 6
    }
}
