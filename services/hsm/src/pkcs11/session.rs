//! One session and its object handles. A session finds a handle by its label and keeps it until an object changes, because a search costs more than
//! the HMAC that needs it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState};
use cryptoki::slot::Slot;
use zeroize::{Zeroize, Zeroizing};

use super::ceremony::Change;
use super::module::Module;
use super::{Common, answer, objects, probe};
use crate::backend::Conn;
use crate::capability::Capabilities;
use crate::ceremony::Ceremony;
use crate::encoding;
use crate::error::{GoneReason, TokenError};
use crate::keys::KeyName;

pub(super) struct Pkcs11Conn {
    // Declared first, so that the session closes before the module's reference is dropped.
    pub(super) session: Session,
    pub(super) common: Arc<Common>,
    module: Arc<Module>,
    slot: Slot,
    handles: HashMap<KeyName, ObjectHandle>,
    /// `Common::changes` when the handles were found.
    handles_as_of: u64,
}

impl Pkcs11Conn {
    pub(super) fn new(common: Arc<Common>, module: Arc<Module>, slot: Slot, session: Session) -> Self {
        Self { session, common, module, slot, handles: HashMap::new(), handles_as_of: 0 }
    }

    pub(super) fn refused(&self, what: &'static str) -> impl Fn(Error) -> TokenError + use<> {
        let token = self.common.token.clone();
        move |error| answer::refused(&token, what, &error)
    }

    pub(super) fn bad_answer(&self, what: &'static str, why: &'static str) -> TokenError {
        TokenError::BadAnswer { token: self.common.token.clone(), what, why }
    }

    pub(super) fn damaged(&self, what: String) -> TokenError {
        TokenError::Damaged { token: self.common.token.clone(), what }
    }

    /// Checks at connection that existing keys can't leave the token, and that the identity is the one that this process has seen before.
    pub(super) fn check_keys(&self) -> Result<(), TokenError> {
        for (key, class) in
            [(KeyName::Identity, ObjectClass::PRIVATE_KEY), (KeyName::Mask, ObjectClass::SECRET_KEY)]
        {
            for object in self.find(key, class)? {
                self.check_strength(key, object)?;
            }
        }
        if let Some(known) = self.common.identity.get()
            && self.read_point()? != *known
        {
            return Err(self.another_identity());
        }
        Ok(())
    }

    fn another_identity(&self) -> TokenError {
        self.damaged(
            "its identity is not the one that this process has seen before; this is another token".to_owned(),
        )
    }

    pub(super) fn find(&self, key: KeyName, class: ObjectClass) -> Result<Vec<ObjectHandle>, TokenError> {
        objects::find(&self.session, self.common.names(), key, class).map_err(self.refused("a search"))
    }

    pub(super) fn check_strength(&self, key: KeyName, object: ObjectHandle) -> Result<(), TokenError> {
        let weakness = objects::weakness(&self.session, self.common.names().dialect, object)
            .map_err(self.refused("a key's attributes"))?;
        if let Some(why) = weakness {
            let key = self.common.names().label(key);
            return Err(TokenError::WeakKey { token: self.common.token.clone(), key, why });
        }
        // The mask ends the ceremony. An identity without a mask may still be removed, so only the mask is remembered here.
        if key == KeyName::Mask {
            self.common.seen_mask.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Why a key can't be found: never made, destroyed, or lost with the token's storage. Some modules then report an empty token.
    fn missing(&self, key: KeyName) -> TokenError {
        let token = self.common.token.clone();
        match key {
            KeyName::Identity if self.common.seen_identity.load(Ordering::Acquire) => self.vanished(key),
            KeyName::Mask if self.common.seen_mask.load(Ordering::Acquire) => self.vanished(key),
            KeyName::Epoch(epoch) => match self.check_mask() {
                // A token that lost everything must not be reported as a destroyed key.
                Err(e) if e.is_gone() => e,
                _ => TokenError::NoEpoch { token, epoch },
            },
            _ => TokenError::NotProvisioned { token, key: self.common.names().label(key) },
        }
    }

    /// Fails if this process has seen the mask and can't find it now.
    pub(super) fn check_mask(&self) -> Result<(), TokenError> {
        if self.common.seen_mask.load(Ordering::Acquire)
            && self.find(KeyName::Mask, ObjectClass::SECRET_KEY)?.is_empty()
        {
            return Err(self.vanished(KeyName::Mask));
        }
        Ok(())
    }

    /// The only object with this key's label.
    pub(super) fn only(&self, key: KeyName, class: ObjectClass) -> Result<ObjectHandle, TokenError> {
        match self.find(key, class)?.as_slice() {
            [] => Err(self.missing(key)),
            [object] => Ok(*object),
            several => Err(self.damaged(format!(
                "there are {} objects {:?}",
                several.len(),
                self.common.names().label(key)
            ))),
        }
    }

    fn handle(&mut self, key: KeyName) -> Result<ObjectHandle, TokenError> {
        if let Some(handle) = self.handles.get(&key) {
            return Ok(*handle);
        }
        let class = if key == KeyName::Identity { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY };
        let handle = self.only(key, class)?;
        self.check_strength(key, handle)?;
        if key == KeyName::Identity {
            self.common.seen_identity.store(true, Ordering::Release);
        }
        self.handles.insert(key, handle);
        Ok(handle)
    }

    fn sign(
        &mut self,
        key: KeyName,
        mechanism: &Mechanism,
        input: &[u8],
        what: &'static str,
    ) -> Result<Vec<u8>, TokenError> {
        let common = Arc::clone(&self.common);
        let _pass = common.gate.enter();
        self.sign_inside(key, mechanism, input, what)
    }

    /// `C_Sign` with the named key, whose handle may change. The caller must hold a pass of the gate.
    pub(super) fn sign_inside(
        &mut self,
        key: KeyName,
        mechanism: &Mechanism,
        input: &[u8],
        what: &'static str,
    ) -> Result<Vec<u8>, TokenError> {
        let mut pauses = answer::pauses();
        loop {
            let as_of = self.common.changes.load(Ordering::Acquire);
            if self.handles_as_of != as_of {
                self.handles.clear();
                self.handles_as_of = as_of;
            }
            let remembered = self.handles.contains_key(&key);
            let handle = self.handle(key)?;
            match self.session.sign(mechanism, handle, input) {
                Ok(mut output) => {
                    if self.common.changes.load(Ordering::Acquire) == as_of {
                        return Ok(output);
                    }
                    // An object changed in between. A module may give a freed handle to a new key, so the output could be another key's. Find the
                    // key again.
                    output.zeroize();
                }
                Err(e) if answer::is_stale_handle(&e) => {
                    self.handles.clear();
                    if !remembered {
                        return Err(self.vanished(key));
                    }
                    // The handle was from an earlier search. Search once more by the label.
                }
                Err(e)
                    if answer::may_be_throttled(&e)
                        && let Some(pause) = pauses.next() =>
                {
                    tracing::debug!(token = self.common.token, what, ?pause, error = %answer::brief(&e), "trying again");
                    std::thread::sleep(pause);
                }
                Err(e) => return Err(self.failed(what, &e)),
            }
        }
    }

    fn logged_out(&self) -> bool {
        let info = self.session.get_session_info();
        info.is_ok_and(|info| matches!(info.session_state(), SessionState::RoPublic | SessionState::RwPublic))
    }

    /// Some modules return only a general error to a session that is no longer logged in.
    fn failed(&self, what: &'static str, error: &Error) -> TokenError {
        match answer::refused(&self.common.token, what, error) {
            TokenError::Gone { token, reason: GoneReason::ModuleFailed, detail } if self.logged_out() => {
                TokenError::Gone { token, reason: GoneReason::LoggedOut, detail }
            }
            other => other,
        }
    }

    /// The error for a key that existed and can't be found. A session without a login can't find private keys either, so it checks the login first.
    pub(super) fn vanished(&self, key: KeyName) -> TokenError {
        let reason = if self.logged_out() { GoneReason::LoggedOut } else { GoneReason::KeyVanished };
        TokenError::Gone {
            token: self.common.token.clone(),
            reason,
            detail: Some(format!("no key {:?}", self.common.names().label(key))),
        }
    }

    pub(super) fn point_inside(&self) -> Result<[u8; 65], TokenError> {
        // Check the private part too: with a public part alone, the admission list would get a vault that can't sign.
        self.only(KeyName::Identity, ObjectClass::PRIVATE_KEY)?;
        // Check the mask, which ends the ceremony: without a mask the identity may still be replaced.
        self.only(KeyName::Mask, ObjectClass::SECRET_KEY)?;
        let point = self.read_point()?;
        if *self.common.identity.get_or_init(|| point) == point {
            Ok(point)
        } else {
            Err(self.another_identity())
        }
    }

    pub(super) fn read_point(&self) -> Result<[u8; 65], TokenError> {
        let public = self.only(KeyName::Identity, ObjectClass::PUBLIC_KEY)?;
        let attributes = self
            .session
            .get_attributes(public, &[AttributeType::EcPoint])
            .map_err(self.refused("the identity's public part"))?;
        let point = attributes.iter().find_map(|attribute| match attribute {
            Attribute::EcPoint(bytes) => encoding::uncompressed_point(bytes),
            _ => None,
        });
        point.ok_or_else(|| self.bad_answer("the identity's public part", "no uncompressed P-256 point"))
    }
}

impl Conn for Pkcs11Conn {
    fn check(&mut self) -> Result<(), TokenError> {
        let info =
            self.module.context().get_token_info(self.slot).map_err(self.refused("the token's state"))?;
        if info.label().trim_end_matches([' ', '\0']) != self.common.token {
            return Err(TokenError::Gone {
                token: self.common.token.clone(),
                reason: GoneReason::Removed,
                detail: Some(format!("its slot now has {:?}", info.label().trim_end())),
            });
        }
        self.session.get_session_info().map_err(self.refused("the session's state"))?;
        // A module may answer the two calls above from its memory. Only the use of a key shows that the token works.
        match self.sign(KeyName::Mask, &Mechanism::Sha512Hmac, b"bkv/check/1", "HMAC-SHA-512") {
            // Before the ceremony there is no key to use.
            Ok(_) | Err(TokenError::NotProvisioned { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn sign_identity(&mut self, digest: &[u8; 32]) -> Result<Vec<u8>, TokenError> {
        let raw = self.sign(KeyName::Identity, &Mechanism::Ecdsa, digest, "an ECDSA signature")?;
        encoding::signature_der(&raw)
            .ok_or_else(|| self.bad_answer("an ECDSA signature", "not r and s of 32 bytes"))
    }

    fn identity_point(&mut self) -> Result<[u8; 65], TokenError> {
        let common = Arc::clone(&self.common);
        let _pass = common.gate.enter();
        self.point_inside()
    }

    fn mask(&mut self, input: &[u8]) -> Result<Zeroizing<[u8; 64]>, TokenError> {
        let output =
            Zeroizing::new(self.sign(KeyName::Mask, &Mechanism::Sha512Hmac, input, "HMAC-SHA-512")?);
        fixed(&output).ok_or_else(|| self.bad_answer("HMAC-SHA-512", "not 64 bytes"))
    }

    fn epoch_mac(&mut self, epoch: u64, input: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let output = Zeroizing::new(self.sign(
            KeyName::Epoch(epoch),
            &Mechanism::Sha256Hmac,
            input,
            "HMAC-SHA-256",
        )?);
        fixed(&output).ok_or_else(|| self.bad_answer("HMAC-SHA-256", "not 32 bytes"))
    }

    fn provision(&mut self) -> Result<Ceremony, TokenError> {
        self.run_ceremony()
    }

    fn epoch_create(&mut self, epoch: u64) -> Result<bool, TokenError> {
        self.make_epoch(epoch)
    }

    fn epoch_destroy(&mut self, epoch: u64) -> Result<bool, TokenError> {
        self.end_epoch(epoch)
    }

    fn epochs(&mut self) -> Result<Vec<u64>, TokenError> {
        let _pass = self.common.gate.enter();
        self.check_mask()?;
        let labels =
            objects::our_labels(&self.session, self.common.names()).map_err(self.refused("a search"))?;
        let mut epochs: Vec<u64> = labels
            .into_iter()
            .filter(|(vault, _)| *vault == self.common.vault)
            .filter_map(|(_, key)| if let KeyName::Epoch(epoch) = key { Some(epoch) } else { None })
            .collect();
        epochs.sort_unstable();
        epochs.dedup();
        Ok(epochs)
    }

    fn anchor_put(&mut self, anchor: &[u8; 32]) -> Result<(), TokenError> {
        self.put_anchor(anchor)
    }

    fn anchor_take(&mut self) -> Result<Option<[u8; 32]>, TokenError> {
        self.take_anchor()
    }

    fn probe(&mut self) -> Result<Capabilities, TokenError> {
        let common = Arc::clone(&self.common);
        let _change = Change::begin(&common)?;
        probe::probe(self, self.module.context(), self.slot)
    }
}

fn fixed<const N: usize>(output: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let mut array = Zeroizing::new([0; N]);
    if output.len() != N {
        return None;
    }
    array.copy_from_slice(output);
    Some(array)
}
