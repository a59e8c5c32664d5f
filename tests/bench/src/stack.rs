//! The fleet under measurement. `bkv dev` starts, kills, pauses and stops real programs in a folder that is removed at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bkv_tokens::dev::{DevIssuer, ISSUER};
use serde_json::Value;
use tempfile::TempDir;

use crate::error::BenchError;
use crate::process;

/// The fleet's processes.
#[derive(Debug, Default)]
pub(crate) struct Pids {
    pub vaults: Vec<u32>,
    pub chatd: Vec<u32>,
    /// Postgres and any other process.
    pub beside: Vec<u32>,
}

impl Pids {
    /// The processes that the goals are about: vaults and ChatD.
    pub(crate) fn counted(&self) -> Vec<u32> {
        self.vaults.iter().chain(&self.chatd).copied().collect()
    }
}

/// A running fleet, stopped and removed when dropped.
pub(crate) struct Stack {
    bkv: PathBuf,
    dir: TempDir,
}

impl Stack {
    /// Starts three regions with zero waits and no stretching in the policy.
    pub(crate) fn up(bin_dir: &Path, work: Option<&Path>, network: &[String]) -> Result<Self, BenchError> {
        for program in ["bkv", "bkv-vault", "bkv-chatd"] {
            let path = bin_dir.join(program);
            if !path.exists() {
                return Err(BenchError::NotBuilt(path));
            }
        }
        let mut make = tempfile::Builder::new();
        make.prefix("bkv-bench.");
        let made = match work {
            Some(work) => make.tempdir_in(work),
            None => make.tempdir(),
        };
        let dir = made.map_err(BenchError::file(work.unwrap_or(&std::env::temp_dir())))?;
        // The database runs as another user and must reach its folder.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(BenchError::file(dir.path()))?;
        let stack = Self { bkv: bin_dir.join("bkv"), dir };
        let mut options = vec!["--regions", "3", "--waits-ms", "0", "--bench-no-ksf"];
        options.extend(network.iter().map(String::as_str));
        stack.dev(&["up"], &options)?;
        Ok(stack)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().join("stack")
    }

    /// `bkv --json dev …` on this fleet.
    fn dev(&self, command: &[&str], options: &[&str]) -> Result<Value, BenchError> {
        let mut run = Command::new(&self.bkv);
        run.args(["--json", "dev"]).args(command).arg("--dir").arg(self.dir()).args(options);
        let out = run.env_remove("BKV_FLEET").output().map_err(BenchError::file(&self.bkv))?;
        if !out.status.success() {
            let (stdout, stderr) =
                (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            return Err(BenchError::Command {
                command: format!("dev {}", command.join(" ")),
                code: out.status.code().unwrap_or(-1),
                output: format!("{} {}", stdout.trim(), stderr.trim()),
            });
        }
        Ok(serde_json::from_slice(&out.stdout).unwrap_or(Value::Null))
    }

    /// The fleet's issuer.
    pub(crate) fn issuer(&self) -> Result<DevIssuer, BenchError> {
        let path = self.dir().join("issuer").join("key.pkcs8");
        let key = fs::read(&path).map_err(BenchError::file(&path))?;
        DevIssuer::from_pkcs8(ISSUER, &key)
            .map_err(|e| BenchError::Profile { path: path.clone(), why: e.to_string() })
    }

    /// `kill`, `pause`, `resume` or `start`.
    pub(crate) fn region(&self, verb: &str, region: &str) -> Result<(), BenchError> {
        self.dev(&["region", verb, region], &[]).map(drop)
    }

    /// How many regions report that they are ready.
    pub(crate) fn ready(&self) -> usize {
        let status = self.dev(&["status"], &[]).unwrap_or_default();
        let regions = status.get("regions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        regions.iter().filter(|r| r.get("ready") == Some(&Value::Bool(true))).count()
    }

    /// Waits until this many regions are ready and returns how long that took.
    pub(crate) fn wait_ready(&self, count: usize, patience: Duration) -> Result<Duration, BenchError> {
        let start = Instant::now();
        while self.ready() < count {
            if start.elapsed() > patience {
                return Err(BenchError::Waited {
                    what: format!("{count} ready regions"),
                    seconds: patience.as_secs(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(start.elapsed())
    }

    /// Folder of a region.
    pub(crate) fn region_dir(&self, region: &str) -> PathBuf {
        self.dir().join("regions").join(region)
    }

    /// Names of the regions.
    pub(crate) fn regions(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir().join("regions"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Pid of the program whose folder this is.
    pub(crate) fn pid(folder: &Path) -> Option<u32> {
        let text = fs::read_to_string(folder.join("pid"))
            .or_else(|_| fs::read_to_string(folder.join("data/postmaster.pid")))
            .or_else(|_| fs::read_to_string(folder.join("postmaster.pid")))
            .ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// The processes of all programs.
    pub(crate) fn pids(&self) -> Pids {
        let mut pids = Pids::default();
        for region in self.regions() {
            pids.vaults.extend(Self::pid(&self.region_dir(&region)).into_iter().flat_map(process::family));
        }
        for entry in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = Self::pid(&entry.path()).filter(|_| name != "regions") else { continue };
            let list = if name == "chatd" { &mut pids.chatd } else { &mut pids.beside };
            list.extend(process::family(pid));
        }
        pids
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // A paused process does not handle SIGTERM, so resume all first.
        for region in self.regions() {
            let _ = self.region("resume", &region);
        }
        if let Err(e) = self.dev(&["down"], &[]) {
            eprintln!("bkv-bench: the fleet could not be stopped: {e}");
        }
    }
}
