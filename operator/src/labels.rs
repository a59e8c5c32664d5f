//! Labels and annotations. The plan writes them, and the watches and the stores select objects by them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The field manager, and the value of [`MANAGED_BY`].
pub const MANAGER: &str = "bkv-operator";
/// Label: the program that manages the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: vault, chatd, postgres, fleet, pki.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Label: the resource's name.
pub const VAULT: &str = "bkv.dev/vault";
/// Label: the region, on objects of a vault.
pub const REGION: &str = "bkv.dev/region";
/// Annotation of StatefulSets and of their pods: the hash of the pod template.
pub const TEMPLATE_HASH: &str = "bkv.dev/template-hash";
/// Annotation: the hash of what was applied, so that a pass over an unchanged plan writes nothing.
pub const APPLIED_HASH: &str = "bkv.dev/applied-hash";

/// Whether the operator may write to this object for this resource. An object without our labels is foreign, whatever its name.
pub fn ours(meta: &ObjectMeta, vault: &str) -> bool {
    let label = |name: &str| meta.labels.as_ref().and_then(|l| l.get(name)).map(String::as_str);
    label(MANAGED_BY) == Some(MANAGER) && label(VAULT) == Some(vault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_our_labels_is_ours() {
        let with = |labels: &[(&str, &str)]| ObjectMeta {
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            ..ObjectMeta::default()
        };
        assert!(ours(&with(&[(MANAGED_BY, MANAGER), (VAULT, "demo")]), "demo"));
        assert!(!ours(&with(&[(MANAGED_BY, MANAGER), (VAULT, "other")]), "demo"));
        assert!(!ours(&with(&[(VAULT, "demo")]), "demo") && !ours(&ObjectMeta::default(), "demo"));
    }
}
