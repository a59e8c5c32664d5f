//! The folder of a local fleet: where each file lies. The fleet's ports are chosen once and kept in `plan.json`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use bkv_config::located::reason;
use rand::Rng as _;

use super::neighbours::Neighbours;
use super::plan::{NetworkPlan, Plan, RegionPlan, usual_round_trip};
use super::process::Process;
use super::wishes::Wishes;
use crate::exit::{Exit, Failure, Outcome};

/// Names for people.
pub(crate) const NAMES: [&str; 5] = ["eu-west", "us-east", "ap-south", "sa-east", "af-south"];

/// Below the ephemeral ports: no outgoing connection can take one between this choice and the start of the programs.
const PORTS: std::ops::Range<u16> = 15_000..29_000;
/// How many of them are tried.
const ASKED: usize = 1000;

/// The folder.
#[derive(Debug)]
pub(crate) struct Layout {
    pub dir: PathBuf,
    pub plan: Plan,
}

fn failed(path: &Path, e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::CantCreate, format!("{}: {e}", path.display()))
}

impl Layout {
    pub(crate) fn open(dir: &Path) -> Outcome<Self> {
        let path = dir.join("plan.json");
        let text = fs::read(&path).map_err(|e| {
            Failure::new(Exit::NoInput, format!("no local fleet in {}: {e}", dir.display()))
                .remedy("Start one with `bkv dev up`, or name its folder with --dir.")
        })?;
        let plan = serde_json::from_slice(&text)
            .map_err(|e| Failure::new(Exit::Config, format!("{}: {}", path.display(), reason(&e.to_string()))).remedy("Name the folder of a local fleet with --dir, or make one in an empty folder with `bkv dev up`."))?;
        let dir = dir.canonicalize().map_err(|e| failed(dir, e))?;
        Ok(Self { dir, plan })
    }

    /// A new one, with ports that are free now and that no other fleet has in its plan. `state` is the user's folder for state.
    pub(crate) fn make(dir: &Path, wishes: &Wishes, state: Option<PathBuf>) -> Outcome<Self> {
        let (regions, shards) = (wishes.regions(), wishes.shards());
        fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        let dir = dir.canonicalize().map_err(|e| failed(dir, e))?;
        let wanted = usize::from(regions) * 5 + 2;
        let mut neighbours = Neighbours::lock(state);
        let theirs = neighbours.as_mut().map(|n| n.ports(&dir)).unwrap_or_default();
        // Keep all of them bound until every port is chosen, so that none is chosen twice.
        let held: Vec<TcpListener> = (0..ASKED)
            .map(|_| rand::rngs::OsRng.gen_range(PORTS))
            .filter(|port| !theirs.contains(port))
            .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
            .take(wanted)
            .collect();
        let mut ports = held.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.port());
        let mut next = || {
            ports.next().ok_or_else(|| Failure::new(Exit::CantCreate, "not enough free ports on 127.0.0.1"))
        };
        let mut plans = Vec::new();
        for name in NAMES.iter().take(usize::from(regions)) {
            plans.push(RegionPlan {
                name: (*name).to_owned(),
                peer: next()?,
                relay: next()?,
                admin: next()?,
                health: next()?,
                network: match wishes.network {
                    Some(_) => Some(next()?),
                    None => None,
                },
            });
        }
        let plan = Plan {
            regions: plans,
            shards,
            chatd: next()?,
            chatd_health: next()?,
            postgres: !wishes.no_postgres,
            policy: wishes.policy(),
            network: wishes.network,
            max_round_trip_ms: wishes.network.map_or_else(usual_round_trip, NetworkPlan::max_round_trip_ms),
            made: false,
        };
        let layout = Self { dir, plan };
        layout.save()?;
        if let Some(neighbours) = neighbours {
            neighbours.add(&layout.dir);
        }
        Ok(layout)
    }

    /// Removes what an `up` that did not end has made. A fleet that was never complete holds no key, and its ceremony can't be repeated: the vaults have
    /// documents of the first attempt.
    pub(crate) fn clear(&self) -> Outcome {
        let gone = |e: std::io::Error| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) };
        for folder in ["regions", "issuer", "chatd", "postgres", "admin", "network"] {
            let folder = self.dir.join(folder);
            fs::remove_dir_all(&folder).or_else(gone).map_err(|e| failed(&folder, e))?;
        }
        for file in ["root.key", "root.bin", "fleet.toml", "plan.json"] {
            let file = self.dir.join(file);
            fs::remove_file(&file).or_else(gone).map_err(|e| failed(&file, e))?;
        }
        Ok(())
    }

    /// Every program of the fleet except Postgres, which is stopped in its own way, in the order in which they are stopped.
    pub(crate) fn programs(&self) -> Vec<Process> {
        let vaults = self.plan.regions.iter().map(|r| self.vault_process(&r.name));
        [self.chatd_process()].into_iter().chain(vaults).chain([self.network_process()]).collect()
    }

    pub(crate) fn save(&self) -> Outcome {
        let text = serde_json::to_vec_pretty(&self.plan)
            .map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))?;
        let path = self.dir.join("plan.json");
        bkv_files::replace(&path, &text, bkv_files::Mode::Public).map_err(|e| failed(&path, e))
    }

    pub(crate) fn region(&self, name: &str) -> PathBuf {
        self.dir.join("regions").join(name)
    }

    pub(crate) fn vault_process(&self, name: &str) -> Process {
        Process::new(&self.region(name), &format!("vault {name}"))
    }

    pub(crate) fn chatd_process(&self) -> Process {
        Process::new(&self.dir.join("chatd"), "chatd")
    }

    pub(crate) fn network_process(&self) -> Process {
        Process::new(&self.dir.join("network"), "network")
    }

    pub(crate) fn chatd(&self) -> PathBuf {
        self.dir.join("chatd")
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.dir.join("root.key")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root.bin")
    }

    pub(crate) fn issuer_key(&self) -> PathBuf {
        self.dir.join("issuer").join("key.pkcs8")
    }

    pub(crate) fn jwks(&self) -> PathBuf {
        self.dir.join("issuer").join("jwks.json")
    }

    /// The administrator's role certificate.
    pub(crate) fn admin(&self) -> PathBuf {
        self.dir.join("admin")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// Folder of the database's socket: a socket's path may have 107 bytes, so a deep folder gets one in /tmp.
    pub(crate) fn socket(&self) -> PathBuf {
        let own = self.postgres().join("run");
        if own.as_os_str().len() < 80 {
            return own;
        }
        let name =
            bkv_core::hash::tagged("bkv/dev-socket/1", &[own.as_os_str().as_encoded_bytes()]).to_string();
        std::env::temp_dir().join(format!("bkv-pg-{}", name.get(..12).unwrap_or_default()))
    }
}
