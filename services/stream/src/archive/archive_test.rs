use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use super::*;
use crate::progress::Cancel;

fn key() -> BackupKey {
    BackupKey::from_bytes(&[3; 32])
}

fn manifest(compression: Compression) -> Manifest {
    Manifest { compression, segment: 4096, ..Manifest::new([1; 32], [2; 16], 7, 0) }
}

/// A folder with unusual names, permissions, links and sizes.
fn make_tree(root: &Path) {
    let long = "l".repeat(200);
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::create_dir_all(root.join("a/b").join(&long)).unwrap();
    fs::write(root.join("a/file"), b"hello").unwrap();
    fs::write(root.join("a/b").join(&long).join(&long), vec![7; 100_000]).unwrap();
    fs::write(root.join("Grüße 🌍"), b"").unwrap();
    fs::write(root.join("a/run.sh"), b"#!/bin/sh\n").unwrap();
    fs::hard_link(root.join("a/file"), root.join("a/same")).unwrap();
    symlink("a/file", root.join("link")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    symlink(format!("{long}/{long}"), root.join("long link")).unwrap();
    fs::set_permissions(root.join("a/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(root.join("a/file")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::File::open(root.join("a/b")).unwrap().set_modified(old).unwrap();
}

/// Name, mode, seconds, content or target of everything below `root`, in order.
fn describe(root: &Path) -> Vec<(String, u32, i64, Vec<u8>)> {
    fn walk(root: &Path, path: &Path, out: &mut Vec<(String, u32, i64, Vec<u8>)>) {
        let meta = fs::symlink_metadata(path).unwrap();
        let content = if meta.is_symlink() {
            fs::read_link(path).unwrap().to_string_lossy().into_owned().into_bytes()
        } else if meta.is_file() {
            fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        out.push((name, meta.mode(), meta.mtime(), content));
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            for child in &names {
                walk(root, child, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(root, root, &mut out);
    out
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn backup(
    source: &Path,
    target: &Path,
    compression: Compression,
    options: &PackOptions,
) -> Result<BackupReport> {
    let cancel = Cancel::default();
    backup_folder(
        source,
        target,
        &key(),
        manifest(compression),
        2,
        options,
        Control { progress: &(), cancel: &cancel },
    )
}

fn restore(source: &Path, destination: &Path) -> Result<RestoreReport> {
    let cancel = Cancel::default();
    let control = Control { progress: &(), cancel: &cancel };
    restore_folder(source, destination, &key(), &Expect::default(), 2, control)
}

#[test]
fn a_folder_comes_back_as_it_was() {
    for compression in [Compression::None, Compression::Zstd] {
        let temp = tempfile::tempdir().unwrap();
        let (source, file, out) =
            (temp.path().join("src"), temp.path().join("b.bkv"), temp.path().join("out"));
        fs::create_dir(&source).unwrap();
        make_tree(&source);
        let report = backup(&source, &file, compression, &PackOptions::default()).unwrap();
        assert_eq!(report.packed.files, 5);
        fs::create_dir(&out).unwrap();
        let restored = restore(&file, &out).unwrap();
        assert_eq!(restored.unpacked.files, 5);
        assert_eq!(restored.header, report.header);
        assert_eq!(describe(&out), describe(&source));
        assert_eq!(names(temp.path()), ["b.bkv", "out", "src"], "nothing left beside");
        assert!(matches!(restore(&file, &out), Err(Error::DestinationExists { .. })));
        assert!(matches!(
            backup(&source, &file, compression, &PackOptions::default()),
            Err(Error::DestinationExists { .. })
        ));
        let replace = PackOptions { replace: true, ..PackOptions::default() };
        backup(&source, &file, compression, &replace).unwrap();
        fs::set_permissions(source.join("a/b"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(out.join("a/b"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_backup_inside_its_own_folder_leaves_itself_out() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("one"), b"1").unwrap();
    let report =
        backup(temp.path(), &temp.path().join("b"), Compression::None, &PackOptions::default()).unwrap();
    assert_eq!(report.packed.files, 1);
    assert_eq!(names(temp.path()), ["b", "one"]);
}

#[test]
fn s28_a_damaged_or_cut_file_restores_nothing_at_all() {
    let temp = tempfile::tempdir().unwrap();
    let (source, file, out) = (temp.path().join("src"), temp.path().join("b"), temp.path().join("out"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("big"), vec![1; 50_000]).unwrap();
    for compression in [Compression::None, Compression::Zstd] {
        backup(&source, &file, compression, &PackOptions { replace: true, ..PackOptions::default() })
            .unwrap();
        let good = fs::read(&file).unwrap();
        for place in (9..good.len()).step_by(97).chain(good.len() - 40..good.len()) {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&file, bad).unwrap();
            restore(&file, &out).unwrap_err();
            assert_eq!(names(temp.path()), ["b", "src"], "byte {place}");
            fs::write(&file, &good[..place]).unwrap();
            let error = restore(&file, &out).unwrap_err();
            assert!(matches!(error, Error::Truncated), "cut at {place}: {error:?}");
            assert_eq!(names(temp.path()), ["b", "src"], "cut at {place}");
        }
    }
}

#[test]
fn a_failed_backup_leaves_nothing_behind_and_the_old_one_alone() {
    let temp = tempfile::tempdir().unwrap();
    let target = temp.path().join("b");
    fs::write(&target, b"old").unwrap();
    let replace = PackOptions { replace: true, ..PackOptions::default() };
    let error = backup(&temp.path().join("absent"), &target, Compression::None, &replace).unwrap_err();
    assert!(error.to_string().contains("absent"), "{error}");
    assert_eq!(names(temp.path()), ["b"]);
    assert_eq!(fs::read(&target).unwrap(), b"old");
}

#[test]
fn a_file_that_shrinks_or_grows_is_named() {
    struct Meddle(std::path::PathBuf, bool);
    impl crate::Progress for Meddle {
        fn bytes(&self, done: u64, _: Option<u64>) {
            if done > 0 {
                let file = fs::OpenOptions::new().append(true).open(&self.0).unwrap();
                if self.1 { (&file).write_all(b"more").unwrap() } else { file.set_len(100).unwrap() }
            }
        }
    }
    for grow in [true, false] {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("moving");
        fs::write(&path, vec![0; 3_000_000]).unwrap();
        let cancel = Cancel::default();
        let meddle = Meddle(path.clone(), grow);
        let control = Control { progress: &meddle, cancel: &cancel };
        let error = pack(temp.path(), std::io::sink(), &PackOptions::default(), None, control).unwrap_err();
        assert!(matches!(&error, Error::Changed { path: named } if *named == path), "{error:?}");
    }
}

#[test]
fn a_partial_file_of_a_crash_is_taken_over_and_a_running_one_is_not() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("src"), temp.path().join("b"));
    fs::create_dir(&source).unwrap();
    let partial = temp.path().join("b.partial");
    // A backup must not empty a file of that name that no backup wrote.
    fs::write(&partial, vec![1; 9000]).unwrap();
    let error = backup(&source, &target, Compression::None, &PackOptions::default()).unwrap_err();
    assert!(matches!(error, Error::InTheWay { .. }), "{error:?}");
    assert_eq!(fs::read(&partial).unwrap(), vec![1; 9000]);
    fs::write(&partial, [&b"BKVB"[..], &[1; 9000]].concat()).unwrap();
    let held = fs::File::open(&partial).unwrap();
    held.lock().unwrap();
    let error = backup(&source, &target, Compression::None, &PackOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    drop(held);
    let report = backup(&source, &target, Compression::None, &PackOptions::default()).unwrap();
    assert_eq!(report.taken_over, Some(partial));
    restore(&target, &temp.path().join("out")).unwrap();
    assert_eq!(names(temp.path()), ["b", "out", "src"]);
}

#[test]
fn what_a_killed_restore_left_is_taken_away_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out");
    let folder = |name: &str, mode: u32| {
        let path = temp.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("plain"), b"text").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let left = folder("out.0123456789abcdef.restoring", 0o700);
    let busy = folder("out.1111111111111111.restoring", 0o700);
    let held = fs::File::open(&busy).unwrap();
    held.lock().unwrap();
    // Folders of another destination or another name, a folder that others can read, a link, a file.
    for (name, mode) in [
        ("other.0123456789abcdef.restoring", 0o700),
        ("out.0123456789ABCDEF.restoring", 0o700),
        ("out.0123456789abcde.restoring", 0o700),
        ("out.restoring", 0o700),
        ("out.2222222222222222.restoring", 0o755),
    ] {
        folder(name, mode);
    }
    symlink("other.0123456789abcdef.restoring", temp.path().join("out.3333333333333333.restoring")).unwrap();
    fs::write(temp.path().join("out.4444444444444444.restoring"), b"file").unwrap();
    let before = names(temp.path());
    assert_eq!(clear_leftovers(&out), [left]);
    let mut expected = before;
    expected.retain(|n| n != "out.0123456789abcdef.restoring");
    assert_eq!(names(temp.path()), expected);
    drop(held);
    assert_eq!(clear_leftovers(&out), [busy]);
    // The staging folder of a running restore is not a leftover.
    let staging = super::staging::Staging::create(&out).unwrap();
    assert_eq!(clear_leftovers(&out), Vec::<std::path::PathBuf>::new());
    assert!(staging.path().exists());
}

#[test]
fn a_destination_is_tried_before_anything_is_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    check_destination(&temp.path().join("free")).unwrap();
    fs::write(temp.path().join("there"), b"").unwrap();
    assert!(matches!(check_destination(&temp.path().join("there")), Err(Error::DestinationExists { .. })));
    assert!(matches!(check_destination(&temp.path().join("no/such")), Err(Error::File { .. })));
    assert_eq!(names(temp.path()), ["there"]);
}

/// The folder for backups may be inside the folder that is backed up. Without `leave_out` each backup would contain all earlier ones.
#[test]
fn what_is_named_is_left_out_and_said() {
    let temp = tempfile::tempdir().unwrap();
    let (source, file) = (temp.path().join("src"), temp.path().join("b"));
    fs::create_dir_all(source.join("cloud")).unwrap();
    fs::write(source.join("cloud/old.bkv"), b"old").unwrap();
    fs::write(source.join("one"), b"1").unwrap();
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    );
    made.unwrap();
    let meta = fs::metadata(source.join("cloud")).unwrap();
    let options = PackOptions { leave_out: vec![(meta.dev(), meta.ino())], ..PackOptions::default() };
    let report = backup(&source, &file, Compression::None, &options).unwrap().packed;
    assert_eq!(
        (report.files, report.left_out, report.special),
        (1, vec![source.join("cloud")], vec![source.join("pipe")])
    );
    restore(&file, &temp.path().join("out")).unwrap();
    assert_eq!(names(&temp.path().join("out")), ["one"]);
}

/// A file that vanishes between listing and opening is unreadable even for root.
#[test]
fn an_unreadable_file_stops_it_by_name_or_is_reported() {
    struct Vanish(std::path::PathBuf);
    impl crate::Progress for Vanish {
        fn file(&self, _: &Path, _: u64) {
            drop(fs::remove_file(&self.0));
        }
    }
    for skip_unreadable in [false, true] {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), b"a").unwrap();
        fs::write(temp.path().join("b"), b"b").unwrap();
        fs::write(temp.path().join("c"), b"c").unwrap();
        let gone = temp.path().join("b");
        let (cancel, vanish) = (Cancel::default(), Vanish(gone.clone()));
        let control = Control { progress: &vanish, cancel: &cancel };
        let options = PackOptions { skip_unreadable, ..PackOptions::default() };
        match pack(temp.path(), std::io::sink(), &options, None, control) {
            Err(Error::Unreadable { path, .. }) if !skip_unreadable => assert_eq!(path, gone),
            Ok(report) if skip_unreadable => {
                assert_eq!(report.files, 2);
                assert_eq!(report.skipped.first().map(|(path, _)| path), Some(&gone));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A tar with one entry. The name is written raw, without the checks of the tar crate.
fn hostile(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn hostile_archives_write_nothing_outside() {
    use tar::EntryType::{Block, Directory, Fifo, Link, Regular, Symlink};
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let absolute = outside.join("x");
    let (absolute, outside_name) = (absolute.to_str().unwrap(), outside.to_str().unwrap());
    for entries in [
        vec![("../outside/x", Regular, "")],
        vec![("a/../../outside/x", Regular, "")],
        vec![(absolute, Regular, "")],
        vec![("link", Symlink, outside_name), ("link/x", Regular, "")],
        vec![("link", Symlink, absolute), ("link", Regular, "")],
        vec![("d", Directory, ""), ("d/l", Symlink, "../../outside"), ("d/l/x", Directory, "")],
        vec![("hard", Link, absolute)],
        vec![("pipe", Fifo, "")],
        vec![("disk", Block, "")],
        vec![(".", Symlink, outside_name)],
        vec![("f", Regular, ""), ("f/x", Regular, "")],
        vec![("missing/x", Regular, "")],
        vec![("f", Regular, ""), ("f", Regular, "")],
    ] {
        let cancel = Cancel::default();
        let control = Control { progress: &(), cancel: &cancel };
        let error = unpack(&mut hostile(&entries).as_slice(), &temp.path().join("out"), control)
            .expect_err("refused");
        assert!(matches!(error, Error::UnsafeEntry { .. }), "{entries:?}: {error:?}");
        assert_eq!(names(temp.path()), ["outside"], "{entries:?}");
        assert!(names(&outside).is_empty(), "{entries:?}");
    }
}

/// An attacker who had the key names a window for which a restore would take 128 MiB of memory.
#[test]
fn s38_a_large_window_takes_no_memory() {
    let temp = tempfile::tempdir().unwrap();
    let restored = |window: u32, out: &str| {
        let mut file = Vec::new();
        let manifest = Manifest { content: Content::Tar, ..manifest(Compression::Zstd) };
        let mut writer = BackupWriter::new(&mut file, &key(), manifest, 1).unwrap();
        let mut encoder = zstd::stream::write::Encoder::new(&mut writer, ZSTD_LEVEL).unwrap();
        encoder.window_log(window).unwrap();
        let tar = hostile(&[("f", tar::EntryType::Regular, "")]);
        std::io::Write::write_all(&mut encoder, &tar).unwrap();
        encoder.finish().unwrap();
        writer.finish().unwrap();
        let reader = BackupReader::new(file.as_slice(), &key(), &Expect::default(), 1).unwrap();
        let cancel = Cancel::default();
        restore_reader(reader, &temp.path().join(out), Control { progress: &(), cancel: &cancel })
    };
    restored(ZSTD_WINDOW, "good").unwrap();
    restored(ZSTD_WINDOW + 1, "refused").expect_err("a larger window");
    assert_eq!(names(temp.path()), ["good"]);
}

/// A 256 KiB tmpfs as destination, for backup and for restore. It needs root and prints 'skipped' without it.
#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    let temp = tempfile::tempdir().unwrap();
    let (source, small) = (temp.path().join("src"), temp.path().join("small"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&small).unwrap();
    fs::write(source.join("big"), vec![1; 1 << 20]).unwrap();
    let file = temp.path().join("b");
    backup(&source, &file, Compression::None, &PackOptions::default()).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "none"])
        .arg(&small)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        return eprintln!("skipped: cannot mount a tmpfs here");
    }
    fs::write(small.join("kept"), b"kept").unwrap();
    let restored = restore(&file, &small.join("out"));
    let backed_up = backup(&source, &small.join("c"), Compression::None, &PackOptions::default());
    let left = names(&small);
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    for error in [restored.unwrap_err(), backed_up.unwrap_err()] {
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(error.to_string().contains("small"), "{error}");
    }
    assert_eq!(left, ["kept"]);
}
