//! Whom to believe: the pinned root, the documents that it signed, and the boot keys that admitted identities certified.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bkv_core::document::{Admission, BootKey, Documents, Policy};
use bkv_core::id::{Signature, Slot, Time};
use bkv_crypto::ed25519;
use bkv_wire::boot::{self, BootError};
use bkv_wire::channel::ClientSettings;
use bkv_wire::documents::{self, DocumentError, Root};
use bkv_wire::proto::{inner, outer};
use prost::Message as _;

use crate::error::{Distrust, Error, WrongAnswer};
use crate::memory::{Memory, Remembered};
use crate::runtime::Runtime;

/// A fleet as this device knows it. Shared by all clients of the fleet: TLS settings and certificate checks are made once.
pub struct Fleet {
    root: Root,
    memory: Box<dyn Memory>,
    current: Mutex<Option<Arc<Trusted>>>,
}

/// Documents that passed every check, and what follows from them.
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

/// More boot certificates than any fleet has at a time; beyond that somebody is making them up.
const MAX_CACHED: usize = 64;

impl Fleet {
    /// With the root that was handed over out of band, and what remembers the newest numbers seen.
    pub fn new(root: Root, memory: impl Memory + 'static) -> Self {
        Self { root, memory: Box::new(memory), current: Mutex::new(None) }
    }

    /// The pinned root.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// What this device remembers.
    pub fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    /// Checks a bundle as ChatD gave it and takes it over (S06): signed by the pinned root, of its lineage and era, in its dates, no older than
    /// one seen before. The numbers are remembered before anything is done with it.
    pub fn accept(&self, bundle: &[u8], now: Time) -> Result<Arc<Trusted>, Error> {
        let bundle = outer::Bundle::decode(bundle).map_err(|_| Distrust::Bundle)?;
        let documents = documents::bundle(&self.root, &bundle.admission, &bundle.policy, Some(now))?;
        let seen = self.memory.load()?;
        let lineage = self.root.lineage().to_string();
        let (admission, policy) = (documents.admission.number, documents.policy.number);
        let known = if seen.lineage == lineage { seen.clone() } else { Remembered::default() };
        for (kind, seen, got) in
            [("admission list", known.admission, admission), ("policy", known.policy, policy)]
        {
            if got < seen {
                return Err(DocumentError::Older { kind, seen, got }.into());
            }
        }
        let now_known = Remembered { lineage, admission, policy, ..known };
        if now_known != seen {
            self.memory.save(&now_known)?;
        }
        let trusted = Arc::new(Trusted::new(documents)?);
        let mut current = lock(&self.current);
        if let Some(same) = current.as_ref().filter(|c| c.documents == trusted.documents) {
            return Ok(same.clone()); // keeps the certificates that were checked
        }
        *current = Some(trusted.clone());
        Ok(trusted)
    }

    /// The documents in force, fetched if there are none yet or if they have run out.
    pub(crate) async fn trusted(&self, runtime: &Runtime) -> Result<Arc<Trusted>, crate::retry::Fault> {
        let now = runtime.clock.now();
        let current = lock(&self.current).clone();
        match current
            .filter(|c| now <= c.documents.admission.not_after && now <= c.documents.policy.not_after)
        {
            Some(current) => Ok(current),
            None => self.fetch(runtime).await,
        }
    }

    /// Fetches the bundle again.
    pub(crate) async fn fetch(&self, runtime: &Runtime) -> Result<Arc<Trusted>, crate::retry::Fault> {
        let bundle = runtime.transport.get("/v1/fleet").await?;
        Ok(self.accept(&bundle, runtime.clock.now())?)
    }
}

impl Trusted {
    fn new(documents: Documents) -> Result<Self, Error> {
        let accepted = documents.admission.members.iter().map(|m| m.identity.clone()).collect();
        let settings = ClientSettings::new(accepted).map_err(|e| Error::Local(e.to_string()))?;
        Ok(Self { documents, settings, boot_keys: Mutex::default() })
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

    /// The boot key in `certificate`, if an admitted identity certified it for now. A certificate is checked once, then known by its bytes.
    pub(crate) fn boot_key(&self, certificate: &[u8], now: Time) -> Result<BootKey, BootError> {
        if let Some(known) = lock(&self.boot_keys).get(certificate) {
            let in_time = now >= known.from && now <= known.until;
            return if in_time { Ok(known.boot.clone()) } else { Err(BootError::Dates(known.boot.slot)) };
        }
        let boot = boot::verify(certificate, &self.documents.admission, now)?;
        let dates = inner::BootCertificate::decode(certificate).map_err(|_| BootError::Malformed)?;
        let mut known = lock(&self.boot_keys);
        if known.len() >= MAX_CACHED {
            known.clear();
        }
        let (from, until) = (Time(dates.not_before_ms), Time(dates.not_after_ms));
        known.insert(certificate.to_vec(), Certified { boot: boot.clone(), from, until });
        Ok(boot)
    }

    /// Did the region at `slot` sign this? Says what is wrong if not.
    pub(crate) fn check(
        &self,
        slot: u32,
        certificate: &[u8],
        statement: &[u8],
        signature: &[u8],
        clock: VaultClock,
    ) -> Result<Slot, Fault> {
        let slot = Slot(u8::try_from(slot).unwrap_or(0));
        let boot = match self.boot_key(certificate, clock.now) {
            Ok(boot) => boot,
            Err(BootError::Dates(_)) if clock.is_off() => {
                return Err(Error::ClockWrong { by_ms: clock.offset_ms() }.into());
            }
            Err(e) => return Err(Fault::Wrong(self.wrong(slot, e.to_string()))),
        };
        if boot.slot != slot {
            return Err(Fault::Wrong(
                self.wrong(slot, format!("showed the certificate of slot {}", boot.slot)),
            ));
        }
        let signature = Signature::try_from(signature);
        if !signature.is_ok_and(|s| ed25519::verify(&boot.key.0, statement, &s.0)) {
            return Err(Fault::Wrong(self.wrong(slot, "its signature does not hold")));
        }
        Ok(slot)
    }
}

/// Why a signed answer is not believed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// That region's fault.
    Wrong(WrongAnswer),
    /// Ours.
    Final(Error),
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::Final(e)
    }
}

impl From<Fault> for crate::retry::Fault {
    fn from(f: Fault) -> Self {
        match f {
            Fault::Wrong(w) => w.into(),
            Fault::Final(e) => e.into(),
        }
    }
}

/// This device's clock and the vault's, as it told it in `Opened`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VaultClock {
    pub(crate) now: Time,
    pub(crate) vault: Time,
}

impl VaultClock {
    /// Certificates are made a little in the past and hold for hours: less than this can't be the reason.
    const TOLERANCE_MS: u64 = 60_000;

    fn is_off(self) -> bool {
        self.vault.0.abs_diff(self.now.0) > Self::TOLERANCE_MS
    }

    pub(crate) fn offset_ms(self) -> i64 {
        i64::try_from(i128::from(self.vault.0) - i128::from(self.now.0)).unwrap_or(i64::MAX)
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("root", &self.root).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Trusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trusted").field("documents", &self.documents.admission.number).finish_non_exhaustive()
    }
}
