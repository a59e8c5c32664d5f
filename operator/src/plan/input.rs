//! What a plan is made of.

use super::embedded::Embedded;
use crate::kinds::Kinds;
use crate::validate::Fleet;
use crate::validate::PullPolicy;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What was asked for.
    pub fleet: &'a Fleet,
    /// What the operator was started with.
    pub settings: &'a Settings,
    /// What is known of the fleet for good.
    pub journal: &'a Facts,
    /// What others' objects hold.
    pub content: &'a Content,
    /// What the operator carries with it.
    pub embedded: &'a Embedded,
    /// Kinds that the cluster knows.
    pub kinds: &'a Kinds,
}

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The vault's image, for fleets that are made from now on: the edge pins it in the journal. No pod of a plan uses it.
    pub vault_image: String,
    /// ChatD's image.
    pub chatd_image: String,
    /// Postgres' image.
    pub postgres_image: String,
    /// The copier's image, for fleets that are made from now on: as the vault's.
    pub copier_image: String,
    /// When images of ChatD and Postgres are pulled; the edge pins it for vaults.
    pub pull_policy: PullPolicy,
    /// The operator's version.
    pub version: String,
    /// Where the operator runs.
    pub operator_namespace: String,
}

/// What the journal says of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its id, 32 hexadecimal digits.
    pub fleet_id: String,
    /// The region whose vault makes the root.
    pub seed: String,
    /// The vault's image, pinned.
    pub vault_image: String,
    /// The copier's image, pinned: it stands in the pod template of vaults too.
    pub copier_image: String,
    /// When a vault's images are pulled, pinned for the same reason.
    pub pull_policy: PullPolicy,
    /// Every shard knows the fleet. Never goes back to false, or ChatD would be taken away.
    pub initialised: bool,
}

/// What others' objects hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The public root, once it is known. Keep giving it, or the ConfigMap that pods mount would be pruned.
    pub root: Option<Vec<u8>>,
    /// The document that `clientAuth.jwks.configMapRef` names. While it can't be read, give the last one that ChatD's own ConfigMap holds.
    pub jwks: Option<String>,
    /// The Secret of an external database has a `ca.crt`.
    pub external_uri_ca: bool,
    /// The port in the URL of an external database, for the NetworkPolicy; 5432 without.
    pub external_port: Option<u16>,
    /// PEM: who signs ChatD's web certificate, for a Gateway before it.
    pub web_authority: Option<String>,
}
