//! A test in a process of its own, with three tokens: a PKCS#11 module reads its configuration once per process.

use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bkv_hsm::{TokenConfig, softhsm};

const CHILD: &str = "BKV_STAND_CHILD";
const DIR: &str = "BKV_STAND_DIR";
const INIT: &str = "BKV_STAND_INIT";
const HANG: &str = "BKV_STAND_HANG";
const PIN: &str = "83-user-pin-of-a-test";
const SO_PIN: &str = "17-officer-pin-of-a-test";
/// Random schedules beyond the usual get more.
fn deadline() -> Duration {
    let schedules: u64 = std::env::var("BKV_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    Duration::from_mins(4) + Duration::from_secs(20 * schedules)
}

fn label(i: usize) -> String {
    format!("vault-{i}")
}

/// The configuration of the ith token of this process.
pub(super) fn token(dir: &Path, i: usize, call_deadline_ms: u64) -> TokenConfig {
    let mut config = TokenConfig::new(softhsm::DEBIAN_MODULE.into(), label(i), dir.join("pin"));
    config.pool = 2;
    config.call_deadline_ms = call_deadline_ms;
    config
}

/// Where the objects of the ith token lie.
pub(crate) fn token_folder(dir: &Path, i: usize) -> PathBuf {
    fs::canonicalize(dir.join(label(i))).unwrap()
}

fn test_process(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command
}

/// Runs `body` in a child process; here, judges the child.
pub(crate) fn run<F: Future<Output = ()>>(name: &str, body: impl FnOnce(PathBuf) -> F) {
    let name = name.split_once("::").unwrap().1; // without the crate
    if std::env::var(CHILD).as_deref() == Ok(name) {
        let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(body(dir));
        runtime.shutdown_background();
        return;
    }
    if !Path::new(softhsm::DEBIAN_MODULE).is_file() {
        // Past the capture of output, which would swallow it.
        let _ = writeln!(std::io::stderr(), "\nskipped: {name}: apt-get install softhsm2");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    make_tokens(dir.path());
    let said = dir.path().join("output");
    let file = fs::File::create(&said).unwrap();
    let mut command = test_process(name);
    command
        .env(CHILD, name)
        .env(DIR, dir.path())
        .env(softhsm::CONF_VARIABLE, dir.path().join("softhsm2.conf"));
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + deadline();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > until => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let said = fs::read_to_string(said).unwrap();
    let good = status.is_some_and(|s| s.success()) && said.contains("1 passed");
    assert!(good, "{name}: {status:?}\n{said}");
    print!("{said}");
}

/// SoftHSM makes one token a directory; one configuration shows all three.
fn make_tokens(dir: &Path) {
    fs::create_dir(dir.join("tokens")).unwrap();
    let makers = (0..3).map(|i| {
        let dir = dir.to_owned();
        std::thread::spawn(move || {
            let mut command = test_process("stand::process::init_child");
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

/// Not a test: the process in which a token is initialised.
#[test]
fn init_child() {
    if std::env::var_os(INIT).is_some() {
        assert_eq!(format!("{:?}", softhsm::run_child()), format!("{:?}", ExitCode::SUCCESS));
    }
}

/// Holds a token up as long as it lives: another process has locked its files, so that SoftHSM waits inside its calls.
pub(crate) struct Hanging(Child);

impl Hanging {
    pub(crate) fn token(dir: &Path, i: usize) -> Self {
        let mut command = test_process("stand::process::hang_child");
        command.env(HANG, token_folder(dir, i)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("locked")));
        Self(child)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Not a test: the process that locks a token's files until its input ends.
#[test]
fn hang_child() {
    let Some(folder) = std::env::var_os(HANG) else { return };
    let mut held = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = fs::OpenOptions::new().read(true).write(true).open(entry.unwrap().path()).unwrap();
        rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        held.push(file);
    }
    println!("locked {}", held.len());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
