//! Resource definitions of other projects, as they release them: `cluster definitions` fetches them once.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api_server::program;
use crate::{ApiServer, CommandOutput};

/// A project of which the operator makes objects. Its definitions are those whose files begin so.
pub const CERT_MANAGER: &str = "cert-manager.io_";
/// See [`CERT_MANAGER`].
pub const GATEWAY_API: &str = "gateway.networking.k8s.io_";
/// See [`CERT_MANAGER`].
pub const PROMETHEUS_OPERATOR: &str = "monitoring.coreos.com_";

/// The definitions of a project.
pub fn definitions(project: &str) -> Vec<Value> {
    let folder = CommandOutput::of(Command::new(program()).arg("definitions"), None).good();
    let mut files: Vec<_> = std::fs::read_dir(folder.trim())
        .expect("the folder of definitions")
        .map(|entry| entry.expect("a file").path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(project)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{project} has no definitions");
    files.iter().map(|file| read(&std::fs::read_to_string(file).expect("a file"))).collect()
}

fn read(text: &str) -> Value {
    serde_norway::from_str(text).expect("YAML")
}

/// Installs a project's definitions.
pub async fn install(server: &ApiServer, project: &str) {
    for definition in definitions(project) {
        define(server, &definition).await;
    }
}

/// Installs one, or puts it over the one before, and waits until the server serves it. (`kubectl wait` fails on one that has no condition yet.)
pub async fn define(server: &ApiServer, definition: &Value) {
    let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
    let late = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = server.apply(definition).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let conditions = seen.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True") {
            return;
        }
        assert!(Instant::now() < late, "{name} is not served within 30 s: {conditions:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
