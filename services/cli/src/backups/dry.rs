//! A dry run: the backup is made as always, against a destination that counts and keeps nothing and a copy of the writer's state.

use std::collections::HashMap;
use std::fs;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bkv_backups::destination::{Fault, Listed, Meta};
use bkv_backups::format::Id;
use bkv_backups::{Destination, Named, SetLedger, Vault, VaultFault};
use parking_lot::{Mutex, MutexGuard};

use crate::exit::{Exit, Failure, Outcome};

/// A destination to which nothing is written.
pub(crate) struct DryPlace<'a> {
    inner: &'a dyn Destination,
    /// Names and lengths of what a backup would have written, with the bytes of ledgers: they are read back.
    written: Mutex<HashMap<String, (u64, Vec<u8>)>>,
}

impl<'a> DryPlace<'a> {
    pub(crate) fn new(inner: &'a dyn Destination) -> Self {
        Self { inner, written: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, (u64, Vec<u8>)>> {
        self.written.lock()
    }
}

fn meta(length: u64) -> Meta {
    Meta { length, modified_ms: None }
}

impl Destination for DryPlace<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let kept = if name.contains("/ledgers/") { bytes.to_vec() } else { Vec::new() };
        self.written().insert(name.to_owned(), (bytes.len() as u64, kept));
        Ok(())
    }

    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        let written = self.written();
        let Some((_, bytes)) = written.get(name).filter(|_| copy == 0) else {
            drop(written);
            return self.inner.read(name, copy, range);
        };
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes.get(at(range.start)..at(range.end)).unwrap_or_default().to_vec())
    }

    fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault> {
        let written = self.written().get(name).map(|(length, _)| meta(*length));
        Ok(written.into_iter().chain(self.inner.stat(name)?).collect())
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Fault> {
        let below = format!("{folder}/");
        let names: Vec<Listed> = self
            .written()
            .iter()
            .filter(|(name, _)| name.starts_with(&below))
            .map(|(name, (length, _))| Listed { name: name.clone(), meta: meta(*length) })
            .collect();
        for listed in names {
            if each(listed).is_break() {
                return Ok(());
            }
        }
        self.inner.list(folder, each)
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, Fault> {
        self.inner.folders(folder)
    }

    fn delete(&self, _: &str) -> Result<(), Fault> {
        Err(Fault::Denied("this is a dry run".into()))
    }
}

/// A vault that is asked and told nothing.
pub(crate) struct DryVault<'a>(pub &'a dyn Vault);

impl Vault for DryVault<'_> {
    fn named(&self, writer: &Id) -> Result<Option<Named>, VaultFault> {
        self.0.named(writer)
    }

    fn set(&self, _: &SetLedger) -> Result<(), VaultFault> {
        Ok(())
    }

    fn exists(&self) -> bool {
        self.0.exists()
    }
}

/// A copy of a writer's state, removed at the end.
#[derive(Debug)]
pub(crate) struct DryState(PathBuf);

impl DryState {
    pub(crate) fn copy(state: &Path) -> Outcome<Self> {
        let folder = state.with_file_name(format!("dry-{}", std::process::id()));
        let failed = |e: std::io::Error| {
            Failure::new(Exit::CantCreate, format!("can't make {}: {e}", folder.display()))
                .remedy("Make the folder of this device's state writable, or use another with --state.")
        };
        let _ = fs::remove_dir_all(&folder);
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        let copy = Self(folder.clone());
        match fs::copy(state, copy.file()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(copy),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for DryState {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
