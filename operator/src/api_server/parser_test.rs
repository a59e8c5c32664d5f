//! S38: an object of the API server with any one value changed is ignored or read. Nothing panics.

use kube::api::DynamicObject;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::child::{Child, child_seen};
use crate::changed_test::{any_json, changed};
use crate::kinds::Kind;
use crate::labels::{COMPONENT, REGION, TEMPLATE_HASH};

/// One object with the fields of all four kinds.
fn object(kind: Kind) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind.name(),
        "metadata": {
            "name": "demo-a-0", "namespace": "n", "uid": "u",
            "labels": { REGION: "a", COMPONENT: "vault" }, "annotations": { TEMPLATE_HASH: "0" },
        },
        "spec": { "storageClassName": "fast", "replicas": 1, "containers": [{ "name": "vault" }] },
        "status": {
            "phase": "Bound", "podIP": "10.0.0.1",
            "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes" }, { "type": "ReplicaFailure", "status": "True", "message": "quota" }],
            "containerStatuses": [{
                "name": "vault", "image": "x/vault:1", "imageID": "", "ready": false, "restartCount": 1,
                "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": { "terminated": { "exitCode": 66, "message": "one\ntwo\n" } },
            }],
        },
    })
}

proptest! {
    #[test]
    fn s38_a_changed_object_is_ignored_or_read(at: prop::sample::Index, with in any_json()) {
        for kind in [Kind::Pod, Kind::StatefulSet, Kind::Deployment, Kind::PersistentVolumeClaim] {
            let value = changed(object(kind), at, with.clone());
            let Ok(object) = serde_json::from_value::<DynamicObject>(value) else { continue };
            let seen = child_seen(kind, object);
            let right = match seen.map(|s| s.child) {
                None => true,
                Some(Child::Pod(_)) => kind == Kind::Pod,
                Some(Child::Set(_)) => kind == Kind::StatefulSet,
                Some(Child::Deployment(_)) => kind == Kind::Deployment,
                Some(Child::Claim(_)) => kind == Kind::PersistentVolumeClaim,
            };
            prop_assert!(right);
        }
    }
}
