//! What is kept of an entry beside its content.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::format::tree::{Attributes, Time, Xattr};

/// Most bytes of an entry's extended attributes.
const MOST: usize = 512 << 10;

/// Attributes from the metadata, without extended ones.
pub(crate) fn of(meta: &Metadata) -> Attributes {
    let time = |seconds: i64, nanos: i64| Time { seconds, nanos: u32::try_from(nanos).unwrap_or(0) };
    Attributes {
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        ctime: time(meta.ctime(), meta.ctime_nsec()),
        inode: meta.ino(),
        xattrs: Vec::new(),
    }
}

/// The attributes that a restore can set: a user's own, access control lists and capabilities. None if they are more than a record can hold.
pub(crate) fn xattrs(path: &Path) -> io::Result<Option<Vec<Xattr>>> {
    let length = match rustix::fs::llistxattr_query(path) {
        Ok(length) => length,
        // The file system has none.
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            return Ok(Some(Vec::new()));
        }
        Err(error) => return Err(error.into()),
    };
    if length == 0 {
        return Ok(Some(Vec::new()));
    }
    let mut list = vec![0_u8; length.min(MOST) + 1024];
    let length = rustix::fs::llistxattr(path, &mut list[..])?;
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in list.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        let mut value = vec![0_u8; rustix::fs::lgetxattr_query(path, name)? + 1];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        total += name.len() + value.len();
        if total > MOST {
            return Ok(None);
        }
        xattrs.push(Xattr { name: name.to_owned(), value });
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(xattrs))
}

/// The attributes that are kept, and so the only ones that a restore sets.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_") || name == b"security.capability"
}
