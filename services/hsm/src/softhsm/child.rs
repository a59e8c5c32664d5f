//! The child process: the only process that loads the module. It reads the request, PINs included, from its standard input, then makes the token or
//! checks it.

use std::io::{Read, Write};
use std::process::ExitCode;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use rustix::process::Signal;
use thiserror_ext::AsReport as _;
use zeroize::Zeroizing;

use super::process::{CHILD_ARGUMENT, DONE, REFUSED, Request};

/// Why the child did not do its work. It writes the text to its standard error, so no text contains a PIN.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("PR_SET_PDEATHSIG failed")]
    DeathSignal(#[source] rustix::io::Errno),
    #[error("the parent process ended")]
    ParentEnded,
    #[error("standard input cannot be read")]
    Input(#[source] std::io::Error),
    /// Without the parser's error, which would quote its input and so the PINs.
    #[error("standard input holds no request")]
    Request,
    #[error("{call} failed")]
    Module { call: &'static str, source: Error },
    #[error("{0:?} made the module, not SoftHSM; set `module` to SoftHSM's file")]
    NotSoftHsm(String),
    #[error("SoftHSM offers no slot for a new token")]
    NoFreeSlot,
    #[error("SoftHSM does not list the new token")]
    NotListed,
    #[error("the token has no user PIN: another program began to make it; move the token's directory away")]
    NoUserPin,
    #[error("{}", REFUSED)]
    PinRefused,
    #[error(
        "the directory has no token of this label, but {found:?}; correct `token_label`, or the directory"
    )]
    NoToken { found: Vec<String> },
}

type Result<T> = std::result::Result<T, ChildError>;

/// Call this first in `main`. If this process is the child, it does the child's work and returns the exit code to end with.
pub fn run_child_if_asked() -> Option<ExitCode> {
    (std::env::args_os().nth(1)? == CHILD_ARGUMENT).then(run_child)
}

/// The child's work: reads the request from standard input, then makes the token or checks it.
pub fn run_child() -> ExitCode {
    // The parent reads the result from standard error.
    match child() {
        Ok(()) => {
            let _ = writeln!(std::io::stderr(), "{DONE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", error.as_report());
            ExitCode::FAILURE
        }
    }
}

fn failed(call: &'static str) -> impl Fn(Error) -> ChildError {
    move |source| ChildError::Module { call, source }
}

fn child() -> Result<()> {
    // If the parent is killed, its lock is free and another process may take it. This process must not write then, so it dies with its parent. The
    // signal comes when the parent's starting thread ends. That thread waits for this process.
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(ChildError::DeathSignal)?;
    if rustix::process::getppid() != parent {
        return Err(ChildError::ParentEnded);
    }
    let mut input = Zeroizing::new(Vec::with_capacity(8192));
    std::io::stdin().take(8192).read_to_end(&mut input).map_err(ChildError::Input)?;
    let request: Request = serde_json::from_slice(&input).map_err(|_| ChildError::Request)?;
    let context = Pkcs11::new(&request.module).map_err(failed("loading the module"))?;
    context
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(failed("C_Initialize"))?;
    let library = context.get_library_info().map_err(failed("C_GetInfo"))?;
    // Another maker's module may lead to real hardware. Initialise no token there and offer no PIN.
    if !library.manufacturer_id().contains("SoftHSM") {
        return Err(ChildError::NotSoftHsm(library.manufacturer_id().trim().to_owned()));
    }
    match &request.so_pin {
        Some(so_pin) => make(&context, &request, so_pin)?,
        None => check(&context, &request)?,
    }
    context.finalize().map_err(failed("C_Finalize"))
}

fn make(context: &Pkcs11, request: &Request, so_pin: &str) -> Result<()> {
    let so_pin = AuthPin::new(so_pin.into());
    let pin = AuthPin::new(request.pin.as_str().into());
    let slots = context.get_slots_with_token().map_err(failed("C_GetSlotList"))?;
    let free = slots
        .into_iter()
        .find(|slot| context.get_token_info(*slot).is_ok_and(|info| !info.token_initialized()))
        .ok_or(ChildError::NoFreeSlot)?;
    context.init_token(free, &so_pin, &request.label).map_err(failed("C_InitToken"))?;
    let slots = context.get_slots_with_token().map_err(failed("C_GetSlotList"))?;
    let made = slots
        .into_iter()
        .find(|slot| context.get_token_info(*slot).is_ok_and(|info| info.label().trim_end() == request.label))
        .ok_or(ChildError::NotListed)?;
    let session = context.open_rw_session(made).map_err(failed("C_OpenSession"))?;
    session.login(UserType::So, Some(&so_pin)).map_err(failed("C_Login"))?;
    session.init_pin(&pin).map_err(failed("C_InitPIN"))?;
    session.logout().map_err(failed("C_Logout"))?;
    session.close().map_err(failed("C_CloseSession"))
}

/// Checks that the token exists and accepts the PIN. SoftHSM does not count wrong PINs, so a check at each start can't lock the token.
fn check(context: &Pkcs11, request: &Request) -> Result<()> {
    let slots = context.get_slots_with_token().map_err(failed("C_GetSlotList"))?;
    let mut others = Vec::new();
    for slot in slots {
        let info = context.get_token_info(slot).map_err(failed("C_GetTokenInfo"))?;
        if !info.token_initialized() {
            continue;
        }
        if info.label().trim_end() != request.label {
            others.push(info.label().trim_end().to_owned());
            continue;
        }
        if !info.user_pin_initialized() {
            return Err(ChildError::NoUserPin);
        }
        let session = context.open_ro_session(slot).map_err(failed("C_OpenSession"))?;
        let pin = AuthPin::new(request.pin.as_str().into());
        return match session.login(UserType::User, Some(&pin)) {
            Ok(()) => session.close().map_err(failed("C_CloseSession")),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                Err(ChildError::PinRefused)
            }
            Err(e) => Err(failed("C_Login")(e)),
        };
    }
    Err(ChildError::NoToken { found: others })
}
