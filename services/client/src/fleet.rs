//! A fleet as this device knows it: the pinned root, the newest documents seen, and how they are fetched.

use std::sync::Arc;

use bkv_core::document::Documents;
use bkv_core::id::{Slot, Time};
use bkv_wire::documents::{self, DocumentError, Root};
use bkv_wire::proto::outer;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;

use crate::error::{Distrust, Error, WrongAnswer};
use crate::fault::Fault;
use crate::memory::{Memory, Remembered};
use crate::runtime::Runtime;
use crate::trusted::Trusted;

/// A fleet as this device knows it. Shared by all clients of the fleet: TLS settings and certificate checks are made once.
pub struct Fleet {
    root: Root,
    memory: Box<dyn Memory>,
    current: Mutex<Option<Arc<Trusted>>>,
    wrong: Mutex<Vec<WrongAnswer>>,
    avoided: Mutex<Vec<Avoided>>,
}

/// A region whose vault showed a key that is not on the admission list, as ChatD names it.
struct Avoided {
    region: String,
    until: Time,
}

/// How long streams go to other regions, in milliseconds. Then the region may have been mended.
const AVOID: u64 = 60_000;

impl Fleet {
    /// `root` comes from a trusted source out of band. `memory` keeps the newest document numbers seen.
    pub fn new(root: Root, memory: impl Memory + 'static) -> Self {
        Self {
            root,
            memory: Box::new(memory),
            current: Mutex::new(None),
            wrong: Mutex::default(),
            avoided: Mutex::default(),
        }
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

    /// Fetches the bundle again. If one does not hold, asks for those of the other regions: one lying vault must not keep this device from the fleet
    /// (S49). Fails only if none of them holds, with what was wrong with the first.
    pub(crate) async fn fetch(&self, runtime: &Runtime) -> Result<Arc<Trusted>, Fault> {
        let mut wrong: Vec<WrongAnswer> = Vec::new();
        let mut first: Option<Error> = None;
        loop {
            let not = wrong.iter().map(|w| w.region.as_str()).collect::<Vec<_>>().join(",");
            let path = if not.is_empty() { "/v1/fleet".to_owned() } else { format!("/v1/fleet?not={not}") };
            let bundle = match runtime.transport.get(&path).await {
                Ok(bundle) => bundle,
                Err(e) => return Err(first.map_or_else(|| e.into(), Fault::Final)),
            };
            let why = match self.accept(&bundle, runtime.clock.now()) {
                Ok(trusted) => {
                    *self.wrong.lock() = wrong;
                    return Ok(trusted);
                }
                Err(Error::FleetNotTrusted(why)) => why,
                Err(e) => return Err(e.into()),
            };
            let given = outer::Bundle::decode(&bundle[..]).ok().and_then(|bundle| name(bundle.region));
            let next = given.filter(|region| wrong.iter().all(|w| w.region != *region));
            let distrust = match next.clone() {
                Some(region) => Distrust::Region { region, why: Box::new(why.clone()) },
                None => why.clone(),
            };
            let error = first.get_or_insert(Error::FleetNotTrusted(distrust)).clone();
            let Some(region) = next.filter(|_| wrong.len() < MOST_REGIONS) else {
                return Err(Fault::Final(error));
            };
            wrong.push(WrongAnswer { slot: Slot(0), region, what: why.to_string() });
        }
    }

    /// The regions whose documents did not hold when they were last fetched, and those whose vault showed another key than the admitted one, as ChatD
    /// names them. Others served in their place.
    pub fn wrong(&self) -> Vec<WrongAnswer> {
        let mut wrong = self.wrong.lock().clone();
        wrong.extend(self.strangers());
        wrong
    }

    /// The regions whose vault showed another key than the admitted one.
    pub(crate) fn strangers(&self) -> Vec<WrongAnswer> {
        let strange = |a: &Avoided| WrongAnswer {
            slot: Slot(0),
            region: a.region.clone(),
            what: Distrust::NotAdmitted.to_string(),
        };
        self.avoided.lock().iter().map(strange).collect()
    }

    /// The regions to which no stream shall go now.
    pub(crate) fn avoided(&self, runtime: &Runtime) -> Vec<String> {
        let now = runtime.clock.now();
        let mut avoided = self.avoided.lock();
        avoided.retain(|a| a.until > now);
        avoided.iter().map(|a| a.region.clone()).collect()
    }

    /// Avoids a region for a while. Returns false if the client avoids it already: a ChatD that names it again and again must not make the client ask without end.
    /// Returns false, too, if all `members` but one are avoided: a ChatD that names every region must not keep this client from the fleet for a minute.
    pub(crate) fn avoid(&self, region: &str, members: usize, runtime: &Runtime) -> bool {
        let mut avoided = self.avoided.lock();
        if avoided.len() >= members.saturating_sub(1).min(MOST_REGIONS)
            || avoided.iter().any(|a| a.region == region)
        {
            return false;
        }
        let until = runtime.clock.now().plus(AVOID);
        avoided.push(Avoided { region: region.to_owned(), until });
        true
    }
}

/// Most regions that one fetch asks for their documents. A fleet has at most 7.
const MOST_REGIONS: usize = 8;

/// A region that ChatD names. Only a name of a region: the text goes into a path.
pub(crate) fn name(region: String) -> Option<String> {
    let name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    ((1..=64).contains(&region.len()) && region.bytes().all(name)).then_some(region)
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
