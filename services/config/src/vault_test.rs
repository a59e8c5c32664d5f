use super::*;

pub(crate) const GOOD: &str = r#"
region = "eu-west"
data = "data"
root = "/etc/bkv/root.bin"
shards = 4
[token]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "eu-west"
pin_file = "pin"
[listen]
peer = "127.0.0.1:1"
relay = "127.0.0.1:2"
admin = "127.0.0.1:3"
health = "127.0.0.1:4"
[peers]
us-east = "10.0.0.2:7000"
[tls]
cert = "tls.crt"
key = "tls.key"
ca = "ca.crt"
"#;

#[test]
fn a_good_file_is_read_and_its_paths_are_relative_to_it() {
    let c = Config::parse(GOOD, Path::new("/srv/vault")).unwrap();
    assert_eq!(c.data, Path::new("/srv/vault/data"));
    assert_eq!(c.root, Path::new("/etc/bkv/root.bin"));
}

#[test]
fn a_seed_region_makes_the_root_of_the_named_fleet() {
    assert!(Config::parse(GOOD, Path::new("/")).unwrap().make_root.is_none());
    let text =
        GOOD.replace("[listen]", "[make_root]\nfleet = \"000102030405060708090a0b0c0d0e0f\"\n[listen]");
    let made = Config::parse(&text, Path::new("/")).unwrap().make_root.unwrap();
    assert_eq!(made.fleet.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn every_bad_field_is_named() {
    let cases = [
        ("region = \"eu-west\"", "region = \"eu west\"", "region"),
        ("shards = 4", "shards = 0", "shards"),
        ("shards = 4", "shard = 4", "shard"),
        ("peer = \"127.0.0.1:1\"", "peer = \"nowhere\"", "peer"),
        ("relay = \"127.0.0.1:2\"", "relay = \"127.0.0.1:1\"", "listen"),
        ("us-east = \"10.0.0.2:7000\"", "us-east = \"10.0.0.2\"", "us-east"),
        ("[tls]", "[network]\nmax_round_trip_ms = 5\n[tls]", "network"),
        ("pin_file = \"pin\"", "pin = \"1234\"", "pin"),
        ("ca = \"ca.crt\"", "", "ca"),
        ("[listen]", "[make_root]\nfleet = \"00112233\"\n[listen]", "fleet"),
        ("[listen]", "[make_root]\nfleet = \"00000000000000000000000000000000\"\n[listen]", "fleet"),
        ("[listen]", "[make_root]\nkey = \"k\"\n[listen]", "key"),
        ("module = \"/usr", "module = \"usr", "token.module"),
        ("pin_file = \"pin\"", "pin_file = \"pin\"\npool = 0", "token.pool"),
        ("us-east = \"10.0.0.2:7000\"", "us-east = \"10.0.0.2:7000\"\neu-north = \"10.0.0.2:7000\"", "peers"),
        ("us-east = \"10.0.0.2:7000\"", "\"US east\" = \"10.0.0.2:7000\"", "peers"),
    ];
    for (from, to, name) in cases {
        let e = Config::parse(&GOOD.replace(from, to), Path::new("/")).unwrap_err().to_string();
        assert!(e.contains(name), "{name}: {e}");
    }
}

/// Otherwise a new field of `[raft]` would change the text of every fleet that sets another one.
#[test]
fn a_timing_left_at_its_default_is_not_written() {
    let mut c = Config::parse(GOOD, Path::new("/srv/vault")).unwrap();
    c.raft.heartbeat_ms = 50;
    let text = toml::to_string(&c).unwrap();
    assert_eq!(text.split_once("[raft]\n").unwrap().1, "heartbeat_ms = 50\n", "{text}");
    assert_eq!(Config::parse(&text, Path::new("/")).unwrap(), c);
}

/// Each pod template contains a hash of this text, so the written text must not change.
#[test]
fn defaults_are_not_written() {
    let c = Config::parse(GOOD, Path::new("/srv/vault")).unwrap();
    let text = toml::to_string(&c).unwrap();
    assert!(
        !text.contains("raft")
            && !text.contains("volume")
            && !text.contains("make_root")
            && !text.contains("pool"),
        "{text}"
    );
    assert_eq!(Config::parse(&text, Path::new("/elsewhere")).unwrap(), c);
}

#[test]
fn a_volume_keeps_five_percent_or_half_a_gibibyte_free() {
    let c = Config::parse(GOOD, Path::new("/")).unwrap();
    assert_eq!([1 << 30, 1 << 40].map(|size| c.volume.keep_free(size) >> 20), [51, 512]);
    assert_eq!(c.volume.reserve() >> 20, 64);
    let text = format!("{GOOD}[volume]\nkeep_free_mib = 7\nreserve_mib = 0\n");
    let chosen = Config::parse(&text, Path::new("/")).unwrap().volume;
    assert_eq!((chosen.keep_free(1 << 40) >> 20, chosen.reserve()), (7, 0));
}
