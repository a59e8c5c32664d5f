//! Sets what is kept of an entry. What the destination can't hold is listed and stops nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, OFlags, Timespec, Timestamps, Uid, XattrFlags};

use crate::error::{Error, Result};
use crate::format::tree::{Attributes, Time};
use crate::source::is_kept;

const ACL: &[u8] = b"system.posix_acl_access";
const GROUP: u32 = 0o070;

/// Which permission bits a restore may set.
pub(super) struct Permissions {
    allowed: u32,
    preserve_all: bool,
}

type NotKept = Vec<(PathBuf, String)>;

impl Permissions {
    /// Without `preserve_all`, the bits that this process's umask leaves, and the sticky bit: files of a machine that were open to a group there must not
    /// be opened to other people here. A new folder shows the umask, because only a call that also changes it would return it.
    pub(super) fn below(staging: &Path, preserve_all: bool) -> Result<Self> {
        let probe = staging.join("probe");
        let failed = |error| Error::file("create", &probe, error);
        DirBuilder::new().mode(0o777).create(&probe).map_err(failed)?;
        let mode = std::fs::metadata(&probe).map_err(failed)?.permissions().mode();
        std::fs::remove_dir(&probe).map_err(failed)?;
        Ok(Self { allowed: if preserve_all { 0o7777 } else { mode & 0o777 | 0o1000 }, preserve_all })
    }

    pub(super) fn file(&self, place: &Path, attributes: &Attributes, not_kept: &mut NotKept) {
        self.opened(place, OFlags::NOFOLLOW, attributes, not_kept);
    }

    pub(super) fn folder(&self, place: &Path, attributes: &Attributes, not_kept: &mut NotKept) {
        self.opened(place, OFlags::NOFOLLOW | OFlags::DIRECTORY, attributes, not_kept);
    }

    fn opened(&self, place: &Path, flags: OFlags, attributes: &Attributes, not_kept: &mut NotKept) {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((flags | OFlags::NONBLOCK).bits().cast_signed());
        let mut missed =
            |what: &str, error: io::Error| not_kept.push((place.to_owned(), format!("{what}: {error}")));
        let file = match options.open(place) {
            Ok(file) => file,
            Err(error) => return missed("attributes", error),
        };
        let mut mode = attributes.mode & self.allowed;
        if self.preserve_all
            && let Err(error) = owner(&file, attributes)
        {
            missed("owner", error);
            // Another owner's set-user-id bit must not work for this one.
            mode &= 0o1777;
        }
        for xattr in &attributes.xattrs {
            // A tree may name any attribute. A capability is as strong as set-user-id.
            let is_capability = xattr.name == b"security.capability";
            if !is_kept(&xattr.name) || (is_capability && !self.preserve_all) {
                missed(&String::from_utf8_lossy(&xattr.name), io::ErrorKind::PermissionDenied.into());
                continue;
            }
            let set = rustix::fs::fsetxattr(&file, &xattr.name[..], &xattr.value, XattrFlags::empty());
            if let Err(error) = set {
                if xattr.name == ACL {
                    // The group's bits are the mask of the list. Without the list they would open the file to the group.
                    mode &= !GROUP;
                }
                missed(&String::from_utf8_lossy(&xattr.name), error.into());
            }
        }
        if let Err(error) = file.set_permissions(std::fs::Permissions::from_mode(mode)) {
            missed("permissions", error);
        }
        let time = stamp(attributes.mtime);
        if let Err(error) =
            rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time })
        {
            missed("time", error.into());
        }
    }

    pub(super) fn symlink(&self, place: &Path, attributes: &Attributes, not_kept: &mut NotKept) {
        let time = stamp(attributes.mtime);
        let stamps = Timestamps { last_access: time, last_modification: time };
        if let Err(error) = rustix::fs::utimensat(CWD, place, &stamps, AtFlags::SYMLINK_NOFOLLOW) {
            not_kept.push((place.to_owned(), format!("time: {error}")));
        }
        if self.preserve_all
            && let Err(error) = std::os::unix::fs::lchown(place, Some(attributes.uid), Some(attributes.gid))
        {
            not_kept.push((place.to_owned(), format!("owner: {error}")));
        }
    }
}

fn owner(file: &File, attributes: &Attributes) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    Ok(rustix::fs::fchown(file, Some(uid), Some(gid))?)
}

fn stamp(time: Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
}
