//! An API server with its controllers, on free ports of the loopback: `cluster up --nodes 0`.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::{Scope, pinned_kind};
use kube::{Client, Config};
use rustix::process::Pid;
use serde_json::Value;

use crate::CommandOutput;

/// Runs until it is dropped or the test process ends, even by a signal.
pub struct ApiServer {
    folder: PathBuf,
    guardian: Child,
}

impl ApiServer {
    /// Starts one. Builds the programs first if they are missing.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("bkv-api-server-").tempdir().expect("a folder").keep();
        let guardian = guardian(&folder);
        let this = Self { folder, guardian };
        let up = this.command().args(["up", "--nodes", "0"]).env("BKV_CLUSTER_AUDIT", "1").output();
        let up = up.expect("cluster up");
        assert!(
            up.status.success(),
            "no API server for this test:\n{}{}",
            String::from_utf8_lossy(&up.stdout),
            String::from_utf8_lossy(&up.stderr)
        );
        this
    }

    /// The folder of this run, with `kubeconfig` and `log/`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process of that name: `kube-apiserver`, `etcd`.
    pub fn process(&self, name: &str) -> Pid {
        let recorded = std::fs::read_to_string(self.folder.join("processes")).expect("processes");
        let newest =
            recorded.lines().rfind(|l| l.ends_with(&format!(" {name}"))).expect("a process of that name");
        let pid = newest.split(' ').next().and_then(|pid| pid.parse().ok());
        pid.and_then(Pid::from_raw).expect("a process id")
    }

    /// A client with all rights, for the runtime that calls this.
    pub async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(self.folder.join("kubeconfig")).expect("kubeconfig");
        let config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("kubeconfig");
        Client::try_from(config).expect("client")
    }

    /// Server-side apply as a controller does it: unknown fields refused, other managers' fields taken over.
    pub async fn apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        let client = self.client().await;
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let kind = object.types.as_ref().expect("apiVersion and kind");
        let kind = GroupVersionKind::try_from(kind).expect("apiVersion and kind");
        let (resource, abilities) = pinned_kind(&client, &kind).await?;
        let api: Api<DynamicObject> = match (abilities.scope, &object.metadata.namespace) {
            (Scope::Cluster, _) => Api::all_with(client, &resource),
            (Scope::Namespaced, namespace) => {
                Api::namespaced_with(client, namespace.as_deref().unwrap_or("default"), &resource)
            }
        };
        let mut how = PatchParams::apply("bkv-tests").force();
        how.field_validation = Some(ValidationDirective::Strict);
        api.patch(object.metadata.name.as_deref().expect("a name"), &how, &Patch::Apply(&object)).await
    }

    /// `kubectl` as a person types it.
    pub fn kubectl(&self, arguments: &[&str]) -> CommandOutput {
        self.kubectl_with(arguments, None)
    }

    /// `kubectl … -f -` with an object on its standard input.
    pub fn kubectl_on(&self, arguments: &[&str], object: &Value) -> CommandOutput {
        let mut all = arguments.to_vec();
        all.extend(["-f", "-"]);
        self.kubectl_with(&all, Some(object))
    }

    /// Clears the discovery cache of `kubectl`, so that it sees the kinds of a new definition.
    pub fn forget_kinds(&self) {
        let _gone_already = std::fs::remove_dir_all(self.folder.join("kubectl-cache"));
    }

    fn kubectl_with(&self, arguments: &[&str], input: Option<&Value>) -> CommandOutput {
        let mut command = self.command();
        command.arg("kubectl").args(arguments);
        CommandOutput::of(&mut command, input.map(ToString::to_string).as_deref())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--dir").arg(&self.folder);
        command
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The child ends when the pipe closes.
        drop(self.guardian.stdin.take());
        let _ended = self.guardian.wait();
    }
}

/// Stops the cluster of a folder once the pipe that it reads closes. The kernel closes the pipe also when a test is killed or when a `static` is never
/// dropped.
pub(crate) fn guardian(folder: &Path) -> Child {
    Command::new("sh")
        .args(["-c", r#"read -r _; "$0" --dir "$1" down; rmdir "$1""#])
        .arg(program())
        .arg(folder)
        .process_group(0) // Ctrl-C is for the tests
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh")
}

pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bin/cluster")
}
