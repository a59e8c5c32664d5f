//! A loaded PKCS#11 library. The standard knows one `C_Initialize` per process, so modules are shared by path,
//! and never unloaded: a library that starts threads of its own doesn't survive that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;
use parking_lot::Mutex;

use super::answer;
use crate::error::TokenError;

static LOADED: Mutex<Vec<Arc<Module>>> = Mutex::new(Vec::new());

/// `C_Initialize` is tried this often: `SoftHSM` fails it now and then while another process writes to the same
/// token directory.
const STARTS: u32 = 5;
const BETWEEN_STARTS: Duration = Duration::from_millis(50);

pub(super) struct Module {
    path: PathBuf,
    context: Pkcs11,
    started: Mutex<bool>,
}

impl Module {
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, TokenError> {
        let mut loaded = LOADED.lock();
        if let Some(module) = loaded.iter().find(|module| module.path == path) {
            return Ok(Arc::clone(module));
        }
        let bad = |why: String| TokenError::Module { path: path.to_owned(), why };
        if !path.is_file() {
            return Err(bad("no such file".to_owned()));
        }
        let context = Pkcs11::new(path).map_err(|e| bad(e.to_string()))?;
        let module = Arc::new(Self { path: path.to_owned(), context, started: Mutex::new(false) });
        loaded.push(Arc::clone(&module));
        Ok(module)
    }

    pub(super) const fn context(&self) -> &Pkcs11 {
        &self.context
    }

    /// `C_Initialize`, if it has not been called yet.
    pub(super) fn start(&self) -> Result<(), TokenError> {
        let mut started = self.started.lock();
        if *started {
            return Ok(());
        }
        for attempt in 1.. {
            match self.context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => break,
                Err(_) if attempt < STARTS => std::thread::sleep(BETWEEN_STARTS),
                Err(e) => {
                    return Err(TokenError::ModuleStart {
                        path: self.path.clone(),
                        why: answer::brief(&e),
                        hint: self.hint(),
                    });
                }
            }
        }
        *started = true;
        Ok(())
    }

    /// `C_Finalize`, so that the next start looks for tokens anew: modules list them only then. Not while another
    /// handle of this process uses the module: it would lose its sessions.
    pub(super) fn restart(self: &Arc<Self>) {
        let loaded = LOADED.lock();
        // One count each for the list, for the one backend that has it, and for the caller's own.
        if Arc::strong_count(self) > 3 {
            return;
        }
        let mut started = self.started.lock();
        if *started {
            if let Err(error) = self.context.clone().finalize() {
                tracing::warn!(module = %self.path.display(), %error, "the module does not end cleanly");
            }
            *started = false;
        }
        drop(loaded);
    }

    /// The slot of the token labelled `token`.
    pub(super) fn find(&self, token: &str) -> Result<Slot, TokenError> {
        let refused = |e: &Error| answer::refused(token, "the list of slots", e);
        let mut found = Vec::new();
        let mut slots = Vec::new();
        for slot in self.context.get_slots_with_token().map_err(|e| refused(&e))? {
            // A slot whose token can't be asked (just removed, another user's) is not the one.
            let Ok(info) = self.context.get_token_info(slot) else { continue };
            if !info.token_initialized() {
                continue;
            }
            let label = info.label().trim_end_matches([' ', '\0']).to_owned();
            if label == token {
                slots.push(slot);
            }
            found.push(label);
        }
        match slots.as_slice() {
            [slot] => Ok(*slot),
            [] => Err(TokenError::NoToken {
                token: token.to_owned(),
                module: self.path.clone(),
                found,
                hint: self.hint(),
            }),
            several => Err(TokenError::TokenNotUnique { token: token.to_owned(), count: several.len() }),
        }
    }

    /// Where software modules look for their tokens: the usual reason why they find none. These variables hold
    /// paths, never secrets.
    fn hint(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let variable = if name.contains("softhsm") {
            "SOFTHSM2_CONF"
        } else if name.contains("kryoptic") {
            "KRYOPTIC_CONF"
        } else {
            return "see that the module's own configuration and its device are there".to_owned();
        };
        match std::env::var_os(variable) {
            Some(file) => {
                format!(
                    "see that {variable}={} and the token directory that it names exist",
                    Path::new(&file).display()
                )
            }
            None => format!("{variable} is not set: start this process with it"),
        }
    }
}
