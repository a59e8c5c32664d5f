//! Small files wait until their pack ends. A pack whose files are all unchanged, and which has no others, is used again without reading a file.

use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use zeroize::Zeroizing;

use super::cutting::{MAX_MEMBERS, MAX_WAITING};
use super::session::Session;
use crate::error::{Error, Result};
use crate::format::manifest::Reason;
use crate::format::names::Kind as ObjectKind;
use crate::format::secret::{Secret, random_id};
use crate::format::stream::{BlobRef, blob_aad};
use crate::format::tree::{Entry, Kind, Pack, Place, Record, TreePath};
use crate::objects::Push;
use crate::source::{Opened, of, reason};

/// A small file.
pub(super) struct Small {
    pub(super) entry: Entry,
    pub(super) path: TreePath,
    pub(super) place: PathBuf,
    /// The pack that has it unchanged.
    pub(super) before: Option<(u64, Rc<Pack>, u32)>,
}

impl Small {
    fn size(&self) -> u64 {
        if let Kind::File { size, .. } = self.entry.kind { size } else { 0 }
    }
}

/// An entry that waits for the pack before it.
pub(super) enum Waiter {
    Ready(Entry),
    Link { entry: Entry, target: TreePath, place: PathBuf },
    Small(Small),
}

#[derive(Default)]
pub(super) struct Waiting {
    entries: Vec<Waiter>,
    files: usize,
    bytes: u64,
}

impl Session<'_> {
    /// Adds an entry in the order of the tree.
    pub(super) fn wait(&mut self, waiter: Waiter) -> Result<()> {
        if let Waiter::Small(small) = &waiter {
            let size = small.size();
            if self.waiting.bytes + size > self.cutting.sizes.pack_most {
                self.flush()?;
            }
            self.waiting.bytes += size;
            self.waiting.files += 1;
            let ends = self.cutting.ends_behind(&small.path, size, self.waiting.bytes);
            self.waiting.entries.push(waiter);
            if ends || self.waiting.files >= MAX_MEMBERS {
                self.flush()?;
            }
        } else {
            self.waiting.entries.push(waiter);
        }
        // Without a small file there is nothing to wait for.
        if self.waiting.files == 0 || self.waiting.entries.len() >= MAX_WAITING {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the pack and writes the entries.
    pub(super) fn flush(&mut self) -> Result<()> {
        let Waiting { mut entries, files, .. } = std::mem::take(&mut self.waiting);
        if files > 0 {
            let again = self.reusable(&entries)?;
            let pack = match again {
                Some(pack) => {
                    for small in smalls(&mut entries) {
                        if let (Kind::File { place, .. }, Some((_, _, offset))) =
                            (&mut small.entry.kind, &small.before)
                        {
                            *place = Place::Pack(*offset);
                        }
                        self.advance(&small.place, small.size());
                    }
                    Some((*pack).clone())
                }
                None => self.pack(&mut entries)?,
            };
            if let Some(pack) = pack {
                self.refer(&pack.blob);
                self.record(&Record::Pack(pack))?;
            }
        }
        for waiter in entries {
            self.write(waiter)?;
        }
        Ok(())
    }

    fn write(&mut self, waiter: Waiter) -> Result<()> {
        let entry = match waiter {
            Waiter::Small(Small { entry, .. }) => {
                if matches!(entry.kind, Kind::File { place: Place::Nowhere, data: 1.., .. }) {
                    // It failed and is reported.
                    return Ok(());
                }
                entry
            }
            Waiter::Link { target, place, .. } if self.failed_files.contains(&target) => {
                self.leave_out(place, Reason::Unreadable);
                return Ok(());
            }
            Waiter::Ready(entry) | Waiter::Link { entry, .. } => entry,
        };
        match entry.kind {
            Kind::Folder => self.counts.folders += 1,
            Kind::File { data, .. } => {
                self.counts.files += 1;
                self.counts.bytes += data;
            }
            Kind::Symlink(_) | Kind::Hardlink(_) => self.counts.links += 1,
        }
        self.record(&Record::Entry(entry))
    }

    /// The pack that has exactly these files, all unchanged, and is still there.
    fn reusable(&mut self, entries: &[Waiter]) -> Result<Option<Rc<Pack>>> {
        let mut found: Option<&(u64, Rc<Pack>, u32)> = None;
        let mut members = 0_u32;
        for small in
            entries.iter().filter_map(|w| if let Waiter::Small(small) = w { Some(small) } else { None })
        {
            let Some(before) = &small.before else { return Ok(None) };
            if found.is_some_and(|first| first.0 != before.0) {
                return Ok(None);
            }
            found = Some(before);
            members += 1;
        }
        let Some((_, pack, _)) = found.filter(|(_, pack, _)| pack.members == members) else {
            return Ok(None);
        };
        let there = match &self.parent {
            Some(parent) => parent.is_there(&pack.blob)?,
            None => false,
        };
        Ok(there.then(|| Rc::clone(pack)))
    }

    /// Reads the files and stores them as a new pack.
    fn pack(&mut self, entries: &mut [Waiter]) -> Result<Option<Pack>> {
        let (id, key) = (random_id()?, Secret::random()?);
        let stream_key = key.stream_key();
        let aad = blob_aad(&id);
        let how = self.options.storage.how(1);
        let mut push: Option<Push<'_>> = None;
        let (mut offset, mut members) = (0_u32, 0_u32);
        for small in smalls(entries) {
            self.control.check()?;
            let content = match read(small) {
                Ok(content) => content,
                Err(error) => {
                    if let Kind::File { data, place, .. } = &mut small.entry.kind {
                        (*data, *place) = (1, Place::Nowhere);
                    }
                    self.failed_files.insert(small.path.clone());
                    self.leave_out(small.place.clone(), reason(&error));
                    continue;
                }
            };
            if let Kind::File { changed: true, .. } = small.entry.kind {
                self.leave_out(small.place.clone(), Reason::Changed);
            }
            self.advance(&small.place, content.len() as u64);
            let Kind::File { place, .. } = &mut small.entry.kind else { continue };
            if content.is_empty() {
                *place = Place::Nowhere;
                continue;
            }
            *place = Place::Pack(offset);
            let push = match &mut push {
                Some(push) => push,
                None => push.insert(Push::new(
                    self.uploads,
                    self.folder,
                    (ObjectKind::Blob, id),
                    (&stream_key, &aad),
                    how,
                )?),
            };
            push.write_all(&content).map_err(Error::from_io)?;
            let length = u32::try_from(content.len()).map_err(|_| Error::TooMuch("a pack"))?;
            offset = offset.checked_add(length).ok_or(Error::TooMuch("a pack"))?;
            members += 1;
        }
        let Some(push) = push else { return Ok(None) };
        let stored = push.finish()?;
        let blob = BlobRef { id, key, hash: stored.hash, lengths: stored.lengths };
        self.heal(&blob);
        Ok(Some(Pack { blob, members }))
    }
}

fn smalls(entries: &mut [Waiter]) -> impl Iterator<Item = &mut Small> {
    entries.iter_mut().filter_map(|waiter| if let Waiter::Small(small) = waiter { Some(small) } else { None })
}

/// The content, at most as long as the file was when it was found. Puts lengths and attributes of what was read into the entry.
fn read(small: &mut Small) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let expected = small.size();
    let mut opened = Opened::new(&small.place, false)?;
    let most = usize::try_from(expected).unwrap_or(usize::MAX);
    let mut content = Zeroizing::new(Vec::with_capacity(most));
    let outcome = opened.read(&mut |bytes| {
        let room = most - content.len();
        content.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        Ok(())
    });
    let outcome = outcome.map_err(std::io::Error::from)??;
    let length = content.len() as u64;
    let attributes = of(&opened.meta);
    if let Kind::File { size, data, changed, .. } = &mut small.entry.kind {
        *changed = outcome.changed || outcome.size != expected;
        (*size, *data) = (length, length);
    }
    let xattrs = std::mem::take(&mut small.entry.attributes.xattrs);
    small.entry.attributes = crate::format::tree::Attributes { xattrs, ..attributes };
    Ok(content)
}
