//! A fleet with an in-fleet root, made as the operator makes one: through the admin ports, with nothing of the root outside the vaults but its public half
//! and ciphertext.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bkv_core::document::Member;
use bkv_core::id::{Slot, Time};
use bkv_crypto::delivery::DeliveryKey;
use bkv_stack_tests::chatd::metric;
use bkv_stack_tests::pods::{Pods, SHARDS};
use bkv_stack_tests::program::skipped;
use bkv_stack_tests::wait;
use bkv_wire::documents::{
    Kind, Root, RootKey, add_signature, open_root, unsigned, write_admission, write_policy,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use zeroize::Zeroizing;

const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const FLEET: &str = "000102030405060708090a0b0c0d0e0f";

fn make_root() -> String {
    format!("[make_root]\nfleet = \"{FLEET}\"")
}

fn decoded(json: &Value) -> Vec<u8> {
    STANDARD.decode(json.as_str().expect("base64")).unwrap()
}

/// Asks a region to sign. Returns the status and the signed document, if there is one.
#[track_caller]
fn sign(pods: &Pods, region: &str, kind: Kind, document: Vec<u8>) -> (u16, Vec<u8>) {
    let (status, answer) = pods.call(region, &format!("/v1/root/sign?kind={}", kind.name()), Some(document));
    (status, if status == 200 { decoded(&answer["signed"]) } else { Vec::new() })
}

#[track_caller]
fn install(pods: &Pods, region: &str, kind: Kind, signed: &[u8]) {
    let (status, answer) = pods.call(region, &format!("/v1/{}", kind.name()), Some(signed.to_vec()));
    assert_eq!(status, 200, "{region}: {answer}");
}

/// All regions with tokens, started; the root as the seed gave it, put where the others pin it.
#[track_caller]
fn up(mut pods: Pods) -> (Pods, Root) {
    for region in REGIONS {
        pods.init_token(region).expect(0, &["made"]);
    }
    pods.start(REGIONS[0]);
    let (status, answer) = pods.call(REGIONS[0], "/v1/root", None);
    assert_eq!((status, &answer["held"]), (200, &Value::Bool(true)), "{answer}");
    let file = decoded(&answer["root"]);
    assert_eq!(fs::read(pods.folder(REGIONS[0]).join("data/root.bin")).unwrap(), file);
    for region in &REGIONS[1..] {
        fs::write(pods.folder(region).join("root.bin"), &file).unwrap();
        pods.start(region);
        let (_, theirs) = pods.call(region, "/v1/root", None);
        assert_eq!((&theirs["root"], &theirs["held"]), (&answer["root"], &Value::Bool(false)));
        assert_eq!(theirs["fingerprint"], answer["fingerprint"]);
    }
    let root = Root::decode(&file).unwrap();
    assert_eq!(root.fleet.to_string(), FLEET);
    (pods, root)
}

/// Seed makes the root → token parts → unsigned documents → signed at the seed → installed everywhere → init → ready.
#[track_caller]
fn made() -> (Pods, Root, Vec<Member>) {
    let (pods, root) = up(Pods::new(&REGIONS, &make_root()));
    let members = installed(&pods, &root);
    assert_eq!(pods.call(REGIONS[0], "/v1/init", Some(Vec::new())).0, 200);
    all_ready(&pods);
    (pods, root, members)
}

#[track_caller]
fn all_ready(pods: &Pods) {
    for region in REGIONS {
        pods.wait_status(region, "ready", |s| s["ready"] == true);
    }
}

/// Admission list and policy, signed at the seed.
#[track_caller]
fn installed(pods: &Pods, root: &Root) -> Vec<Member> {
    let members = pods.members();
    let list = unsigned(Kind::Admission, write_admission(&pods.admission(root, 1, members.clone())).unwrap());
    let policy = unsigned(Kind::Policy, write_policy(&pods.policy(root, 1)).unwrap());
    let (_, list) = sign(pods, REGIONS[0], Kind::Admission, list);
    let (_, policy) = sign(pods, REGIONS[0], Kind::Policy, policy);
    for region in REGIONS {
        install(pods, region, Kind::Admission, &list);
        install(pods, region, Kind::Policy, &policy);
    }
    members
}

#[track_caller]
fn hand_over(pods: &Pods, from: &str, to: &str, slot: u64) -> (u16, Value) {
    let (status, answer) = pods.call(from, "/v1/root/sealed", None);
    assert_eq!(status, 200, "{answer}");
    let all = answer["for"].as_array().unwrap();
    let sealed = all.iter().find(|s| s["slot"] == slot).expect("sealed for the slot");
    pods.call(to, "/v1/root/sealed", Some(json!({ "sealed": sealed["sealed"] }).to_string().into_bytes()))
}

/// The whole life of an in-fleet root: made through the admin ports alone, handed over, and used by another vault once the seed is gone. In the end the
/// administrator does what no check can stop: they admit a vault of their own and get the key. With that the test searches for the key everywhere.
#[test]
fn an_in_fleet_root_is_made_used_handed_over_and_never_shown() {
    let (mut pods, root, members) = made();
    for region in REGIONS {
        let status = pods.call(region, "/v1/status", None).1;
        assert_eq!(status["fleet"], FLEET, "{status}");
        assert_eq!(status["root_held"], region == REGIONS[0], "{status}");
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
        assert!(status["capabilities"].as_array().unwrap().contains(&"EcdsaP256".into()), "{status}");
        assert_eq!(metric(pods.health(region), "bkv_fleet_bundle_number"), 2);
        assert_eq!(metric(pods.health(region), "bkv_vault_shards_configured"), i64::from(SHARDS));
    }
    // The seed encrypts the root key for each other region only.
    assert_eq!(
        pods.call(REGIONS[1], "/v1/root/sealed", None).0,
        409,
        "a vault without the root hands nothing over"
    );
    let (_, answer) = pods.call(REGIONS[0], "/v1/root/sealed", None);
    let slots: Vec<u64> =
        answer["for"].as_array().unwrap().iter().map(|s| s["slot"].as_u64().unwrap()).collect();
    assert_eq!(slots, [2, 3]);
    assert_eq!(hand_over(&pods, REGIONS[0], REGIONS[1], 3).0, 422, "another slot's");
    assert_eq!(pods.call(REGIONS[1], "/v1/root", None).1["held"], false);
    for body in ["{}", "{\"sealed\": \"!\"}", ""] {
        assert_eq!(pods.call(REGIONS[1], "/v1/root/sealed", Some(body.into())).0, 400, "{body}");
    }
    assert_eq!(hand_over(&pods, REGIONS[0], REGIONS[1], 2).0, 200);
    assert_eq!(hand_over(&pods, REGIONS[0], REGIONS[1], 2).0, 200, "again is free");
    assert_eq!(pods.call(REGIONS[1], "/v1/root", None).1["held"], true);
    // The seed dies with its volume; the other one signs, and still does after a restart.
    pods.stop(REGIONS[0], Signal::KILL);
    for number in [2, 3] {
        let policy = unsigned(Kind::Policy, write_policy(&pods.policy(&root, number)).unwrap());
        let (status, signed) = sign(&pods, REGIONS[1], Kind::Policy, policy);
        assert_eq!(status, 200);
        for region in &REGIONS[1..] {
            install(&pods, region, Kind::Policy, &signed);
        }
        pods.wait_status(REGIONS[2], "the new policy", |s| s["policy"] == number);
        pods.stop(REGIONS[1], Signal::TERM).expect(0, &[]);
        pods.start(REGIONS[1]);
        assert_eq!(pods.call(REGIONS[1], "/v1/root", None).1["held"], true);
    }
    // The attack that an in-fleet root does not stop.
    let own = DeliveryKey::generate().unwrap();
    let mut list = members;
    list[2].delivery = own.public().to_vec();
    let list = unsigned(Kind::Admission, write_admission(&pods.admission(&root, 2, list)).unwrap());
    let (_, list) = sign(&pods, REGIONS[1], Kind::Admission, list);
    install(&pods, REGIONS[1], Kind::Admission, &list);
    let (_, answer) = pods.call(REGIONS[1], "/v1/root/sealed", None);
    let sealed = answer["for"].as_array().unwrap().iter().find(|s| s["slot"] == 3).unwrap();
    let key: RootKey = open_root(&own, &root, Slot(3), &decoded(&sealed["sealed"])).unwrap();
    assert_eq!(key.public(), root.keys[0]);
    // The search finds the key nowhere. The control shows that it would find it.
    assert_eq!(pods.seen(key.seed().as_slice()), Vec::<String>::new());
    fs::write(pods.folder(REGIONS[2]).join("found"), key.seed().as_slice()).unwrap();
    assert_eq!(pods.seen(key.seed().as_slice()).len(), 1);
}

/// Which regions refuse to sign, and which documents a region refuses to sign.
#[test]
fn only_acceptable_documents_are_signed_and_only_where_the_root_is_held() {
    let (pods, root, members) = made();
    let seed = REGIONS[0];
    let policy = |p| unsigned(Kind::Policy, write_policy(&p).unwrap());
    let good = policy(pods.policy(&root, 2));
    assert_eq!(sign(&pods, REGIONS[1], Kind::Policy, good.clone()).0, 409);
    assert_eq!(pods.call(seed, "/v1/root/sign", Some(good.clone())).0, 400);
    assert_eq!(pods.call(seed, "/v1/root/sign?kind=root", Some(good.clone())).0, 400);
    assert_eq!(sign(&pods, seed, Kind::Admission, good.clone()).0, 422, "another kind");
    assert_eq!(sign(&pods, seed, Kind::Policy, b"\xff\xff".to_vec()).0, 422);
    let mut other = pods.policy(&root, 1);
    other.attempts.max = 9;
    assert_eq!(sign(&pods, seed, Kind::Policy, policy(other)).0, 422, "a number in force");
    let mut old = pods.policy(&root, 2);
    old.not_after = Time(old.not_before.0 + 1000);
    assert_eq!(sign(&pods, seed, Kind::Policy, policy(old)).0, 422, "in the past");
    let far = policy(pods.policy(&root, 2_000));
    assert_eq!(
        sign(&pods, seed, Kind::Policy, far).0,
        422,
        "a number so far ahead that no higher one would be left"
    );
    let mut long = pods.policy(&root, 2);
    long.not_after = Time(long.not_before.0 + 3 * 366 * 24 * 3_600_000);
    assert_eq!(sign(&pods, seed, Kind::Policy, policy(long)).0, 422, "valid for too long");
    let foreign = RootKey::from_seed(&Zeroizing::new([1; 32]));
    let elsewhere = Root { keys: vec![foreign.public()], ..root.clone() };
    assert_eq!(sign(&pods, seed, Kind::Policy, policy(pods.policy(&elsewhere, 2))).0, 422, "another fleet's");
    let signed = add_signature(Kind::Policy, &good, &foreign).unwrap();
    assert_eq!(sign(&pods, seed, Kind::Policy, signed).0, 422, "signed already");
    // A repeated request gives the same result. A document that is in force may be signed again.
    let list = pods.admission(&root, 2, members);
    let list = unsigned(Kind::Admission, write_admission(&list).unwrap());
    let (_, first) = sign(&pods, seed, Kind::Admission, list.clone());
    assert_eq!(sign(&pods, seed, Kind::Admission, list.clone()), (200, first.clone()));
    install(&pods, seed, Kind::Admission, &first);
    assert_eq!(sign(&pods, seed, Kind::Admission, list), (200, first));
    assert_eq!(sign(&pods, seed, Kind::Policy, good).0, 200);
}

/// A seed whose volume is gone reports that and makes no second root. A seed whose root file is gone writes it again.
#[test]
fn a_seed_never_makes_a_second_root() {
    let mut pods = Pods::new(&REGIONS, &make_root());
    let seed = REGIONS[0];
    pods.init_token(seed).expect(0, &["made"]);
    pods.start(seed);
    let root = pods.call(seed, "/v1/root", None).1;
    let data = pods.folder(seed).join("data");
    pods.stop(seed, Signal::KILL);
    fs::remove_file(data.join("root.bin")).unwrap();
    pods.start(seed);
    assert_eq!(pods.call(seed, "/v1/root", None).1, root);
    assert_eq!(fs::read(data.join("root.bin")).unwrap(), decoded(&root["root"]));
    pods.stop(seed, Signal::TERM).expect(0, &[]);
    // The store is lost, the root file is not; then both.
    fs::remove_file(data.join("vault.redb")).unwrap();
    pods.start(seed);
    pods.ended(seed).expect(70, &["root.bin", "The vault makes no second root"]);
    fs::remove_dir_all(&data).unwrap();
    pods.start(seed);
    pods.ended(seed).expect(70, &["The vault makes no second root", "earlier life"]);
    assert!(!data.join("root.bin").exists());
}

/// Init container and first start are killed at many moments. The next start continues with one token and one root.
#[test]
fn killed_at_any_moment_of_its_first_start_a_seed_comes_up_with_one_root() {
    const ROUNDS: u32 = 24;
    // How long both take here, undisturbed: the kills are spread over twice that.
    let mut pods = Pods::new(&REGIONS[..1], &make_root());
    let began = Instant::now();
    pods.init_token(REGIONS[0]).expect(0, &["made"]);
    let token_takes = began.elapsed();
    pods.start(REGIONS[0]);
    let began = Instant::now();
    let file = pods.folder(REGIONS[0]).join("data/root.bin");
    wait("a root", Duration::from_secs(30), || file.exists());
    let root_takes = began.elapsed();
    let (mut without, mut with, mut half_tokens) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut pods = Pods::new(&REGIONS[..1], &make_root());
        let seed = REGIONS[0];
        let tokens = pods.folder(seed).join("token-volume/tokens");
        pods.init_token_killed(seed, token_takes * 2 * round / ROUNDS);
        // There is a whole token or none. The child that makes it may outlive its parent for a moment.
        half_tokens += u32::from(pods.folder(seed).join("token-volume/.making-tokens").exists());
        let made = tokens.exists();
        pods.init_token(seed).expect(0, &[if made { "exists" } else { "made" }]);
        assert_eq!(fs::read_dir(&tokens).unwrap().count(), 1, "round {round}");
        pods.start(seed);
        let file = pods.folder(seed).join("data/root.bin");
        if round == ROUNDS - 1 {
            // One kill certainly comes after the root is written, however slow the machine has become since the measurement.
            wait("a root", Duration::from_secs(30), || file.exists());
        } else {
            std::thread::sleep(root_takes * 2 * round / ROUNDS);
        }
        pods.stop(seed, Signal::KILL);
        let seen = fs::read(&file).ok();
        pods.start(seed);
        let (status, answer) = pods.call(seed, "/v1/root", None);
        assert_eq!((status, &answer["held"]), (200, &Value::Bool(true)), "round {round}: {answer}");
        match seen {
            Some(root) => {
                assert_eq!(root, decoded(&answer["root"]), "round {round}");
                with += 1;
            }
            None => without += 1,
        }
    }
    eprintln!(
        "killed {without} times before the root was there and {with} times after; {half_tokens} half tokens"
    );
    assert!(with > 0 && without > 0, "{without} before, {with} after: the schedule misses the moment");
}

/// Names of peers as in a cluster: they do not resolve at the first start, and have another address after a restart.
#[test]
fn vaults_wait_for_names_and_follow_them() {
    let Some(pods) = Pods::named(&REGIONS, &make_root()) else {
        return skipped("names of peers", "this machine does not let the test have a mount namespace");
    };
    let (mut pods, root) = up(pods);
    installed(&pods, &root);
    for region in REGIONS {
        let status = pods.call(region, "/v1/status", None).1;
        assert!(status["ready"] == false && pods.runs(region), "{status}");
    }
    let here: Vec<(&str, &str)> = REGIONS.iter().map(|r| (*r, "127.0.0.1")).collect();
    pods.resolve(&here);
    assert_eq!(pods.call(REGIONS[0], "/v1/init", Some(Vec::new())).0, 200);
    all_ready(&pods);
    for (i, region) in REGIONS.iter().enumerate().skip(1) {
        let address = format!("127.0.0.{}", i + 1);
        pods.stop(region, Signal::KILL);
        pods.move_to(region, &address);
        let mut moved = here.clone();
        moved[i].1 = &address;
        pods.resolve(&moved);
        pods.start(region);
        all_ready(&pods);
        pods.stop(region, Signal::KILL);
        let config = pods.folder(region).join("vault.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text.replace(&format!("peer = \"{address}:"), "peer = \"127.0.0.1:")).unwrap();
        pods.resolve(&here);
        pods.start(region);
        all_ready(&pods);
    }
}

/// The init container makes the token once. Each reason why it can't has its own exit code.
#[test]
fn init_token_makes_a_token_once_and_names_each_mistake() {
    let pods = Pods::new(&REGIONS[..1], &make_root());
    let region = REGIONS[0];
    let folder = pods.folder(region);
    let pin = folder.join("pin");
    let put = |text: &str| {
        fs::write(&pin, text).unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o440)).unwrap();
    };
    let right = fs::read_to_string(&pin).unwrap();
    fs::remove_file(&pin).unwrap();
    pods.init_token(region).expect(66, &["pin"]);
    put("");
    pods.init_token(region).expect(66, &["empty"]);
    assert!(!folder.join("token-volume/tokens").exists());
    put(&right);
    fs::set_permissions(folder.join("softhsm2.conf"), fs::Permissions::from_mode(0o444)).unwrap();
    pods.init_token(region).expect(0, &["made"]);
    pods.init_token(region).expect(0, &["exists"]);
    put("not-this-one");
    let end = pods.init_token(region);
    end.expect(65, &["refuses the PIN"]);
    assert!(!end.err.contains("not-this-one") && !end.out.contains("not-this-one"));
    put(&right);
    pods.init_token(region).expect(0, &["exists"]);
    let config = fs::read_to_string(folder.join("vault.toml")).unwrap();
    fs::write(
        folder.join("vault.toml"),
        config.replace("token_label = \"eu-west\"", "token_label = \"other\""),
    )
    .unwrap();
    pods.init_token(region).expect(70, &["eu-west"]);
    fs::write(folder.join("vault.toml"), config.replace("pool = 2", "pool = 0")).unwrap();
    pods.init_token(region).expect(64, &["token.pool"]);
}
