//! Three nodes with our images on them (`cluster up`, `images/build.sh`, `cluster load`), or another cluster by its kubeconfig.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api_server::{guardian, program};
use crate::{CommandOutput, PortForward};

/// What runs in the cluster.
const IMAGES: [&str; 5] = ["operator", "vault", "chatd", "postgres", "copier"];

/// The folder with `bkv`, `bkv-vault`, `bkv-chatd` and `bkv-operator`: `BKV_BIN_DIR`, or the one beside the test's own program.
pub fn bin_dir() -> PathBuf {
    std::env::var_os("BKV_BIN_DIR").map_or_else(
        || {
            let own = std::env::current_exe().expect("the test's own path");
            own.parent().and_then(Path::parent).expect("target/<profile>/deps").to_owned()
        },
        PathBuf::from,
    )
}

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project's folder")
}

/// A cluster of three nodes.
pub struct Cluster {
    folder: PathBuf,
    whose: Whose,
}

enum Whose {
    /// Made for this test. It runs until it is dropped or the test process ends, even by a signal.
    Ours(Child),
    /// One of `bin/cluster` that `BKV_CLUSTER_DIR` names, for work on a single scenario: it stays.
    Named,
    /// Any other, such as kind's, by the kubeconfig that `BKV_KUBECONFIG` names. Our images are on its nodes already.
    Given { kubeconfig: PathBuf, _folder: tempfile::TempDir },
}

impl Cluster {
    /// Brings one up with our images in it, or takes the one that was named. Never skips.
    pub fn start() -> Self {
        if let Some(kubeconfig) = std::env::var_os("BKV_KUBECONFIG") {
            let folder = tempfile::Builder::new().prefix("bkv-scenarios-").tempdir().expect("a folder");
            let kubeconfig = PathBuf::from(kubeconfig);
            return Self {
                folder: folder.path().to_owned(),
                whose: Whose::Given { kubeconfig, _folder: folder },
            };
        }
        let this = if let Some(folder) = std::env::var_os("BKV_CLUSTER_DIR") {
            Self { folder: folder.into(), whose: Whose::Named }
        } else {
            let folder =
                tempfile::Builder::new().prefix("bkv-scenarios-").tempdir().expect("a folder").keep();
            Self { whose: Whose::Ours(guardian(&folder)), folder }
        };
        let images = images();
        if !this.cluster(&["status"]).ok {
            this.must(&["up"]);
        }
        let archives: Vec<String> =
            IMAGES.iter().map(|i| images.join(format!("bkv-{i}.oci.tar")).display().to_string()).collect();
        let mut load = vec!["load"];
        load.extend(archives.iter().map(String::as_str));
        this.must(&load);
        this
    }

    /// Everything of the run is below it, and goes with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its nodes are processes of this machine: their power can be cut, and programs in them be stopped.
    pub fn breakable(&self) -> bool {
        !matches!(self.whose, Whose::Given { .. })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        match (&self.whose, arguments) {
            (Whose::Given { kubeconfig, .. }, [program @ ("kubectl" | "helm"), rest @ ..]) => {
                let mut command = Command::new(program);
                command.env("KUBECONFIG", kubeconfig).args(rest);
                command
            }
            (Whose::Given { .. }, _) => {
                panic!("only a cluster of bin/cluster can do `{}`", arguments.join(" "))
            }
            _ => {
                let mut command = Command::new(program());
                command.arg("--dir").arg(&self.folder).args(arguments);
                command
            }
        }
    }

    /// `cluster …`
    pub fn cluster(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(&mut self.command(arguments), None)
    }

    /// The same, and it must succeed.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> String {
        let answer = self.cluster(arguments);
        assert!(answer.ok, "cluster {arguments:?}:\n{}{}", answer.out, answer.err);
        answer.out
    }

    /// `kubectl …`
    pub fn kubectl(&self, arguments: &[&str]) -> CommandOutput {
        let mut all = vec!["kubectl"];
        all.extend(arguments);
        self.cluster(&all)
    }

    /// `kubectl apply -f -` of an object or a list of them, in a namespace. It must succeed.
    #[track_caller]
    pub fn apply(&self, namespace: &str, object: &Value) {
        let mut command = self.command(&["kubectl", "-n", namespace, "apply", "-f", "-"]);
        CommandOutput::of(&mut command, Some(&object.to_string())).good();
    }

    /// Forwards to a port of `pod/…` or `service/…`.
    pub fn forward(&self, namespace: &str, what: &str, port: u16) -> PortForward {
        if let Whose::Given { kubeconfig, .. } = &self.whose {
            return PortForward::forwarded(kubeconfig, namespace, what, port);
        }
        let (kind, name) = what.split_once('/').expect("kind/name");
        let found = self.get(namespace, kind, name);
        let address = found.pointer("/status/podIP").or_else(|| found.pointer("/spec/clusterIP"));
        let address = address.and_then(Value::as_str).unwrap_or_else(|| panic!("{what} has no address"));
        PortForward::straight(SocketAddr::new(address.parse().expect("an address"), port))
    }

    /// One object; null if it is not there.
    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let answer = self.kubectl(&["-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"]);
        if answer.out.trim().is_empty() { Value::Null } else { answer.json() }
    }

    /// Objects of some kinds, by a label or all (an empty selector).
    pub fn list(&self, namespace: &str, kinds: &str, selector: &str) -> Vec<Value> {
        let answer = self.kubectl(&["-n", namespace, "get", kinds, "-l", selector, "-o", "json"]);
        answer.json()["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until `look` succeeds. Fails the test after `patience` with the last error of `look`.
    #[track_caller]
    pub fn until<T>(&self, what: &str, patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
        let started = Instant::now();
        loop {
            let last = match look() {
                Ok(found) => return found,
                Err(last) => last,
            };
            assert!(started.elapsed() < patience, "{what}: not within {patience:?}; at last: {last}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Whose::Ours(guardian) = &mut self.whose {
            // The child ends when the pipe closes.
            drop(guardian.stdin.take());
            let _ended = guardian.wait();
        }
    }
}

/// Archives of the programs in [`bin_dir`], made anew only if something changed.
fn images() -> PathBuf {
    let programs = bin_dir();
    let out = programs.join("images");
    let mut build = Command::new(project().join("images/build.sh"));
    build
        .args(["--changed", "--only", &IMAGES.join(",")])
        .arg("--bin-dir")
        .arg(&programs)
        .arg("--out")
        .arg(&out);
    let built = CommandOutput::of(&mut build, None);
    assert!(built.ok, "no images:\n{}{}", built.out, built.err);
    out
}
