//! The few bytes of an object's metadata that the operator keeps.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use sha2::{Digest as _, Sha256};

use crate::labels::{APPLIED_HASH, MANAGER};

/// An object as a watch or an answer showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenObject {
    /// Hash of the uid of its controller.
    owner: Option<u64>,
    /// Its controller is a BackupKeyVault, this one or another.
    pub of_us: bool,
    /// Hash of the fields that our field manager owns, and of the time of its last write. The server removes a field from the set when another manager
    /// changes it. An attacker who writes under our manager's name keeps the set but moves the time. Unlike a generation, every kind has the set, and
    /// writes of controllers (status, an autoscaler's replicas) leave it unchanged.
    pub fields: u64,
    /// Hash of the applied content, from the annotation.
    hash: Option<u64>,
    /// It has a deletion time.
    pub going: bool,
}

/// The applied content and the fields that were ours right after it. A later change is drift, and the next pass undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Hash of what was applied.
    pub hash: u64,
    /// [`SeenObject::fields`] right after it.
    pub fields: u64,
}

/// 64 bits suffice: the hash only tells apart the states of one object and its few owners.
pub(crate) fn short_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

impl SeenObject {
    /// From an object's metadata.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
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

    /// True if the resource with this uid is its controller.
    pub(crate) fn belongs_to(&self, uid: &str) -> bool {
        self.owner == Some(short_hash(uid))
    }

    /// True if the operator has applied the content with this hash since its start, and nobody has changed our fields since.
    pub(crate) fn is_as_written(&self, hash: u64, applied: Option<Written>) -> bool {
        self.hash == Some(hash) && applied == Some(Written { hash, fields: self.fields })
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
    fn a_field_that_another_manager_takes_is_noticed_and_a_status_write_is_not() {
        let ours = |fields: &Value| entry(MANAGER, "Apply", "", 10, fields);
        let both = json!({ "f:data": { "f:a": {}, "f:b": {} } });
        let alone = seen(&json!([ours(&both)]));
        assert!(alone.fields != 0);
        let status = entry("kube-controller-manager", "Update", "status", 20, &json!({}));
        assert_eq!(seen(&json!([ours(&both), status])), alone);
        // Our later apply has overwritten this manager's fields.
        let before = entry("kubectl-edit", "Update", "", 9, &json!({}));
        assert_eq!(seen(&json!([ours(&both), before])), alone);
        let edit = entry("kubectl-edit", "Update", "", 20, &json!({ "f:data": { "f:b": {} } }));
        let edited = seen(&json!([ours(&json!({ "f:data": { "f:a": {} } })), edit]));
        assert!(edited.fields != alone.fields);
        // A write under our manager's name keeps the fields, but moves the time.
        let forged = seen(&json!([entry(MANAGER, "Apply", "", 20, &both)]));
        assert!(forged.fields != alone.fields);
    }
}
