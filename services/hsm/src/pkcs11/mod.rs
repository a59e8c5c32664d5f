//! The real token, through `cryptoki`. A process initialises a module once, and all handles share it.

mod anchor;
mod answer;
mod ceremony;
mod dialect;
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
use crate::keys::{KeyName, VaultName};
use crate::pin::read_pin;
use bkv_config::TokenConfig;
use dialect::{Dialect, Names};
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
    /// Known since the first connection.
    dialect: OnceLock<Dialect>,
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
            dialect: OnceLock::new(),
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
        common.learn_dialect(&module)?;
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

    /// Asks the module who made it, once.
    fn learn_dialect(&self, module: &Module) -> Result<(), TokenError> {
        if self.dialect.get().is_none() {
            let info = module
                .context()
                .get_library_info()
                .map_err(|e| answer::refused(&self.token, "the library's description", &e))?;
            let _ = self.dialect.set(Dialect::of(info.manufacturer_id()));
        }
        self.names().unfit(KeyName::Identity).map_or(Ok(()), |why| Err(self.unfit(why)))
    }

    fn names(&self) -> Names<'_> {
        let dialect = self.dialect.get().copied().unwrap_or(Dialect::Standard);
        Names { vault: &self.vault, dialect }
    }

    fn unfit(&self, why: String) -> TokenError {
        TokenError::Refused { token: self.token.clone(), what: "a key's name", why }
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
        for (vault, _) in objects::our_labels(session, self.names())
            .map_err(|e| answer::refused(&self.token, "a search", &e))?
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
