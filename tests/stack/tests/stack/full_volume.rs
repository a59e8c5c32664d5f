//! A vault on a volume without any room: it starts with its reserve, reports it, and serves what needs no room.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use bkv_stack_tests::admin::call;
use bkv_stack_tests::chatd::{metric, section};
use bkv_stack_tests::folder::{SmallDisk, copy};
use bkv_stack_tests::{Fleet, RIGHT, wait};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn s27_a_vault_starts_on_a_full_disk_with_its_reserve() {
    let fleet = Fleet::with(&["--shards", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let region = fleet.regions().remove(0);
    let folder = fleet.dir().join("regions").join(&region);
    let (data, volume) = (folder.join("data"), fleet.path("volume"));
    fleet.region("stop", &region);
    let Some(disk) = SmallDisk::mount(&volume, "256m") else {
        println!("skipped: this machine lets the test mount nothing");
        return;
    };
    copy(&data, &volume.join("data"));
    let config = folder.join("vault.toml");
    let text = fs::read_to_string(&config).unwrap();
    let mut settings: toml::Table = text.parse().unwrap();
    settings.insert("data".into(), volume.join("data").display().to_string().into());
    let room = section(&mut settings, "volume");
    room.insert("keep_free_mib".into(), 20.into());
    room.insert("reserve_mib".into(), 64.into());
    fs::write(&config, settings.to_string()).unwrap();
    fleet.start(&region);
    let reserve = volume.join("data/reserve");
    wait("the reserve", SOON, || reserve.exists());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 64 << 20);
    let status = |field: &str| call(&fleet, &region, "/v1/status", None).1["volume"][field].clone();
    assert_eq!(status("full"), Value::Bool(false));

    fleet.region("kill", &region);
    let mut filler = fs::File::create(volume.join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
    drop(filler);
    fleet.start(&region);
    assert!(!reserve.exists(), "the reserve was needed");
    fs::write(volume.join("filler2"), vec![7; 50 << 20]).unwrap();
    wait("the vault to report its full volume", SOON, || status("full") == Value::Bool(true));
    let health = fleet.port(&region, "health");
    assert_eq!(metric(health, "bkv_vault_volume_full"), 1);
    assert_eq!(status("reserve"), Value::Bool(false));
    // The person's key is there in any case. Whether this vault leads decides who answers.
    assert_eq!(alice.tries_left(), 10);

    fs::remove_file(volume.join("filler")).unwrap();
    fs::remove_file(volume.join("filler2")).unwrap();
    wait("room again", SOON, || status("full") == Value::Bool(false) && reserve.exists());
    assert_eq!(metric(health, "bkv_vault_volume_full"), 0);
    fleet.wait_ready(3);
    alice.recover("again", RIGHT).expect(0);
    fleet.region("stop", &region);
    drop(disk);
}
