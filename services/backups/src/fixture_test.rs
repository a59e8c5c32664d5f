//! Fixtures of the format under `tests/formats/backups-N`: each is restored, and what this version encodes is what the one of the present number has (S52).

use std::fs;
use std::path::{Path, PathBuf};

use bkv_golden::Format;
use bkv_stream::{Cancel, Control};
use minicbor::bytes::ByteVec;

use crate::backup::{Options, Sizes, Source, Storage, backup};
use crate::destination::{Destination as _, LocalFolder};
use crate::format::format_test::{a_ledger, encode, key, manifest, sample, shape};
use crate::format::head::Head;
use crate::format::ledger::{LEDGER_HEAD, Ledger};
use crate::format::names::{Folder, Kind};
use crate::format::{Tag, VERSION, manifest as manifests};
use crate::{
    Access, NoVault, Outside, Reading, Secret, StateFile, SystemClock, Which, Writer, open, restore,
};

const BACKUPS: Format = Format {
    name: "backups",
    oldest: 1,
    number: VERSION as u32,
    constant: "VERSION in services/backups/src/format/mod.rs",
};

fn control(cancel: &Cancel) -> Control<'_> {
    Control { progress: &(), cancel }
}

fn tag() -> Tag {
    Tag::new(&[1; 32], &[2; 32])
}

fn v() -> Secret {
    Secret::from_bytes([6; 32])
}

/// A folder with a file of each kind. Its content depends on nothing else.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("a/empty")).unwrap();
    fs::write(
        root.join("a/large"),
        (0..5000_u32).map(|n| ((n * n) >> 7).to_le_bytes()[0]).collect::<Vec<u8>>(),
    )
    .unwrap();
    fs::write(root.join("a/small"), "small\n").unwrap();
    fs::write(root.join("b"), "another\n".repeat(20)).unwrap();
    fs::hard_link(root.join("a/large"), root.join("c")).unwrap();
    std::os::unix::fs::symlink("a//small", root.join("d")).unwrap();
}

/// Makes a backup and returns all objects by name, as CBOR.
fn destination() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (source, cloud) = (dir.path().join("source"), dir.path().join("cloud"));
    tree(&source);
    fs::create_dir(&cloud).unwrap();
    let destination = LocalFolder::new(&cloud);
    let outside =
        Outside { destination: &destination, vault: &NoVault, clock: &SystemClock, key: &key(), tag: tag() };
    let file = StateFile::lock(&dir.path().join("writer"), false).unwrap();
    let mut writer = Writer::open(outside, file, false).unwrap();
    let sizes = Sizes { blob: 1024, ..Sizes::default() };
    let storage = Storage { shape: shape(), sizes, ..Storage::default() };
    let options = Options { label: "docs".into(), storage, ..Options::default() };
    backup(&mut writer, Source::Folders(&[source]), &options, control(&Cancel::default())).unwrap();
    let mut objects = Vec::new();
    destination
        .list(&tag().folder(), &mut |listed| {
            let bytes = destination.read(&listed.name, 0, 0..listed.meta.length).unwrap();
            objects.push((listed.name, ByteVec::from(bytes)));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    objects.sort();
    minicbor::to_vec(objects).unwrap()
}

/// Puts the objects of a fixture into a folder.
fn unpack(fixture: &Path, to: &Path) {
    let objects: Vec<(String, ByteVec)> = minicbor::decode(&fs::read(fixture).unwrap()).unwrap();
    for (name, bytes) in objects {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &**bytes).unwrap();
    }
}

/// Keys, heads and names of fixed inputs, in hexadecimal.
fn derived() -> String {
    let seed = Secret::from_bytes([2; 32]);
    let head = Head { generation: [3; 16], seeded: true, shape: shape() };
    let keys = head.keys(&key(), Some(&seed)).unwrap();
    let folder = Folder::new(&tag(), &[5; 16], &key()).unwrap();
    let (ledger, _) = a_ledger().seal(&key(), Some(&v())).unwrap();
    let lines = [
        format!("head {}", hex::encode(keys.head)),
        format!("stream {}", hex::encode(keys.stream.as_bytes())),
        format!("manifest {}", hex::encode(keys.manifest.as_bytes())),
        format!("ledger head {}", hex::encode(&ledger[..LEDGER_HEAD])),
        format!("object {}", folder.object(Kind::Stream, &[4; 16], 1)),
        format!("manifest {}", folder.object(Kind::Manifest, &[4; 16], 0)),
        format!("blob {}", folder.object(Kind::Blob, &[4; 16], 1)),
        format!("ledger {}", folder.ledger(258, &[7; 32], 2)),
    ];
    lines.join("\n") + "\n"
}

#[test]
fn s52_every_released_backup_is_restored_and_its_format_does_not_change() {
    let made = [
        ("manifest.cbor", minicbor::to_vec(manifest()).unwrap()),
        ("ledger.cbor", minicbor::to_vec(a_ledger()).unwrap()),
        ("tree", encode(&sample())),
        ("derived.txt", derived().into_bytes()),
    ];
    if BACKUPS.is_wanted() {
        let (sealed, _) = a_ledger().seal(&key(), Some(&v())).unwrap();
        let more = [("destination.cbor", destination()), ("ledger.sealed", sealed)];
        BACKUPS.keep(made.iter().chain(&more).map(|(name, bytes)| (*name, &bytes[..])));
    }
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("source"));
    for (n, fixture) in BACKUPS.released().into_iter().enumerate() {
        let at = |name: &str| -> PathBuf { dir.path().join(format!("{n}-{name}")) };
        unpack(&fixture.join("destination.cbor"), &at("cloud"));
        let destination = LocalFolder::new(at("cloud"));
        let access = Access { destination: &destination, key: &key(), tag: tag() };
        let library = open(access, &[], false).unwrap();
        let reading = Reading::open(access, library.choose(None, Which::Latest).unwrap()).unwrap();
        let report =
            restore::restore(&reading, &at("out"), &restore::Options::default(), control(&Cancel::default()))
                .unwrap();
        assert_eq!((report.files, report.failed.len()), (3, 0));
        for name in ["a/large", "a/small", "b", "c"] {
            let same = fs::read(at("out").join(name)).unwrap()
                == fs::read(dir.path().join("source").join(name)).unwrap();
            assert!(same, "{name} of {}", fixture.display());
        }
        assert_eq!(fs::read_link(at("out").join("d")).unwrap(), Path::new("a//small"));
        let sealed = fs::read(fixture.join("ledger.sealed")).unwrap();
        assert_eq!(Ledger::open("ledger", &sealed, &key(), Some(&v())).unwrap().kept, a_ledger().kept);
        assert!(manifests::decode(&fs::read(fixture.join("manifest.cbor")).unwrap()).is_some());
    }
    for (name, made) in made {
        let kept = fs::read(BACKUPS.present().join(name)).unwrap();
        let show = |bytes: &[u8]| match name {
            "derived.txt" => String::from_utf8_lossy(bytes).into_owned(),
            _ => hex::encode(bytes),
        };
        BACKUPS.unchanged(name, &show(&kept), &show(&made));
    }
}
