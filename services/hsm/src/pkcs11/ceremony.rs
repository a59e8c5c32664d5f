//! The key ceremony's and the epochs' changes to the token. What to do is decided in `crate::ceremony`.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, TryLockError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use cryptoki::object::{ObjectClass, ObjectHandle};

use super::Common;
use super::objects::{self, Keeping};
use super::session::Pkcs11Conn;
use crate::backend::Conn;
use crate::ceremony::{Ceremony, Present, Step, decide};
use crate::encoding;
use crate::error::TokenError;
use crate::keys::KeyName;

const IN_TOKEN: Keeping = Keeping { session_only: false };

/// A change of the token's objects: one at a time, and remembered handles end before and after it.
struct Change<'a> {
    common: &'a Common,
    _only: MutexGuard<'a, ()>,
}

impl<'a> Change<'a> {
    fn begin(common: &'a Common) -> Result<Self, TokenError> {
        // Not waited for: behind a change that hangs every worker would end up hanging.
        let only = match common.change.try_lock() {
            Ok(only) => only,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(TokenError::ChangeUnderWay { token: common.token.clone() });
            }
        };
        common.changes.fetch_add(1, Ordering::AcqRel);
        Ok(Self { common, _only: only })
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.common.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl Pkcs11Conn {
    pub(super) fn run_ceremony(&mut self) -> Result<Ceremony, TokenError> {
        let common = std::sync::Arc::clone(&self.common);
        let change = Change::begin(&common)?;
        let (mut made, mut found, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        let identity_label = KeyName::Identity.label(&common.vault);
        let mask_label = KeyName::Mask.label(&common.vault);

        let private = self.find(KeyName::Identity, ObjectClass::PRIVATE_KEY)?;
        let public = self.find(KeyName::Identity, ObjectClass::PUBLIC_KEY)?;
        let masks = self.find(KeyName::Mask, ObjectClass::SECRET_KEY)?;
        let present =
            Present { identity_private: private.len(), identity_public: public.len(), mask: masks.len() };
        match decide(present) {
            Step::Keep => found.push(identity_label),
            Step::Make => {
                self.make_identity()?;
                made.push(identity_label);
            }
            Step::Remake => {
                let leftovers = [private, public].concat();
                for object in &leftovers {
                    self.destroy(*object)?;
                }
                removed.push((identity_label.clone(), leftovers.len()));
                self.make_identity()?;
                made.push(identity_label);
            }
            Step::Refuse(what) => return Err(self.damaged(what)),
        }
        if masks.is_empty() {
            // Before the mask, which ends the ceremony: a pair that does not match must never get that far.
            self.check_pair()?;
            objects::make_secret(&self.session, &common.vault, KeyName::Mask, 64, IN_TOKEN)
                .map_err(self.refused("a 64-byte generic secret"))?;
            made.push(mask_label);
        } else {
            found.push(mask_label);
        }
        drop(change);

        for (key, class) in
            [(KeyName::Identity, ObjectClass::PRIVATE_KEY), (KeyName::Mask, ObjectClass::SECRET_KEY)]
        {
            let object = self.only(key, class)?;
            self.check_strength(key, object)?;
        }
        self.check_pair()?;
        let identity_spki = encoding::spki(&self.identity_point()?);
        Ok(Ceremony { made, found, removed, identity_spki })
    }

    fn make_identity(&self) -> Result<(), TokenError> {
        objects::make_pair(&self.session, &self.common.vault, KeyName::Identity, IN_TOKEN)
            .map(drop)
            .map_err(self.refused("an EC P-256 key pair"))
    }

    /// Public and private part belong together, judged by a library that isn't the token's.
    fn check_pair(&mut self) -> Result<(), TokenError> {
        let point = self.read_point()?;
        let message = b"bkv/ceremony/1";
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message).as_ref());
        let signature = self.sign_identity(&digest)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, &signature).map_err(|_| {
            self.damaged("public and private part of 'identity' do not belong together".to_owned())
        })
    }

    fn destroy(&self, object: ObjectHandle) -> Result<(), TokenError> {
        self.session.destroy_object(object).map_err(self.refused("the end of a key"))
    }

    pub(super) fn make_epoch(&self, epoch: u64) -> Result<bool, TokenError> {
        let _change = Change::begin(&self.common)?;
        let key = KeyName::Epoch(epoch);
        match self.find(key, ObjectClass::SECRET_KEY)?.as_slice() {
            [] => {}
            [object] => return self.check_strength(key, *object).map(|()| false),
            several => {
                let label = key.label(&self.common.vault);
                return Err(self.damaged(format!("there are {} keys {label:?}", several.len())));
            }
        }
        let object = objects::make_secret(&self.session, &self.common.vault, key, 32, IN_TOKEN)
            .map_err(self.refused("a 32-byte generic secret"))?;
        self.check_strength(key, object)?;
        Ok(true)
    }

    pub(super) fn end_epoch(&self, epoch: u64) -> Result<bool, TokenError> {
        let _change = Change::begin(&self.common)?;
        let key = KeyName::Epoch(epoch);
        let objects = self.find(key, ObjectClass::SECRET_KEY)?;
        for object in &objects {
            self.destroy(*object)?;
        }
        // 'Destroyed' is told to people: look.
        if self.find(key, ObjectClass::SECRET_KEY)?.is_empty() {
            Ok(!objects.is_empty())
        } else {
            Err(self.bad_answer("the end of an epoch key", "the key is still there"))
        }
    }
}
