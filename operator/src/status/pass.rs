//! What a pass hands over for the status.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::bootstrap::Decision;
use crate::conditions::Trouble;
use crate::journal::Journal;
use crate::observe::Observed;
use crate::resource::status::CertificateStatus;
use crate::validate::{Fleet, Tls};

/// What a pass saw and did.
pub struct Pass<'a> {
    /// What was asked for.
    pub fleet: &'a Fleet,
    /// What is.
    pub observed: &'a Observed,
    /// What was decided.
    pub decision: &'a Decision,
    /// The journal as it is now.
    pub journal: Option<&'a Journal>,
    /// What could not be done, and what is missing.
    pub troubles: &'a [Trouble],
    /// Every certificate.
    pub certificates: &'a [CertificateStatus],
    /// Fingerprint of the published root.
    pub root_fingerprint: Option<String>,
    /// Numbers of the documents in force.
    pub numbers: (Option<u64>, Option<u64>),
    /// Does ChatD reach its database? None: it was not asked.
    pub database: Option<bool>,
    /// Hash of each region's pod template as planned.
    pub templates: &'a dyn Fn(&str) -> Option<String>,
    /// Waits that have lasted longer than they may: check and target.
    pub overdue: HashSet<(String, String)>,
    /// The operator's version.
    pub version: &'a str,
    /// Now.
    pub now: Time,
}

impl Pass<'_> {
    /// Is a certificate past the point at which it should have been renewed? One that is issued for less than the margin is not late by itself.
    pub(super) fn renewal_is_late(&self, certificate: &CertificateStatus) -> bool {
        let (Tls::Builtin { leaf_validity, .. } | Tls::CertManager { leaf_validity, .. }) = &self.fleet.tls;
        let life = i64::try_from(leaf_validity.as_secs()).unwrap_or(i64::MAX);
        let left = certificate.not_after.0.as_second().saturating_sub(self.now.0.as_second());
        certificate.kind == "Authority" || left < life / 6
    }
}
