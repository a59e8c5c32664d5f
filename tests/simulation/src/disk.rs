//! A disk that loses what was not synced, and fails on demand. A test can keep an image of what is durable and start a vault from it later.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bkv_vault::volume::{Space, Volumes};
use rand::Rng;
use redb::StorageBackend;

type Io<T> = std::io::Result<T>;

/// The durable content of a disk: what survives a loss of power.
pub type Image = Arc<Vec<u8>>;

/// A disk's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// No space is left, so writes fail.
    Full,
    /// No space is left, so the file can't grow. What it has can be written.
    NoRoom,
    /// Writes succeed and syncs fail: the kernel has dropped the pages.
    NoSync,
    /// Every sync takes this long.
    Slow(Duration),
    /// Syncs hang until the test removes the fault.
    Hung,
    /// The process that used it was killed. Nothing more reaches the disk.
    Dead,
}

/// Whether the power is lost before or after a sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Before,
    After,
}

enum Op {
    Write(u64, Vec<u8>),
    Length(u64),
}

struct Trap {
    syncs: u64,
    side: Side,
    then: Box<dyn FnOnce() + Send>,
}

struct Inner {
    working: Vec<u8>,
    durable: Image,
    pending: Vec<Op>,
    syncs: u64,
    fault: Fault,
    trap: Option<Trap>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<(Mutex<Inner>, Condvar)>);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk(..)")
    }
}

impl Disk {
    pub fn from_image(image: Image) -> Self {
        let working = image.as_ref().clone();
        let inner =
            Inner { working, durable: image, pending: Vec::new(), syncs: 0, fault: Fault::None, trap: None };
        Self(Arc::new((Mutex::new(inner), Condvar::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap()
    }

    pub fn set(&self, fault: Fault) {
        let mut inner = self.lock();
        if inner.fault != Fault::Dead {
            inner.fault = fault;
        }
        drop(inner);
        self.0.1.notify_all();
    }

    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// What is durable now.
    pub fn image(&self) -> Image {
        self.lock().durable.clone()
    }

    /// What a loss of power may leave: the durable content, and any of the writes since.
    pub fn torn_image(&self, rng: &mut impl Rng) -> Image {
        let inner = self.lock();
        let mut image = inner.durable.clone();
        for op in &inner.pending {
            // A length alone is harmless: redb grows the file long before it needs the space.
            if matches!(op, Op::Length(_)) || rng.gen_bool(0.5) {
                apply(Arc::make_mut(&mut image), op);
            }
        }
        image
    }

    /// Cuts the power at the nth sync from now. `then` runs before the vault can learn how that sync ended.
    pub fn trap(&self, nth: u64, side: Side, then: impl FnOnce() + Send + 'static) {
        let mut inner = self.lock();
        let syncs = inner.syncs + nth;
        inner.trap = Some(Trap { syncs, side, then: Box::new(then) });
    }

    pub fn disarm(&self) {
        self.lock().trap = None;
    }
}

fn apply(data: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Length(n) => data.resize(usize::try_from(*n).unwrap(), 0),
        Op::Write(at, bytes) => {
            let at = usize::try_from(*at).unwrap();
            if data.len() < at + bytes.len() {
                data.resize(at + bytes.len(), 0);
            }
            data[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

fn fails(inner: &Inner) -> Io<()> {
    match inner.fault {
        Fault::Dead => Err(Error::from(ErrorKind::BrokenPipe)),
        _ => Ok(()),
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Io<u64> {
        let inner = self.lock();
        fails(&inner)?;
        Ok(inner.working.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Io<()> {
        let inner = self.lock();
        fails(&inner)?;
        let at = usize::try_from(offset).unwrap();
        let from = inner.working.get(at..at + out.len()).ok_or(Error::from(ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Io<()> {
        let mut inner = self.lock();
        fails(&inner)?;
        if inner.fault == Fault::NoRoom && len > inner.working.len() as u64 {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        let op = Op::Length(len);
        apply(&mut inner.working, &op);
        inner.pending.push(op);
        Ok(())
    }

    fn sync_data(&self) -> Io<()> {
        let mut inner = self.lock();
        if let Fault::Slow(time) = inner.fault {
            drop(inner);
            std::thread::sleep(time); // this is the slow disk itself
            inner = self.lock();
        }
        while inner.fault == Fault::Hung {
            inner = self.0.1.wait(inner).unwrap();
        }
        fails(&inner)?;
        if inner.fault == Fault::NoSync {
            return Err(Error::other("fsync: input/output error"));
        }
        let sprung = inner.trap.as_ref().is_some_and(|t| t.syncs == inner.syncs + 1);
        let trap = if sprung { inner.trap.take() } else { None };
        if trap.as_ref().is_none_or(|t| t.side == Side::After) {
            let Inner { durable, pending, .. } = &mut *inner;
            let image = Arc::make_mut(durable);
            pending.drain(..).for_each(|op| apply(image, &op));
            inner.syncs += 1;
        }
        if let Some(trap) = trap {
            inner.fault = Fault::Dead;
            (trap.then)();
        }
        fails(&inner)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Io<()> {
        let mut inner = self.lock();
        fails(&inner)?;
        if inner.fault == Fault::Full {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        let op = Op::Write(offset, data.to_vec());
        apply(&mut inner.working, &op);
        inner.pending.push(op);
        Ok(())
    }
}

/// The disk is a volume of its own.
impl Volumes for Disk {
    fn space(&self, _: &std::path::Path) -> Option<Space> {
        let free = if self.lock().fault == Fault::NoRoom { 0 } else { 5 << 30 };
        Some(Space { free, size: 10 << 30 })
    }
}
