//! The process that has the module: the calling program, started again. What it is asked for, PINs included, goes through its standard input.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{CONF_VARIABLE, SetupError};

/// The argument by which a program knows that it is the child. No program's own arguments begin like that.
const CHILD_ARGUMENT: &str = "__bkv-softhsm-init-token";
/// How long a child may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Last word of a child whose token takes the PIN. Its exit code is not enough: a program that forgot [`run_child_if_asked`] may well end with 0.
const DONE: &str = "bkv-softhsm: done";
/// Word of a child whose token does not take the PIN.
const REFUSED: &str = "bkv-softhsm: the PIN is refused";

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) module: PathBuf,
    pub(super) label: String,
    pub(super) pin: String,
    /// To make the token; without it the one that is there is only looked at.
    pub(super) so_pin: Option<String>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pin.zeroize();
        self.so_pin.zeroize();
    }
}

/// This program as a child.
pub(super) fn this_program() -> Result<Command, SetupError> {
    let exe =
        std::env::current_exe().map_err(|source| SetupError::Io { path: "/proc/self/exe".into(), source })?;
    let mut command = Command::new(exe);
    command.arg(CHILD_ARGUMENT);
    Ok(command)
}

/// Has a child do it, with the module configured by `conf`.
pub(super) fn ask(mut command: Command, conf: &Path, request: &Request) -> Result<(), SetupError> {
    let failed = |why: String| SetupError::Child { label: request.label.clone(), why };
    let input = Zeroizing::new(serde_json::to_vec(request).map_err(|e| failed(e.to_string()))?);
    let mut child = command
        .env(CONF_VARIABLE, conf)
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
    if said.contains(REFUSED) {
        return Err(SetupError::PinRefused { label: request.label.clone() });
    }
    if status.success() && said.contains(DONE) {
        return Ok(());
    }
    Err(failed(format!("{status}, {}", said.trim())))
}

/// First thing in `main`: if this process is the child, does its work and gives the exit code to end with.
pub fn run_child_if_asked() -> Option<ExitCode> {
    (std::env::args_os().nth(1)? == CHILD_ARGUMENT).then(run_child)
}

/// The child's work: reads the request from standard input, makes the token or looks at it.
pub fn run_child() -> ExitCode {
    // Standard error is how the parent learns how it went.
    match child() {
        Ok(()) => {
            let _ = writeln!(std::io::stderr(), "{DONE}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn step(what: &'static str) -> impl Fn(Error) -> String {
    move |e| format!("{what}: {e}")
}

fn child() -> Result<(), String> {
    // A parent that is killed lets go of its lock: nobody may go on writing beside the next one. It waits for this process in the thread that started it.
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| format!("PR_SET_PDEATHSIG: {e}"))?;
    if rustix::process::getppid() != parent {
        return Err("the parent is gone".into());
    }
    let mut input = Zeroizing::new(Vec::with_capacity(8192));
    std::io::stdin().take(8192).read_to_end(&mut input).map_err(|e| format!("standard input: {e}"))?;
    // A parse error would quote its input, which has PINs.
    let request: Request = serde_json::from_slice(&input).map_err(|_| "no request on standard input")?;
    let context = Pkcs11::new(&request.module).map_err(step("loading the module"))?;
    context
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(step("C_Initialize"))?;
    let library = context.get_library_info().map_err(step("C_GetInfo"))?;
    // Any other module is somebody's hardware: nothing is initialised there, and no PIN is tried.
    if !library.manufacturer_id().contains("SoftHSM") {
        return Err(format!("the module is of {:?}, not SoftHSM", library.manufacturer_id().trim()));
    }
    match &request.so_pin {
        Some(so_pin) => make(&context, &request, so_pin)?,
        None => look(&context, &request)?,
    }
    context.finalize().map_err(step("C_Finalize"))
}

fn make(context: &Pkcs11, request: &Request, so_pin: &str) -> Result<(), String> {
    let so_pin = AuthPin::new(so_pin.into());
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
    session.close().map_err(step("C_CloseSession"))
}

/// Is the token there, and does it take the PIN? SoftHSM counts no wrong ones, so asking at each start can't lock it.
fn look(context: &Pkcs11, request: &Request) -> Result<(), String> {
    let slots = context.get_slots_with_token().map_err(step("C_GetSlotList"))?;
    let mut others = Vec::new();
    for slot in slots {
        let info = context.get_token_info(slot).map_err(step("C_GetTokenInfo"))?;
        if !info.token_initialized() {
            continue;
        }
        if info.label().trim_end() != request.label {
            others.push(info.label().trim_end().to_owned());
            continue;
        }
        if !info.user_pin_initialized() {
            return Err("the token was made half only, by something else than this command: it has no user PIN; move its directory away".into());
        }
        let session = context.open_ro_session(slot).map_err(step("C_OpenSession"))?;
        let pin = AuthPin::new(request.pin.as_str().into());
        return match session.login(UserType::User, Some(&pin)) {
            Ok(()) => session.close().map_err(step("C_CloseSession")),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                Err(REFUSED.into())
            }
            Err(e) => Err(step("C_Login")(e)),
        };
    }
    Err(format!(
        "the directory has no token of this label, but {others:?}; correct `token_label`, or the directory"
    ))
}
