//! Fresh `SoftHSM` tokens for `bkv dev` and for tests: a directory, its configuration file, an initialised token.
//! `SoftHSM` reads `SOFTHSM2_CONF` once per process, so a child process does it: the calling program, started
//! again. PINs go through its standard input, never through arguments or the environment.
//!
//! A program that calls [`init_token`] must call [`run_child_if_asked`] first thing in its `main`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Where Debian's `libsofthsm2` has its module.
pub const DEBIAN_MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The environment variable that names the configuration file.
pub const CONF_VARIABLE: &str = "SOFTHSM2_CONF";
/// The argument by which a program knows that it is the child. No program's own arguments begin like that.
const CHILD_ARGUMENT: &str = "__bkv-softhsm-init-token";
/// How long a child may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A `SoftHSM` directory with one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftHsm {
    /// The configuration file: start the vault with `SOFTHSM2_CONF` set to it.
    pub conf: PathBuf,
    /// The directory with the token's objects.
    pub tokens: PathBuf,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or directory.
    #[error("SoftHSM directory {path:?}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory has a token already.
    #[error("{0:?} has a token already; use it, or another directory")]
    Exists(PathBuf),
    /// The module is not installed.
    #[error("SoftHSM's module {0:?} is not installed; apt-get install softhsm2")]
    NotInstalled(PathBuf),
    /// The child failed.
    #[error("the token {label:?} could not be initialised: {why}")]
    Child {
        /// The token.
        label: String,
        /// What it said; never a PIN.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Request {
    module: PathBuf,
    label: String,
    pin: String,
    so_pin: String,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pin.zeroize();
        self.so_pin.zeroize();
    }
}

/// Makes `dir` (mode 0700), its `softhsm2.conf` and one token with that label and those PINs (4 to 255 bytes).
pub fn init_token(dir: &Path, label: &str, pin: &str, so_pin: &str) -> Result<SoftHsm, SetupError> {
    let exe =
        std::env::current_exe().map_err(|source| SetupError::Io { path: "/proc/self/exe".into(), source })?;
    let mut command = Command::new(exe);
    command.arg(CHILD_ARGUMENT);
    init_token_by(command, dir, label, pin, so_pin)
}

/// As [`init_token`], by a program of the caller's choice that calls [`run_child`].
pub fn init_token_by(
    mut command: Command,
    dir: &Path,
    label: &str,
    pin: &str,
    so_pin: &str,
) -> Result<SoftHsm, SetupError> {
    let module = PathBuf::from(DEBIAN_MODULE);
    if !module.is_file() {
        return Err(SetupError::NotInstalled(module));
    }
    let made = write_conf(dir)?;
    let failed = |why: String| SetupError::Child { label: label.to_owned(), why };
    let request = Request { module, label: label.to_owned(), pin: pin.to_owned(), so_pin: so_pin.to_owned() };
    let input = Zeroizing::new(serde_json::to_vec(&request).map_err(|e| failed(e.to_string()))?);
    let mut child = command
        .env(CONF_VARIABLE, &made.conf)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("no child process ({e})")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early doesn't read; its exit code and its last words say more than this error would.
        let _ = stdin.write_all(&input);
    }
    let until = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| failed(e.to_string()))? {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(format!("no end after {DEADLINE:?}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut said);
    }
    // Both: a program that forgot `run_child_if_asked` may well end with 0.
    let has_token = fs::read_dir(&made.tokens).is_ok_and(|mut entries| entries.next().is_some());
    if status.success() && has_token { Ok(made) } else { Err(failed(format!("{status}, {}", said.trim()))) }
}

/// First thing in `main`: if this process is the child, does its work and gives the exit code to end with.
pub fn run_child_if_asked() -> Option<ExitCode> {
    (std::env::args_os().nth(1)? == CHILD_ARGUMENT).then(run_child)
}

/// The child's work: reads the request from standard input, initialises the token.
pub fn run_child() -> ExitCode {
    match child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Standard error is how the parent learns why.
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn child() -> Result<(), String> {
    let mut input = Zeroizing::new(Vec::with_capacity(8192));
    std::io::stdin().take(8192).read_to_end(&mut input).map_err(|e| format!("standard input: {e}"))?;
    // A parse error would quote its input, which has PINs.
    let request: Request = serde_json::from_slice(&input).map_err(|_| "no request on standard input")?;
    let step = |what: &'static str| move |e: cryptoki::error::Error| format!("{what}: {e}");
    let context = Pkcs11::new(&request.module).map_err(step("loading the module"))?;
    context
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(step("C_Initialize"))?;
    let so_pin = AuthPin::new(request.so_pin.as_str().into());
    let pin = AuthPin::new(request.pin.as_str().into());
    let slots = context.get_slots_with_token().map_err(step("C_GetSlotList"))?;
    let free = slots
        .into_iter()
        .find(|slot| context.get_token_info(*slot).is_ok_and(|info| !info.token_initialized()))
        .ok_or("no free slot")?;
    context.init_token(free, &so_pin, &request.label).map_err(step("C_InitToken"))?;
    let slots = context.get_slots_with_token().map_err(step("C_GetSlotList"))?;
    let made = slots
        .into_iter()
        .find(|slot| context.get_token_info(*slot).is_ok_and(|info| info.label().trim_end() == request.label))
        .ok_or("the new token is not listed")?;
    let session = context.open_rw_session(made).map_err(step("C_OpenSession"))?;
    session.login(UserType::So, Some(&so_pin)).map_err(step("C_Login"))?;
    session.init_pin(&pin).map_err(step("C_InitPIN"))?;
    session.logout().map_err(step("C_Logout"))?;
    session.close().map_err(step("C_CloseSession"))?;
    context.finalize().map_err(step("C_Finalize"))
}

fn write_conf(dir: &Path) -> Result<SoftHsm, SetupError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| SetupError::Io { path, source }
    };
    let tokens = dir.join("tokens");
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(&tokens).map_err(at(&tokens))?;
    // Absolute: the vault that reads the file runs elsewhere.
    let tokens = tokens.canonicalize().map_err(at(&tokens))?;
    if fs::read_dir(&tokens).map_err(at(&tokens))?.next().is_some() {
        return Err(SetupError::Exists(tokens));
    }
    let conf = dir.canonicalize().map_err(at(dir))?.join("softhsm2.conf");
    let text = format!(
        "# Written by bkv. One token directory per vault: SoftHSM does not share one well.\n\
         directories.tokendir = {}\n\
         objectstore.backend = file\n\
         log.level = ERROR\n\
         slots.removable = false\n",
        tokens.display()
    );
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&conf)
        .map_err(at(&conf))?;
    file.write_all(text.as_bytes()).map_err(at(&conf))?;
    Ok(SoftHsm { conf, tokens })
}
