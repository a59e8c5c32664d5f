//! A fleet as this device knows it: the pinned root, the newest documents seen, and how they are fetched.

use std::sync::Arc;

use bkv_core::document::Documents;
use bkv_core::id::Time;
use bkv_wire::documents::{self, DocumentError, Root};
use bkv_wire::proto::outer;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;

use crate::error::{Distrust, Error};
use crate::fault::Fault;
use crate::memory::{Memory, Remembered};
use crate::runtime::Runtime;
use crate::trusted::Trusted;

/// A fleet as this device knows it. Shared by all clients of the fleet: TLS settings and certificate checks are made once.
pub struct Fleet {
    root: Root,
    memory: Box<dyn Memory>,
    current: Mutex<Option<Arc<Trusted>>>,
}

impl Fleet {
    /// `root` comes from a trusted source out of band. `memory` keeps the newest document numbers seen.
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
    /// one seen before. The numbers are saved before the bundle is used.
    pub fn accept(&self, bundle: &[u8], now: Time) -> Result<Arc<Trusted>, Error> {
        let bundle = outer::Bundle::decode(bundle).map_err(|_| Distrust::Bundle)?;
        let documents = documents::bundle(&self.root, &bundle.admission, &bundle.policy, Some(now))?;
        let lineage = self.root.lineage().to_string();
        let mut taken = Ok(());
        self.memory.update(&mut |seen| taken = take_over(seen, &lineage, &documents))?;
        taken?;
        let trusted = Arc::new(Trusted::new(documents)?);
        let mut current = lock(&self.current);
        if let Some(same) = current.as_ref().filter(|c| c.is_same_as(&trusted)) {
            return Ok(same.clone()); // keeps the certificates that were checked
        }
        *current = Some(trusted.clone());
        Ok(trusted)
    }

    /// The documents in force. Fetches them if there are none yet or if they have expired.
    pub(crate) async fn trusted(&self, runtime: &Runtime) -> Result<Arc<Trusted>, Fault> {
        let now = runtime.clock.now();
        let current = lock(&self.current).clone();
        match current.filter(|c| now <= c.admission().not_after && now <= c.policy().not_after) {
            Some(current) => Ok(current),
            None => self.fetch(runtime).await,
        }
    }

    /// Fetches the bundle again.
    pub(crate) async fn fetch(&self, runtime: &Runtime) -> Result<Arc<Trusted>, Fault> {
        let bundle = runtime.transport.get("/v1/fleet").await?;
        Ok(self.accept(&bundle, runtime.clock.now())?)
    }
}

/// Refuses documents older than those seen. Otherwise remembers their numbers. What the device knows of backups stays.
fn take_over(seen: &mut Remembered, lineage: &str, documents: &Documents) -> Result<(), DocumentError> {
    if seen.lineage != lineage {
        (seen.admission, seen.policy) = (0, 0);
        lineage.clone_into(&mut seen.lineage);
    }
    let (admission, policy) = (documents.admission.number, documents.policy.number);
    for (kind, seen, got) in [("admission list", seen.admission, admission), ("policy", seen.policy, policy)]
    {
        if got < seen {
            return Err(DocumentError::Older { kind, seen, got });
        }
    }
    (seen.admission, seen.policy) = (admission, policy);
    Ok(())
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock()
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("root", &self.root).finish_non_exhaustive()
    }
}
