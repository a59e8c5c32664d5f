//! Backup files: each fixture under `tests/formats/backup-N` is restored, and this version writes what that of the present number contains (S52). `make golden` makes the
//! fixture of a new number.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bkv_golden::Format;
use bkv_stream::archive::{PackOptions, backup_folder, restore_folder};
use bkv_stream::header::VERSION;
use bkv_stream::{
    BackupKey, BackupReader, BackupWriter, Cancel, Compression, Content, Control, Expect, Header, Manifest,
};

const BACKUP: Format = Format {
    name: "backup",
    oldest: 1,
    number: VERSION as u32,
    constant: "VERSION in services/stream/src/header.rs",
};

const SEGMENT: u32 = 256;

fn key() -> BackupKey {
    BackupKey::from_bytes(&[3; 32])
}

fn content() -> Vec<u8> {
    (0..1000u16).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// The manifest of a fixture: no field has its default.
fn manifest(content: Content, compression: Compression) -> Manifest {
    let mut manifest = Manifest {
        lineage: [4; 32],
        file_name: "Grüße".into(),
        file_index: 2,
        content,
        compression,
        segment: SEGMENT,
        ..Manifest::new([1; 32], [2; 16], 7, 1_000_000_000_000)
    };
    manifest.key_check = key().key_check(&manifest.backup).unwrap();
    manifest
}

fn raw() -> Vec<u8> {
    let mut writer =
        BackupWriter::new(Vec::new(), &key(), manifest(Content::Raw, Compression::None), 1).unwrap();
    writer.write_all(&content()).unwrap();
    writer.finish().unwrap().0
}

/// A folder with a file of each kind.
fn tree(root: &Path) {
    let at = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::File::open(path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
    };
    fs::create_dir_all(root.join("a/empty")).unwrap();
    fs::write(root.join("a/file"), content()).unwrap();
    fs::write(root.join("a/run.sh"), "#!/bin/sh\n").unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/same")).unwrap();
    symlink("a/file", root.join("link")).unwrap();
    at(&root.join("a/run.sh"), 0o755);
    at(&root.join("a/file"), 0o640);
    at(&root.join("a/empty"), 0o700);
    at(&root.join("a"), 0o755);
}

/// The backup of a folder.
fn packed(folder: &Path, compression: Compression) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (target, options) = (dir.path().join("a.bkv"), PackOptions::default());
    let control = Control { progress: &(), cancel: &Cancel::default() };
    let manifest = manifest(Content::Tar, compression);
    backup_folder(folder, &target, &key(), manifest, 1, &options, control).unwrap();
    fs::read(target).unwrap()
}

/// The content of a backup file, decrypted.
fn opened(file: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    BackupReader::new(file, &key(), &Expect::default(), 1).unwrap().read_to_end(&mut text).unwrap();
    text
}

/// The header of a backup file, as the bytes at its beginning.
fn header(file: &[u8]) -> Vec<u8> {
    Header::read(&mut &*file).unwrap().to_bytes()
}

#[test]
fn s52_every_released_backup_is_restored_and_its_format_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    tree(&folder);
    if BACKUP.is_wanted() {
        let (plain, zstd) = (packed(&folder, Compression::None), packed(&folder, Compression::Zstd));
        BACKUP.keep([("raw.bkv", &raw()[..]), ("folder.bkv", &plain[..]), ("folder-zstd.bkv", &zstd[..])]);
    }
    for (n, fixture) in BACKUP.released().into_iter().enumerate() {
        assert!(opened(&fs::read(fixture.join("raw.bkv")).unwrap()) == content(), "{}", fixture.display());
        for name in ["folder.bkv", "folder-zstd.bkv"] {
            let to = dir.path().join(format!("{n}-{name}"));
            let control = Control { progress: &(), cancel: &Cancel::default() };
            restore_folder(&fixture.join(name), &to, &key(), &Expect::default(), 1, control).unwrap();
            let file = fs::read(to.join("a/same")).unwrap();
            assert!(file == content() && to.join("a/empty").is_dir(), "{}", fixture.display());
            assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("a/file"));
            assert_eq!(fs::metadata(to.join("a/run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
        }
    }
    // The folder as the fixture has it, with the same times.
    let (present, again) = (BACKUP.present(), dir.path().join("again"));
    let control = Control { progress: &(), cancel: &Cancel::default() };
    restore_folder(&present.join("folder.bkv"), &again, &key(), &Expect::default(), 1, control).unwrap();
    for (name, made) in [
        ("raw.bkv", raw()),
        ("folder.bkv", packed(&again, Compression::None)),
        ("folder-zstd.bkv", packed(&again, Compression::Zstd)),
    ] {
        let kept = fs::read(present.join(name)).unwrap();
        assert!(header(&kept) == header(&made), "{name}: another header. {}", BACKUP.how_to_change());
        // The key of each stream is random, and so are its ciphertexts. Zstandard's own versions may compress differently.
        if name != "folder-zstd.bkv" {
            assert!(kept.len() == made.len(), "{name}: another length. {}", BACKUP.how_to_change());
            assert!(opened(&kept) == opened(&made), "{name}: another archive. {}", BACKUP.how_to_change());
        }
    }
}
