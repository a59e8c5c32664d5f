//! Changes to the token by the key ceremony and by epochs. `crate::ceremony` decides what to do.

use std::sync::atomic::Ordering;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{ObjectClass, ObjectHandle};
use parking_lot::MutexGuard;

use super::dialect::{KeyLifetime, Secret};
use super::gate::Alone;
use super::objects::{self, NoKey};
use super::session::Pkcs11Conn;
use super::{Common, answer};
use crate::ceremony::{Ceremony, Present, Step, decide};
use crate::encoding;
use crate::error::TokenError;
use crate::keys::KeyName;

const IN_TOKEN: KeyLifetime = KeyLifetime { session_only: false };

/// A change of the token's objects. One change runs at a time, and handles from before it are not used after it.
pub(super) struct Change<'a> {
    common: &'a Common,
    _alone: Alone<'a>,
    _only: MutexGuard<'a, ()>,
}

impl<'a> Change<'a> {
    pub(super) fn begin(common: &'a Common) -> Result<Self, TokenError> {
        // Refuse instead of waiting: behind a change that hangs, every worker would hang.
        let Some(only) = common.change.try_lock() else {
            return Err(TokenError::ChangeUnderWay { token: common.token.clone() });
        };
        let alone = common.gate.close();
        common.changes.fetch_add(1, Ordering::AcqRel);
        Ok(Self { common, _alone: alone, _only: only })
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
        let identity_label = common.names().label(KeyName::Identity);
        let mask_label = common.names().label(KeyName::Mask);

        // An empty token that had keys before is a lost token, not a fresh one.
        self.check_mask()?;
        let private = self.find(KeyName::Identity, ObjectClass::PRIVATE_KEY)?;
        let public = self.find(KeyName::Identity, ObjectClass::PUBLIC_KEY)?;
        let masks = self.find(KeyName::Mask, ObjectClass::SECRET_KEY)?;
        // Check this before the decision: a key that an attacker planted must not count as a key that a ceremony left.
        for object in &private {
            self.check_strength(KeyName::Identity, *object)?;
        }
        for object in &masks {
            self.check_strength(KeyName::Mask, *object)?;
        }
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
            // Check the pair before the mask is made: the mask ends the ceremony, which must not end with a pair that does not match.
            self.check_pair()?;
            self.make_secret(KeyName::Mask, Secret::Sha512, "a 64-byte generic secret")?;
            made.push(mask_label);
        } else {
            found.push(mask_label);
        }
        for (key, class) in
            [(KeyName::Identity, ObjectClass::PRIVATE_KEY), (KeyName::Mask, ObjectClass::SECRET_KEY)]
        {
            let object = self.only(key, class)?;
            self.check_strength(key, object)?;
        }
        self.check_pair()?;
        let identity_spki = encoding::spki(&self.point_inside()?);
        drop(change);
        Ok(Ceremony { made, found, removed, identity_spki })
    }

    fn make_identity(&self) -> Result<(), TokenError> {
        self.make(
            KeyName::Identity,
            &[ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY],
            "an EC P-256 key pair",
            || objects::make_pair(&self.session, self.common.names(), KeyName::Identity, IN_TOKEN).map(drop),
        )
    }

    fn make_secret(&self, key: KeyName, secret: Secret, what: &'static str) -> Result<(), TokenError> {
        self.make(key, &[ObjectClass::SECRET_KEY], what, || {
            objects::make_secret(&self.session, self.common.names(), key, secret, IN_TOKEN).map(drop)
        })
    }

    /// Makes a missing key. If the module fails without a reason, as `SoftHSM` does while another process reads the same directory, it removes what
    /// the failed try left and tries again, a few times. It waits before each, because a service may have had too many requests.
    fn make(
        &self,
        key: KeyName,
        classes: &[ObjectClass],
        what: &'static str,
        make: impl Fn() -> Result<(), NoKey>,
    ) -> Result<(), TokenError> {
        let names = self.common.names();
        if let Some(why) = names.unfit(key) {
            return Err(self.common.unfit(why));
        }
        let mut pauses = answer::pauses();
        loop {
            match make() {
                Ok(()) => return Ok(()),
                Err(e)
                    if answer::may_pass(&e.error)
                        && let Some(pause) = pauses.next() =>
                {
                    tracing::warn!(token = self.common.token, %key, ?pause, error = %answer::brief(&e.error), "the module made no key, trying again");
                    std::thread::sleep(pause);
                    // A service that uses a name once may have made the key although the call failed. To destroy it would use up the name. The next ceremony finds it.
                    for class in classes.iter().filter(|_| !names.dialect.uses_names_once()) {
                        for left in self.find(key, *class)? {
                            self.destroy(left)?;
                        }
                    }
                }
                Err(e) if names.dialect.uses_names_once() && answer::is_bad_argument(&e.error) => {
                    let label = names.label(key);
                    let why = format!(
                        "a CryptoKey {label:?} exists, and a destroyed key keeps its name: restore its version, or use another key ring"
                    );
                    return Err(TokenError::Refused { token: self.common.token.clone(), what, why });
                }
                Err(e) => return Err(answer::no_key(&self.common.token, what, &e)),
            }
        }
    }

    /// Checks with another library that public and private part belong together.
    fn check_pair(&mut self) -> Result<(), TokenError> {
        let point = self.read_point()?;
        let message = b"bkv/ceremony/1";
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message).as_ref());
        let raw = self.sign_inside(KeyName::Identity, &Mechanism::Ecdsa, &digest, "an ECDSA signature")?;
        let signature = encoding::signature_der(&raw)
            .ok_or_else(|| self.bad_answer("an ECDSA signature", "not r and s of 32 bytes"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, &signature).map_err(|_| {
            self.damaged("public and private part of 'identity' do not belong together".to_owned())
        })
    }

    fn destroy(&self, object: ObjectHandle) -> Result<(), TokenError> {
        let mut pauses = answer::pauses();
        loop {
            match self.session.destroy_object(object) {
                Err(e)
                    if answer::may_be_throttled(&e)
                        && let Some(pause) = pauses.next() =>
                {
                    std::thread::sleep(pause);
                }
                done => return done.map_err(self.refused("the destruction of a key")),
            }
        }
    }

    pub(super) fn make_epoch(&self, epoch: u64) -> Result<bool, TokenError> {
        let _change = Change::begin(&self.common)?;
        let key = KeyName::Epoch(epoch);
        match self.find(key, ObjectClass::SECRET_KEY)?.as_slice() {
            [] => {}
            [object] => return self.check_strength(key, *object).map(|()| false),
            several => {
                let label = self.common.names().label(key);
                return Err(self.damaged(format!("there are {} keys {label:?}", several.len())));
            }
        }
        // Make no key in a token that has just lost its keys.
        self.check_mask()?;
        self.make_secret(key, Secret::Sha256, "a 32-byte generic secret")?;
        self.check_strength(key, self.only(key, ObjectClass::SECRET_KEY)?)?;
        Ok(true)
    }

    pub(super) fn end_epoch(&self, epoch: u64) -> Result<bool, TokenError> {
        let _change = Change::begin(&self.common)?;
        let key = KeyName::Epoch(epoch);
        let objects = self.find(key, ObjectClass::SECRET_KEY)?;
        for object in &objects {
            self.destroy(*object)?;
        }
        if objects.is_empty() {
            // Do not report that the key never existed if the token has lost all keys.
            self.check_mask()?;
        }
        // People rely on the report 'destroyed', so search for the key again.
        if self.find(key, ObjectClass::SECRET_KEY)?.is_empty() {
            Ok(!objects.is_empty())
        } else {
            Err(self.bad_answer("the destruction of an epoch key", "a search still finds the key"))
        }
    }
}
