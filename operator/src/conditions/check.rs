//! The checks: what a pass can wait for, who can end the wait, what the wait means and what to do.

use strum::{IntoStaticStr, VariantArray};

use Ends::{ByItself, ByPeople};

/// Who ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It usually ends by itself. `Stalled` becomes True after ten minutes.
    ByItself,
    /// Only a person ends it. `Stalled` becomes True at once.
    ByPeople,
}

/// What a pass can wait for (`status.waits[].check`). Two checks share a name where the same fault can be of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[allow(missing_docs)] // meaning() explains each of them
pub enum Check {
    AdmissionSignature,
    BeingCollected,
    Certificate,
    #[strum(serialize = "Certificate")]
    CertificateRefused,
    ContainerEnds,
    #[strum(serialize = "ContainerEnds")]
    ContainerKeepsEnding,
    ContainerNotMade,
    DocumentsGone,
    FleetLost,
    FleetUnconfirmed,
    ForeignFleet,
    ImageUnavailable,
    IssuerKeys,
    IssuerKeysAway,
    JournalChanged,
    JournalGone,
    JournalUnreadable,
    KindUnknown,
    MemberChanged,
    NameCollision,
    ObjectRefused,
    PinSecret,
    PodMissing,
    PodOutdated,
    PolicySignature,
    PostgresSecret,
    QuotaExceeded,
    RoleMissing,
    RootFile,
    RootHolderAway,
    RootMismatch,
    RouteNotServed,
    StepFailed,
    Unschedulable,
    VaultNotReady,
    VaultSilent,
    VaultStarting,
    VolumeGoing,
    VolumePending,
}

impl Check {
    /// As in `status.waits[].check`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Only a person can end it.
    pub const fn hard(self) -> bool {
        matches!(self.ends(), ByPeople)
    }

    /// Who ends the wait.
    pub const fn ends(self) -> Ends {
        self.row().0
    }

    /// What it means, for docs/operator-conditions.md.
    pub const fn meaning(self) -> &'static str {
        self.row().1
    }

    /// What to do about it, for docs/operator-conditions.md.
    pub const fn remedy(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (Ends, &'static str, &'static str) {
        match self {
            Self::AdmissionSignature => (
                ByPeople,
                "The admission list needs the signatures of the offline root.",
                "Follow `how` in the ConfigMap `<name>-ceremony-request`.",
            ),
            Self::BeingCollected => (
                ByItself,
                "An object still belongs to a deleted resource of the same name.",
                "Wait: the garbage collector removes it within moments.",
            ),
            Self::Certificate => (
                ByItself,
                "A certificate is not issued yet, or its Secret is unusable: it does not parse, or lacks its role, its names, its uses or its authority.",
                "cert-manager: describe the Certificate that the message names. Builtin: delete the Secret that the message names; the operator issues a new certificate.",
            ),
            Self::CertificateRefused => (
                ByPeople,
                "cert-manager's issuer issues certificates that vaults refuse, or the Secret of the builtin authority does not parse.",
                "cert-manager: correct the issuer, then delete the Secret that the message names. Builtin: restore the Secret `<name>-ca` or `<name>-chatd-web-ca` from a backup. If there is none, delete it: the operator makes a new authority. After `<name>-ca`, vaults, ChatD and the operator refuse each other for some minutes, until all have the new one. After `<name>-chatd-web-ca`, clients refuse ChatD until they trust the new one.",
            ),
            Self::ContainerEnds => (
                ByItself,
                "A container ended with an error. The message has the error that it reported.",
                "Wait for the restart. Killed (137): check the memory limit. Lost with its node (255): check the nodes.",
            ),
            Self::ContainerKeepsEnding => (
                ByPeople,
                "A container ended with exit code 64 to 66 (configuration, PIN, missing file), or has been restarted three times. The message has the error that it reported.",
                "Correct what the message names: configuration, PIN, or PKCS#11 module.",
            ),
            Self::ContainerNotMade => (
                ByPeople,
                "The node can't create a container: a Secret or key is missing, or the image lacks the program.",
                "Create or correct what the message names.",
            ),
            Self::DocumentsGone => (
                ByPeople,
                "The cluster has lost its copy of a signed document, and no vault that answers has one.",
                "Bring a vault back, or restore the ConfigMap `<name>-documents`.",
            ),
            Self::FleetLost => (
                ByPeople,
                "The journal names a fleet that was made. Every vault answers, and none knows it.",
                "Restore the volumes. The operator makes no new keys over a lost fleet. For a new fleet create a resource of another name.",
            ),
            Self::FleetUnconfirmed => (
                ByItself,
                "The fleet was made, and no vault that answers knows it.",
                "Bring back the vaults that do not answer, before anything else.",
            ),
            Self::ForeignFleet => (
                ByPeople,
                "A vault belongs to another fleet than the journal's.",
                "Give the vault its own volume back.",
            ),
            Self::ImageUnavailable => (
                ByPeople,
                "The node can't pull an image.",
                "Check its name, the registry, and `images.pullSecrets`. The vault's image is fixed from the first apply on: in a fleet that was never made, [begin again](operator.md#begin-again).",
            ),
            Self::IssuerKeys => (
                ByPeople,
                "The ConfigMap with the issuer's keys is missing or has no usable key. A new fleet waits for it. A fleet that is made goes on with the previous keys.",
                "Put the issuer's JWKS there, under the name and key of `clientAuth.jwks.configMapRef`.",
            ),
            Self::IssuerKeysAway => (
                ByItself,
                "A vault has no issuer's keys younger than a day, so it refuses every token.",
                "Check `clientAuth.jwks.url`, network policies and the vault's log. If the issuer is away, wait: the vault asks again.",
            ),
            Self::JournalChanged => (
                ByPeople,
                "The journal names another vault image than the StatefulSets run: somebody has edited it.",
                "Restore the ConfigMap `<name>-fleet`. The operator changes nothing until then.",
            ),
            Self::JournalGone => (
                ByPeople,
                "Volumes or workloads of an earlier fleet of this name exist without its journal.",
                "Restore the ConfigMap `<name>-fleet`. If nobody needs a key in the volumes, delete them instead.",
            ),
            Self::JournalUnreadable => (
                ByPeople,
                "The ConfigMap `<name>-fleet` does not parse.",
                "Restore it from a backup. The operator does not guess: that could make new keys over old ones.",
            ),
            Self::KindUnknown => (
                ByPeople,
                "The spec needs a kind that the cluster does not know. Everything else goes on.",
                "Install the project that the message names (the operator looks for it every minute), or remove the field.",
            ),
            Self::MemberChanged => (
                ByPeople,
                "A vault has other keys than the admission list: its token or volume is new.",
                "Give the vault its own token and volume back. This release can't replace a member.",
            ),
            Self::NameCollision => (
                ByPeople,
                "An object of a planned name belongs to somebody else. The operator neither adopts nor overwrites it.",
                "Rename the resource. If nobody needs that object, delete it instead.",
            ),
            Self::ObjectRefused => (
                ByPeople,
                "The API server refuses a planned object: an admission rule forbids it, or a field can't change.",
                "Follow the server's error in the message.",
            ),
            Self::PinSecret => (
                ByPeople,
                "A PIN's Secret or key is missing or empty.",
                "Create it as `pinSecretRef` describes. Restore a PIN that the operator made: a new PIN would not open the token.",
            ),
            Self::PodMissing => (
                ByItself,
                "A workload can't create its pod.",
                "Describe the StatefulSet or ReplicaSet: a quota or an admission rule may forbid the pod.",
            ),
            Self::PodOutdated => (
                ByItself,
                "A pod runs an older template than the spec asks for. The operator never restarts vaults on its own.",
                "Delete the pods of one region after another. Wait for Ready each time.",
            ),
            Self::PolicySignature => (
                ByPeople,
                "The policy needs the signatures of the offline root.",
                "Follow `how` in the ConfigMap `<name>-ceremony-request`.",
            ),
            Self::PostgresSecret => (
                ByPeople,
                "The Secret with the external database's URL is missing, or its key is missing or empty.",
                "Create it as `postgres.external.secretRef` describes.",
            ),
            Self::QuotaExceeded => {
                (ByPeople, "A ResourceQuota of the namespace is used up.", "Raise it, or ask for less.")
            }
            Self::RoleMissing => (
                ByPeople,
                "RBAC forbids the operator something that it needs.",
                "Give the operator the roles of its chart.",
            ),
            Self::RootFile => (
                ByPeople,
                "The public root of an offline ceremony is missing, or is not a root file.",
                "Make it with `bkv ceremony root` off the cluster. Put it into the ConfigMap and key that `fleet.root.offline.rootConfigMapRef` names.",
            ),
            Self::RootHolderAway => (
                ByItself,
                "No vault that keeps the in-fleet root answers, so nothing can be signed.",
                "Bring the vault back.",
            ),
            Self::RootMismatch => (
                ByPeople,
                "The published root is not the one of the journal's fleet.",
                "Somebody has replaced one of the two ConfigMaps: restore it.",
            ),
            Self::RouteNotServed => (
                ByItself,
                "A Gateway does not serve the route to ChatD. The message has the Gateway's error.",
                "Check the Gateway: its name and namespace, its controller, and whether a listener allows routes from this namespace.",
            ),
            Self::StepFailed => (
                ByItself,
                "A step of the bootstrap failed. The operator tries again.",
                "Follow the error of the vault or the API server in the message.",
            ),
            Self::Unschedulable => (
                ByItself,
                "The scheduler finds no node for a pod.",
                "Check the region's `nodeSelector` and `tolerations`, its nodes, and where its volumes are. `nodeSelector` is fixed from the first apply on: in a fleet that was never made, [begin again](operator.md#begin-again).",
            ),
            Self::VaultNotReady => (
                ByItself,
                "A vault answers but does not serve in every shard.",
                "Wait: it usually catches up. If not, read the pod's log and the runbooks.",
            ),
            Self::VaultSilent => (
                ByItself,
                "The fleet is made and a vault's pod runs, but the vault does not answer the operator, or answers as another region's vault. The message has the last error.",
                "Read the pod's log. Then check network policies and the certificates in its Secret `<name>-<region>-tls`.",
            ),
            Self::VaultStarting => {
                (ByItself, "A vault does not answer yet.", "Describe its pod if this lasts.")
            }
            Self::VolumeGoing => (
                ByPeople,
                "Somebody has deleted a volume claim with keys. The volume goes when its pod ends.",
                "Keep the pod running, and save what is on the volume before anything else. This release can't replace a member.",
            ),
            Self::VolumePending => (
                ByItself,
                "A volume claim has no volume.",
                "Check that a StorageClass of that name exists and has room. The name is fixed from the first apply on: in a fleet that was never made, [begin again](operator.md#begin-again).",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page lists checks in the order of their names.
    #[test]
    fn checks_stand_in_the_order_of_their_names() {
        assert!(Check::VARIANTS.is_sorted_by_key(|c| c.name()));
    }
}
