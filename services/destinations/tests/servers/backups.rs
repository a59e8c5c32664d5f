//! Backups from the first to a prune, on each server.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;

use bkv_backups::backup::{Options, Source, backup};
use bkv_backups::destination::{Destination, Listed};
use bkv_backups::prune::{GRACE_MS, condemn, sweep};
use bkv_backups::restore::{self, restore};
use bkv_backups::verify::{self, Verdict, verify};
use bkv_backups::{Access, Outside, Reading, StateFile, Which, Writer, open};
use bkv_test_servers::{S3, Tls, WebDav};

use crate::common::{Bench, assert_same, control, fill, noise};
use crate::places::{s3, webdav};

/// Backs up, and returns the number of new bytes.
pub(crate) fn back_up(bench: &Bench, place: &dyn Destination) -> bkv_backups::Result<u64> {
    bench.now.add(60_000);
    let outside = Outside { destination: place, ..bench.outside() };
    let mut writer = Writer::open(outside, StateFile::lock(&bench.state_path("a"), false)?, true)?;
    let options = Options { label: "docs".into(), ..Options::default() };
    let report = backup(&mut writer, Source::Folders(&[bench.source()]), &options, control())?;
    assert!(report.manifest.is_complete(), "{report:?}");
    Ok(report.manifest.counts.new_bytes)
}

/// Restores as a new device that knows what the vault knows.
pub(crate) fn restores(bench: &Bench, place: &dyn Destination, which: Which) -> std::path::PathBuf {
    let access = Access { destination: place, ..bench.access() };
    let library = open(access, &bench.expected(), false).unwrap();
    assert!(library.unreadable.is_empty(), "{:?}", library.unreadable);
    let reading = Reading::open(access, library.choose(None, which).unwrap()).unwrap();
    let to = tempfile::tempdir().unwrap().keep();
    let report =
        restore(&reading, &to, &restore::Options { in_flight: 4, ..restore::Options::default() }, control());
    assert!(report.unwrap().failed.is_empty());
    to
}

fn bytes_of_objects(place: &dyn Destination) -> u64 {
    let mut bytes = 0;
    for account in place.folders("").unwrap() {
        let count = &mut |listed: Listed| {
            bytes += listed.meta.length;
            ControlFlow::Continue(())
        };
        place.list(&account, count).unwrap();
    }
    bytes
}

fn life(place: &dyn Destination) {
    let bench = Bench::default();
    fill(&bench.source());
    fs::write(bench.source().join("big"), noise(8, 40 << 20)).unwrap();
    let first = back_up(&bench, place).unwrap();
    fs::write(bench.source().join("big"), noise(9, 3 << 20)).unwrap();
    let second = back_up(&bench, place).unwrap();
    assert!(first > 40 << 20 && second < 8 << 20, "{first} {second}");
    let to = restores(&bench, place, Which::Latest);
    assert_same(&bench.source(), &to);
    fs::remove_dir_all(to).unwrap();
    let to = restores(&bench, place, Which::Number(1));
    assert!(fs::read(to.join("big")).unwrap() == noise(8, 40 << 20));
    fs::remove_dir_all(to).unwrap();

    let access = Access { destination: place, ..bench.access() };
    let library = open(access, &bench.expected(), false).unwrap();
    let mut verdict = Verdict::default();
    for history in &library.histories {
        verify(access, history, None, verify::Options::default(), &mut verdict, control()).unwrap();
    }
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);

    let before = bytes_of_objects(place);
    let outside = Outside { destination: place, ..bench.outside() };
    let writer =
        || Writer::open(outside, StateFile::lock(&bench.state_path("a"), false).unwrap(), true).unwrap();
    let series = writer().ledger().series[0].id;
    condemn(&mut writer(), &BTreeSet::from([(series, 1)]), control()).unwrap();
    bench.now.add(GRACE_MS + 1);
    let swept = sweep(&mut writer(), true, control()).unwrap();
    assert!(swept.generations == 1 && swept.objects > 0, "{swept:?}");
    let after = bytes_of_objects(place);
    assert!(after < before - (39 << 20), "{before} {after} {swept:?}");
    let to = restores(&bench, place, Which::Latest);
    assert_same(&bench.source(), &to);
    fs::remove_dir_all(to).unwrap();
}

#[test]
fn a_series_lives_on_s3() {
    let Some(server) = S3::start() else { return };
    life(&s3(&server, "of anna"));
}

#[test]
fn a_series_lives_on_webdav() {
    let server = WebDav::start(Tls::Off);
    life(&webdav(&server, "of anna"));
}
