//! The input of a plan.

use super::embedded::Embedded;
use crate::certificates::Certificates;
use crate::credentials::ExternalDatabase;
use crate::journal::Journal;
use crate::kinds::Kinds;
use crate::observe::Observed;
use crate::validate::Fleet;
use crate::validate::PullPolicy;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The valid spec.
    pub fleet: &'a Fleet,
    /// What the operator was started with.
    pub settings: &'a Settings,
    /// The journal. Of its fields, the plan uses those that never change.
    pub journal: &'a Journal,
    /// Every shard knows the fleet. It must never return to false, or the operator would prune ChatD.
    pub initialised: bool,
    /// The content of objects that the plan does not make but depends on.
    pub content: &'a Content,
    /// The embedded alerts and dashboard.
    pub embedded: &'a Embedded,
    /// Kinds that the cluster knows.
    pub kinds: &'a Kinds,
}

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The vault's image for new fleets. The journal pins it, and no planned pod uses it directly.
    pub vault_image: String,
    /// ChatD's image.
    pub chatd_image: String,
    /// Postgres' image.
    pub postgres_image: String,
    /// The copier's image for new fleets. The journal pins it like the vault's.
    pub copier_image: String,
    /// When images of ChatD and Postgres are pulled. The journal pins it for vaults.
    pub pull_policy: PullPolicy,
    /// The operator's version.
    pub version: String,
    /// The operator's namespace.
    pub operator_namespace: String,
}

/// The content of objects that the plan does not make but depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The public root, once it is known. Without it the operator would prune the ConfigMap that pods mount.
    pub root: Option<Vec<u8>>,
    /// The document that `clientAuth.jwks.configMapRef` names. While that can't be read, the last one from ChatD's own ConfigMap.
    pub jwks: Option<String>,
    /// The Secret of an external database has a `ca.crt`.
    pub external_uri_ca: bool,
    /// The port in the URL of an external database, for the NetworkPolicy. None means 5432.
    pub external_port: Option<u16>,
    /// PEM of the authority that signs ChatD's web certificate, for a Gateway before it.
    pub web_authority: Option<String>,
}

impl Content {
    /// From what a pass has observed so far.
    pub(crate) fn of(
        observed: &Observed,
        external: ExternalDatabase,
        certificates: Option<&Certificates>,
    ) -> Self {
        Self {
            root: observed.root.clone(),
            jwks: observed.jwks.clone().or_else(|| observed.served_jwks.clone()),
            external_uri_ca: external.authority,
            external_port: external.port,
            web_authority: certificates.and_then(|c| c.web_authority.clone()),
        }
    }
}
