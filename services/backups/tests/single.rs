//! A backup in one file or through a pipe: everything that a destination's objects are tested for.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bkv_backups::backup::{Report, Source};
use bkv_backups::format::tree::TreePath;
use bkv_backups::single::{self, Opened};
use bkv_backups::verify::{Options, Verdict, verify};
use bkv_backups::{Access, Error, Reading, Result, Standing, Visited, Which, restore};
use bkv_stream::BackupKey;
use common::*;

fn write(bench: &Bench, source: Source<'_>) -> Result<(Report, Vec<u8>)> {
    let mut bytes = Vec::new();
    let report =
        single::write((&mut bytes, "docs.bkv"), &bench.key, &bench.now, source, &options("docs"), control())?;
    Ok((report, bytes))
}

fn file(bench: &Bench, bytes: &[u8]) -> File {
    let path = bench.dir.path().join("docs.bkv");
    fs::write(&path, bytes).unwrap();
    File::open(path).unwrap()
}

fn open(bench: &Bench, bytes: &[u8], key: &BackupKey) -> Result<Opened> {
    single::open(file(bench, bytes), "docs.bkv", key)
}

fn restore_to(bench: &Bench, opened: &Opened, to: &Path) -> Result<restore::Report> {
    let access = Access { destination: &opened.file, ..bench.access() };
    let reading = Reading::open(access, opened.library.choose(None, Which::Latest)?)?;
    let options = restore::Options { in_flight: 2, ..restore::Options::default() };
    restore::restore(&reading, to, &options, control())
}

/// Opens and restores all of it. The place is gone again afterwards, if it appeared.
fn read(bench: &Bench, bytes: &[u8]) -> Result<()> {
    let opened = open(bench, bytes, &bench.key)?;
    let to = bench.dir.path().join("out");
    let report = restore_to(bench, &opened, &to);
    let whole = report.as_ref().is_ok_and(|report| report.failed.is_empty());
    if whole {
        assert_same(&bench.source(), &to);
    }
    assert_eq!(to.exists(), whole, "something appeared");
    fs::remove_dir_all(&to).ok();
    report.map(drop)
}

fn bench() -> Bench {
    let bench = Bench::default();
    fill(&bench.source());
    bench
}

/// Restore, list, one file, and the check of everything work as at a destination.
#[test]
fn a_folder_in_one_file_comes_back() {
    let bench = bench();
    let (report, bytes) = write(&bench, Source::Folders(&[bench.source()])).unwrap();
    assert!(report.manifest.is_complete() && single::is_single(&bytes));
    let opened = open(&bench, &bytes, &bench.key).unwrap();
    assert_eq!(opened.library.histories[0].standing, Standing::SingleFile);
    let to = bench.dir.path().join("out");
    restore_to(&bench, &opened, &to).unwrap();
    assert_same(&bench.source(), &to);
    let access = Access { destination: &opened.file, ..bench.access() };
    let reading =
        Reading::open(access, opened.library.choose(Some("docs"), Which::Number(1)).unwrap()).unwrap();
    let mut names = Vec::new();
    reading
        .list(|visited| {
            if let Visited::Entry(path, _) = visited {
                names.push(path.joined());
            }
        })
        .unwrap();
    assert!(names.contains(&b"b/small-07".to_vec()) && names.contains(&b"a/large".to_vec()));
    let mut content = Vec::new();
    let path = TreePath { root: 0, steps: vec![b"b".to_vec(), b"small-07".to_vec()] };
    reading.write_file(&path, &mut content, control()).unwrap();
    assert_eq!(content, fs::read(bench.source().join("b/small-07")).unwrap());
    reading.check_presence().unwrap();
    let mut verdict = Verdict::default();
    verify(access, &opened.library.histories[0], None, Options::default(), &mut verdict, control()).unwrap();
    assert!(verdict.findings.is_empty() && verdict.generations == 1 && verdict.blobs > 3, "{verdict:?}");
}

/// The bytes of an app go through a pipe and come back. A producer that fails leaves no whole file.
#[test]
fn bytes_go_through_a_pipe() {
    let bench = bench();
    let content = noise(9, 70_000);
    let (_, bytes) = write(&bench, Source::Bytes(&mut &content[..])).unwrap();
    let mut pipe: &[u8] = &bytes;
    let spooled = single::spool(&mut pipe, bench.dir.path()).unwrap();
    let left: Vec<PathBuf> = fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!left.iter().any(|path| path.to_string_lossy().ends_with(".spool")), "{left:?}");
    let opened = single::open(spooled, "the pipe", &bench.key).unwrap();
    let access = Access { destination: &opened.file, ..bench.access() };
    let reading = Reading::open(access, opened.library.choose(None, Which::Latest).unwrap()).unwrap();
    let mut out = Vec::new();
    reading.write_bytes(&mut out, control()).unwrap();
    assert!(out == content);

    struct Fails(usize);
    impl Read for Fails {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the dump failed"));
            }
            let n = self.0.min(out.len());
            self.0 -= n;
            Ok(n)
        }
    }
    let mut sink = Vec::new();
    let error = single::write(
        (&mut sink, "dump.bkv"),
        &bench.key,
        &bench.now,
        Source::Bytes(&mut Fails(50_000)),
        &options("dump"),
        control(),
    )
    .unwrap_err();
    assert!(text(&error).contains("the dump failed") || matches!(error, Error::Io(_)), "{error}");
    assert!(matches!(open(&bench, &sink, &bench.key), Err(Error::Cut { .. })));
}

/// The reader reports another key before it decrypts anything. It refuses another program's file and a file of the older format.
#[test]
fn another_key_and_another_file_are_other_answers() {
    let bench = bench();
    let (_, bytes) = write(&bench, Source::Folders(&[bench.source()])).unwrap();
    let error = open(&bench, &bytes, &BackupKey::from_bytes(&[8; 32])).unwrap_err();
    assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    let error =
        open(&bench, b"PK\x03\x04 and more of another program's file, longer than a head is", &bench.key)
            .unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert!(!single::is_single(b"BKVB"));
    assert!(matches!(open(&bench, b"", &bench.key), Err(Error::Cut { .. })));
    let mut newer = bytes.clone();
    newer[4] = 9;
    assert!(matches!(open(&bench, &newer, &bench.key), Err(Error::NewerFormat { version: 9, .. })));
}

/// Cut anywhere, it is cut: nothing of it is restored.
#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let bench = bench();
    let (_, bytes) = write(&bench, Source::Folders(&[bench.source()])).unwrap();
    read(&bench, &bytes).unwrap();
    let frames = frames(&bytes);
    let ends = frames.iter().flat_map(|(begin, end)| [*begin, *begin + 7, *begin + 20, *end - 1]);
    for at in [0, 3, 63, 64].into_iter().chain(ends) {
        let error = read(&bench, &bytes[..at]).unwrap_err();
        assert!(matches!(error, Error::Cut { .. }), "at {at}: {error}");
    }
}

/// Begin and end of each frame.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut all) = (64, Vec::new());
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at + 16..at + 20].try_into().unwrap());
        let end = at + 20 + usize::try_from(length).unwrap();
        all.push((at, end));
        at = end;
    }
    all
}

/// One bit anywhere in a head or in each frame, frames that are dropped, swapped, doubled, foreign or appended.
#[test]
fn what_an_attacker_does_to_a_file_is_found() {
    let bench = bench();
    let (_, bytes) = write(&bench, Source::Folders(&[bench.source()])).unwrap();
    let frames = frames(&bytes);
    let last = frames.len() - 1;
    for at in
        (0..64).chain(frames.iter().flat_map(|(begin, end)| [*begin, *begin + 19, *begin + 20, *end - 1]))
    {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(read(&bench, &changed).is_err(), "byte {at}");
    }
    let part = |n: usize| &bytes[frames[n].0..frames[n].1];
    let join = |order: &[usize]| -> Vec<u8> {
        let mut out = bytes[..64].to_vec();
        for n in order {
            out.extend_from_slice(part(*n));
        }
        out
    };
    let all: Vec<usize> = (0..=last).collect();
    for n in 0..=last {
        let mut without = all.clone();
        without.remove(n);
        assert!(read(&bench, &join(&without)).is_err(), "frame {n} was dropped");
    }
    // The place of an object means nothing, so another order is the same file. Only the manifest is last.
    let mut turned = all.clone();
    turned[..last].reverse();
    read(&bench, &join(&turned)).unwrap();
    let mut early = all.clone();
    early.swap(0, last);
    assert!(matches!(read(&bench, &join(&early)), Err(Error::Cut { .. })));
    // The bytes of one object under the name of another.
    for pair in all[..last].windows(2) {
        let mut changed = bytes.clone();
        let (a, b) = (frames[pair[0]].0, frames[pair[1]].0);
        let name: Vec<u8> = changed[a..a + 16].to_vec();
        let other: Vec<u8> = changed[b..b + 16].to_vec();
        changed[a..a + 16].copy_from_slice(&other);
        changed[b..b + 16].copy_from_slice(&name);
        assert!(read(&bench, &changed).is_err(), "names {pair:?}");
    }
    // A damaged copy of each object in front of the genuine one: the one that opens is taken.
    let mut doubled = bytes[..64].to_vec();
    for n in 0..=last {
        let mut bad = part(n).to_vec();
        let end = bad.len() - 1;
        bad[end] ^= 1;
        doubled.extend_from_slice(&bad);
        doubled.extend_from_slice(part(n));
    }
    read(&bench, &doubled).unwrap();
    // The manifest of another file of the same key.
    let (_, other) = write(&bench, Source::Bytes(&mut &b"other"[..])).unwrap();
    let foreign = self::frames(&other);
    let mut mixed = bytes[..frames[last].0].to_vec();
    mixed.extend_from_slice(&other[foreign[foreign.len() - 1].0..]);
    assert!(read(&bench, &mixed).is_err());
    let mut appended = bytes.clone();
    appended.extend_from_slice(b"more");
    assert!(read(&bench, &appended).is_err());
    appended.extend_from_slice(part(0));
    assert!(read(&bench, &appended).is_err());
}

/// A full disk in the middle is reported, and nothing follows the torn frame.
#[test]
fn a_full_disk_is_reported() {
    struct Small(Vec<u8>, usize);
    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1 - self.0.len();
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = room.min(bytes.len());
            self.0.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bench = bench();
    for room in [10, 64, 90, 5000, 20_000] {
        let mut sink = Small(Vec::new(), room);
        let error = single::write(
            (&mut sink, "docs.bkv"),
            &bench.key,
            &bench.now,
            Source::Folders(&[bench.source()]),
            &options("docs"),
            control(),
        )
        .unwrap_err();
        let full = matches!(&error, Error::Destination { fault: bkv_backups::destination::Fault::Full, .. })
            || matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::StorageFull);
        assert!(full, "{error}");
        assert_eq!(sink.0.len(), room);
        assert!(open(&bench, &sink.0, &bench.key).is_err());
    }
}
