//! Backs up a folder as one file and restores it. A restore creates its destination only after the last segment is
//! authenticated (S28). A backup creates its file only once the content is whole and on the disk.
//!
//! A killed process leaves a partial file or a staging folder behind. The next backup takes the partial file over. [`clear_leftovers`] removes
//! staging folders. Both first check that a backup or restore made it and that no process works in it.
//!
//! Kept: files, folders, symbolic links, permission bits (not set-user-id and the like, and on restore without those that the umask takes away), times in
//! whole seconds.
//! Hard links become files of their own. Owners, extended attributes and special files are not kept.

mod headers;
mod leftovers;
mod pack;
mod partial;
mod staging;
mod unpack;

use std::path::{Path, PathBuf};

pub use leftovers::clear_leftovers;
pub use pack::{Identity, PackOptions, PackReport, pack};
pub use staging::check_destination;
pub use unpack::{UnpackReport, unpack};

use crate::{
    error::{Error, Result},
    file::{BackupReader, BackupWriter},
    header::{Compression, Content, Expect, Header, Manifest},
    key::BackupKey,
    progress::Control,
};
use partial::Partial;

/// Zstandard's default level.
const ZSTD_LEVEL: i32 = 3;
/// The base-2 logarithm of the largest Zstandard window that a restore accepts: 8 MiB, which RFC 8878, section 3.1.1.1.2, recommends to every decoder. Level 3
/// uses 2 MiB. An attacker who had the key could otherwise make a restore take 128 MiB of memory.
const ZSTD_WINDOW: u32 = 23;

/// The result of a backup.
#[derive(Debug)]
pub struct BackupReport {
    /// The header that was written. The caller stores its sequence and hash in the account's record.
    pub header: Header,
    /// Which files were packed and which were left out.
    pub packed: PackReport,
    /// The partial file of a killed backup that this backup took over.
    pub taken_over: Option<PathBuf>,
}

/// Packs and encrypts the folder `source` into the file `target`. It sets the manifest's `content`. The caller chooses
/// `compression`.
pub fn backup_folder(
    source: &Path,
    target: &Path,
    key: &BackupKey,
    mut manifest: Manifest,
    workers: usize,
    options: &PackOptions,
    control: Control<'_>,
) -> Result<BackupReport> {
    if std::fs::symlink_metadata(target).is_ok() && !options.replace {
        return Err(Error::DestinationExists { path: target.to_owned() });
    }
    manifest.content = Content::Tar;
    let compression = manifest.compression;
    let partial = Partial::create(target)?;
    let taken_over = partial.taken_over();
    let at = |error: Error| partial.locate(error);
    let mut writer = BackupWriter::new(partial.file(), key, manifest, workers).map_err(at)?;
    // The partial file may be inside the folder.
    let skip = Some(partial.identity());
    let packed = match compression {
        Compression::None => pack(source, &mut writer, options, skip, control).map_err(at)?,
        Compression::Zstd => {
            let mut encoder =
                zstd::stream::write::Encoder::new(&mut writer, ZSTD_LEVEL).map_err(Error::Io)?;
            let packed = pack(source, &mut encoder, options, skip, control).map_err(at)?;
            encoder.finish().map_err(|error| at(Error::from_io(error)))?;
            packed
        }
    };
    let (_, header) = writer.finish().map_err(at)?;
    partial.publish(target)?;
    Ok(BackupReport { header, packed, taken_over })
}

/// The result of a restore.
#[derive(Debug)]
pub struct RestoreReport {
    /// The authenticated header.
    pub header: Header,
    /// How much was restored.
    pub unpacked: UnpackReport,
}

/// Restores the backup file `source` to the folder `destination`, which must be absent or an empty folder.
pub fn restore_folder(
    source: &Path,
    destination: &Path,
    key: &BackupKey,
    expect: &Expect,
    workers: usize,
    control: Control<'_>,
) -> Result<RestoreReport> {
    let file = std::fs::File::open(source).map_err(|error| Error::at("open", source, error))?;
    let reader = BackupReader::new(file, key, expect, workers).map_err(|error| locate(error, source))?;
    let (header, unpacked) =
        restore_reader(reader, destination, control).map_err(|error| locate(error, source))?;
    Ok(RestoreReport { header, unpacked })
}

/// As [`restore_folder`], from any reader, such as a download.
pub fn restore_reader(
    mut reader: BackupReader<impl std::io::Read>,
    destination: &Path,
    control: Control<'_>,
) -> Result<(Header, UnpackReport)> {
    let header = reader.header().clone();
    if header.manifest().content != Content::Tar {
        return Err(Error::BadHeader("it holds no folder"));
    }
    let unpacked = match header.manifest().compression {
        Compression::None => unpack(&mut reader, destination, control)?,
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(&mut reader).map_err(Error::from_io)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(Error::from_io)?;
            unpack(&mut decoder, destination, control)?
        }
    };
    Ok((header, unpacked))
}

fn locate(error: Error, path: &Path) -> Error {
    match error {
        Error::Io(source) => Error::at("read", path, source),
        other => other,
    }
}

/// `path` with `suffix` added to its last name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// The folder that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
#[path = "archive_test.rs"]
mod archive_test;
#[cfg(test)]
mod parser_test;
