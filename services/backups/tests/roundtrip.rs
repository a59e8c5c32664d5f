//! Backing up and restoring, without faults of the destination.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::fs;
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use bkv_backups::backup::{Options, Source, backup};
use bkv_backups::destination::LocalFolder;
use bkv_backups::format::manifest::Reason;
use bkv_backups::format::tree::TreePath;
use bkv_backups::restore::{self, restore};
use bkv_backups::{Access, Error, Naming, Outside, Reading, StateFile, Visited, Which, Writer, open};
use common::*;

#[test]
fn a_folder_comes_back_as_it_was() {
    let bench = Bench::default();
    fill(&bench.source());
    let report = bench.backup("a", "docs").unwrap();
    assert!(report.manifest.is_complete() && report.left_out.is_empty(), "{:?}", report.left_out);
    assert_eq!(report.naming, Naming::Named);
    assert_eq!((report.counts().files, report.counts().folders, report.counts().links), (43, 3, 2));
    bench.assert_restores("docs");
}

/// B06, B07, B13, B17 and C4: what is kept of a file.
#[test]
fn names_times_modes_links_holes_and_attributes_are_kept() {
    let bench = Bench::default();
    let source = bench.source();
    fs::create_dir_all(&source).unwrap();
    for (n, target) in ["a//b", "./x/.", "/", "http://host/x", "dir/./y"].iter().enumerate() {
        symlink(target, source.join(format!("link-{n}"))).unwrap();
    }
    let odd = source.join(std::ffi::OsStr::from_bytes(b"\x1b]0;pwned\x07\xff\n"));
    fs::write(&odd, "odd").unwrap();
    let old = rustix::fs::Timespec { tv_sec: -86_400, tv_nsec: 123_456_789 };
    let stamps = rustix::fs::Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(rustix::fs::CWD, &odd, &stamps, rustix::fs::AtFlags::empty()).unwrap();
    fs::create_dir(source.join("tmp")).unwrap();
    fs::set_permissions(source.join("tmp"), fs::Permissions::from_mode(0o1700)).unwrap();
    let mut sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(8 << 20)).unwrap();
    sparse.write_all(&noise(5, 8192)).unwrap();
    sparse.set_len(16 << 20).unwrap();
    fs::File::create(source.join("hole")).unwrap().set_len(32 << 20).unwrap();
    let file = fs::File::open(&odd).unwrap();
    let has_xattrs =
        rustix::fs::fsetxattr(&file, "user.bkv", b"kept", rustix::fs::XattrFlags::empty()).is_ok();
    bench.backup("a", "docs").unwrap();
    let to = bench.restore("docs", Which::Latest).unwrap();
    assert_same(&source, &to);
    for name in ["sparse", "hole"] {
        let blocks = fs::metadata(to.join(name)).unwrap().blocks() * 512;
        assert!(blocks <= 1 << 20, "{name} takes {blocks} bytes");
    }
    if has_xattrs {
        let mut value = [0_u8; 16];
        let n = rustix::fs::getxattr(to.join(odd.file_name().unwrap()), "user.bkv", &mut value[..]).unwrap();
        assert_eq!(&value[..n], b"kept");
    }
}

/// A tree may name a capability, which is as strong as set-user-id. Only a restore that is asked for everything sets it.
#[test]
fn a_capability_is_restored_only_on_request() {
    const CAPABILITY: &str = "security.capability";
    // Version 2 with cap_net_bind_service, permitted and effective.
    const VALUE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bench = Bench::default();
    fs::create_dir_all(bench.source()).unwrap();
    let program = bench.source().join("program");
    fs::write(&program, "program").unwrap();
    let file = fs::File::open(&program).unwrap();
    // Only root may.
    if rustix::fs::fsetxattr(&file, CAPABILITY, &VALUE, rustix::fs::XattrFlags::empty()).is_err() {
        return;
    }
    bench.backup("a", "docs").unwrap();
    let library = bench.library();
    let reading = Reading::open(bench.access(), library.choose(None, Which::Latest).unwrap()).unwrap();
    for preserve_all in [false, true] {
        let to = bench.dir.path().join(format!("out-{preserve_all}"));
        let options = restore::Options { preserve_all, in_flight: 2, ..restore::Options::default() };
        let report = restore(&reading, &to, &options, control()).unwrap();
        let mut value = [0_u8; 64];
        let there = rustix::fs::getxattr(to.join("program"), CAPABILITY, &mut value[..]);
        assert_eq!(there.ok(), preserve_all.then_some(VALUE.len()));
        let listed =
            report.not_kept.iter().any(|(path, why)| path.ends_with("program") && why.contains(CAPABILITY));
        assert_eq!(listed, !preserve_all, "{:?}", report.not_kept);
    }
}

/// B13: a sparse file costs what it holds.
#[test]
fn holes_cost_nothing_at_the_destination() {
    let bench = Bench::default();
    fs::create_dir_all(bench.source()).unwrap();
    fs::File::create(bench.source().join("hole")).unwrap().set_len(4 << 30).unwrap();
    let report = bench.backup("a", "docs").unwrap();
    assert!(report.counts().new_bytes < 10_000, "{}", report.counts().new_bytes);
}

/// A second backup with nothing changed stores its tree only, and reads no file.
#[test]
fn unchanged_files_are_not_stored_again() {
    let bench = Bench::default();
    fill(&bench.source());
    let first = bench.backup("a", "docs").unwrap();
    let objects = bench.memory.objects().len();
    let second = bench.backup("a", "docs").unwrap();
    assert_eq!(second.manifest.number, 2);
    assert_eq!(second.began_anew, None);
    let added = bench.memory.objects().len() - objects;
    let tree = second.counts().new_bytes;
    assert!(tree < first.counts().new_bytes / 3, "{tree} of {}", first.counts().new_bytes);
    assert!(added < 15, "{added} objects");
    bench.assert_restores("docs");
}

#[test]
fn only_what_changed_is_stored_again() {
    let bench = Bench::default();
    fill(&bench.source());
    bench.backup("a", "docs").unwrap();
    let tree = bench.backup("a", "docs").unwrap().counts().new_bytes;
    fs::write(bench.source().join("b/small-20"), noise(99, 300)).unwrap();
    let report = bench.backup("a", "docs").unwrap();
    let pack = report.counts().new_bytes.saturating_sub(tree);
    assert!((300..20_000).contains(&pack), "{pack} bytes more than the tree's {tree}");
    bench.assert_restores("docs");
    // A large file under another name, and again under a second one, is found by its content.
    fs::rename(bench.source().join("a/large"), bench.source().join("moved")).unwrap();
    fs::copy(bench.source().join("moved"), bench.source().join("twice")).unwrap();
    let report = bench.backup("a", "docs").unwrap();
    assert!(report.counts().new_bytes < tree + 2000, "{} bytes", report.counts().new_bytes);
    bench.assert_restores("docs");
    fs::remove_file(bench.source().join("b/small-07")).unwrap();
    bench.backup("a", "docs").unwrap();
    bench.assert_restores("docs");
}

/// L6: a file that changed within the same tick as the backup looks unchanged and is read all the same.
#[test]
fn a_file_that_changed_just_before_the_last_backup_is_read_again() {
    let bench = Bench::default();
    fill(&bench.source());
    let path = bench.source().join("b/small-05");
    let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    // The backup begins now by the files' own clock.
    bench.now.0.store(real - 60_000, std::sync::atomic::Ordering::SeqCst);
    bench.backup("a", "docs").unwrap();
    let tree_only = bench.memory.objects().len();
    bench.backup("a", "docs").unwrap();
    assert!(bench.memory.objects().len() > tree_only + 10, "fresh files were taken for unchanged");
    assert!(path.exists());
    bench.assert_restores("docs");
}

/// B01, B2 and B18: each series and each device has its own newest.
#[test]
fn series_and_devices_share_a_place_without_harm() {
    let bench = Bench::default();
    fill(&bench.source());
    bench.backup("a", "docs").unwrap();
    bench.backup("a", "pictures").unwrap();
    bench.backup("b", "phone").unwrap();
    let library = bench.library();
    assert_eq!(library.histories.len(), 2);
    let error = text(&library.choose(None, Which::Latest).unwrap_err());
    assert!(["docs", "pictures", "phone"].iter().all(|name| error.contains(name)), "{error}");
    for label in ["docs", "pictures", "phone"] {
        bench.assert_restores(label);
    }
    let error = text(&library.choose(Some("music"), Which::Latest).unwrap_err());
    assert!(error.contains("no series 'music'; there are"), "{error}");
    let error = text(&library.choose(Some("docs"), Which::Number(9)).unwrap_err());
    assert!(error.contains("it has 1"), "{error}");
}

#[test]
fn a_generation_is_chosen_by_number_and_by_time() {
    let bench = Bench::default();
    fs::create_dir_all(bench.source()).unwrap();
    for n in 1..=3 {
        fs::write(bench.source().join("n"), n.to_string()).unwrap();
        bench.backup("a", "docs").unwrap();
    }
    let library = bench.library();
    let ended = library.choose(Some("docs"), Which::Number(2)).unwrap().kept.ended_ms;
    for (which, content) in [(Which::Number(1), "1"), (Which::At(ended), "2"), (Which::Latest, "3")] {
        let to = bench.restore("docs", which).unwrap();
        assert_eq!(fs::read_to_string(to.join("n")).unwrap(), content);
    }
    assert!(bench.restore("docs", Which::At(5)).is_err());
}

/// Other sources under one name, and an empty source, are refused.
#[test]
fn l4_an_empty_or_another_source_is_refused() {
    let bench = Bench::default();
    fill(&bench.source());
    bench.backup("a", "docs").unwrap();
    fs::rename(bench.source(), bench.dir.path().join("unmounted")).unwrap();
    fs::create_dir(bench.source()).unwrap();
    assert!(matches!(bench.backup("a", "docs"), Err(Error::EmptySource { .. })));
    let empty = Options { allow_empty: true, ..options("docs") };
    assert_eq!(bench.backup_with("a", &empty).unwrap().manifest.number, 2);
    let other = bench.dir.path().join("unmounted");
    let mut writer = bench.writer("a").unwrap();
    let error =
        backup(&mut writer, Source::Folders(std::slice::from_ref(&other)), &options("docs"), control())
            .unwrap_err();
    assert!(matches!(error, Error::OtherSources { .. }), "{error}");
    let error =
        backup(&mut writer, Source::Folders(&["/no/such".into()]), &options("x"), control()).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
}

#[test]
fn several_sources_become_folders_of_their_names() {
    let bench = Bench::default();
    fill(&bench.source());
    let other = bench.dir.path().join("x/source");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("note"), "second").unwrap();
    let mut writer = bench.writer("a").unwrap();
    backup(&mut writer, Source::Folders(&[bench.source(), other.clone()]), &options("both"), control())
        .unwrap();
    drop(writer);
    let to = bench.restore("both", Which::Latest).unwrap();
    assert_same(&bench.source(), &to.join("source"));
    assert_same(&other, &to.join("source-2"));
}

/// Special files are listed and stop nothing. They do not make the backup incomplete.
#[test]
fn special_files_and_own_places_are_left_out_and_listed() {
    let bench = Bench::default();
    fill(&bench.source());
    let fifo = bench.source().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let own = fs::metadata(bench.source().join("a")).unwrap();
    let mut options = options("docs");
    options.selection.own = vec![(own.dev(), own.ino())];
    let excluded = |path: &Path, _: bool| path.ends_with("small-01");
    options.selection.excluded = Some(&excluded);
    let report = bench.backup_with("a", &options).unwrap();
    assert!(report.manifest.is_complete());
    let why: Vec<Reason> = report.left_out.iter().map(|(_, why)| *why).collect();
    assert_eq!(why, [Reason::OwnPlace, Reason::Special]);
    assert_eq!(report.manifest.left_out.len(), 2);
    let to = bench.restore("docs", Which::Latest).unwrap();
    assert!(!to.join("a").exists() && !to.join("b/small-01").exists() && to.join("b/small-02").exists());
}

/// B4: depth costs no stack.
#[test]
fn a_deep_tree_is_backed_up_and_restored() {
    let bench = Bench::default();
    let mut path = bench.source();
    for _ in 0..1000 {
        path.push("a");
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("leaf"), "deep").unwrap();
    let report = bench.backup("a", "docs").unwrap();
    assert_eq!(report.counts().folders, 1000);
    bench.assert_restores("docs");
}

/// B02 and B8: an empty folder is filled in place, another one is refused before anything is read.
#[test]
fn b02_an_empty_folder_is_filled_and_a_full_one_refused() {
    let bench = Bench::default();
    fill(&bench.source());
    fs::create_dir(bench.source().join("locked")).unwrap();
    fs::set_permissions(bench.source().join("locked"), fs::Permissions::from_mode(0o500)).unwrap();
    bench.backup("a", "docs").unwrap();
    let to = bench.dir.path().join("empty");
    fs::create_dir(&to).unwrap();
    let inode = fs::metadata(&to).unwrap().ino();
    // What a killed restore left.
    let left = to.join(".0123456789abcdef.restoring");
    fs::create_dir(&left).unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(left.join("secret"), "plain").unwrap();
    bench.restore_from(&bench.library(), "docs", Which::Latest, &to).unwrap();
    assert_eq!(fs::metadata(&to).unwrap().ino(), inode, "the folder was replaced");
    fs::set_permissions(&to, fs::metadata(bench.source()).unwrap().permissions()).unwrap();
    assert_same(&bench.source(), &to);
    let again = bench.restore_from(&bench.library(), "docs", Which::Latest, &to).unwrap_err();
    assert!(matches!(again, Error::DestinationExists { .. }), "{again}");
}

#[test]
fn chosen_files_are_restored_with_their_folders() {
    let bench = Bench::default();
    fill(&bench.source());
    bench.backup("a", "docs").unwrap();
    let library = bench.library();
    let reading = Reading::open(bench.access(), library.choose(None, Which::Latest).unwrap()).unwrap();
    let to = bench.dir.path().join("some");
    let included = |path: &TreePath| [&b"b/small-04"[..], b"a/large"].contains(&&path.joined()[..]);
    let options = restore::Options { included: Some(&included), in_flight: 2, ..restore::Options::default() };
    let report = restore(&reading, &to, &options, control()).unwrap();
    assert_eq!((report.files, describe(&to).len()), (2, 5));
    // One file on its own, and the list.
    for (name, content) in [("b/small-04", noise(14, 252)), ("a/large", noise(1, 9000))] {
        let steps = name.split('/').map(|step| step.as_bytes().to_vec()).collect();
        let mut out = Vec::new();
        reading.write_file(&TreePath { root: 0, steps }, &mut out, control()).unwrap();
        assert!(out == content, "{name}");
    }
    let mut names = Vec::new();
    reading
        .list(|item| {
            if let Visited::Entry(path, _) = item {
                names.push(path.joined());
            }
        })
        .unwrap();
    assert_eq!(names.len(), 48);
    reading.check_presence().unwrap();
    let verified = reading.verify(None, control()).unwrap();
    assert!(verified.broken.is_empty() && verified.bytes == reading.manifest().counts.bytes, "{verified:?}");
}

/// The first name of a file with several is where a tree has its content. Other names of it can be chosen alone.
#[test]
fn chosen_hard_links_are_restored_without_their_first_name() {
    let bench = Bench::default();
    fill(&bench.source());
    fs::hard_link(bench.source().join("a/large"), bench.source().join("b/third")).unwrap();
    fs::hard_link(bench.source().join("b/small-01"), bench.source().join("b/small-one")).unwrap();
    bench.backup("a", "docs").unwrap();
    let library = bench.library();
    let reading = Reading::open(bench.access(), library.choose(None, Which::Latest).unwrap()).unwrap();
    let to = bench.dir.path().join("some");
    let included =
        |path: &TreePath| [&b"b/same"[..], b"b/small-one", b"b/third"].contains(&&path.joined()[..]);
    let options = restore::Options { included: Some(&included), in_flight: 2, ..restore::Options::default() };
    let report = restore(&reading, &to, &options, control()).unwrap();
    assert!(report.not_kept.is_empty(), "{:?}", report.not_kept);
    assert!(fs::read(to.join("b/same")).unwrap() == noise(1, 9000));
    assert!(fs::read(to.join("b/small-one")).unwrap() == noise(11, 213));
    let number = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
    assert_eq!(number("b/same"), number("b/third"));
    let names: Vec<_> = describe(&to).into_keys().collect();
    assert_eq!(names.len(), 5, "only they and their folders: {names:?}");
}

/// L8: no generation if the producer fails.
#[test]
fn l8_bytes_of_an_app_and_of_a_failing_producer() {
    struct Failing(u32);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 > 3 {
                return Err(std::io::Error::other("pg_dump failed"));
            }
            out.fill(1);
            Ok(out.len())
        }
    }
    let bench = Bench::default();
    let content = noise(3, 100_000);
    let mut writer = bench.writer("a").unwrap();
    backup(&mut writer, Source::Bytes(&mut &content[..]), &options("db"), control()).unwrap();
    let error = backup(&mut writer, Source::Bytes(&mut Failing(0)), &options("db"), control()).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
    assert_eq!(writer.ledger().kept.len(), 1);
    drop(writer);
    let library = bench.library();
    let reading = Reading::open(bench.access(), library.choose(Some("db"), Which::Latest).unwrap()).unwrap();
    let mut out = Vec::new();
    reading.write_bytes(&mut out, control()).unwrap();
    assert!(out == content);
    let to = bench.dir.path().join("x");
    let error = restore(&reading, &to, &restore::Options::default(), control()).unwrap_err();
    assert!(text(&error).contains("write it to a file or a pipe"), "{error}");
}

/// A real folder, with the sizes of real use.
#[test]
fn a_local_folder_with_real_sizes() {
    let bench = Bench::default();
    fill(&bench.source());
    fs::write(bench.source().join("big"), noise(8, 5 << 20)).unwrap();
    fs::write(bench.source().join("zeros"), vec![0; 3 << 20]).unwrap();
    let cloud = bench.dir.path().join("cloud");
    fs::create_dir(&cloud).unwrap();
    let folder = LocalFolder::new(&cloud);
    let outside = Outside { destination: &folder, ..bench.outside() };
    let options = Options { label: "docs".into(), ..Options::default() };
    for _ in 0..2 {
        bench.now.add(60_000);
        let file = StateFile::lock(&bench.state_path("a"), false).unwrap();
        let mut writer = Writer::open(outside, file, true).unwrap();
        assert!(matches!(StateFile::lock(&bench.state_path("a"), false), Err(Error::Busy { .. })));
        backup(&mut writer, Source::Folders(&[bench.source()]), &options, control()).unwrap();
    }
    let access = Access { destination: &folder, ..bench.access() };
    let library = open(access, &bench.expected(), false).unwrap();
    let reading = Reading::open(access, library.choose(None, Which::Latest).unwrap()).unwrap();
    let to = bench.dir.path().join("out");
    restore(&reading, &to, &restore::Options { in_flight: 2, ..restore::Options::default() }, control())
        .unwrap();
    assert_same(&bench.source(), &to);
    for entry in describe(&cloud).into_keys() {
        let meta = fs::metadata(cloud.join(&entry)).unwrap();
        let private = if meta.is_dir() { 0o700 } else { 0o600 };
        assert!(entry.as_os_str().is_empty() || meta.mode() & 0o777 == private, "{}", entry.display());
    }
}
