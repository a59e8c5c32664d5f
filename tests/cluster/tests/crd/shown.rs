//! What `kubectl get` shows.

use serde_json::{Value, json};

use crate::{file, minimal, server};

#[tokio::test]
async fn get_shows_the_columns_of_a_status_and_more_of_them_when_wide() {
    let server = server().await;
    let mut object = file("complete/aws_cloud_hsm.yaml");
    object["metadata"]["name"] = json!("shown");
    server.kubectl_on(&["create"], &object).clean();
    server.kubectl_on(&["replace", "--subresource=status"], &object).clean();

    let narrow = table(&server.kubectl(&["get", "bkv", "shown"]).clean());
    let expected = [
        ("NAME", "shown"),
        ("READY", "False"),
        ("PHASE", "Degraded"),
        ("QUORUM", "2"),
        ("VOTERS", "3"),
        ("VERSION", "0.1.0"),
        ("WAITING", "RegionReady"),
    ];
    assert_eq!(narrow[..7], expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(narrow[7].0, "AGE");
    assert_eq!(narrow.len(), 8);

    let wide = table(&server.kubectl(&["get", "bkv", "shown", "-o", "wide"]).clean());
    for (column, value) in [
        ("HSM", "awsCloudHsm"),
        ("ROOT", "InFleet"),
        ("PRODUCTION", "False"),
        ("OPERATION", "InitializeRaft"),
    ] {
        assert!(wide.contains(&(column.to_owned(), value.to_owned())), "{column}: {wide:?}");
    }
    server.kubectl(&["delete", "bkv", "shown"]).clean();
}

#[tokio::test]
async fn it_is_found_by_its_short_name_by_its_category_and_by_a_field() {
    let server = server().await;
    server.kubectl_on(&["apply"], &minimal("found")).clean();
    let resources: Value =
        serde_json::from_str(&server.kubectl(&["get", "--raw", "/apis/bkv.dev/v1alpha1"]).clean()).unwrap();
    let listed = resources["resources"].as_array().unwrap();
    let kind = listed.iter().find(|r| r["name"] == "backupkeyvaults").unwrap();
    assert_eq!(kind["shortNames"], json!(["bkv"]));
    assert_eq!(kind["categories"], json!(["bkv"]));
    let subresources: Vec<_> = listed.iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(
        subresources,
        ["backupkeyvaults", "backupkeyvaults/status"],
        "membership is no number: no scale"
    );

    let by = |field: &str| server.kubectl(&["get", "bkv", "--field-selector", field, "-o", "name"]).clean();
    assert!(by("spec.deletionPolicy=Retain").contains("/found"));
    assert!(!by("spec.deletionPolicy=Destroy").contains("/found"));
    let refused = server.kubectl(&["get", "bkv", "--field-selector", "spec.paused=true"]);
    assert!(!refused.ok && refused.err.contains("field label not supported"), "{}", refused.err);
    server.kubectl(&["delete", "bkv", "found"]).clean();
}

#[tokio::test]
async fn status_is_written_apart_from_the_spec() {
    let server = server().await;
    let mut object = file("complete/aws_cloud_hsm.yaml");
    object["metadata"]["name"] = json!("apart");
    server.kubectl_on(&["create"], &object).clean();
    let read = || -> Value {
        serde_json::from_str(&server.kubectl(&["get", "bkv", "apart", "-o", "json"]).clean()).unwrap()
    };
    assert!(read().get("status").is_none(), "a person's apply wrote a status");
    object["spec"]["paused"] = json!(true);
    server.kubectl_on(&["replace", "--subresource=status"], &object).clean();
    assert_eq!(read()["spec"]["paused"], false, "the operator's status wrote a spec");
    assert_eq!(read()["metadata"]["generation"], 1);
    server.kubectl(&["delete", "bkv", "apart"]).clean();
}

/// The one line of a table, by its columns.
fn table(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines().map(|l| l.split_whitespace().map(str::to_owned));
    let (heads, values) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(lines.next().is_none(), "{text}");
    heads.zip(values).collect()
}
