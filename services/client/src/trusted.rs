//! Documents that passed every check, and the boot keys that admitted identities certified. Every signed answer is checked here.

use std::collections::HashMap;

use bkv_core::document::{Admission, BootKey, Documents, Policy};
use bkv_core::id::{Signature, Slot, Time};
use bkv_crypto::ed25519;
use bkv_wire::boot::{self, BootError};
use bkv_wire::channel::ClientSettings;
use bkv_wire::proto::inner;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;

use crate::error::{Error, WrongAnswer};
use crate::fault::Fault;

/// Documents that passed every check, and values derived from them.
pub struct Trusted {
    documents: Documents,
    pub(crate) settings: ClientSettings,
    boot_keys: Mutex<HashMap<Vec<u8>, Certified>>,
}

#[derive(Clone)]
struct Certified {
    boot: BootKey,
    from: Time,
    until: Time,
}

/// The most boot certificates to cache. No honest fleet has as many at a time. The cache is cleared when it is full.
const MAX_CACHED: usize = 64;

impl Trusted {
    pub(crate) fn new(documents: Documents) -> Result<Self, Error> {
        let accepted = documents.admission.members.iter().map(|m| m.identity.clone()).collect();
        let settings = ClientSettings::new(accepted).map_err(|e| Error::Local(e.to_string()))?;
        Ok(Self { documents, settings, boot_keys: Mutex::default() })
    }

    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.documents == other.documents
    }

    /// The admission list.
    pub const fn admission(&self) -> &Admission {
        &self.documents.admission
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.documents.policy
    }

    pub(crate) fn threshold(&self) -> usize {
        usize::from(self.documents.admission.threshold)
    }

    /// The accusation that a region answered wrongly.
    pub(crate) fn wrong(&self, slot: Slot, what: impl Into<String>) -> WrongAnswer {
        let region = self.documents.admission.member(slot).map_or("not on the list", |m| m.region.as_str());
        WrongAnswer { slot, region: region.into(), what: what.into() }
    }

    /// The boot key in `certificate`, if an admitted identity certified it and it is valid now. A certificate is checked once and then recognised
    /// by its bytes.
    pub(crate) fn boot_key(&self, certificate: &[u8], now: Time) -> Result<BootKey, BootError> {
        if let Some(known) = self.boot_keys().get(certificate) {
            let in_time = now >= known.from && now <= known.until;
            return if in_time { Ok(known.boot.clone()) } else { Err(BootError::Dates(known.boot.slot)) };
        }
        let boot = boot::verify(certificate, &self.documents.admission, now)?;
        let dates = inner::BootCertificate::decode(certificate).map_err(|_| BootError::Malformed)?;
        let mut known = self.boot_keys();
        if known.len() >= MAX_CACHED {
            known.clear();
        }
        let (from, until) = (Time(dates.not_before_ms), Time(dates.not_after_ms));
        known.insert(certificate.to_vec(), Certified { boot: boot.clone(), from, until });
        Ok(boot)
    }

    fn boot_keys(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Certified>> {
        self.boot_keys.lock()
    }

    /// Checks that the region at `slot` signed this.
    pub(crate) fn check(
        &self,
        slot: u32,
        certificate: &[u8],
        statement: &[u8],
        signature: &[u8],
        clock: VaultClock,
    ) -> Result<Slot, CheckError> {
        let slot = Slot(u8::try_from(slot).unwrap_or(0));
        let boot = match self.boot_key(certificate, clock.now) {
            Ok(boot) => boot,
            Err(BootError::Dates(_)) if clock.is_off() => {
                return Err(Error::ClockWrong { by_ms: clock.offset_ms() }.into());
            }
            Err(e) => return Err(CheckError::Wrong(self.wrong(slot, e.to_string()))),
        };
        if boot.slot != slot {
            return Err(CheckError::Wrong(
                self.wrong(slot, format!("showed the certificate of slot {}", boot.slot)),
            ));
        }
        let signature = Signature::try_from(signature);
        if !signature.is_ok_and(|s| ed25519::verify(&boot.key.0, statement, &s.0)) {
            return Err(CheckError::Wrong(self.wrong(slot, "its signature does not hold")));
        }
        Ok(slot)
    }
}

/// Why a signed answer was not accepted.
#[derive(Debug)]
pub(crate) enum CheckError {
    /// The region answered wrongly.
    Wrong(WrongAnswer),
    /// The check itself failed, for example because this device's clock is wrong.
    Final(Error),
}

impl From<Error> for CheckError {
    fn from(e: Error) -> Self {
        Self::Final(e)
    }
}

impl From<CheckError> for Fault {
    fn from(e: CheckError) -> Self {
        match e {
            CheckError::Wrong(w) => w.into(),
            CheckError::Final(e) => e.into(),
        }
    }
}

/// This device's clock, and the vault's as `Opened` reported it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VaultClock {
    pub(crate) now: Time,
    pub(crate) vault: Time,
}

impl VaultClock {
    /// Certificates begin a little in the past and hold for hours, so a smaller difference can't put one outside its dates.
    const TOLERANCE_MS: u64 = 60_000;

    fn is_off(self) -> bool {
        self.vault.0.abs_diff(self.now.0) > Self::TOLERANCE_MS
    }

    /// A time of the vault's clock, by this device's.
    pub(crate) fn here(self, vault: Time) -> Time {
        Time(vault.0.saturating_add_signed(self.offset_ms().saturating_neg()))
    }

    pub(crate) fn offset_ms(self) -> i64 {
        i64::try_from(i128::from(self.vault.0) - i128::from(self.now.0)).unwrap_or(i64::MAX)
    }
}

impl std::fmt::Debug for Trusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trusted").field("documents", &self.documents.admission.number).finish_non_exhaustive()
    }
}
