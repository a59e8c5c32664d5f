//! The process of a target: its runtime, and the inputs since its replicas began, which a panic writes to a folder. libFuzzer itself keeps only the last input,
//! and a replica remembers earlier ones.

use std::fmt::Debug;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bkv_simulation::token;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::links::Links;
use crate::peers::Attack;
use crate::regions::Regions;
use crate::relay::Relay;
use crate::requests::Requests;
use crate::seeds;
use crate::target::Target;
use crate::websocket::Websocket;

/// Names the target of a fuzzer.
const TARGET: &str = "BKV_FUZZ_TARGET";
/// Inputs about one person or shard, in a fuzzer.
const SHARE: u32 = 150;
/// Most inputs that are remembered.
const REMEMBERED: usize = 4096;
/// How long one answer may take. Fuzzers run with the lowest priority on busy machines.
const ANSWER: Duration = Duration::from_mins(3);
/// The folder for the inputs before a panic.
const HISTORY: &str = "BKV_FUZZ_HISTORY";
/// The folder that the seeds are written to, instead of fuzzing.
const SEEDS: &str = "BKV_FUZZ_SEEDS";
/// Prints each input.
const PRINT: &str = "BKV_FUZZ_PRINT";

static INPUTS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A target with its replicas, for inputs of a fuzzer.
pub struct Fuzzer(Box<dyn FnMut(&[u8]) + Send>);

impl Fuzzer {
    fn of<T: Target + Send + 'static>() -> Self {
        if let Some(folder) = std::env::var_os(SEEDS) {
            seeds::write::<T>(&PathBuf::from(folder));
            std::process::exit(0);
        }
        // Its handler of SIGPIPE is needed from here on.
        let runtime = runtime();
        if T::TOKENS && token::made().is_none() {
            begin_again();
        }
        watch();
        let mut live = None;
        Self(Box::new(move |bytes| runtime.block_on(T::feed(&mut live, SHARE, bytes))))
    }

    /// One input.
    pub fn input(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }
}

/// Call first in a fuzzer: the target that the environment names.
pub fn begin() -> Fuzzer {
    if let Some(code) = token::run_role() {
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    match std::env::var(TARGET).as_deref() {
        Ok("peers") => Fuzzer::of::<Attack>(),
        Ok("regions") => Fuzzer::of::<Regions>(),
        Ok("requests") => Fuzzer::of::<Requests>(),
        Ok("relay") => Fuzzer::of::<Relay>(),
        Ok("websocket") => Fuzzer::of::<Websocket>(),
        Ok("links") => Fuzzer::of::<Links>(),
        other => panic!("{TARGET} is {other:?}: peers, regions, requests, relay, websocket or links"),
    }
}

/// SoftHSM reads its configuration once per process, so a process without tokens makes them and starts itself again.
fn begin_again() -> ! {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(std::env::args_os().skip(1));
    std::mem::forget(token::prepare(&mut command));
    panic!("can't start again: {}", command.exec());
}

/// From now on a panic anywhere in the process ends it. The panic of a replica's task would end only this task otherwise.
pub fn watch() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        write_history();
        report(info);
        std::process::abort();
    }));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn write_history() {
    let (Some(folder), Ok(mut inputs)) = (std::env::var_os(HISTORY), INPUTS.try_lock()) else { return };
    let folder = PathBuf::from(folder).join(std::process::id().to_string());
    let _ = std::fs::create_dir_all(&folder);
    for (number, input) in inputs.drain(..).enumerate() {
        let _ = std::fs::write(folder.join(format!("{number:06}")), input);
    }
    eprintln!("the inputs since the replicas began, in order: {}", folder.display());
}

/// Remembers an input, for the history of a panic.
pub fn remember(bytes: &[u8]) {
    let mut inputs = INPUTS.lock().unwrap();
    if inputs.len() == REMEMBERED {
        inputs.remove(0);
    }
    inputs.push(bytes.to_vec());
}

/// The replicas begin anew.
pub fn forget() {
    INPUTS.lock().unwrap().clear();
}

/// Prints an input if the environment asks for it.
pub fn show(input: &impl Debug) {
    if std::env::var_os(PRINT).is_some() {
        eprintln!("{input:#?}");
    }
}

/// The runtime of what is attacked. One thread: each message passes through many tasks, and changes between threads would take most of the time.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let entered = runtime.enter();
        // Rust's own main ignores SIGPIPE, and libFuzzer's does not. A handler keeps the signal from ending the process.
        drop(signal(SignalKind::pipe()).unwrap());
        drop(entered);
        runtime
    })
}

/// The deadline of an answer.
pub fn soon() -> Instant {
    Instant::now() + ANSWER
}

/// Waits for a condition that must come.
pub async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = soon();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
