//! The records of a tree. Every value is checked when it is read: an attacker who has the key may have written it.

use minicbor::{Decode, Encode};

use super::super::stream::BlobRef;

/// Greatest length of one name in bytes.
const MAX_NAME: usize = 255;
/// Greatest length of a link's target in bytes.
const MAX_TARGET: usize = 4096;
/// Most extents of a sparse file. With more, the file is kept with its holes filled.
pub(crate) const MAX_EXTENTS: usize = 4096;
/// Deepest folder.
pub(crate) const MAX_DEPTH: u32 = 4096;

/// A time, by seconds and nanoseconds since 1970. Negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(array)]
pub struct Time {
    /// Seconds.
    #[n(0)]
    pub seconds: i64,
    /// Nanoseconds, below 10⁹.
    #[n(1)]
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Xattr {
    /// Name, with its namespace.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub name: Vec<u8>,
    /// Value.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

/// What is kept of every entry. ctime and inode are never restored: the next backup compares them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Attributes {
    /// Permission bits, set-user-id, set-group-id and sticky bit.
    #[n(0)]
    pub mode: u32,
    /// Owner.
    #[n(1)]
    pub uid: u32,
    /// Group.
    #[n(2)]
    pub gid: u32,
    /// Last change of content.
    #[n(3)]
    pub mtime: Time,
    /// Last change of the inode.
    #[n(4)]
    pub ctime: Time,
    /// Inode number.
    #[n(5)]
    pub inode: u64,
    /// Extended attributes, access control lists among them.
    #[n(6)]
    #[cbor(default)]
    pub xattrs: Vec<Xattr>,
}

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Extent {
    /// Offset in bytes.
    #[n(0)]
    pub offset: u64,
    /// Length in bytes.
    #[n(1)]
    pub length: u64,
}

/// Where a file's data is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Place {
    /// It has none.
    #[n(0)]
    Nowhere,
    /// A blob of its own.
    #[n(1)]
    Blob(#[n(0)] BlobRef),
    /// In the pack before it, from this offset.
    #[n(2)]
    Pack(#[n(0)] u32),
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Kind {
    /// A folder. Its entries follow.
    #[n(0)]
    Folder,
    /// A regular file.
    #[n(1)]
    File {
        /// Length in bytes, holes included.
        #[n(0)]
        size: u64,
        /// Bytes of data. Less than `size` only in a sparse file.
        #[n(1)]
        data: u64,
        /// Where the data is.
        #[n(2)]
        place: Place,
        /// Runs of data in a sparse file. Empty = one run from 0.
        #[n(3)]
        extents: Vec<Extent>,
        /// It changed while it was read.
        #[n(4)]
        changed: bool,
        /// Hard links to it follow.
        #[n(5)]
        linked: bool,
    },
    /// A symbolic link.
    #[n(2)]
    Symlink(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Another name of a file before it in the same source: its names, joined by slashes.
    #[n(3)]
    Hardlink(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// A file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// 0 for an entry directly below the source.
    #[n(0)]
    pub depth: u32,
    /// One name, byte for byte.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub name: Vec<u8>,
    /// What it is.
    #[n(2)]
    pub kind: Kind,
    /// Its attributes.
    #[n(3)]
    pub attributes: Attributes,
}

/// A source. Its entries follow.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Root {
    /// Its path on the device, for people.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub path: Vec<u8>,
    /// The folder that a restore makes for it. Empty if it is the only source.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub name: Vec<u8>,
    /// Attributes of the source's folder.
    #[n(2)]
    pub attributes: Attributes,
}

/// A pack. The files in it follow.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Pack {
    #[n(0)]
    pub(crate) blob: BlobRef,
    /// Number of files in it.
    #[n(1)]
    pub(crate) members: u32,
}

/// The last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct End {
    /// Records before it.
    #[n(0)]
    pub(crate) records: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Record {
    #[n(0)]
    Root(#[n(0)] Root),
    #[n(1)]
    Entry(#[n(0)] Entry),
    #[n(2)]
    Pack(#[n(0)] Pack),
    #[n(3)]
    End(#[n(0)] End),
}

/// True for one name that leads nowhere else.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let special = matches!(name, b"" | b"." | b"..");
    !special && name.len() <= MAX_NAME && !name.contains(&b'/') && !name.contains(&0)
}

impl Entry {
    /// What is wrong with it. None for a sound entry.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !is_name(&self.name) {
            return Some("a name leads elsewhere or is too long");
        }
        if self.attributes.mtime.nanos >= 1_000_000_000 {
            return Some("a time is malformed");
        }
        match &self.kind {
            Kind::Folder => None,
            Kind::Symlink(target) | Kind::Hardlink(target) => {
                let bad = target.is_empty() || target.len() > MAX_TARGET || target.contains(&0);
                bad.then_some("a link's target is malformed")
            }
            Kind::File { size, data, place, extents, .. } => {
                let placed = match place {
                    Place::Nowhere => *data == 0,
                    Place::Blob(blob) => blob.lengths.content == *data && blob.lengths.layout().is_some(),
                    Place::Pack(_) => *data > 0,
                };
                (!placed || !are_sound(extents, *size, *data))
                    .then_some("the lengths of a file contradict each other")
            }
        }
    }
}

fn are_sound(extents: &[Extent], size: u64, data: u64) -> bool {
    if extents.is_empty() {
        return data == size || data == 0;
    }
    let mut end = 0_u64;
    let mut total = 0_u64;
    for extent in extents {
        let Some(next) = extent.offset.checked_add(extent.length) else { return false };
        if extent.offset < end || extent.length == 0 || next > size {
            return false;
        }
        end = next;
        total = total.saturating_add(extent.length);
    }
    extents.len() <= MAX_EXTENTS && total == data
}
