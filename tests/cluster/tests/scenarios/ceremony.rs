//! S41, with the root off the cluster: an editor of the resource can't refill guesses, redirect the token check or make the operator change a policy.
//! An edit only asks people for a signature.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_cluster_tests::{CommandOutput, bin_dir};
use serde_json::{Value, json};

use super::resource;
use super::testbed::Testbed;

const NAMESPACE: &str = "ceremony";
const NAME: &str = "vow";
/// Exit code of `bkv`.
const WRONG_PASSWORD: i32 = 10;

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.namespace(NAMESPACE);
    let desk = testbed.folder.path().join("desk");
    std::fs::create_dir_all(&desk).unwrap();
    let ceremony = |arguments: &[&str]| {
        let mut command = Command::new(bin_dir().join("bkv"));
        CommandOutput::of(command.arg("ceremony").args(arguments).current_dir(&desk), None).good()
    };
    ceremony(&["root", "--key", "root.key", "--root", "root.bin"]);
    testbed.cluster.apply(NAMESPACE, &config_map("vow-pinned", &[("root.bin", desk.join("root.bin"))]));
    let offline = json!({
        "rootConfigMapRef": { "name": "vow-pinned", "key": "root.bin" },
        "signedConfigMapRef": { "name": "vow-signed" },
    });
    let spec = json!({ "fleet": { "root": { "inFleet": null, "offline": offline } } });
    testbed.cluster.apply(NAMESPACE, &resource::small(NAME, &["eu-west"], &spec));
    let read = || resource::read(&testbed.cluster, NAMESPACE, NAME);

    // The steps of a person who follows the request.
    let mut how = String::new();
    testbed.cluster.until("a request", Duration::from_secs(90), || {
        let asked = testbed.cluster.get(NAMESPACE, "configmap", "vow-ceremony-request");
        let both = ["admission", "policy"].map(|k| asked["binaryData"][format!("{k}.unsigned")].clone());
        resource::wants(&read(), "Ready", "False", "AwaitingSignature")?;
        if both.iter().any(Value::is_null) {
            return Err("the request lacks a document".to_owned());
        }
        for (kind, document) in ["admission", "policy"].iter().zip(both) {
            let bytes = STANDARD.decode(document.as_str().unwrap()).unwrap();
            std::fs::write(desk.join(format!("{kind}.unsigned")), bytes).unwrap();
        }
        asked["data"]["how"].as_str().unwrap_or_default().clone_into(&mut how);
        Ok(())
    });
    // The commands exactly as the request shows them.
    let commands: Vec<Vec<&str>> = how
        .lines()
        .filter_map(|line| line.trim().strip_prefix("bkv ceremony "))
        .map(|command| command.split_whitespace().collect())
        .collect();
    assert_eq!(commands.len(), 4, "{how}");
    for mut command in commands {
        if command[0] == "sign" {
            command.push("--yes"); // the question is for people
        }
        ceremony(&command);
    }
    let signed = config_map(
        "vow-signed",
        &[("admission", desk.join("admission.signed")), ("policy", desk.join("policy.signed"))],
    );
    testbed.cluster.apply(NAMESPACE, &signed);
    testbed.cluster.until("Ready", Duration::from_secs(90), || resource::settled(&read()));

    let mia = testbed.person(NAMESPACE, NAME, "mia");
    assert!(mia.register().ok);
    let wrong = mia.recover("wrong");
    assert_eq!(wrong.code, Some(WRONG_PASSWORD), "{wrong:?}");
    let before = (read()["status"]["fleet"].clone(), mia.status()["tries_left"].clone());
    assert_eq!(before.1, 9);

    // More tries, and an issuer of the editor's own.
    let thief = testbed.folder.path().join("thief");
    let mut keys = Command::new(bkv_cluster_tests::project().join("kind/issuer.sh"));
    let keys = CommandOutput::of(keys.arg("configmap").arg(&thief), None).good();
    let mut keys: Value = serde_norway::from_str(&keys).unwrap();
    keys["metadata"]["name"] = "thief-issuer".into();
    testbed.cluster.apply(NAMESPACE, &keys);
    let edit = json!({ "spec": {
        "attempts": { "max": 20 },
        "clientAuth": { "jwks": { "configMapRef": { "name": "thief-issuer" } } },
    } });
    testbed
        .cluster
        .kubectl(&["-n", NAMESPACE, "patch", "bkv", NAME, "--type=merge", "-p", &edit.to_string()])
        .good();
    testbed.cluster.until("a wait for a signature", Duration::from_mins(1), || {
        let now = read();
        let asked =
            now["status"]["waits"].as_array().into_iter().flatten().any(|w| w["check"] == "PolicySignature");
        if asked && now["status"]["observedGeneration"] == now["metadata"]["generation"] {
            Ok(())
        } else {
            Err(resource::summary(&now))
        }
    });
    mia.log_in(&thief);
    let stolen = mia.recover("password");
    assert!(!stolen.ok, "a token of the editor's issuer is taken: {stolen:?}");
    // The edit is undone. The person's own token counts again and nothing was refilled.
    let undo = json!({ "spec": {
        "attempts": { "max": 10 },
        "clientAuth": { "jwks": { "configMapRef": { "name": "demo-issuer" } } },
    } });
    testbed
        .cluster
        .kubectl(&["-n", NAMESPACE, "patch", "bkv", NAME, "--type=merge", "-p", &undo.to_string()])
        .good();
    testbed.cluster.until("Ready", Duration::from_secs(90), || resource::settled(&read()));
    mia.log_in(&testbed.issuer);
    let status = testbed.cluster.until("the own token", Duration::from_mins(1), || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mia.status()))
            .map_err(|_| "refused".to_owned())
    });
    assert_eq!((&status["tries_left"], &status["lifetime_failures"]), (&9.into(), &1.into()), "{status}");
    assert_eq!(read()["status"]["fleet"], before.0, "another policy or list is in force");
    testbed.leave(NAMESPACE);
    "an edit of the resource asks for a signature, and changes no rule of the vaults".into()
}

fn config_map(name: &str, files: &[(&str, PathBuf)]) -> Value {
    let data = files
        .iter()
        .map(|(key, path)| ((*key).to_owned(), STANDARD.encode(std::fs::read(path).unwrap()).into()));
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name },
        "binaryData": data.collect::<serde_json::Map<_, Value>>(),
    })
}
