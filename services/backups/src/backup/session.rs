//! Stores the sources: walks them, decides for each file whether it is known, and writes the tree.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use bkv_stream::Control;

use super::cutting::Cutting;
use super::job::Made;
use super::packing::{Small, Waiter, Waiting};
use super::parent::{Before, Parent};
use super::{MAX_REPORTED, Options};
use crate::error::{Error, Result};
use crate::format::ledger::Replaced;
use crate::format::manifest::{Counts, Reason};
use crate::format::names::Kind as ObjectKind;
use crate::format::secret::{Secret, random_id};
use crate::format::stream::{BlobRef, blob_aad};
use crate::format::tree::{Attributes, Entry, Kind, Place, Record, Root, TreePath, TreeWriter};
use crate::format::{Folder, Hash, Id};
use crate::objects::{Push, Uploads};
use crate::source::{Found, Identity, Opened, Outcome, Step, Walk, of, reason, unreadable, xattrs};

/// Blobs of this generation that are found again by their content.
const MAX_MADE: usize = 65_536;

pub(super) struct Session<'a> {
    pub(super) uploads: &'a Uploads<'a>,
    pub(super) folder: &'a Folder,
    push: Push<'a>,
    tree: TreeWriter,
    pub(super) parent: Option<Parent<'a>>,
    lost: Option<String>,
    pub(super) waiting: Waiting,
    pub(super) cutting: Cutting,
    pub(super) options: &'a Options<'a>,
    pub(super) control: Control<'a>,
    pub(super) counts: Counts,
    left_out: Vec<(PathBuf, Reason)>,
    links: HashMap<Identity, TreePath>,
    pub(super) failed_files: HashSet<TreePath>,
    made: HashMap<Hash, BlobRef>,
    /// Damaged blobs of the generation before, by the hash of their content.
    damaged: HashMap<Hash, Vec<Id>>,
    replaced: Vec<Replaced>,
    files: u64,
    bytes: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        uploads: &'a Uploads<'a>,
        folder: &'a Folder,
        push: Push<'a>,
        parent: Option<Parent<'a>>,
        cutting: Cutting,
        options: &'a Options<'a>,
        control: Control<'a>,
    ) -> Self {
        let damaged = parent.as_ref().map(|parent| parent.damaged.clone()).unwrap_or_default();
        Self {
            uploads,
            folder,
            push,
            tree: TreeWriter::default(),
            parent,
            lost: None,
            waiting: Waiting::default(),
            cutting,
            options,
            control,
            counts: Counts::default(),
            left_out: Vec::new(),
            links: HashMap::new(),
            failed_files: HashSet::new(),
            made: HashMap::new(),
            damaged,
            replaced: Vec::new(),
            files: 0,
            bytes: 0,
        }
    }

    /// Stores the folders. `had_files`: the generation before had some.
    pub(super) fn folders(&mut self, paths: &[PathBuf], had_files: bool) -> Result<()> {
        let mut names = HashSet::new();
        for (number, path) in paths.iter().enumerate() {
            let number = u32::try_from(number).map_err(|_| Error::TooMuch("the number of sources"))?;
            let (walk, meta) =
                Walk::new(path, number, &self.options.selection).map_err(|error| unreadable(path, error))?;
            let name = if paths.len() == 1 { Vec::new() } else { unique(path, &mut names) };
            let mut attributes = of(&meta);
            attributes.xattrs = xattrs(path).ok().flatten().unwrap_or_default();
            self.record(&Record::Root(Root {
                path: path.as_os_str().as_bytes().to_vec(),
                name,
                attributes,
            }))?;
            let mut entries = 0_u64;
            for step in walk {
                self.control.check()?;
                match step {
                    Step::LeftOut(path, why) => self.leave_out(path, why),
                    Step::Found(found) => {
                        entries += 1;
                        self.entry(*found)?;
                    }
                }
            }
            self.flush()?;
            if entries == 0 && had_files && !self.options.allow_empty {
                return Err(Error::EmptySource { path: path.clone() });
            }
        }
        Ok(())
    }

    /// Ends the tree. Also returns why the generation before was given up.
    pub(super) fn finish(mut self) -> Result<(Made, Option<String>)> {
        self.tree.end(&mut self.push)?;
        let Self { counts, left_out, replaced, .. } = self;
        Ok((Made { stored: self.push.finish()?, counts, left_out, replaced }, self.lost))
    }

    pub(super) fn record(&mut self, record: &Record) -> Result<()> {
        self.tree.record(record, &mut self.push)
    }

    pub(super) fn leave_out(&mut self, path: PathBuf, why: Reason) {
        self.counts.failed += u64::from(why.is_failure());
        if self.left_out.len() < MAX_REPORTED {
            self.left_out.push((path, why));
        }
    }

    /// Reports progress.
    pub(super) fn advance(&mut self, path: &Path, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        self.control.progress.bytes(self.bytes, None);
        self.control.progress.file(path, self.files);
    }

    /// Takes a blob in the place of a damaged one of the same content.
    pub(super) fn heal(&mut self, blob: &BlobRef) {
        let old = self.damaged.remove(&blob.hash).unwrap_or_default();
        self.replaced.extend(old.into_iter().map(|old| Replaced { old, blob: blob.clone() }));
    }

    /// Counts a reference.
    pub(super) fn refer(&mut self, blob: &BlobRef) {
        self.counts.references += 1;
        self.counts.objects += blob.lengths.layout().map_or(0, |layout| u64::from(layout.objects));
    }

    fn before(&mut self, path: &TreePath) -> Option<Before> {
        match self.parent.as_mut()?.find(path) {
            Ok(before) => before,
            Err(error) => {
                // From here on everything is read.
                self.lost = Some(error.to_string());
                self.parent = None;
                None
            }
        }
    }

    fn entry(&mut self, found: Found) -> Result<()> {
        let before = self.before(&found.path);
        let mut attributes = of(&found.meta);
        let kind = found.meta.file_type();
        if kind.is_symlink() {
            return match fs::read_link(&found.place) {
                Ok(target) => {
                    let kind = Kind::Symlink(target.into_os_string().into_vec());
                    self.wait(Waiter::Ready(entry(&found.path, kind, attributes)))
                }
                Err(error) => {
                    self.leave_out(found.place, reason(&error));
                    Ok(())
                }
            };
        }
        let unchanged = before.as_ref().is_some_and(|before| {
            self.parent.as_ref().is_some_and(|p| p.is_unchanged(&before.entry, found.meta.len(), &attributes))
        });
        match before.as_ref().filter(|_| unchanged) {
            Some(before) => attributes.xattrs.clone_from(&before.entry.attributes.xattrs),
            None => match xattrs(&found.place) {
                Ok(Some(xattrs)) => attributes.xattrs = xattrs,
                Ok(None) => self.leave_out(found.place.clone(), Reason::TooLong),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.leave_out(found.place.clone(), reason(&error)),
            },
        }
        if kind.is_dir() {
            return self.wait(Waiter::Ready(entry(&found.path, Kind::Folder, attributes)));
        }
        let identity = (found.meta.dev(), found.meta.ino());
        let linked = found.meta.nlink() > 1;
        if linked
            && let Some(target) = self.links.get(&identity).filter(|target| target.root == found.path.root)
        {
            let (target, kind) = (target.clone(), Kind::Hardlink(target.joined()));
            let entry = entry(&found.path, kind, attributes);
            return self.wait(Waiter::Link { entry, target, place: found.place });
        }
        if linked {
            self.links.insert(identity, found.path.clone());
        }
        self.file(found, attributes, before.filter(|_| unchanged), linked)
    }

    fn file(
        &mut self,
        found: Found,
        attributes: Attributes,
        before: Option<Before>,
        linked: bool,
    ) -> Result<()> {
        let size = found.meta.len();
        if size > 0 && size < self.cutting.sizes.blob {
            let kind = Kind::File {
                size,
                data: size,
                place: Place::Nowhere,
                extents: Vec::new(),
                changed: false,
                linked,
            };
            let before = before.and_then(|before| {
                let Kind::File { place: Place::Pack(offset), .. } = before.entry.kind else { return None };
                before.pack.map(|(number, pack)| (number, pack, offset))
            });
            let entry = entry(&found.path, kind, attributes);
            return self.wait(Waiter::Small(Small { entry, path: found.path, place: found.place, before }));
        }
        let known = before.map(|before| before.entry.kind);
        let again = match (&known, &self.parent) {
            (Some(Kind::File { place: Place::Blob(blob), .. }), Some(parent)) => parent.is_there(blob)?,
            (Some(Kind::File { place: Place::Nowhere, .. }), _) => true,
            _ => size == 0,
        };
        let (kind, attributes) = match known.filter(|_| again) {
            Some(Kind::File { size, data, place, extents, changed, .. }) => {
                self.advance(&found.place, size);
                (Kind::File { size, data, place, extents, changed, linked }, attributes)
            }
            _ if again => {
                self.advance(&found.place, 0);
                let (place, extents) = (Place::Nowhere, Vec::new());
                (Kind::File { size: 0, data: 0, place, extents, changed: false, linked }, attributes)
            }
            _ => {
                let Some(stored) = self.large(&found.place, attributes, linked)? else {
                    self.failed_files.insert(found.path);
                    return Ok(());
                };
                stored
            }
        };
        if let Kind::File { place: Place::Blob(blob), .. } = &kind {
            self.refer(blob);
        }
        self.wait(Waiter::Ready(entry(&found.path, kind, attributes)))
    }

    /// Stores a file as a blob of its own, or finds its content. None if it can't be read.
    fn large(
        &mut self,
        path: &Path,
        attributes: Attributes,
        linked: bool,
    ) -> Result<Option<(Kind, Attributes)>> {
        let failed = |session: &mut Self, error: &std::io::Error| {
            session.leave_out(path.to_owned(), reason(error));
            Ok(None)
        };
        let mut opened = match Opened::new(path, true) {
            Ok(opened) => opened,
            Err(error) => return failed(self, &error),
        };
        let mut found = None;
        // A file is hashed beforehand only if content of exactly its length is known.
        let candidates = self.candidates(opened.data());
        if !candidates.is_empty() {
            let mut context = digest::Context::new(&digest::SHA256);
            let control = self.control;
            let read = opened.read(&mut |bytes| {
                context.update(bytes);
                Ok(control.check()?)
            })?;
            let outcome = match read {
                Ok(outcome) => outcome,
                Err(error) => return failed(self, &error),
            };
            let hash = context.finish();
            let same = candidates.into_iter().find(|blob| blob.hash == hash.as_ref());
            if let Some(blob) = same
                && self.parent.as_ref().map_or(Ok(true), |p| {
                    if self.made.contains_key(&blob.hash) { Ok(true) } else { p.is_there(&blob) }
                })?
            {
                found = Some((blob, outcome));
            } else {
                opened = match Opened::new(path, true) {
                    Ok(opened) => opened,
                    Err(error) => return failed(self, &error),
                };
            }
        }
        let (blob, outcome) = match found {
            Some(found) => found,
            None => match self.blob(&mut opened)? {
                Ok(stored) => stored,
                Err(error) => return failed(self, &error),
            },
        };
        self.heal(&blob);
        if self.made.len() < MAX_MADE {
            self.made.insert(blob.hash, blob.clone());
        }
        if outcome.changed {
            self.leave_out(path.to_owned(), Reason::Changed);
        }
        let Outcome { size, extents, changed } = outcome;
        self.advance(path, size);
        let data = blob.lengths.content;
        let attributes = Attributes { xattrs: attributes.xattrs, ..of(&opened.meta) };
        let place = if data == 0 { Place::Nowhere } else { Place::Blob(blob) };
        let extents = if data == 0 { Vec::new() } else { extents };
        Ok(Some((Kind::File { size, data, place, extents, changed, linked }, attributes)))
    }

    fn candidates(&self, length: u64) -> Vec<BlobRef> {
        let mut all = self.parent.as_ref().map(|parent| parent.of_length(length)).unwrap_or_default();
        all.extend(self.made.values().filter(|blob| blob.lengths.content == length).cloned());
        all
    }

    /// Reads and stores a file in one pass. The inner error is the file's.
    fn blob(&mut self, opened: &mut Opened) -> Result<std::io::Result<(BlobRef, Outcome)>> {
        let (id, key) = (random_id()?, Secret::random()?);
        let stream_key = key.stream_key();
        let how = self.options.storage.how(self.options.storage.workers);
        let aad = blob_aad(&id);
        let mut push =
            Push::new(self.uploads, self.folder, (ObjectKind::Blob, id), (&stream_key, &aad), how)?;
        let (control, before) = (self.control, self.bytes);
        let mut done = 0;
        let read = opened.read(&mut |bytes| {
            control.check()?;
            push.write_all(bytes).map_err(Error::from_io)?;
            done += bytes.len() as u64;
            control.progress.bytes(before + done, None);
            Ok(())
        })?;
        match read {
            Err(error) => Ok(Err(error)),
            Ok(outcome) => {
                let stored = push.finish()?;
                Ok(Ok((BlobRef { id, key, hash: stored.hash, lengths: stored.lengths }, outcome)))
            }
        }
    }
}

fn entry(path: &TreePath, kind: Kind, attributes: Attributes) -> Entry {
    let depth = u32::try_from(path.steps.len().saturating_sub(1)).unwrap_or(u32::MAX);
    Entry { depth, name: path.steps.last().cloned().unwrap_or_default(), kind, attributes }
}

/// The name of a source's folder in a restore: its last name, with a number if another source has the same.
fn unique(path: &Path, names: &mut HashSet<Vec<u8>>) -> Vec<u8> {
    let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let base = canonical.file_name().map_or_else(|| b"root".to_vec(), |name| name.as_bytes().to_vec());
    let numbered =
        |n: u32| if n == 1 { base.clone() } else { [&base[..], format!("-{n}").as_bytes()].concat() };
    let name = (1..=u32::MAX).map(numbered).find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(name.clone());
    name
}
