//! The generation before, read along with the walk: both are in the same order, so what is known of a file costs no table.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::Options;
use crate::destination::Destination;
use crate::error::Result;
use crate::format::names::Kind as ObjectKind;
use crate::format::stream::BlobRef;
use crate::format::tree::{Attributes, Entry, Item, Kind, Pack, Place, Time, TreePath, TreeReader};
use crate::format::{Folder, Hash, Id};
use crate::generation::Generation;
use crate::objects::{Copies, Pull, Seen};

/// Blobs that are found again by their content. 128 bytes each.
const MAX_KNOWN: usize = 131_072;
/// A file that changed so shortly before the last backup began may have changed again within the same tick of its file system's clock.
const RACY_NANOS: i128 = 3_000_000_000;

/// A file as the generation before has it.
#[derive(Debug, Clone)]
pub(super) struct Before {
    pub(super) entry: Entry,
    /// The pack that it is in, with the pack's number in that tree.
    pub(super) pack: Option<(u64, Rc<Pack>)>,
}

pub(super) struct Parent<'a> {
    tree: TreeReader<Pull<'a>>,
    ahead: Option<(TreePath, Before)>,
    pack: Option<(u64, Rc<Pack>)>,
    packs: u64,
    begun_ms: i64,
    options: &'a Options<'a>,
    destination: &'a dyn Destination,
    folder: &'a Folder,
    seen: Seen,
    known: HashMap<u64, Vec<BlobRef>>,
    /// Blobs that a verification found damaged.
    unsound: HashSet<Id>,
    /// Those of them that the tree refers to, by the hash of their content.
    pub(super) damaged: HashMap<Hash, Vec<Id>>,
}

impl<'a> Parent<'a> {
    /// Reads the tree once for the blobs, and opens it again for the walk.
    pub(super) fn open(
        generation: &'a Generation,
        destination: &'a dyn Destination,
        folder: &'a Folder,
        seen: Seen,
        unsound: HashSet<Id>,
        options: &'a Options<'a>,
    ) -> Result<Self> {
        let target = generation.stream(destination, folder);
        let mut copies = Copies::new();
        let (known, damaged) =
            target.read_with(&mut copies, |pull| blobs(pull, &generation.name(), &unsound))?;
        let tree = TreeReader::new(Pull::open(target, copies)?, &generation.name());
        let begun_ms = generation.manifest.begun_ms;
        Ok(Self {
            tree,
            ahead: None,
            pack: None,
            packs: 0,
            begun_ms,
            options,
            destination,
            folder,
            seen,
            known,
            unsound,
            damaged,
        })
    }

    /// The entry at this place. Places must be asked for in the order of a tree.
    pub(super) fn find(&mut self, path: &TreePath) -> Result<Option<Before>> {
        loop {
            match &self.ahead {
                Some((at, before)) if at == path => return Ok(Some(before.clone())),
                Some((at, _)) if at > path => return Ok(None),
                _ => {}
            }
            match self.tree.next()? {
                None => return Ok(None),
                Some(Item::Root(_)) => {}
                Some(Item::Pack(pack)) => {
                    self.packs += 1;
                    self.pack = Some((self.packs, Rc::new(pack)));
                }
                Some(Item::Entry(at, entry)) => {
                    let in_pack = matches!(&entry.kind, Kind::File { place: Place::Pack(_), .. });
                    let pack = self.pack.clone().filter(|_| in_pack);
                    self.ahead = Some((at, Before { entry, pack }));
                }
            }
        }
    }

    /// True if the file can't have changed since the generation before read it.
    pub(super) fn is_unchanged(&self, before: &Entry, size: u64, now: &Attributes) -> bool {
        let Kind::File { size: known, changed: false, .. } = before.kind else { return false };
        let then = &before.attributes;
        let limit = i128::from(self.begun_ms) * 1_000_000 - RACY_NANOS;
        let old = |time: Time| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos) < limit;
        !self.options.read_all
            && known == size
            && then.mtime == now.mtime
            && (self.options.ignore_ctime || then.ctime == now.ctime)
            && (self.options.ignore_inode || then.inode == now.inode)
            && old(now.mtime)
            && (self.options.ignore_ctime || old(now.ctime))
    }

    /// True if all objects of a blob are there with their lengths, and it is not known to be damaged.
    pub(super) fn is_there(&self, blob: &BlobRef) -> Result<bool> {
        let Some(layout) = blob.lengths.layout().filter(|_| !self.unsound.contains(&blob.id)) else {
            return Ok(false);
        };
        for index in 0..layout.objects {
            let name = self.folder.name(ObjectKind::Blob, &blob.id, index);
            if !self.seen.has(self.destination, self.folder, name, layout.length(index))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Blobs with content of exactly this length.
    pub(super) fn of_length(&self, length: u64) -> Vec<BlobRef> {
        self.known.get(&length).cloned().unwrap_or_default()
    }
}

/// Blobs by the length of their content, and ids by the hash of it.
type Blobs = (HashMap<u64, Vec<BlobRef>>, HashMap<Hash, Vec<Id>>);

/// The sound blobs of files, and the damaged blobs and packs.
fn blobs(pull: &mut Pull<'_>, name: &str, unsound: &HashSet<Id>) -> Result<Blobs> {
    let mut tree = TreeReader::new(pull, name);
    let (mut known, mut count) = (HashMap::<u64, Vec<BlobRef>>::new(), 0);
    let mut damaged = HashMap::<Hash, Vec<Id>>::new();
    while let Some(item) = tree.next()? {
        let (blob, is_file) = match item {
            Item::Pack(pack) => (pack.blob, false),
            Item::Entry(_, Entry { kind: Kind::File { place: Place::Blob(blob), .. }, .. }) => (blob, true),
            _ => continue,
        };
        if unsound.contains(&blob.id) {
            damaged.entry(blob.hash).or_default().push(blob.id);
        } else if is_file && count < MAX_KNOWN {
            let same = known.entry(blob.lengths.content).or_default();
            // Many equal lengths with different content would make each look-up slow.
            if same.len() < 64 && !same.iter().any(|other| other.id == blob.id) {
                same.push(blob);
                count += 1;
            }
        }
    }
    Ok((known, damaged))
}
