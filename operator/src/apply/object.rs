//! One object as far as the operator must know it: a few bytes of its metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use sha2::{Digest as _, Sha256};

use crate::labels::{APPLIED_HASH, MANAGER};

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenObject {
    /// Hash of the uid of its controller.
    pub owner: Option<u64>,
    /// Its controller is a resource of ours, this one or another.
    pub of_us: bool,
    /// Hash of the set of fields that are ours, as the server keeps it: whoever changes or removes one of them takes it out of the set. Unlike a
    /// generation every kind has it, and a controller's own writes (status, replicas of an autoscaler) leave it as it is. With the time of our last
    /// change: who writes under our manager's name takes nothing out, but the time moves.
    pub fields: u64,
    /// Hash of what was applied, from its annotation.
    pub hash: Option<u64>,
    /// It is being deleted.
    pub going: bool,
}

/// Told apart are the states of one object and the few owners it may have had, so 64 bits are plenty.
pub(super) fn short_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

impl SeenObject {
    /// From an object's metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        let controller = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
        let entries = || {
            meta.managed_fields
                .iter()
                .flatten()
                .filter(|m| m.subresource.as_deref().unwrap_or_default().is_empty())
        };
        let of_ours = |m: &&ManagedFieldsEntry| {
            m.manager.as_deref() == Some(MANAGER) && m.operation.as_deref() == Some("Apply")
        };
        let ours = entries().find(of_ours);
        let since = ours.and_then(|m| m.time.as_ref()).map(|t| t.0);
        Self {
            owner: controller.map(|o| short_hash(&o.uid)),
            of_us: controller.is_some_and(|o| o.kind == "BackupKeyVault"),
            fields: ours
                .and_then(|m| m.fields_v1.as_ref())
                .map_or(0, |f| short_hash(&format!("{since:?}{}", f.0))),
            hash: meta
                .annotations
                .as_ref()
                .and_then(|a| a.get(APPLIED_HASH))
                .and_then(|text| u64::from_str_radix(text, 16).ok()),
            going: meta.deletion_timestamp.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(entries: &Value) -> SeenObject {
        let meta = json!({ "uid": "u", "managedFields": entries });
        SeenObject::of(&serde_json::from_value(meta).unwrap())
    }

    fn entry(manager: &str, operation: &str, part: &str, second: u8, fields: &Value) -> Value {
        json!({ "manager": manager, "operation": operation, "subresource": part, "time": format!("2026-01-01T00:00:{second:02}Z"), "fieldsV1": fields })
    }

    #[test]
    fn whoever_takes_a_field_from_us_is_noticed_and_whoever_writes_a_status_is_not() {
        let ours = |fields: &Value| entry(MANAGER, "Apply", "", 10, fields);
        let both = json!({ "f:data": { "f:a": {}, "f:b": {} } });
        let alone = seen(&json!([ours(&both)]));
        assert!(alone.fields != 0);
        let status = entry("kube-controller-manager", "Update", "status", 20, &json!({}));
        assert_eq!(seen(&json!([ours(&both), status])), alone);
        // What was written before ours was applied over.
        let before = entry("kubectl-edit", "Update", "", 9, &json!({}));
        assert_eq!(seen(&json!([ours(&both), before])), alone);
        let edit = entry("kubectl-edit", "Update", "", 20, &json!({ "f:data": { "f:b": {} } }));
        let edited = seen(&json!([ours(&json!({ "f:data": { "f:a": {} } })), edit]));
        assert!(edited.fields != alone.fields);
        // Who writes under our name takes nothing from us; the time tells.
        let forged = seen(&json!([entry(MANAGER, "Apply", "", 20, &both)]));
        assert!(forged.fields != alone.fields);
    }
}
