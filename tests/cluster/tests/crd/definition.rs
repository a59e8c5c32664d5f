//! The resource definition itself.

use crate::{await_established, definition, schema, server};

#[tokio::test]
async fn it_is_taken_without_a_warning_by_both_kinds_of_apply_again_and_again() {
    let server = server().await;
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds/backupkeyvaults.bkv.dev.yaml");
    for _ in 0..2 {
        server.kubectl(&["apply", "-f", kept]).clean();
        // `clean` also fails on warnings, such as unknown formats or an annotation that is too long.
        server.kubectl_on(&["apply"], &definition()).clean();
        server.kubectl_on(&["apply", "--server-side", "--force-conflicts"], &definition()).clean();
    }
    server.apply(&definition()).await.unwrap();
    await_established(server, "backupkeyvaults.bkv.dev");
    let conditions = server
        .kubectl(&["get", "crd", "backupkeyvaults.bkv.dev", "-o", "jsonpath={.status.conditions[*].type}"])
        .clean();
    for wrong in ["NonStructuralSchema", "Terminating", "KubernetesAPIApprovalPolicyConformant"] {
        assert!(!conditions.contains(wrong), "{conditions}");
    }
    assert!(conditions.contains("Established"), "{conditions}");
}

#[test]
fn it_is_small_enough_for_the_annotation_of_kubectl_apply() {
    // The API server refuses annotations above 262,144 bytes.
    let size = definition().to_string().len();
    assert!(size < 100_000, "{size} bytes");
    let printed = bkv_operator::resource::crd_yaml().unwrap().len();
    assert!(printed < 100_000, "{printed} bytes");
}

#[test]
fn every_field_is_described_in_a_sentence() {
    let undescribed: Vec<String> = schema()
        .into_iter()
        .filter(|p| !p.path.is_empty() && !p.path.ends_with("[]") && !p.path.ends_with("{}"))
        .filter(|p| {
            let text = p.schema["description"].as_str().unwrap_or_default().trim_end();
            text.len() < 15 || !(text.ends_with('.') || text.ends_with('?'))
        })
        .map(|p| format!("{}: {}", p.path, p.schema["description"]))
        .collect();
    assert!(undescribed.is_empty(), "fields whose description teaches nothing: {undescribed:#?}");
}

#[tokio::test]
async fn kubectl_explains_the_fields() {
    let server = server().await;
    for (path, words) in [
        ("bkv", "A Backup Key Vault:"),
        ("bkv.spec", "-required-"),
        ("bkv.spec.regions", "The regions: 1, 3, 5 or 7"),
        ("bkv.spec.hsm.pkcs11", "tokenLabel"),
        ("bkv.spec.attempts.max", "after which the key is"),
        ("bkv.status.conditions", "lastTransitionTime"),
    ] {
        let said = server.kubectl(&["explain", path]).clean();
        assert!(said.contains("DESCRIPTION") && said.contains(words), "{path}: {said}");
        assert!(!said.contains("<no description>") && !said.contains("<empty>"), "{path}: {said}");
    }
    server.kubectl(&["explain", "bkv", "--recursive"]).clean();
}
