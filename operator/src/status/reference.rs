//! Every condition and everything that is waited for, in words: what docs/operator-conditions.md is made of, and whether a wait can end by itself.

use super::conditions as c;

/// Something that is waited for (`status.waits[].check`).
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// As in the status.
    pub name: &'static str,
    /// Only a person ends it: the condition Stalled says so at once, and not after ten minutes.
    pub hard: bool,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn soft(name: &'static str, meaning: &'static str, remedy: &'static str) -> Check {
    Check { name, hard: false, meaning, remedy }
}

const fn hard(name: &'static str, meaning: &'static str, remedy: &'static str) -> Check {
    Check { name, hard: true, meaning, remedy }
}

/// All checks.
pub const CHECKS: [Check; 37] = [
    soft(
        "BeingCollected",
        "An object is still that of a resource of the same name that was deleted.",
        "Wait: the collector takes it within moments.",
    ),
    hard(
        "DocumentsGone",
        "The cluster has lost its copy of a signed document, and no vault that answers has one.",
        "Bring a vault back, or restore the ConfigMap `<name>-documents`.",
    ),
    soft(
        "FleetUnconfirmed",
        "The fleet was made, and no vault that answers knows it.",
        "Bring the vaults back that do not answer, before anything else.",
    ),
    hard(
        "JournalChanged",
        "The journal names another vault image than the StatefulSets run.",
        "Somebody has edited the ConfigMap `<name>-fleet`: restore it. Nothing is done meanwhile.",
    ),
    hard(
        "JournalGone",
        "Volumes or workloads of an earlier fleet of this name are there, and its journal is not.",
        "Restore the ConfigMap `<name>-fleet`, or remove them if nobody needs a key in them.",
    ),
    hard(
        "AdmissionSignature",
        "The admission list waits for the offline root.",
        "Follow `how` in the ConfigMap `<name>-ceremony-request`.",
    ),
    soft(
        "Certificate",
        "A certificate is not there yet, or what lies in its Secret is no good: it does not read, or lacks its role, its names, its uses or its authority.",
        "cert-manager: as the message says, describe the Certificate or mend the issuer. Builtin: the message names the Secret; delete it to have it made anew.",
    ),
    soft(
        "ContainerEnds",
        "A container ends with an error; its last words are in the message. Codes 64 to 66 and repeated ends count as hard.",
        "As its words say: configuration, PIN, or module. Killed (137) and lost with its node (255) mend themselves, if memory and nodes suffice.",
    ),
    hard(
        "ContainerNotMade",
        "The node can't make a container: a Secret or key that it wants is missing, or its image has no such program.",
        "As the message says.",
    ),
    hard(
        "FleetLost",
        "The journal names a fleet that was made, every vault answers, and none knows it.",
        "Restore the volumes. No new keys are made over a loss; for a new fleet make a resource of another name.",
    ),
    hard("ForeignFleet", "A vault is of another fleet than the journal's.", "Give it its own volume back."),
    hard(
        "ImageUnavailable",
        "An image can't be had.",
        "Look at its name, the registry, and `images.pullSecrets`. The vault's image is fixed from the first apply on: in a fleet that was never made, [begin again](operator.md#begin-again).",
    ),
    hard(
        "IssuerKeys",
        "The ConfigMap with the issuer's keys is missing or holds none that can be used. A new fleet waits for it; one that is made goes on with the keys from before.",
        "Put the issuer's JWKS there, under the name and key of `clientAuth.jwks.configMapRef`.",
    ),
    soft(
        "IssuerKeysAway",
        "A vault could never read the issuer's keys by their URL, so it refuses every token.",
        "Look at `clientAuth.jwks.url`, at network policies and at the vault's log. The issuer may be away; it is asked again.",
    ),
    hard(
        "JournalUnreadable",
        "The ConfigMap `<name>-fleet` does not read.",
        "Restore it from a backup. Guessing could make new keys over old ones.",
    ),
    hard(
        "KindUnknown",
        "The spec asks for an object of a kind that the cluster does not know. All else goes on.",
        "Install the project that the message names (it is looked for every minute), or take the field away.",
    ),
    hard(
        "MemberChanged",
        "A vault has other keys than the admission list says: its token or volume is new.",
        "Give it its own back. Replacing a member comes with a later release.",
    ),
    hard(
        "NameCollision",
        "An object of a planned name is somebody else's. It is neither adopted nor overwritten.",
        "Rename the resource, or remove that object if nobody needs it.",
    ),
    hard(
        "ObjectRefused",
        "The API server refuses a planned object: an admission rule, or a field that can't change.",
        "As its words say.",
    ),
    hard(
        "PinSecret",
        "A PIN's Secret or key is missing or empty.",
        "Make it as `pinSecretRef` says. One that the operator made must be restored: a new PIN would not open the token.",
    ),
    soft(
        "PodMissing",
        "A workload can't make its pod.",
        "Describe the StatefulSet or ReplicaSet: a quota, or an admission rule.",
    ),
    hard(
        "PolicySignature",
        "The policy waits for the offline root.",
        "Follow `how` in the ConfigMap `<name>-ceremony-request`.",
    ),
    hard(
        "PostgresSecret",
        "The Secret with the external database's URL, or its key, is missing or empty.",
        "Make it as `postgres.external.secretRef` says.",
    ),
    hard("QuotaExceeded", "A ResourceQuota of the namespace is used up.", "Raise it, or ask for less."),
    hard("RoleMissing", "The operator may not do what it must.", "Give it the roles of its chart."),
    hard(
        "RootFile",
        "The public root of an offline ceremony is missing or no root file.",
        "Make it with `bkv ceremony root` off the cluster, and put it where `fleet.root.offline.rootConfigMapRef` says.",
    ),
    soft(
        "RootHolderAway",
        "No vault that keeps the in-fleet root answers, so that nothing can be signed.",
        "Bring the vault back.",
    ),
    hard(
        "RootMismatch",
        "The published root is not that of the journal's fleet.",
        "One of the two ConfigMaps was replaced: restore it.",
    ),
    soft(
        "RouteNotServed",
        "A Gateway has not taken up the route before ChatD, or refuses it; the message has its words.",
        "Look at the Gateway: its name and namespace, its controller, and whether a listener allows routes of this namespace.",
    ),
    soft(
        "StepFailed",
        "A step of the bootstrap failed; the message has the vault's or the server's words. It is tried again.",
        "As its words say.",
    ),
    soft(
        "Unschedulable",
        "A pod finds no node.",
        "Look at the region's `nodeSelector` and `tolerations`, its nodes, and where its volumes are. `nodeSelector` is fixed from the first apply on: in a fleet that was never made, [begin again](operator.md#begin-again).",
    ),
    soft(
        "VaultNotReady",
        "A vault answers and does not serve in every shard.",
        "Usually it catches up. `kubectl logs` of its pod; the runbooks.",
    ),
    hard(
        "VolumeGoing",
        "A volume claim with keys is being deleted; it goes when its pod does.",
        "Keep the pod running, and save what is on the volume before anything else. Replacing a member comes with a later release.",
    ),
    soft(
        "VaultSilent",
        "The fleet is made, a vault's pod runs, and it does not answer the operator, or not as that region's vault.",
        "The message has the last error. Look at the pod's log; then at network policies and at the certificates in its Secret `<name>-<region>-tls`.",
    ),
    soft("VaultStarting", "A vault does not answer yet.", "Describe its pod."),
    soft(
        "VolumePending",
        "A volume claim has no volume.",
        "Is there a StorageClass of that name, and room? The name is fixed from the first apply on: in a fleet that was never made, [begin again](operator.md#begin-again).",
    ),
    soft(
        "PodOutdated",
        "A pod runs an older template than the spec asks for. Vaults are never restarted on the operator's own account.",
        "Delete the pods of one region after another, each time waiting for Ready.",
    ),
];

/// Is it one that only a person ends?
pub fn only_by_people(check: &str) -> bool {
    CHECKS.iter().any(|c| c.name == check && c.hard)
}

/// A condition.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Its type.
    pub name: &'static str,
    /// What True means.
    pub meaning: &'static str,
    /// Its reasons, with what they mean.
    pub reasons: &'static [(&'static str, &'static str)],
}

/// All conditions.
pub const CONDITIONS: [Type; 12] = [
    Type {
        name: c::ACCEPTED,
        meaning: "The spec can be carried out.",
        reasons: &[
            ("Accepted", "It can."),
            (
                "InvalidName, NameCollision, InvalidQuantity, InvalidPeriod, OutOfRange, ExactlyOne, Conflict, InvalidValue, SecretInPlainSight, NotSupported",
                "False: the message names each field and the remedy. The fleet is left as it is.",
            ),
        ],
    },
    Type {
        name: c::READY,
        meaning: "People can register and recover.",
        reasons: &[
            ("Serving", "They can."),
            ("Bootstrapping", "The fleet is being made."),
            ("AwaitingSignature", "People must sign first."),
            ("NoMajority", "Fewer than a majority of regions are in sync."),
            ("ChatdNotReady", "No ChatD pod is ready."),
            ("IssuerKeysAway", "No vault could ever read the issuer's keys: every token is refused."),
            ("FleetLost", "The fleet was made and no vault knows it any more."),
            ("Contradiction", "What lies in the cluster contradicts itself; nothing is done."),
            ("Refused", "The spec is refused."),
        ],
    },
    Type {
        name: c::RECONCILING,
        meaning: "Something is being done or waited for.",
        reasons: &[
            ("Settled", "False: everything is as it was asked for."),
            ("Bootstrapping, Working", "It is being done."),
            ("Waiting", "See status.waits."),
            ("Paused, Refused", "False: nothing is done, on your word."),
        ],
    },
    Type {
        name: c::STALLED,
        meaning: "Something is waited for that does not come by itself, or for longer than ten minutes.",
        reasons: &[
            ("Moving", "False."),
            ("(a check)", "True: the first check of the table below that stalls."),
        ],
    },
    Type {
        name: c::FLEET_INITIALIZED,
        meaning: "The fleet was made: every shard knows it.",
        reasons: &[
            ("Made", "It was."),
            ("Bootstrapping, AwaitingSignature", "Not yet."),
            ("FleetLost, Contradiction", "See Ready."),
        ],
    },
    Type {
        name: c::QUORUM_HEALTHY,
        meaning: "A majority of regions is up and verified.",
        reasons: &[
            ("AllInSync", "All are."),
            ("Degraded", "True, and not all are: status.quorum.tolerates says how many more may be lost."),
            ("NoMajority", "False: recoveries fail."),
            ("NotMade", "Unknown: there is no fleet yet."),
        ],
    },
    Type {
        name: c::HSM_READY,
        meaning: "Every region's token answers.",
        reasons: &[
            ("AllUp", "They do."),
            ("TokenDown", "One does not; its words are in the message."),
            ("VaultSilent", "Unknown: a vault does not answer."),
            (
                "(a check)",
                "False: PinSecret, ContainerEnds, ContainerNotMade, ImageUnavailable, MemberChanged.",
            ),
        ],
    },
    Type {
        name: c::CERTIFICATES_VALID,
        meaning: "Every link of every chain is valid for long enough.",
        reasons: &[
            ("Valid", "It is."),
            ("Missing", "One can't be had, or is no good."),
            ("Expiring", "One ends within three days and was not renewed."),
            ("NotMade", "Unknown: there are none yet."),
        ],
    },
    Type {
        name: c::STORAGE_READY,
        meaning: "Every volume claim has its volume.",
        reasons: &[
            ("Bound", "They have."),
            ("VolumeGoing, VolumePending, FleetLost", "See the table below."),
        ],
    },
    Type {
        name: c::POSTGRES_READY,
        meaning: "ChatD's database answers. Without it people still register and recover; what ChatD says of keys is stale. Absent with `postgres.none`.",
        reasons: &[
            ("Ready", "It does."),
            ("Unavailable", "It does not."),
            ("NotAsked", "Unknown: no ChatD pod answers."),
        ],
    },
    Type {
        name: c::CHATD_READY,
        meaning: "A ChatD pod serves.",
        reasons: &[
            ("Serving", "It does."),
            ("Starting", "None is ready."),
            ("NotMade", "It is made when the fleet is."),
            ("NoReplicas", "`chatd.replicas` is 0."),
        ],
    },
    Type {
        name: c::PRODUCTION_READY,
        meaning: "Nothing about it is for tests only. For information: nothing depends on it.",
        reasons: &[
            ("Good", "Nothing is."),
            ("SoftwareToken", "SoftHSM keeps keys in files."),
            ("RootKeyInFleet", "Whoever rules the operator can have documents signed."),
            ("SingleRegion", "One region's own people can turn guesses back, and its loss loses every key."),
            ("RegionsShareNodes", "No region names its nodes."),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn sources(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if !path.ends_with("reference.rs") && !path.to_string_lossy().ends_with("_test.rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// A wait that nobody explains is one that nobody can end.
    #[test]
    fn every_check_in_the_sources_is_explained_and_every_explained_one_is_used() {
        let mut text = String::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
        let mut used = BTreeSet::new();
        for start in ["check: \"", "Trouble::hard(\"", "Trouble::soft(\""] {
            // A call that is broken over lines has its first argument on the next one.
            let joined = text
                .replace("(\n", "(")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .replace("( \"", "(\"");
            for after in joined.split(start).skip(1) {
                used.insert(after.split('"').next().unwrap().to_owned());
            }
        }
        assert!(used.len() > 15, "the search finds little: {used:?}");
        for name in &used {
            assert!(CHECKS.iter().any(|c| c.name == name), "{name} is not explained");
        }
        for check in CHECKS {
            assert!(
                text.contains(&format!("\"{}\"", check.name)),
                "{} is explained and never used",
                check.name
            );
        }
    }

    #[test]
    fn every_condition_is_explained_once() {
        let names: Vec<&str> = CONDITIONS.iter().map(|t| t.name).collect();
        assert_eq!(names, c::TYPES);
    }
}
