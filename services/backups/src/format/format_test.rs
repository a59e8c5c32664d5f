//! Parsers: whatever the bytes, they return an error or a value within the bounds, and never panic.

use std::io::Read;

use bkv_stream::BackupKey;
use proptest::prelude::*;

use super::head::{HEAD, Head};
use super::ledger::{self, Kept, LEDGER_HEAD, Ledger, LedgerHead, Series};
use super::manifest::{self, Content, Counts, LeftOut, Manifest, Reason};
use super::names::{Folder, Kind as ObjectKind, Tag, parse_writer};
use super::secret::Secret;
use super::stream::{BlobRef, Encoding, Lengths, Shape, padme};
use super::tree::{
    Attributes, Entry, Extent, Item, Kind, Pack, Place, Record, Root, Time, TreeReader, TreeWriter, Xattr,
};
use crate::error::Error;

pub(crate) fn key() -> BackupKey {
    BackupKey::from_bytes(&[1; 32])
}

pub(crate) fn shape() -> Shape {
    Shape::new(256, 4).unwrap()
}

fn blob(content: u64) -> BlobRef {
    let lengths = Lengths::new(content, content, padme(content), Encoding::Plain, shape());
    BlobRef { id: [3; 16], key: Secret::from_bytes([4; 32]), hash: [5; 32], lengths }
}

fn attributes() -> Attributes {
    Attributes {
        mode: 0o1755,
        uid: 1000,
        gid: 1001,
        mtime: Time { seconds: -5, nanos: 7 },
        ctime: Time { seconds: 9, nanos: 999_999_999 },
        inode: 77,
        xattrs: vec![Xattr { name: b"user.a".to_vec(), value: vec![1, 2] }],
    }
}

fn file(name: &str, depth: u32, size: u64, place: Place) -> Record {
    let kind = Kind::File { size, data: size, place, extents: Vec::new(), changed: false, linked: true };
    Record::Entry(Entry { depth, name: name.into(), kind, attributes: attributes() })
}

fn entry(name: &[u8], depth: u32, kind: Kind) -> Record {
    Record::Entry(Entry { depth, name: name.to_vec(), kind, attributes: attributes() })
}

fn root(name: &str) -> Record {
    Record::Root(Root { path: b"/home/a".to_vec(), name: name.into(), attributes: attributes() })
}

pub(crate) fn sample() -> Vec<Record> {
    vec![
        root(""),
        entry(b"a", 0, Kind::Folder),
        Record::Pack(Pack { blob: blob(300), members: 2 }),
        file("x", 1, 100, Place::Pack(0)),
        file("y", 1, 200, Place::Pack(100)),
        file("b", 0, 5000, Place::Blob(blob(5000))),
        entry(b"c", 0, Kind::Symlink(b"../a//b".to_vec())),
        entry(b"d", 0, Kind::Hardlink(b"a/x".to_vec())),
        file("e", 0, 0, Place::Nowhere),
    ]
}

pub(crate) fn encode(records: &[Record]) -> Vec<u8> {
    let (mut tree, mut bytes) = (TreeWriter::default(), Vec::new());
    for record in records {
        tree.record(record, &mut bytes).unwrap();
    }
    tree.end(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> crate::error::Result<Vec<Item>> {
    let mut tree = TreeReader::new(bytes, "the tree");
    let mut items = Vec::new();
    while let Some(item) = tree.next()? {
        items.push(item);
    }
    Ok(items)
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        writer: [1; 16],
        series: [2; 16],
        label: "Grüße".into(),
        number: 7,
        before: Some([3; 32].into()),
        begun_ms: -1,
        ended_ms: 5,
        content: Content::Tree,
        lengths: blob(700).lengths,
        hash: [6; 32],
        counts: Counts { files: 1, failed: 1, ..Counts::default() },
        left_out: vec![LeftOut { path: b"a\xff".to_vec(), why: Reason::Changed }],
        host: "laptop".into(),
        tags: vec!["weekly".into()],
    }
}

fn kept() -> Kept {
    Kept {
        series: [2; 16],
        number: 7,
        generation: [8; 16],
        seed: Some(Secret::from_bytes([9; 32])),
        manifest: [10; 32],
        manifest_bytes: 900,
        begun_ms: 1,
        ended_ms: 2,
        content: Content::Pipe,
        complete: true,
        files: 3,
        bytes: 4,
        new_bytes: 5,
        tags: vec!["weekly".into()],
        objects: 6,
    }
}

pub(crate) fn a_ledger() -> Ledger {
    let mut ledger = Ledger::first([1; 16]);
    ledger.counter = 42;
    ledger.series.push(Series { id: [2; 16], label: "docs".into(), sources: "/home/a".into(), last: 7 });
    ledger.kept.push(kept());
    ledger
}

#[test]
fn padding_costs_at_most_an_eighth_and_a_fortieth_at_a_mebibyte() {
    assert_eq!([0, 1, 2, 9, 1000, 1_000_001].map(padme), [0, 1, 2, 10, 1024, 1_015_808]);
    for length in (1 << 20..1 << 21).step_by(1013) {
        let padded = padme(length);
        assert!(padded >= length && padded - length <= length / 31, "{length}");
    }
    assert_eq!(padme(u64::MAX), u64::MAX);
}

#[test]
fn lengths_are_those_of_the_encryptor() {
    use std::io::Write as _;
    for plain in [0, 1, 199, 200, 201, 440, 441, 5000] {
        let key = bkv_stream::StreamKey::from_bytes(&[1; 32]);
        let options = bkv_stream::Options { segment: 256, workers: 1 };
        let mut encryptor = bkv_stream::Encryptor::new(Vec::new(), &key, b"", options).unwrap();
        encryptor.write_all(&vec![0; plain]).unwrap();
        let (sealed, _) = encryptor.finish().unwrap();
        assert_eq!(shape().ciphertext(plain as u64), Some(sealed.len() as u64), "{plain}");
    }
    assert_eq!(shape().ciphertext(u64::MAX), None);
    assert!(Shape::new(256, 0).is_none() && Shape::new(56, 1).is_none() && Shape::new(4 << 20, 9).is_none());
    assert!(Shape::of_mebibytes(4).is_some() && Shape::of_mebibytes(33).is_none());
}

#[test]
fn a_head_opens_with_its_key_and_seed_only() {
    let seed = Secret::from_bytes([2; 32]);
    let head = Head { generation: [3; 16], seeded: true, shape: shape() };
    let keys = head.keys(&key(), Some(&seed)).unwrap();
    let (parsed, raw) = Head::parse("m", &keys.head).unwrap();
    assert_eq!(parsed, head);
    assert!(parsed.open(&raw, &key(), Some(&seed)).unwrap().is_some());
    assert!(parsed.open(&raw, &key(), None).unwrap().is_none());
    assert!(parsed.open(&raw, &BackupKey::from_bytes(&[9; 32]), Some(&seed)).unwrap().is_none());
    for byte in 0..HEAD {
        let mut changed = keys.head;
        changed[byte] ^= 1;
        let opened = Head::parse("m", &changed).and_then(|(head, raw)| head.open(&raw, &key(), Some(&seed)));
        assert!(!matches!(opened, Ok(Some(_))), "byte {byte}");
    }
}

#[test]
fn a_ledger_tells_a_wrong_key_from_a_wrong_v() {
    let v = Secret::from_bytes([5; 32]);
    for v in [Some(&v), None] {
        let (bytes, _) = a_ledger().seal(&key(), v).unwrap();
        assert_eq!(Ledger::open("l", &bytes, &key(), v).unwrap(), a_ledger());
        let wrong = Ledger::open("l", &bytes, &BackupKey::from_bytes(&[9; 32]), v).unwrap_err();
        assert!(matches!(wrong, Error::WrongKey { .. }), "{wrong}");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Ledger::open("l", &changed, &key(), v).is_err(), "byte {at}");
            assert!(Ledger::open("l", &bytes[..at], &key(), v).is_err(), "cut at {at}");
        }
        let cut = Ledger::open("l", &bytes[..bytes.len() - 1], &key(), v).unwrap_err();
        assert!(matches!(cut, Error::Damaged { .. } | Error::Cut { .. }), "{cut}");
    }
    let (bytes, _) = a_ledger().seal(&key(), Some(&v)).unwrap();
    for wrong in [None, Some(Secret::from_bytes([6; 32]))] {
        let error = Ledger::open("l", &bytes, &key(), wrong.as_ref()).unwrap_err();
        assert!(matches!(error, Error::WrongV { .. }), "{error}");
    }
}

#[test]
fn names_are_parsed_back_and_nothing_else_is() {
    let folder = Folder::new(&Tag::new(&[1; 32], &[2; 32]), &[3; 16], &key()).unwrap();
    let name = folder.object(ObjectKind::Blob, &[4; 16], 5);
    assert_eq!(folder.parse(&name), Some(folder.name(ObjectKind::Blob, &[4; 16], 5)));
    let ledger = folder.ledger(6, &[7; 32], 2);
    assert_eq!(folder.parse_ledger(&ledger), Some((6, [7; 32])));
    for bad in [
        format!("{name}x"),
        name.to_uppercase(),
        ledger.clone(),
        folder.path().to_owned(),
        format!("{}/aa/{}", folder.path(), "b".repeat(32)),
    ] {
        assert_eq!(folder.parse(&bad), None, "{bad}");
    }
    for bad in [format!("{ledger}2"), ledger.replace("-2", "-3"), ledger.replace("0006", "006"), name] {
        assert_eq!(folder.parse_ledger(&bad), None, "{bad}");
    }
    assert_eq!(parse_writer(&"0a".repeat(16)), Some([10; 16]));
    assert_eq!(parse_writer(&"0A".repeat(16)), None);
}

#[test]
fn a_tree_is_read_as_it_was_written() {
    let items = read(&encode(&sample())).unwrap();
    assert_eq!(items.len(), 9);
    let Item::Entry(path, _) = &items[4] else { panic!() };
    assert_eq!(path.joined(), b"a/y");
}

/// What an attacker who has the key could write.
#[test]
fn a_tree_that_leads_elsewhere_is_refused() {
    let huge = |offset| Extent { offset, length: u64::MAX };
    let sparse = |extents| Kind::File {
        size: 10,
        data: 5,
        place: Place::Blob(blob(5)),
        extents,
        changed: false,
        linked: false,
    };
    let bad: Vec<(&str, Vec<Record>)> = vec![
        ("no source", vec![entry(b"a", 0, Kind::Folder)]),
        ("a way up", vec![root(""), entry(b"..", 0, Kind::Folder)]),
        ("a slash", vec![root(""), entry(b"a/b", 0, Kind::Folder)]),
        ("a NUL", vec![root(""), entry(b"a\0", 0, Kind::Folder)]),
        ("no name", vec![root(""), entry(b"", 0, Kind::Folder)]),
        ("no folder", vec![root(""), entry(b"a", 1, Kind::Folder)]),
        (
            "below a link",
            vec![root(""), entry(b"a", 0, Kind::Symlink(b"/".to_vec())), entry(b"b", 1, Kind::Folder)],
        ),
        ("twice", vec![root(""), entry(b"a", 0, Kind::Folder), entry(b"a", 0, Kind::Symlink(b"/".to_vec()))]),
        ("out of order", vec![root(""), entry(b"b", 0, Kind::Folder), entry(b"a", 0, Kind::Folder)]),
        (
            "outside its pack",
            vec![root(""), Record::Pack(Pack { blob: blob(9), members: 1 }), file("a", 0, 9, Place::Pack(1))],
        ),
        ("without a pack", vec![root(""), file("a", 0, 1, Place::Pack(0))]),
        ("a great pack", vec![root(""), Record::Pack(Pack { blob: blob(9 << 20), members: 1 })]),
        ("a blob of another length", vec![root(""), file("a", 0, 9, Place::Blob(blob(8)))]),
        ("an endless extent", vec![root(""), entry(b"a", 0, sparse(vec![huge(1)]))]),
        (
            "extents that overlap",
            vec![
                root(""),
                entry(
                    b"a",
                    0,
                    sparse(vec![Extent { offset: 2, length: 3 }, Extent { offset: 4, length: 2 }]),
                ),
            ],
        ),
        ("a source that leads up", vec![root("..")]),
        ("two sources without names", vec![root(""), root("")]),
    ];
    for (what, records) in bad {
        let result = read(&encode(&records));
        assert!(matches!(result, Err(Error::Damaged { .. })), "{what}: {result:?}");
    }
    let mut bytes = encode(&sample());
    bytes.push(0);
    assert!(read(&bytes).is_err(), "bytes after the end");
}

/// A reader that gives one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min(1);
        self.0.read(&mut out[..n])
    }
}

#[test]
fn a_tree_that_comes_slowly_is_the_same() {
    let bytes = encode(&sample());
    let mut tree = TreeReader::new(Slow(&bytes), "t");
    let mut count = 0;
    while tree.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 9);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let _ = manifest::decode(&bytes);
        let _ = ledger::decode(&bytes);
        prop_assert!(Head::parse("m", &bytes).is_err());
        prop_assert!(LedgerHead::parse("l", &bytes).is_err());
    }

    #[test]
    fn changed_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        for bytes in [encode(&sample()), minicbor::to_vec(manifest()).unwrap(), minicbor::to_vec(a_ledger()).unwrap()] {
            let mut changed = bytes.clone();
            let index = at.index(bytes.len());
            changed[index] = byte;
            let _ = read(&changed);
            let _ = manifest::decode(&changed);
            let _ = ledger::decode(&changed);
            let short = &bytes[..cut.index(bytes.len())];
            prop_assert!(read(short).is_err());
            prop_assert!(manifest::decode(short).is_none());
            prop_assert!(ledger::decode(short).is_none());
        }
    }

    #[test]
    fn a_head_of_any_bytes_is_bounded(rest in proptest::array::uniform32(any::<u8>()), flags in 0..3_u8) {
        let mut bytes = [&b"BKVG\x01"[..], &[flags], &[0, 64][..], &rest[..]].concat();
        bytes.resize(HEAD, 0);
        if let Ok((head, _)) = Head::parse("m", &bytes) {
            prop_assert!(head.shape.object_bytes() <= super::MAX_OBJECT);
        }
        let mut bytes = [&b"BKVL\x01"[..], &[flags], &[0, 96][..], &rest[..]].concat();
        bytes.resize(LEDGER_HEAD, 0);
        prop_assert!(Ledger::open("l", &bytes, &key(), None).is_err());
    }
}

#[test]
fn later_fields_are_passed_over_and_missing_ones_refused() {
    // A later version may add a field to a map. It has another number in its head, so a field that is missing is damage.
    let bytes = minicbor::to_vec(manifest()).unwrap();
    assert_eq!(manifest::decode(&bytes), Some(manifest()));
    let mut more = bytes.clone();
    more[0] += 1;
    more.extend([24, 99, 0]);
    assert_eq!(manifest::decode(&more), Some(manifest()));
    let long = [&bytes[..], &[0]].concat();
    assert_eq!(manifest::decode(&long), None);
}
