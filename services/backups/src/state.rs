//! What a device keeps of its writer: a small file, mode 0600, and a lock. A copy of it makes a twin, so it must never be part of a backup.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::format::secret::{Secret, random_id};
use crate::format::{Hash, Id};
use crate::vault::Named;

/// Number of the file's format.
pub const STATE_FORMAT: u32 = 1;
const MAX_STATE: u64 = 1 << 20;

/// A [`Named`] in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Known {
    #[n(0)]
    counter: u64,
    #[cbor(n(1), with = "minicbor::bytes")]
    hash: Hash,
}

impl From<Named> for Known {
    fn from(Named { counter, hash }: Named) -> Self {
        Self { counter, hash }
    }
}

impl From<Known> for Named {
    fn from(Known { counter, hash }: Known) -> Self {
        Self { counter, hash }
    }
}

/// The writer of a device at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct State {
    #[n(0)]
    format: u32,
    /// Random.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub writer: Id,
    /// V. None without forward secrecy.
    #[n(2)]
    pub v: Option<Secret>,
    /// True once the vault has V, and no other.
    #[n(3)]
    pub v_given: bool,
    #[n(4)]
    newest: Option<Known>,
    #[n(5)]
    pending: Vec<Known>,
    #[n(6)]
    named: Option<Known>,
    /// Since when the vault has been behind.
    #[n(7)]
    pub unnamed_since_ms: Option<i64>,
    /// Ledgers that this device began since the one that the vault names. Only these can be named next.
    #[cbor(n(9), default, skip_if = "Vec::is_empty")]
    written: Vec<Known>,
    /// A new V that the vault may have taken, or may still take.
    #[n(10)]
    pub(crate) next: Option<Next>,
}

/// A ledger under a new V. A vault that has refused it, or has not answered, may take it later: the request may wait at a leader, and one region's refusal binds no other.
/// Only another ledger that is named in its place excludes that.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Next {
    #[n(0)]
    ledger: Known,
    /// The V that it is sealed under.
    #[n(1)]
    pub v: Secret,
    /// The vault has answered since that it does not name it.
    #[n(2)]
    pub answered: bool,
}

impl Next {
    pub(crate) fn new(ledger: Named, v: Secret) -> Self {
        Self { ledger: ledger.into(), v, answered: false }
    }

    pub(crate) fn ledger(&self) -> Named {
        self.ledger.into()
    }
}

/// Ledgers that a device remembers while no vault names one.
const MAX_WRITTEN: usize = 1024;

impl State {
    /// A new writer. `forward_secrecy` is fixed for its life.
    pub fn new(forward_secrecy: bool) -> Result<Self> {
        Ok(Self {
            format: STATE_FORMAT,
            writer: random_id()?,
            v: forward_secrecy.then(Secret::random).transpose()?,
            v_given: false,
            newest: None,
            pending: Vec::new(),
            named: None,
            unnamed_since_ms: None,
            written: Vec::new(),
            next: None,
        })
    }

    /// The newest ledger that this device wrote.
    pub fn newest(&self) -> Option<Named> {
        self.newest.map(Named::from)
    }

    /// The newest ledger that the vault is known to name.
    pub fn named(&self) -> Option<Named> {
        self.named.map(Named::from)
    }

    /// Ledgers that were begun. A crash may have left them at the destination.
    pub(crate) fn pending(&self) -> impl DoubleEndedIterator<Item = Named> + '_ {
        self.pending.iter().copied().map(Named::from)
    }

    pub(crate) fn begin(&mut self, ledger: Named) {
        self.pending.push(ledger.into());
    }

    pub(crate) fn wrote(&mut self, ledger: Named) {
        self.newest = Some(ledger.into());
        let begun = std::mem::take(&mut self.pending);
        self.written.extend(begun);
        let surplus = self.written.len().saturating_sub(MAX_WRITTEN);
        self.written.drain(..surplus);
    }

    /// True for a ledger that this device began.
    pub(crate) fn is_ours(&self, ledger: Named) -> bool {
        let known = Known::from(ledger);
        self.newest == Some(known)
            || self.named == Some(known)
            || self.written.contains(&known)
            || self.pending.contains(&known)
            || self.next.as_ref().is_some_and(|next| next.ledger == known)
    }

    /// The counter above which this device knows all of its own ledgers.
    pub(crate) fn known_above(&self) -> u64 {
        let oldest = self.written.iter().map(|known| known.counter.saturating_sub(1)).min();
        let newest = self.newest.map_or(0, |newest| newest.counter);
        self.named.map_or(0, |named| named.counter).max(oldest.unwrap_or(newest))
    }

    pub(crate) fn forgotten_by_vault(&mut self) {
        self.named = None;
        self.v_given = false;
    }

    pub(crate) fn named_by_vault(&mut self, ledger: Named) {
        self.named = Some(ledger.into());
        let took_next = self.next.as_ref().is_some_and(|next| next.ledger() == ledger);
        // A ledger comes with the V that it is sealed under.
        self.v_given = !took_next;
        if !took_next && self.next.as_ref().is_some_and(|next| next.ledger.counter <= ledger.counter) {
            self.next = None;
        }
        self.written.retain(|known| known.counter > ledger.counter);
        if self.newest == self.named {
            self.unnamed_since_ms = None;
        }
    }
}

/// The file, locked while this exists.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    _lock: File,
}

impl StateFile {
    /// Locks the state at `path`, whose folder must exist. With `wait`, waits for another process to end.
    pub fn lock(path: &Path, wait: bool) -> Result<Self> {
        // The state is replaced at each change, so the lock is a file of its own.
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let name = PathBuf::from(name);
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
        let lock = open.map_err(|error| Error::file("lock", &name, error))?;
        if wait {
            lock.lock().map_err(|error| Error::file("lock", &name, error))?;
        } else {
            lock.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => Error::Busy { path: name.clone() },
                TryLockError::Error(error) => Error::file("lock", &name, error),
            })?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// None if there is no state yet.
    pub fn load(&self) -> Result<Option<State>> {
        Self::peek(&self.path)
    }

    /// Reads the state at `path` without its lock, for a reader of backups: the file is replaced as a whole. None if there is no state yet.
    pub fn peek(path: &Path) -> Result<Option<State>> {
        let length = match std::fs::metadata(path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", path, error)),
        };
        let broken = |what: &str| {
            Error::Refused(format!(
                "{} {what}; move it away to begin a new writer, which makes a full backup",
                path.display()
            ))
        };
        if length > MAX_STATE {
            return Err(broken("is too long for a writer's state"));
        }
        let bytes = std::fs::read(path).map_err(|error| Error::file("read", path, error))?;
        let bytes = Zeroizing::new(bytes);
        let mut decoder = minicbor::Decoder::new(&bytes);
        let state: State = decoder.decode().map_err(|_| broken("is no writer's state"))?;
        if decoder.position() != bytes.len() || state.format != STATE_FORMAT {
            return Err(broken("has another format than this program"));
        }
        Ok(Some(state))
    }

    /// Replaces the state. It is on the disk when this returns.
    pub fn save(&self, state: &State) -> Result<()> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        minicbor::encode(state, &mut *bytes).map_err(|_| Error::TooMuch("the writer's state"))?;
        bkv_files::replace(&self.path, &bytes, bkv_files::Mode::Private)
            .map_err(|error| Error::file("write", &self.path, error))
    }
}
