//! Unpacks a tar file. The archive is authenticated, but an attacker who has the key may have written it, so no name in
//! it is trusted. Nothing is written outside the staging folder, and no link is followed.

use std::{
    fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use tar::{Archive, Entry, EntryType};

use super::headers::{Allowance, Bounded};
use super::staging::Staging;
use crate::{
    error::{Error, Result},
    progress::Control,
};

/// How much was restored.
#[derive(Debug, Default, Clone, Copy)]
pub struct UnpackReport {
    /// Number of regular files restored.
    pub files: u64,
    /// Total bytes of these files.
    pub bytes: u64,
}

struct Folder {
    path: PathBuf,
    mode: u32,
    mtime: u64,
}

/// Unpacks into a staging folder and renames it to `destination` once `source` has ended without an error. `source` must return
/// an error at its end if it was not whole, as [`crate::BackupReader`] does.
pub fn unpack(source: &mut impl Read, destination: &Path, control: Control<'_>) -> Result<UnpackReport> {
    let staging = Staging::create(destination)?;
    let allowed = allowed(staging.path())?;
    let mut report = UnpackReport::default();
    let mut folders = Vec::new();
    let allowance = Allowance::new();
    let mut archive = Archive::new(Bounded { source: &mut *source, allowance: &allowance });
    let mut entries = archive.entries().map_err(Error::from_io)?;
    loop {
        allowance.headers();
        let Some(entry) = entries.next() else { break };
        allowance.content();
        control.check()?;
        let mut entry = entry.map_err(Error::from_io)?;
        unpack_entry(&mut entry, (staging.path(), allowed), &mut folders, &mut report, control)?;
    }
    // The archive may end before the stream. Only reading to the stream's end checks the last segment's tag.
    io::copy(source, &mut io::sink()).map_err(Error::from_io)?;
    control.check()?;
    // Set permissions and times of folders last, innermost first: a read-only folder can't be written to, and a write changes its time.
    for Folder { path, mode, mtime } in folders.iter().rev() {
        let file = File::open(path).map_err(|error| Error::at("open", path, error))?;
        file.set_times(times(*mtime)).map_err(|error| Error::at("set the time of", path, error))?;
        file.set_permissions(Permissions::from_mode(*mode))
            .map_err(|error| Error::at("set the permissions of", path, error))?;
    }
    staging.publish()?;
    Ok(report)
}

/// The permission bits that the umask of this process leaves. An archive's author, or a machine where files are open to a group, must not open
/// them to other users here. A new folder shows the bits, because only a call that also changes the umask would return it.
fn allowed(staging: &Path) -> Result<u32> {
    let probe = staging.join("probe");
    let at = |error| Error::at("create", &probe, error);
    DirBuilder::new().mode(0o777).create(&probe).map_err(at)?;
    let mode = fs::metadata(&probe).map_err(at)?.permissions().mode();
    fs::remove_dir(&probe).map_err(at)?;
    Ok(mode & 0o777)
}

fn unpack_entry(
    entry: &mut Entry<'_, impl Read>,
    (root, allowed): (&Path, u32),
    folders: &mut Vec<Folder>,
    report: &mut UnpackReport,
    control: Control<'_>,
) -> Result<()> {
    let name = PathBuf::from(std::ffi::OsStr::from_bytes(&entry.path_bytes()));
    let mode = entry.header().mode().map_err(Error::from_io)? & allowed;
    let mtime = entry.header().mtime().map_err(Error::from_io)?;
    let kind = entry.header().entry_type();
    let path = place(root, &name)?;
    if path == root {
        if kind != EntryType::Directory {
            return Err(refuse(&name, "it would replace the folder itself"));
        }
        folders.push(Folder { path, mode, mtime });
        return Ok(());
    }
    let failed = |doing: &'static str, error: io::Error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return refuse(&name, "the name is in the archive twice");
        }
        Error::at(doing, &path, error)
    };
    match kind {
        EntryType::Directory => {
            DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("create", error))?;
            folders.push(Folder { path, mode, mtime });
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().ok_or_else(|| refuse(&name, "the link has no target"))?;
            // The link is restored with any target, because nothing is ever written through it.
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), &path)
                .map_err(|error| failed("create", error))?;
            let time = Timespec { tv_sec: i64::try_from(mtime).unwrap_or(0), tv_nsec: 0 };
            let stamps = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, &path, &stamps, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| Error::at("set the time of", &path, error.into()))?;
        }
        EntryType::Regular => {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| failed("create", error))?;
            report.bytes += copy(entry, &mut file, &path, report.bytes, control)?;
            file.set_times(times(mtime)).map_err(|error| Error::at("set the time of", &path, error))?;
            file.set_permissions(Permissions::from_mode(mode))
                .map_err(|error| Error::at("set the permissions of", &path, error))?;
            report.files += 1;
            control.progress.file(&name, report.files);
        }
        _ => return Err(refuse(&name, "entries of this kind are never restored")),
    }
    Ok(())
}

fn copy(
    entry: &mut impl Read,
    file: &mut File,
    path: &Path,
    before: u64,
    control: Control<'_>,
) -> Result<u64> {
    let mut buffer = vec![0; 128 << 10];
    let mut done = 0_u64;
    loop {
        control.check()?;
        let n = crate::encrypt::read_retrying(entry, &mut buffer)?;
        let Some(data) = buffer.get(..n).filter(|data| !data.is_empty()) else { return Ok(done) };
        io::Write::write_all(file, data).map_err(|error| Error::at("write", path, error))?;
        done += n as u64;
        control.progress.bytes(before + done, None);
    }
}

/// The path of the entry: below `root`, through folders that this restore made and through no link.
fn place(root: &Path, name: &Path) -> Result<PathBuf> {
    let mut path = root.to_owned();
    let mut parts = name.components().peekable();
    if name.as_os_str().is_empty() {
        return Err(refuse(name, "it has no name"));
    }
    while let Some(part) = parts.next() {
        match part {
            Component::CurDir => continue,
            Component::Normal(part) => path.push(part),
            Component::ParentDir => return Err(refuse(name, "it leads out of the folder with '..'")),
            Component::RootDir | Component::Prefix(_) => return Err(refuse(name, "it is an absolute path")),
        }
        if parts.peek().is_some() {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return Err(refuse(name, "it leads through a link or a file")),
                Err(_) => return Err(refuse(name, "its folder is not in the archive before it")),
            }
        }
    }
    Ok(path)
}

fn refuse(name: &Path, why: &'static str) -> Error {
    Error::UnsafeEntry { path: name.to_owned(), why }
}

fn times(mtime: u64) -> FileTimes {
    let time =
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(mtime)).unwrap_or(SystemTime::UNIX_EPOCH);
    FileTimes::new().set_accessed(time).set_modified(time)
}
