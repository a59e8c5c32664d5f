//! People who use a vault: the stock `bkv`, as they would type it, and a loop of recoveries that runs while things are broken.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Cluster, CommandOutput, bin_dir, project};

/// The right password of every account.
const RIGHT: &str = "quiet otter paints the north window";

/// A person with an account.
#[derive(Clone, Debug)]
pub struct Person {
    folder: PathBuf,
    name: String,
}

impl Person {
    /// A person whose profile names ChatD at this local port, and the root and authority that the fleet published. `issuer` is the folder of `kind/issuer.sh`.
    pub fn new(
        cluster: &Cluster,
        (namespace, vault): (&str, &str),
        port: u16,
        issuer: &Path,
        folder: &Path,
        name: &str,
    ) -> Self {
        let folder = folder.join(format!("{namespace}-{vault}-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let published = cluster.get(namespace, "configmap", &format!("{vault}-root"));
        let root =
            STANDARD.decode(published["binaryData"]["root.bin"].as_str().expect("a root")).expect("base64");
        let write = |file: &str, content: &[u8]| std::fs::write(folder.join(file), content).expect("written");
        write("root.bin", &root);
        let profile =
            format!("chatd = \"https://localhost:{port}\"\nroot = \"root.bin\"\nchatd_ca = \"ca.pem\"\n");
        write("fleet.toml", profile.as_bytes());
        write("password", RIGHT.as_bytes());
        write("wrong", b"noisy otter paints the north window");
        let this = Self { folder, name: name.to_owned() };
        this.trust(cluster, (namespace, vault));
        this.log_in(issuer);
        this
    }

    /// Trusts the authorities of ChatD's certificate as they are now, as an app that was updated would.
    pub fn trust(&self, cluster: &Cluster, (namespace, vault): (&str, &str)) {
        let found = cluster.get(namespace, "secret", &format!("{vault}-chatd-web"));
        let authorities =
            STANDARD.decode(found["data"]["ca.crt"].as_str().expect("its authority")).expect("base64");
        let (new, file) = (self.folder.join("ca.pem.new"), self.folder.join("ca.pem"));
        std::fs::write(&new, authorities).expect("written");
        // Written by rename, because the recovery loop may read the file at the same time.
        std::fs::rename(new, file).expect("renamed");
    }

    /// From now on this person's tokens come from the issuer whose key is in that folder.
    pub fn log_in(&self, issuer: &Path) {
        std::fs::write(self.folder.join("issuer"), issuer.as_os_str().as_encoded_bytes()).expect("written");
    }

    /// New tokens, as an app gets them before each use: vaults accept them for minutes only.
    fn fresh_tokens(&self) {
        let issuer = std::fs::read_to_string(self.folder.join("issuer")).expect("an issuer");
        let mut command = Command::new(project().join("kind/issuer.sh"));
        let tokens = CommandOutput::of(command.args(["token", &issuer, &self.name]), None).good();
        // Written by rename, because the recovery loop may run another command at the same time.
        let mut new = tempfile::NamedTempFile::new_in(&self.folder).expect("a file");
        new.write_all(tokens.as_bytes()).expect("written");
        new.persist(self.folder.join("token")).expect("renamed");
    }

    fn bkv(&self, arguments: &[&str], device: &str) -> CommandOutput {
        self.fresh_tokens();
        let mut command = Command::new(bin_dir().join("bkv"));
        command.arg("--json").args(arguments).current_dir(&self.folder);
        command.args(["--fleet", "fleet.toml", "--token", "token", "--state", device]);
        CommandOutput::of(&mut command, None)
    }

    /// `bkv register`
    pub fn register(&self) -> CommandOutput {
        self.bkv(&["register", "--password-file", "password"], "phone")
    }

    /// `bkv recover` on a device that has never seen the key.
    pub fn recover(&self, password_file: &str) -> CommandOutput {
        let _none = std::fs::remove_dir_all(self.folder.join("new-phone"));
        self.bkv(&["recover", "--password-file", password_file], "new-phone")
    }

    /// `bkv status`, which must succeed.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.bkv(&["status"], "other-phone").json()
    }
}

/// One recovery of the loop.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// When it began.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Exit code of `bkv`, and its output if that was not 0.
    pub ended: Result<(), (Option<i32>, String)>,
}

/// Recoveries of several people, each in turn and some at once, until it is dropped. One account lies in one shard: a few of them reach most leaders.
pub struct Loop {
    people: Vec<Person>,
    done: Arc<Mutex<Vec<Recovery>>>,
    /// Read-locked during a recovery: a recovery spends a try until its end refills the budget.
    turn: Arc<RwLock<()>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Recoveries at once.
const AT_ONCE: usize = 2;
/// Between two recoveries.
const PAUSE: Duration = Duration::from_millis(400);

impl Loop {
    /// Starts it for people who are registered.
    pub fn start(people: Vec<Person>) -> Self {
        let (done, stop) = (Arc::<Mutex<Vec<Recovery>>>::default(), Arc::new(AtomicBool::new(false)));
        let turn = Arc::<RwLock<()>>::default();
        let share = people.len().div_ceil(AT_ONCE).max(1);
        let walk = |some: &[Person]| {
            let (done, stop, turn, some) = (done.clone(), stop.clone(), turn.clone(), some.to_vec());
            std::thread::spawn(move || {
                for who in some.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let held = turn.read().expect("no holder panics");
                    let at = Instant::now();
                    let answer = who.recover("password");
                    drop(held);
                    let ended = if answer.ok { Ok(()) } else { Err((answer.code, answer.err + &answer.out)) };
                    let one = Recovery { at, took: at.elapsed(), ended };
                    done.lock().expect("no holder panics").push(one);
                    std::thread::sleep(PAUSE);
                }
            })
        };
        let threads = people.chunks(share).map(walk).collect();
        Self { people, done, turn, stop, threads }
    }

    /// Everybody trusts the authorities of ChatD's certificate as they are now.
    pub fn trust(&self, cluster: &Cluster, fleet: (&str, &str)) {
        self.people.iter().for_each(|p| p.trust(cluster, fleet));
    }

    /// Number of recoveries after which everybody had a turn that began after now.
    pub fn round(&self) -> usize {
        // Walks may be of different speed: three rounds of the fastest for one of the slowest.
        3 * self.people.len()
    }

    /// Recoveries that began since then and have ended.
    pub fn since(&self, then: Instant) -> Vec<Recovery> {
        self.done.lock().expect("no holder panics").iter().filter(|r| r.at >= then).cloned().collect()
    }

    /// Waits for at least `least` recoveries that began since then, and fails the test if one of them failed. Returns their number and the longest duration.
    #[track_caller]
    pub fn went_on(&self, cluster: &Cluster, then: Instant, least: usize) -> (usize, Duration) {
        let all = cluster.until("recoveries", Duration::from_mins(1), || {
            let all = self.since(then);
            if all.len() >= least { Ok(all) } else { Err(format!("{} of {least}: {all:?}", all.len())) }
        });
        for one in &all {
            assert!(one.ended.is_ok(), "a recovery failed after {:?}: {:?}", one.took, one.ended);
        }
        (all.len(), all.iter().map(|r| r.took).max().unwrap_or_default())
    }

    /// Checks that no account has spent tries: no failure since the registration and ten tries left, by the vaults' signed status.
    #[track_caller]
    pub fn no_try_was_spent(&self) {
        let _held = self.turn.write().expect("no holder panics");
        for person in &self.people {
            let status = person.status();
            assert_eq!(
                (&status["tries_left"], &status["lifetime_failures"]),
                (&10.into(), &0.into()),
                "{status}"
            );
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}
