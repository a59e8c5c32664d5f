//! The values that a pass observes. All later stages decide from them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::api_server::{Absence, ClaimSeen, PodProblem, PodSeen, WorkloadSeen};
use crate::journal::{Journal, JournalError};
use crate::kinds::{Kind, Kinds};

/// The state of one fleet in the cluster.
#[derive(Debug)]
pub(crate) struct Observed {
    /// The journal.
    pub journal: Result<Option<Journal>, JournalError>,
    /// The public root that is published.
    pub root: Option<Vec<u8>>,
    /// The public root that people gave.
    pub given_root: Option<Vec<u8>>,
    /// The documents in force.
    pub documents: Signed,
    /// What people have signed.
    pub given: Signed,
    /// What people are asked to sign: kind → document.
    pub request: BTreeMap<String, Vec<u8>>,
    /// The issuer's keys, if they come from a ConfigMap and it holds some.
    pub jwks: Option<String>,
    /// Why the keys in that ConfigMap are unusable.
    pub jwks_fault: Option<String>,
    /// The issuer's keys that ChatD has now. It keeps them if their ConfigMap is deleted.
    pub served_jwks: Option<String>,
    /// Each region's pod.
    pub pods: BTreeMap<String, PodSeen>,
    /// Each region's StatefulSet.
    pub sets: BTreeMap<String, WorkloadSeen>,
    /// ChatD's Deployment.
    pub chatd: Option<WorkloadSeen>,
    /// Addresses of ChatD's pods that run.
    pub chatd_pods: Vec<IpAddr>,
    /// The managed Postgres' StatefulSet.
    pub postgres: Option<WorkloadSeen>,
    /// Problems of pods that are not vaults: name → problem.
    pub others: BTreeMap<String, PodProblem>,
    /// Volume claims.
    pub claims: Vec<ClaimSeen>,
    /// Kinds that the cluster knows and the operator may list.
    pub kinds: Kinds,
    /// Why the other kinds are left out.
    pub absent: BTreeMap<Kind, Absence>,
}

/// The two documents, signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signed {
    /// Which vaults exist.
    pub admission: Option<Vec<u8>>,
    /// What they enforce.
    pub policy: Option<Vec<u8>>,
}
