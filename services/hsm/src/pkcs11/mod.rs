//! The real token, through `cryptoki`. A module is initialised once per process and shared by all handles to it.

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
    /// The PIN that the token refused. Offering it again and again would lock the token.
    refused_pin: Mutex<Option<Zeroizing<String>>>,
    /// One change to the keys at a time: two ceremonies would each make a key of the same name.
    change: Mutex<()>,
    /// Rises before and after each change of objects, so that remembered handles are not used past it.
    changes: AtomicU64,
    gate: gate::Gate,
    /// Whether this process has seen them: a key that was there and is not is a token that is being lost, whatever
    /// the module calls it.
    seen_identity: AtomicBool,
    seen_mask: AtomicBool,
    /// The identity, once read: a token that comes back with another one is not ours.
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
            // PKCS#11 logs in the application, not the session: the first one did it for all.
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

    /// Any key of another vault makes this token another vault's.
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
