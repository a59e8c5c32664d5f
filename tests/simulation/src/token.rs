//! SoftHSM tokens for the vaults of one simulation, and the process that a simulation runs in: a PKCS#11 module reads its configuration once per process.

use std::any::Any;
use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bkv_hsm::{TokenConfig, softhsm};

/// Folder of the child's simulation.
const DIR: &str = "BKV_SIMULATION_DIR";
/// Set in a process that only initialises a token.
const INIT: &str = "BKV_SIMULATION_INIT";
/// Set in a process that only locks the files of the token in this folder.
const LOCK: &str = "BKV_SIMULATION_LOCK";
const PIN: &str = "83-user-pin-of-a-test";
const SO_PIN: &str = "17-officer-pin-of-a-test";

/// How long one test may take. More random schedules take longer.
pub fn deadline() -> Duration {
    let schedules: u64 = std::env::var("BKV_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    Duration::from_mins(4) + Duration::from_secs(20 * schedules)
}

/// Why no simulation can run on this machine.
pub fn missing() -> Option<String> {
    (!Path::new(softhsm::DEBIAN_MODULE).is_file()).then(|| "apt-get install softhsm2".to_owned())
}

fn label(i: usize) -> String {
    format!("vault-{i}")
}

/// The configuration of the ith token of this process.
pub fn config(dir: &Path, i: usize, call_deadline_ms: u64) -> TokenConfig {
    let mut config = TokenConfig::new(softhsm::DEBIAN_MODULE.into(), label(i), dir.join("pin"));
    config.pool = 2;
    config.call_deadline_ms = call_deadline_ms;
    config
}

/// Where the objects of the ith token lie.
pub fn folder(dir: &Path, i: usize) -> PathBuf {
    fs::canonicalize(dir.join(label(i))).unwrap()
}

/// Makes three tokens for the simulation of a child process, in a folder that lives as long as the returned value.
pub fn prepare(command: &mut Command) -> Box<dyn Any> {
    let dir = tempfile::tempdir().unwrap();
    make_tokens(dir.path());
    command.env(DIR, dir.path()).env(softhsm::CONF_VARIABLE, dir.path().join("softhsm2.conf"));
    Box::new(dir)
}

/// The folder with the tokens of this process, if [`prepare`] made them.
pub fn made() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Runs a test in the child process that [`prepare`] prepared.
pub fn simulate<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let dir = made().unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test(dir));
    runtime.shutdown_background();
    end_threads();
}

/// Waits until the threads of the simulated vaults have ended. What the libraries do at the end of a process (OpenSSL in SoftHSM, AWS-LC) frees what a thread that still runs uses: the
/// process would now and then end with SIGSEGV.
fn end_threads() {
    let until = Instant::now() + Duration::from_secs(5);
    let threads = || fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    while threads() > 1 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// For the first line of `main`: does the work of a process that only initialises a token or locks its files, if this is one.
pub fn run_role() -> Option<ExitCode> {
    if std::env::var_os(INIT).is_some() {
        return Some(softhsm::run_child());
    }
    std::env::var_os(LOCK).map(|folder| {
        lock_until_input_ends(Path::new(&folder));
        ExitCode::SUCCESS
    })
}

/// SoftHSM makes one token a directory; one configuration shows all three.
fn make_tokens(dir: &Path) {
    fs::create_dir(dir.join("tokens")).unwrap();
    let makers = (0..3).map(|i| {
        let dir = dir.to_owned();
        std::thread::spawn(move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env(INIT, "1");
            let made =
                softhsm::init_token_by(command, &dir.join(format!("made-{i}")), &label(i), PIN, SO_PIN);
            let made = fs::read_dir(made.unwrap().tokens).unwrap().next().unwrap().unwrap();
            let to = dir.join("tokens").join(made.file_name());
            fs::rename(made.path(), &to).unwrap();
            std::os::unix::fs::symlink(&to, dir.join(label(i))).unwrap();
        })
    });
    makers.collect::<Vec<_>>().into_iter().for_each(|m| m.join().unwrap());
    let tokens = dir.join("tokens");
    let conf = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        tokens.display()
    );
    fs::write(dir.join("softhsm2.conf"), conf).unwrap();
    let mut pin =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(dir.join("pin")).unwrap();
    pin.write_all(PIN.as_bytes()).unwrap();
}

/// Makes a token hang as long as it lives: another process holds locks on the token's files, so SoftHSM waits inside its calls.
pub struct Hanging(Child);

impl Hanging {
    pub fn token(dir: &Path, i: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(LOCK, folder(dir, i)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("locked")));
        Self(child)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn lock_until_input_ends(folder: &Path) {
    let mut held = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = fs::OpenOptions::new().read(true).write(true).open(entry.unwrap().path()).unwrap();
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        held.push(file);
    }
    println!("locked {}", held.len());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
