//! What every destination must do: a folder, S3 and WebDAV pass the same list.

use std::fs;
use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};

use bkv_backups::Destination;
use bkv_backups::destination::{Fault, LocalFolder};
use bkv_test_servers::{S3, Tls, WebDav};

use crate::common::noise;
use crate::places::{s3, webdav, webdav_with};

/// Names below a folder.
fn listed(place: &dyn Destination, folder: &str) -> Vec<String> {
    let mut names = Vec::new();
    place
        .list(folder, &mut |listed| {
            names.push(listed.name);
            ControlFlow::Continue(())
        })
        .unwrap();
    names.sort();
    names.dedup();
    names
}

fn contract(place: &dyn Destination) {
    writes_and_reads(place);
    keeps_what_is_there(place);
    lists(place);
    deletes(place);
}

fn writes_and_reads(place: &dyn Destination) {
    let bytes = noise(1, 100_000);
    place.write("w/x/object", &bytes).unwrap();
    for (range, want) in [
        (0..100_000, &bytes[..]),
        (0..100_001, &bytes[..]),
        (0..u64::MAX, &bytes[..]),
        (10..20, &bytes[10..20]),
        (99_990..200_000, &bytes[99_990..]),
        (100_000..100_001, &[]),
        (200_000..300_000, &[]),
        (5..5, &[]),
    ] {
        assert!(place.read("w/x/object", 0, range.clone()).unwrap() == want, "{range:?}");
    }
    place.write("w/x/empty", b"").unwrap();
    assert_eq!(place.read("w/x/empty", 0, 0..10).unwrap(), b"");
    assert_eq!(place.stat("w/x/empty").unwrap()[0].length, 0);
    let found = place.stat("w/x/object").unwrap();
    assert_eq!((found.len(), found[0].length), (1, 100_000));
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!((found[0].modified_ms.unwrap() - now).abs() < 600_000, "{found:?}");
    for name in ["w/x/none", "none/none/none"] {
        assert_eq!(place.read(name, 0, 0..10), Err(Fault::NotFound), "{name}");
        assert_eq!(place.stat(name).unwrap(), [], "{name}");
    }
    assert_eq!(place.read("w/x/object", 1, 0..10), Err(Fault::NotFound));
    // A folder is no object.
    assert_eq!(place.stat("w/x").unwrap(), []);
    for name in ["", "a//b", "/a", "a/", "../a", "a/./b"] {
        assert!(matches!(place.write(name, b"x"), Err(Fault::Other(_))), "{name:?}");
        assert!(matches!(place.read(name, 0, 0..1), Err(Fault::Other(_))), "{name:?}");
    }
    // The largest object.
    let largest = noise(2, 32 << 20);
    place.write("w/largest", &largest).unwrap();
    assert!(place.read("w/largest", 0, 0..(32 << 20) + 1).unwrap() == largest);
}

fn keeps_what_is_there(place: &dyn Destination) {
    place.write("k/object", b"the first").unwrap();
    assert_eq!(place.write("k/object", b"the second"), Err(Fault::Exists));
    assert_eq!(place.write("k/object", b"the first"), Err(Fault::Exists));
    assert_eq!(place.read("k/object", 0, 0..100).unwrap(), b"the first");
}

fn lists(place: &dyn Destination) {
    let names = ["l/a/1", "l/a/2", "l/b/deep/3", "l/top"];
    std::thread::scope(|scope| {
        for name in names.iter().chain(&["lo/other"]) {
            scope.spawn(|| place.write(name, name.as_bytes()).unwrap());
        }
    });
    assert_eq!(listed(place, "l"), names);
    assert_eq!(listed(place, "l/a"), names[..2]);
    assert_eq!(listed(place, "none"), [""; 0]);
    place
        .list("l", &mut |listed| {
            assert_eq!(listed.meta.length, listed.name.len() as u64);
            assert!(listed.meta.modified_ms.is_some());
            ControlFlow::Continue(())
        })
        .unwrap();
    let mut seen = 0;
    let mut first_only = |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    place.list("l", &mut first_only).unwrap();
    assert_eq!(seen, 1);
    assert_eq!(place.folders("l").unwrap(), ["a", "b"]);
    assert_eq!(place.folders("l/a").unwrap(), [""; 0]);
    assert_eq!(place.folders("none").unwrap(), [""; 0]);
    let root = place.folders("").unwrap();
    assert!(["l", "lo", "w"].iter().all(|name| root.contains(&(*name).to_owned())), "{root:?}");
}

fn deletes(place: &dyn Destination) {
    place.write("d/object", b"x").unwrap();
    place.write("d/other", b"x").unwrap();
    place.delete("d/object").unwrap();
    assert_eq!(place.stat("d/object").unwrap(), []);
    assert_eq!(listed(place, "d"), ["d/other"]);
    place.delete("d/object").unwrap();
    place.delete("none/none").unwrap();
    place.write("d/object", b"again").unwrap();
    assert_eq!(place.read("d/object", 0, 0..9).unwrap(), b"again");
}

#[test]
fn a_folder_does_it() {
    let dir = tempfile::tempdir().unwrap();
    contract(&LocalFolder::new(dir.path()));
}

#[test]
fn an_s3_server_does_it() {
    let Some(server) = S3::start() else { return };
    contract(&s3(&server, "a prefix/of mine+%41"));
    let whole = s3(&server, "");
    assert!(whole.exists().unwrap());
    assert!(whole.folders("").unwrap().contains(&"a prefix".to_owned()));
    // Many threads, one winner.
    let place = s3(&server, "race");
    let won: Vec<bool> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let place = &place;
                    move || place.write("x", &[n; 1000]).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
}

#[test]
fn a_webdav_server_does_it() {
    let server = WebDav::start(Tls::Off);
    let place = webdav(&server, "new/Ordner ä+%41");
    assert!(!place.exists().unwrap());
    contract(&place);
    assert!(place.exists().unwrap());
    assert!(server.root().join("new/Ordner ä+A/w/largest").exists());
}

#[test]
fn a_webdav_server_with_a_certificate_does_it() {
    let server = WebDav::start(Tls::On);
    contract(&webdav_with(&server, "", WebDav::LOGIN.1, Some(server.authority())));
}

/// 2,300 objects in one folder and 300 folders: S3 answers with a thousand names at once, and folders are asked for one by one.
#[test]
fn a_long_list_is_whole() {
    let fill = |root: &std::path::Path| {
        for n in 0..2600 {
            let folder = if n < 2300 { root.join("many") } else { root.join(format!("f{n}")) };
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{n:04}")), "x").unwrap();
        }
    };
    let check = |place: &dyn Destination| {
        let all = listed(place, "long");
        let numbers: std::collections::BTreeSet<_> = all.iter().map(|name| &name[name.len() - 4..]).collect();
        assert_eq!((all.len(), numbers.len()), (2600, 2600));
        assert_eq!(place.folders("long").unwrap().len(), 301);
    };
    let Some(server) = S3::start() else { return };
    fill(&server.root().join(S3::BUCKET).join("p/long"));
    check(&s3(&server, "p"));
    let server = WebDav::start(Tls::Off);
    fill(&server.root().join("p/long"));
    check(&webdav(&server, "p"));
}
