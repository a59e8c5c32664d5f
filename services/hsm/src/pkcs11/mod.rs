//! The real token, through `cryptoki`. A process initialises a module once, and all handles share it.

mod anchor;
mod answer;
mod ceremony;
mod gate;
mod module;
mod objects;
mod probe;
mod session;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::backend::{Backend, Conn};
use crate::error::TokenError;
use crate::keys::VaultName;
use crate::pin::read_pin;
use bkv_config::TokenConfig;
use module::Module;
use session::Pkcs11Conn;

/// What all sessions of one handle share.
pub(crate) struct Pkcs11Backend(Arc<Common>);

struct Common {
    module_path: PathBuf,
    token: String,
    pin_file: PathBuf,
    vault: VaultName,
    module: Mutex<Option<Arc<Module>>>,
    /// The PIN that the token refused. It is not offered again, because repeated wrong PINs lock the token.
    refused_pin: Mutex<Option<Zeroizing<String>>>,
    /// Held during a change to the keys. Two ceremonies at once would each make a key with the same label.
    change: Mutex<()>,
    /// Rises before and after each change of objects, so that no session uses handles from before the change.
    changes: AtomicU64,
    gate: gate::Gate,
    /// Whether this process has seen the key. If a key that existed can't be found, the token is lost, whatever error the module returns.
    seen_identity: AtomicBool,
    seen_mask: AtomicBool,
    /// The identity's public point at the first read. A token that comes back with another identity is not this vault's.
    identity: OnceLock<[u8; 65]>,
}

impl Pkcs11Backend {
    pub(crate) fn new(config: &TokenConfig, vault: VaultName) -> Self {
        Self(Arc::new(Common {
            module_path: config.module.clone(),
            token: config.token_label.clone(),
            pin_file: config.pin_file.clone(),
            vault,
            module: Mutex::new(None),
            refused_pin: Mutex::new(None),
            change: Mutex::new(()),
            changes: AtomicU64::new(0),
            gate: gate::Gate::default(),
            seen_identity: AtomicBool::new(false),
            seen_mask: AtomicBool::new(false),
            identity: OnceLock::new(),
        }))
    }
}

impl Backend for Pkcs11Backend {
    fn open(&self) -> Result<Box<dyn Conn>, TokenError> {
        let common = &self.0;
        let _pass = common.gate.enter();
        let module = common.module()?;
        module.start()?;
        let slot = module.find(&common.token)?;
        let session = module
            .context()
            .open_rw_session(slot)
            .map_err(|e| answer::refused(&common.token, "a session", &e))?;
        common.log_in(&session)?;
        common.check_owner(&session)?;
        let conn = Pkcs11Conn::new(Arc::clone(common), module, slot, session);
        conn.check_keys()?;
        Ok(Box::new(conn))
    }

    fn restart(&self) {
        let module = self.0.module.lock().clone();
        if let Some(module) = module {
            module.restart();
        }
    }
}

impl Common {
    fn module(&self) -> Result<Arc<Module>, TokenError> {
        let mut module = self.module.lock();
        if let Some(module) = &*module {
            return Ok(Arc::clone(module));
        }
        let loaded = Module::load(&self.module_path)?;
        *module = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    fn log_in(&self, session: &Session) -> Result<(), TokenError> {
        let pin = read_pin(&self.pin_file)?;
        let mut refused = self.refused_pin.lock();
        let refusal =
            || TokenError::PinRefused { token: self.token.clone(), pin_file: self.pin_file.clone() };
        if refused.as_ref().is_some_and(|old| *old == pin) {
            return Err(refusal());
        }
        let offered = AuthPin::new(pin.as_str().into());
        match session.login(UserType::User, Some(&offered)) {
            // PKCS#11 logs in the application, not the session, so the first session has logged in all of them.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *refused = None;
                Ok(())
            }
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                *refused = Some(pin);
                Err(refusal())
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => {
                *refused = Some(pin);
                Err(TokenError::PinLocked { token: self.token.clone() })
            }
            Err(e) => Err(answer::refused(&self.token, "the login", &e)),
        }
    }

    /// Refuses a token with any key of another vault.
    fn check_owner(&self, session: &Session) -> Result<(), TokenError> {
        let mut theirs = HashSet::new();
        for (vault, _) in
            objects::our_labels(session).map_err(|e| answer::refused(&self.token, "a search", &e))?
        {
            if vault != self.vault {
                theirs.insert(vault.as_str().to_owned());
            }
        }
        theirs.into_iter().min().map_or(Ok(()), |theirs| {
            Err(TokenError::ForeignVault {
                token: self.token.clone(),
                ours: self.vault.as_str().to_owned(),
                theirs,
            })
        })
    }
}
