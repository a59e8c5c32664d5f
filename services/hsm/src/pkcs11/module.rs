//! A loaded PKCS#11 library. The standard allows one `C_Initialize` per process, so handles with the same path share a module. A module is never
//! unloaded, because a library with threads of its own would crash.

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

/// How often `C_Initialize` is tried. `SoftHSM` sometimes fails while another process writes to the same token directory.
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

    /// Calls `C_Initialize` unless the module is initialised.
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

    /// Calls `C_Finalize`, so that the next start searches for tokens again. Does nothing while another handle of this process uses the module,
    /// because that handle would lose its sessions.
    pub(super) fn restart(self: &Arc<Self>) {
        let loaded = LOADED.lock();
        // Three references are expected: the list's, the backend's and the caller's.
        if Arc::strong_count(self) > 3 {
            return;
        }
        let mut started = self.started.lock();
        if *started {
            if let Err(error) = self.context.clone().finalize() {
                tracing::warn!(module = %self.path.display(), %error, "the PKCS#11 module reports an error at its end");
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
            // Skip a slot whose token does not report its state, such as a token that was just removed.
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

    /// What to check if the module finds no token. The usual reason is the variable that names a software module's configuration. It holds a path,
    /// never a secret.
    fn hint(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let variable = if name.contains("softhsm") {
            "SOFTHSM2_CONF"
        } else if name.contains("kryoptic") {
            "KRYOPTIC_CONF"
        } else if name.contains("kmsp11") {
            "KMS_PKCS11_CONFIG"
        } else {
            return "check the module's own configuration and its device".to_owned();
        };
        match std::env::var_os(variable) {
            Some(file) => {
                format!(
                    "check that {variable}={} and the token directory in it exist",
                    Path::new(&file).display()
                )
            }
            None => format!("{variable} is not set: set it to the module's configuration file"),
        }
    }
}
