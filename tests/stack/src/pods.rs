//! Vaults as the operator starts them: each with its own token volume and data volume, made by `bkv-vault init-token`, and driven through the admin port
//! only, without `bkv dev` and without a root key outside.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_core::document::{Admission, JwksSource, Member, Policy};
use bkv_core::id::{Hash, NodeId, Slot, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_mtls::issue::{RoleCa, write_private};
use bkv_mtls::{Role, RoleName};
use bkv_tokens::dev::DevIssuer;
use bkv_wire::documents::Root;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::chatd::free_port;
use crate::program::{End, Program, program};
use crate::{files, wait};

const DAY: Duration = Duration::from_hours(24);
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of Raft groups.
pub const SHARDS: u16 = 4;

/// One region.
pub struct Pod {
    /// Its name.
    pub name: String,
    ports: [u16; 4],
    process: Option<Program>,
}

/// A few regions in one folder, ended when dropped.
pub struct Pods {
    dir: TempDir,
    regions: Vec<Pod>,
    issuer: DevIssuer,
    /// The `/etc/hosts` of the vaults' mount namespaces. Then peers are known by name only.
    hosts: Option<PathBuf>,
    /// Every answer of any admin port.
    answers: RefCell<Vec<Vec<u8>>>,
}

impl Pods {
    /// Makes certificates, PINs and configuration of these regions. `make_root` is added to the first region's `vault.toml`.
    #[track_caller]
    pub fn new(names: &[&str], make_root: &str) -> Self {
        Self::made(names, make_root, false)
    }

    /// The same, but each vault knows its peers as `<region>.bkv.test`, which resolves once [`Self::resolve`] sets it. None if this machine does not let
    /// a test have a mount namespace.
    #[track_caller]
    pub fn named(names: &[&str], make_root: &str) -> Option<Self> {
        may_have_names().then(|| Self::made(names, make_root, true))
    }

    fn made(names: &[&str], make_root: &str, named: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("bkv-pods.").tempdir().expect("a temporary folder");
        let ports: Vec<u16> = (0..names.len() * 4).map(|_| free_port()).collect();
        let pods: Vec<Pod> = names
            .iter()
            .zip(ports.chunks(4))
            .map(|(name, p)| Pod {
                name: (*name).to_owned(),
                ports: p.try_into().expect("four ports"),
                process: None,
            })
            .collect();
        let issuer = DevIssuer::generate("https://issuer.bkv.localhost").expect("an issuer");
        let hosts = named.then(|| dir.path().join("hosts"));
        let fleet = Self { dir, regions: pods, issuer, hosts, answers: RefCell::default() };
        fleet.resolve(&[]);
        let ca = RoleCa::generate().expect("a CA");
        let role = |folder: PathBuf, role, name: &str| {
            ca.write_role(&folder, &RoleName::new(role, name).expect("a role"), DAY).expect("a certificate")
        };
        role(fleet.dir.path().join("admin"), Role::Admin, "operator");
        for (i, pod) in fleet.regions.iter().enumerate() {
            let at = fleet.folder(&pod.name);
            role(at.join("tls"), Role::Vault, &pod.name);
            write_private(&at.join("pin"), format!("{i}-pin-of-{}", pod.name).as_bytes()).expect("a PIN");
            let conf = format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                at.join("token-volume/tokens").display()
            );
            fs::write(at.join("softhsm2.conf"), conf).expect("softhsm2.conf");
            fs::write(at.join("vault.toml"), fleet.config(i, make_root)).expect("vault.toml");
        }
        fleet
    }

    fn config(&self, i: usize, make_root: &str) -> String {
        let pod = &self.regions[i];
        let [peer, relay, admin, health] = pod.ports;
        let mut peers = String::new();
        for p in &self.regions {
            let host = if self.hosts.is_some() { format!("{}.bkv.test", p.name) } else { "127.0.0.1".into() };
            let _ = writeln!(peers, "{} = \"{host}:{}\"", p.name, p.ports[0]);
        }
        let (root, make_root) = if i == 0 { ("data/root.bin", make_root) } else { ("root.bin", "") };
        format!(
            "region = \"{name}\"\ndata = \"data\"\nroot = \"{root}\"\nshards = {SHARDS}\n{make_root}\n[token]\n\
             module = \"/usr/lib/softhsm/libsofthsm2.so\"\ntoken_label = \"{name}\"\npin_file = \"pin\"\npool = 2\n[listen]\n\
             peer = \"127.0.0.1:{peer}\"\nrelay = \"127.0.0.1:{relay}\"\nadmin = \"127.0.0.1:{admin}\"\nhealth = \"127.0.0.1:{health}\"\n\
             [tls]\ncert = \"tls/tls.crt\"\nkey = \"tls/tls.key\"\nca = \"tls/ca.crt\"\n[peers]\n{peers}",
            name = pod.name,
        )
    }

    /// A region's folder: `vault.toml`, `pin`, `data`, `token-volume`.
    pub fn folder(&self, region: &str) -> PathBuf {
        self.dir.path().join(region)
    }

    /// All regions' names.
    pub fn names(&self) -> Vec<String> {
        self.regions.iter().map(|p| p.name.clone()).collect()
    }

    #[track_caller]
    fn pod(&mut self, region: &str) -> &mut Pod {
        self.regions.iter_mut().find(|p| p.name == region).expect("a region")
    }

    /// Sets the names that the vaults' resolver knows: region and address.
    pub fn resolve(&self, names: &[(&str, &str)]) {
        let Some(hosts) = &self.hosts else { return };
        let line = |(region, address): &(&str, &str)| format!("{address} {region}.bkv.test\n");
        let lines: Vec<String> = names.iter().map(line).collect();
        // Written in place, because the file is mounted.
        fs::write(hosts, format!("127.0.0.1 localhost\n{}", lines.concat())).expect("hosts");
    }

    /// Makes the region listen for its peers at another address after its next start.
    #[track_caller]
    pub fn move_to(&self, region: &str, address: &str) {
        let pod = self.regions.iter().find(|p| p.name == region).expect("a region");
        let path = self.folder(region).join("vault.toml");
        let text = fs::read_to_string(&path).expect("vault.toml");
        let (from, to) = (
            format!("peer = \"127.0.0.1:{}\"", pod.ports[0]),
            format!("peer = \"{address}:{}\"", pod.ports[0]),
        );
        assert!(text.contains(&from));
        fs::write(path, text.replace(&from, &to)).expect("vault.toml");
    }

    /// Whether its process runs.
    #[track_caller]
    pub fn runs(&mut self, region: &str) -> bool {
        self.pod(region).process.as_mut().is_some_and(Program::runs)
    }

    fn command(&self, region: &str) -> Command {
        let mut command = program("bkv-vault");
        if let Some(hosts) = &self.hosts {
            let vault = command.get_program().to_owned();
            command = program_in_hosts(hosts);
            command.arg(vault);
        }
        command.env("SOFTHSM2_CONF", self.folder(region).join("softhsm2.conf"));
        command
    }

    /// Runs the init container: `bkv-vault init-token`.
    #[track_caller]
    pub fn init_token(&self, region: &str) -> End {
        let mut command = self.command(region);
        command.arg("init-token").arg("--config").arg(self.folder(region).join("vault.toml"));
        Program::start(command).end(PATIENCE)
    }

    /// The init container, killed after this time. None if it had ended by then.
    #[track_caller]
    pub fn init_token_killed(&self, region: &str, after: Duration) -> Option<End> {
        let mut command = self.command(region);
        command.arg("init-token").arg("--config").arg(self.folder(region).join("vault.toml"));
        let mut started = Program::start(command);
        std::thread::sleep(after);
        if !started.runs() {
            return None;
        }
        started.signal(Signal::KILL);
        Some(started.end(PATIENCE))
    }

    /// Starts the vault.
    #[track_caller]
    pub fn start(&mut self, region: &str) {
        let mut command = self.command(region);
        command.arg("--config").arg(self.folder(region).join("vault.toml"));
        self.pod(region).process = Some(Program::start(command));
    }

    /// Ends a vault by a signal and waits.
    #[track_caller]
    pub fn stop(&mut self, region: &str, signal: Signal) -> End {
        let process = self.pod(region).process.take().expect("a running vault");
        process.signal(signal);
        process.end(PATIENCE)
    }

    /// Waits for a vault that ends by itself.
    #[track_caller]
    pub fn ended(&mut self, region: &str) -> End {
        self.pod(region).process.take().expect("a started vault").end(PATIENCE)
    }

    /// The vault's log so far.
    pub fn log(&self, region: &str) -> String {
        let pod = self.regions.iter().find(|p| p.name == region);
        pod.and_then(|p| p.process.as_ref()).map(|p| p.text("err")).unwrap_or_default()
    }

    /// A request to the admin port. Waits until the port is open.
    #[track_caller]
    #[allow(clippy::needless_pass_by_value)] // as the callers have it
    pub fn call(&self, region: &str, path: &str, body: Option<Vec<u8>>) -> (u16, Value) {
        let pod = self.regions.iter().find(|p| p.name == region).expect("a region");
        let admin = self.dir.path().join("admin");
        let until = Instant::now() + PATIENCE;
        let (status, bytes) = loop {
            match crate::admin::ask(&admin, region, pod.ports[2], path, body.clone()) {
                Ok(answer) => break answer,
                Err(e) => {
                    assert!(Instant::now() < until, "{region}, {path}: {e:?}; log: {}", self.log(region));
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        self.answers.borrow_mut().push(bytes);
        (status, json)
    }

    /// The port of `/readyz` and `/metrics`.
    #[track_caller]
    pub fn health(&self, region: &str) -> u16 {
        self.regions.iter().find(|p| p.name == region).expect("a region").ports[3]
    }

    /// Waits until the region's status satisfies the condition.
    #[track_caller]
    pub fn wait_status(&self, region: &str, what: &str, good: impl Fn(&Value) -> bool) {
        wait(&format!("{region}: {what}"), PATIENCE, || good(&self.call(region, "/v1/status", None).1));
    }

    /// The members of the admission list, from what each vault reports about its token.
    #[track_caller]
    pub fn members(&self) -> Vec<Member> {
        let member = |(pod, slot): (&Pod, u8)| {
            let token = self.call(&pod.name, "/v1/token", None).1;
            let bytes = |f: &str| STANDARD.decode(token[f].as_str().expect("base64")).expect("base64");
            Member {
                region: pod.name.clone(),
                slot: Slot(slot),
                node: NodeId(token["node"].as_u64().expect("a node")),
                identity: bytes("identity"),
                delivery: bytes("delivery"),
            }
        };
        self.regions.iter().zip(1u8..).map(member).collect()
    }

    /// An admission list of these members, valid now.
    pub fn admission(&self, root: &Root, number: u64, members: Vec<Member>) -> Admission {
        Admission {
            lineage: root.lineage(),
            era: root.era,
            number,
            not_before: Time(now() - 3_600_000),
            not_after: Time(now() + 86_400_000),
            threshold: u8::try_from(members.len() / 2 + 1).expect("few"),
            members,
            hash: Hash([0; 32]),
        }
    }

    /// A policy like that of `bkv dev`, valid now.
    pub fn policy(&self, root: &Root, number: u64) -> Policy {
        Policy {
            lineage: root.lineage(),
            era: root.era,
            number,
            not_before: Time(now() - 3_600_000),
            not_after: Time(now() + 86_400_000),
            issuer: "https://issuer.bkv.localhost".into(),
            vault_audience: "bkv-vault".into(),
            chatd_audience: "bkv-chatd".into(),
            jwks: JwksSource::Inline(self.issuer.jwks()),
            enrolment_claim: None,
            attempts: AttemptPolicy {
                max: 10,
                lifetime_failures: 100,
                waits_ms: vec![0],
                last_try_ms: 10_000,
                attempt_ms: 60_000,
            },
            store_ms: 60_000,
            ksf_floor: KsfParams { memory_kib: 19 << 10, passes: 2, lanes: 1 },
            ksf_ceiling: KsfParams { memory_kib: 1 << 20, passes: 10, lanes: 4 },
            token_max_age_ms: 600_000,
            bound_tokens: false,
            shards: SHARDS,
            hash: Hash([0; 32]),
            development: false,
        }
    }

    /// The places that show these bytes: an admin port's answer (as they are, or in base64 or hex in its JSON), a log, or any file of any region.
    pub fn seen(&self, secret: &[u8]) -> Vec<String> {
        let mut hex = String::new();
        for b in secret {
            let _ = write!(hex, "{b:02x}");
        }
        let mut places = Vec::new();
        for answer in self.answers.borrow().iter() {
            let json: Value = serde_json::from_slice(answer).unwrap_or_default();
            let mut texts = Vec::new();
            strings(&json, &mut texts);
            let decoded = texts.iter().filter_map(|t| STANDARD.decode(t).ok());
            if decoded.chain([answer.clone()]).any(|b| crate::contains(&b, secret))
                || crate::contains(answer, hex.as_bytes())
            {
                places.push(format!("answer {}", String::from_utf8_lossy(answer)));
            }
        }
        for file in files(self.dir.path()) {
            let bytes = fs::read(&file).unwrap_or_default();
            if crate::contains(&bytes, secret) {
                places.push(file.display().to_string());
            }
        }
        for pod in &self.regions {
            let log = self.log(&pod.name);
            if log.contains(&hex) || crate::contains(log.as_bytes(), secret) {
                places.push(format!("log of {}", pod.name));
            }
        }
        places
    }
}

/// Whether this machine allows a test a mount namespace.
pub fn may_have_names() -> bool {
    let mut tried = Command::new("unshare");
    tried.args(["--mount", "true"]).stderr(std::process::Stdio::null());
    tried.status().is_ok_and(|s| s.success())
}

/// A command that sees this `/etc/hosts`. The caller adds the program and its arguments. `exec` keeps the process id.
pub fn program_in_hosts(hosts: &std::path::Path) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        "mount --bind \"$0\" /etc/hosts; exec \"$@\"",
    ]);
    command.arg(hosts).stdin(std::process::Stdio::null());
    command
}

fn strings(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::String(s) => found.push(s.clone()),
        Value::Array(all) => all.iter().for_each(|v| strings(v, found)),
        Value::Object(all) => all.values().for_each(|v| strings(v, found)),
        _ => {}
    }
}

fn now() -> u64 {
    crate::issuer::now() * 1000
}
