//! S37: no secret is in an argument, a variable, an event, a condition, a ConfigMap or a log, after everything that has happened.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::stage::Stage;

pub fn tell(stage: &mut Stage) -> String {
    let cluster = &stage.cluster;
    let all = |kinds: &str| cluster.kubectl(&["get", kinds, "-A", "-o", "json"]).json()["items"].clone();
    let mut secrets = BTreeMap::new();
    for secret in all("secrets").as_array().unwrap() {
        let name = secret["metadata"]["name"].as_str().unwrap();
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
            for part in parts(key, &bytes) {
                secrets.insert(part, format!("{name}/{key}"));
            }
        }
    }
    assert!(secrets.len() > 20, "{} are few", secrets.len());
    let mut texts =
        vec![("objects", all("pods,configmaps,statefulsets,deployments,services,bkv,events").to_string())];
    let mut logs = 0;
    for pod in all("pods").as_array().unwrap() {
        let field = |name: &str| pod["metadata"][name].as_str().unwrap();
        for previous in [false, true] {
            let mut arguments =
                vec!["-n", field("namespace"), "logs", field("name"), "--all-containers", "--ignore-errors"];
            if previous {
                arguments.push("--previous");
            }
            let log = cluster.kubectl(&arguments);
            logs += usize::from(!log.out.is_empty());
            texts.push(("a log", log.out));
        }
    }
    assert!(logs > 5, "{logs} logs are few");
    for (secret, from) in &secrets {
        for (what, text) in &texts {
            assert!(!text.contains(secret.as_str()), "{from} is in {what}");
        }
    }
    format!("{} secrets are in none of {logs} logs, nor in any object", secrets.len())
}

/// What of a Secret's value is secret, in the forms that it could be seen in. Certificates are public.
fn parts(key: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if key.ends_with(".crt") || text.len() < 8 || key == "release" {
        return Vec::new();
    }
    if key.ends_with(".key") {
        // Each line of the base64 inside.
        return text.lines().filter(|l| l.len() > 40 && !l.starts_with('-')).map(str::to_owned).collect();
    }
    let inner = text.split_once("bkv:").and_then(|(_, rest)| rest.split_once('@')).map(|(p, _)| p.to_owned());
    [Some(STANDARD.encode(bytes)), inner, Some(text)].into_iter().flatten().collect()
}
