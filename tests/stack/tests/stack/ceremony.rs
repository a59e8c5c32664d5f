//! The root's ceremony: the key stays on a machine without network, the operator carries documents there and back, and vaults accept nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_core::document::{JwksSource, Policy};
use bkv_core::id::{Hash, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_stack_tests::program::{Program, skipped};
use bkv_stack_tests::terminal::Terminal;
use bkv_stack_tests::{Answer, Fleet, RIGHT, admin, bin_dir, bkv};
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, unsigned, write_policy};

const HOUR: u64 = 3_600_000;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A policy like the one of `bkv dev`.
fn policy(fleet: &Fleet, root: &Root, number: u64) -> Policy {
    policy_of(fs::read_to_string(fleet.dir().join("issuer/jwks.json")).unwrap(), root, number)
}

fn policy_of(jwks: String, root: &Root, number: u64) -> Policy {
    Policy {
        lineage: root.lineage(),
        era: root.era,
        number,
        not_before: Time(now() - HOUR),
        not_after: Time(now() + 24 * HOUR),
        issuer: "https://issuer.bkv.localhost".into(),
        vault_audience: "bkv-vault".into(),
        chatd_audience: "bkv-chatd".into(),
        jwks: JwksSource::Inline(jwks),
        enrolment_claim: None,
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0],
            last_try_ms: 10_000,
            attempt_ms: 60_000,
        },
        store_ms: 60_000,
        ksf_floor: KsfParams { memory_kib: 19 << 10, passes: 2, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 1 << 20, passes: 10, lanes: 4 },
        token_max_age_ms: 600_000,
        bound_tokens: false,
        shards: 4,
        hash: Hash([0; 32]),
        development: root.development,
    }
}

fn document(p: &Policy) -> Vec<u8> {
    unsigned(Kind::Policy, write_policy(p).unwrap())
}

struct Table {
    dir: tempfile::TempDir,
}

impl Table {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.at(name)
    }

    fn root(&self, name: &str) -> (String, String) {
        let (key, root) = (self.at(&format!("{name}.key")), self.at(&format!("{name}.bin")));
        bkv(["ceremony", "root", "--key", &key, "--root", &root]).expect(0);
        (key, root)
    }

    fn sign(&self, document: &str, key: &str, root: &str, output: &str) -> Answer {
        bkv([
            "ceremony",
            "sign",
            document,
            "--key",
            key,
            "--root",
            root,
            "--output",
            &self.at(output),
            "--yes",
        ])
    }
}

fn words(a: &Answer) -> String {
    format!(
        "{} {}",
        a.json["message"].as_str().unwrap_or_default(),
        a.json["remedy"].as_str().unwrap_or_default()
    )
}

fn read_root(path: &Path) -> Root {
    Root::decode(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_root_is_made_once_and_its_key_is_for_its_owner_only() {
    let table = Table::new();
    let (key, root) = table.root("root");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let made = fs::read(&root).unwrap();
    assert!(!read_root(Path::new(&root)).development);
    // The command overwrites neither an existing key nor an existing root file.
    let again = bkv(["ceremony", "root", "--key", &key, "--root", &table.at("new.bin")]).expect(73);
    assert!(words(&again).contains("root.key") && words(&again).contains("does not exist yet"), "{again:?}");
    let again = bkv(["ceremony", "root", "--key", &table.at("new.key"), "--root", &root]).expect(73);
    assert!(words(&again).contains("root.bin"), "{again:?}");
    assert_eq!(fs::read(&root).unwrap(), made);
    assert!(!table.path("new.key").exists(), "half a root was left");
}

/// The person confirms what `--quiet` must not hide.
#[test]
fn s56_quiet_still_shows_what_is_signed() {
    let table = Table::new();
    let (key, root) = table.root("root");
    let policy = policy_of(r#"{"keys":[]}"#.into(), &read_root(Path::new(&root)), 1);
    let paper = table.put("policy", &document(&policy));
    let sign = ["ceremony", "sign", &paper, "--key", &key, "--root", &root, "--output", &table.at("signed")];
    let mut quiet = vec!["--quiet"];
    quiet.extend(sign);
    let mut t = Terminal::bkv(&quiet);
    t.sees("issuer: \"https://issuer.bkv.localhost\"");
    t.sees("ksf_floor: Argon2id, 19456 KiB, passes 2, lanes 1");
    t.sees("fingerprint ");
    t.answer("[y/N] ", "n");
    t.end().expect(2, &["not confirmed"]);
}

/// S56: an edit of the resource reaches the holders of the root as one changed line.
#[test]
fn s56_what_differs_from_the_document_before_is_shown() {
    let table = Table::new();
    let (key, root) = table.root("root");
    let pinned = read_root(Path::new(&root));
    let first = policy_of(r#"{"keys":[]}"#.into(), &pinned, 1);
    let mut second = policy_of(r#"{"keys":[]}"#.into(), &pinned, 2);
    (second.not_before, second.not_after) = (first.not_before, first.not_after);
    second.jwks = JwksSource::Url("https://evil.example/jwks".into());
    let before = table.put("first", &document(&first));
    table.sign(&before, &key, &root, "first.signed").expect(0);
    let paper = table.put("second", &document(&second));
    let shown = bkv(["ceremony", "show", &paper, "--root", &root, "--previous", &table.at("first.signed")]);
    let shown = shown.expect(0);
    let changes: Vec<&str> =
        shown.json["document"]["changes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert!(changes[0] == "number: was 1, is 2" && changes.len() == 2, "{changes:?}");
    assert!(changes[1].ends_with("is URL \"https://evil.example/jwks\""), "{changes:?}");
    let sign = |paper: &str, previous: &str| {
        bkv([
            "ceremony",
            "sign",
            paper,
            "--key",
            &key,
            "--root",
            &root,
            "--output",
            &table.at("signed"),
            "--previous",
            previous,
            "--yes",
        ])
    };
    // A document that the root did not sign tells nothing about what is in force.
    assert!(words(&sign(&paper, &paper).expect(65)).contains("0 valid root signatures"));
    // The number of shards never changes, and numbers grow.
    second.shards += 1;
    let other = table.put("shards", &document(&second));
    assert!(words(&sign(&other, &table.at("first.signed")).expect(65)).contains("`shards`: was 4, is 5"));
    assert!(words(&sign(&before, &table.at("first.signed")).expect(65)).contains("higher number"));
    assert!(!table.path("signed").exists());
    sign(&paper, &table.at("first.signed")).expect(0);
}

/// The command runs in a network namespace without any interface.
#[test]
fn the_ceremony_needs_no_network() {
    let table = Table::new();
    if !Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success()) {
        return skipped(
            "a ceremony without a network",
            "this machine lets the test make no network namespace",
        );
    }
    let mut command = Command::new("unshare");
    command.arg("-n").arg(bin_dir().join("bkv")).args([
        "ceremony",
        "root",
        "--key",
        &table.at("k"),
        "--root",
        &table.at("r"),
    ]);
    Program::start(command).end(Duration::from_mins(1)).expect(0, &["Root made", "fingerprint"]);
}

#[test]
fn documents_that_must_not_be_signed_are_refused_with_a_message() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let table = Table::new();
    let ((key, root), (other_key, other_root)) = (table.root("root"), table.root("other"));
    let pinned = read_root(Path::new(&root));
    let good = document(&policy(&fleet, &pinned, 2));
    let paper = table.put("policy", &good);

    let shown = bkv(["ceremony", "show", &paper]).expect(0);
    assert_eq!(shown.json["document"]["number"], 2);
    table.sign(&paper, &key, &root, "signed").expect(0);
    let mut plain = Command::new(bin_dir().join("bkv"));
    plain.args(["ceremony", "show", &table.at("signed"), "--root", &root]);
    Program::start(plain)
        .end(Duration::from_mins(1))
        .expect(0, &["policy 2", "signed by 1 key", "good under this root"]);
    let mut plain = Command::new(bin_dir().join("bkv"));
    plain.args(["ceremony", "show", &table.at("signed"), "--root", &other_root]);
    let end = Program::start(plain).end(Duration::from_mins(1));
    end.expect(65, &["policy 2", "not good under this root: the policy has 0 valid root signatures"]);
    // Each signature must be good, not only enough of them be missing.
    let answer = bkv(["ceremony", "show", &table.at("signed"), "--root", &other_root]).expect(65);
    assert_eq!(answer.json["document"]["number"], 2, "{answer:?}");
    let answer = bkv(["ceremony", "show", &paper, "--root", &root]).expect(0);
    assert_eq!(answer.json["document"]["under_root"], "incomplete", "{answer:?}");

    // The command does not overwrite an existing document.
    assert!(words(&table.sign(&paper, &key, &root, "signed").expect(73)).contains("signed"));
    // The wrong key for this root; another fleet's document; no key, no root, no document at all.
    let answer = table.sign(&paper, &other_key, &root, "x").expect(15);
    assert!(words(&answer).contains("not one of the root's"), "{answer:?}");
    let answer = table.sign(&paper, &other_key, &other_root, "x").expect(65);
    assert!(
        words(&answer).contains("another fleet") && words(&answer).contains("Nothing was written"),
        "{answer:?}"
    );
    let answer = table.sign(&paper, &root, &root, "x").expect(64);
    assert!(words(&answer).contains("not a root key"), "{answer:?}");
    let answer = table.sign(&paper, &key, &paper, "x").expect(64);
    assert!(words(&answer).contains("policy"), "{answer:?}");
    assert!(words(&table.sign(&table.at("absent"), &key, &root, "x").expect(66)).contains("absent"));
    for (name, bytes) in [
        ("noise", b"not a document".to_vec()),
        ("cut", good[..good.len() / 2].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let answer = table.sign(&table.put(name, &bytes), &key, &root, "x").expect(65);
        assert!(!words(&answer).is_empty());
    }
    // Only a development root allows a development policy.
    let mut weak = policy(&fleet, &pinned, 2);
    weak.development = true;
    let answer = table.sign(&table.put("weak", &document(&weak)), &key, &root, "x").expect(65);
    assert!(words(&answer).contains("`development`"), "{answer:?}");
    // A field that every vault would refuse.
    let mut senseless = policy(&fleet, &pinned, 2);
    senseless.attempts.max = 0;
    if let Ok(body) = write_policy(&senseless) {
        let answer =
            table.sign(&table.put("senseless", &unsigned(Kind::Policy, body)), &key, &root, "x").expect(65);
        assert!(words(&answer).contains("field"), "{answer:?}");
    }
    assert!(!table.path("x").exists());

    // Without --yes the command asks for confirmation. Without a terminal the answer is no.
    let ask = ["ceremony", "sign", &paper, "--key", &key, "--root", &root, "--output", &table.at("asked")];
    bkv(ask).expect(2);
    let mut t = Terminal::bkv(&ask);
    t.sees("policy 2");
    t.answer("[y/N] ", "n");
    t.end().expect(2, &["not confirmed"]);
    assert!(!table.path("asked").exists());
    let mut t = Terminal::bkv(&ask);
    t.answer("[y/N] ", "y");
    t.end().expect(0, &["Signed"]);
    assert!(table.path("asked").exists());
}

/// S06, S41: vaults accept only documents that the pinned root signed, that are newer and in date. A refused document changes nothing.
#[test]
fn s06_a_vault_takes_only_what_its_root_signed() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let table = Table::new();
    let root_path = fleet.dir().join("root.bin");
    let root = read_root(&root_path);
    let (key_file, root_file) = (fleet.dir().join("root.key"), root_path.to_str().unwrap());
    let key_file = key_file.to_str().unwrap();
    let sign = |p: &Policy, name: &str| {
        let paper = table.put(&format!("{name}.unsigned"), &document(p));
        table.sign(&paper, key_file, root_file, name).expect(0);
        fs::read(table.path(name)).unwrap()
    };
    let post = |bytes: &[u8]| admin::call(&fleet, "eu-west", "/v1/policy", Some(bytes.to_vec()));
    let refused = |bytes: &[u8], word: &str| {
        let (status, answer) = post(bytes);
        assert_eq!(status, 422, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "`{word}` in {answer}");
        assert!(answer["remedy"].as_str().unwrap().contains("bkv ceremony sign"), "{answer}");
        assert_eq!(answer["field"], "policy");
    };
    let two = sign(&policy(&fleet, &root, 2), "two");
    let three = sign(&policy(&fleet, &root, 3), "three");
    refused(&document(&policy(&fleet, &root, 3)), "0 valid root signatures");
    let mut tampered = three.clone();
    let at = tampered.windows(9).position(|w| w == b"bkv-vault").unwrap();
    tampered[at] ^= 1;
    refused(&tampered, "0 valid root signatures");
    refused(&three[..three.len() - 7], "");
    refused(b"no document", "");
    // Another fleet's root signed it, once under its own name and once under ours.
    let (other_key, other_root) = table.root("other");
    let foreign = read_root(Path::new(&other_root));
    let paper = table.put("foreign.unsigned", &document(&policy(&fleet, &foreign, 9)));
    table.sign(&paper, &other_key, &other_root, "foreign").expect(0);
    refused(&fs::read(table.path("foreign")).unwrap(), "0 valid root signatures");
    let seed: [u8; 32] = fs::read(&other_key).unwrap().try_into().unwrap();
    let claimed =
        add_signature(Kind::Policy, &document(&policy(&fleet, &root, 9)), &RootKey::from_seed(&seed.into()))
            .unwrap();
    refused(&claimed, "0 valid root signatures");
    // Our root signed it for another lineage. `bkv ceremony sign` refuses to, so the test signs it itself.
    let seed: [u8; 32] = fs::read(key_file).unwrap().try_into().unwrap();
    let ours = RootKey::from_seed(&seed.into());
    refused(
        &add_signature(Kind::Policy, &document(&policy(&fleet, &foreign, 9)), &ours).unwrap(),
        "another fleet",
    );
    // Dates.
    let mut late = policy(&fleet, &root, 9);
    late.not_before = Time(now() - 3 * HOUR);
    late.not_after = Time(now() - 2 * HOUR);
    refused(&sign(&late, "expired"), "expired");
    let mut early = policy(&fleet, &root, 9);
    early.not_before = Time(now() + 2 * HOUR);
    refused(&sign(&early, "early"), "not valid before");
    // The other role's port.
    let (status, answer) = admin::call(&fleet, "eu-west", "/v1/admission", Some(three.clone()));
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("kind"), "{answer}");
    assert_eq!(alice.tries_left(), 10);

    // Vaults accept the valid documents, and then refuse older ones.
    for region in fleet.regions() {
        let (status, answer) = admin::call(&fleet, &region, "/v1/policy", Some(three.clone()));
        assert_eq!((status, answer["number"].as_u64()), (200, Some(3)), "{answer}");
    }
    refused(&two, "number 2, but number 3 was seen");
    alice.recover("device", RIGHT).expect(0);
    // Also after a restart.
    fleet.region("stop", "eu-west");
    fleet.start("eu-west");
    refused(&two, "number 2, but number 3 was seen");
    alice.recover("another", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}

/// The holders of the root compare these too, before they hand out a root file or send a lift.
#[test]
fn a_root_file_and_a_lift_are_shown_field_by_field() {
    let table = Table::new();
    let ((key, root), (_, other)) = (table.root("root"), table.root("other"));
    let made = bkv(["ceremony", "show", &root]).expect(0);
    let pinned = read_root(Path::new(&root));
    let document = &made.json["document"];
    assert_eq!(
        (document["kind"].as_str(), document["fields"]["threshold"].as_str()),
        (Some("root"), Some("1 of 1"))
    );
    assert_eq!(document["fields"]["lineage"], pinned.lineage().to_string());
    assert_eq!(document["fingerprint"], bkv_wire::documents::fingerprint("root", &fs::read(&root).unwrap()));
    bkv(["ceremony", "show", &root, "--root", &root]).expect(0);
    assert!(words(&bkv(["ceremony", "show", &root, "--root", &other]).expect(65)).contains("another root"));

    let (stop, lift) = ("00112233445566778899aabbccddeeff", table.at("lift"));
    let made =
        ["ceremony", "lift", "--node", "7", "--shard", "3", "--stop", stop, "--key", &key, "--root", &root];
    bkv(made.iter().copied().chain(["--yes", "--output", &lift])).expect(0);
    let shown = bkv(["ceremony", "show", &lift, "--root", &root]).expect(0);
    let document = &shown.json["document"];
    let field = |name: &str| document["fields"][name].as_str().unwrap().to_owned();
    assert_eq!((field("node"), field("shard"), field("stop")), ("7".into(), "3".into(), stop.into()));
    assert_eq!(document["under_root"], "good");
    bkv(["ceremony", "show", &lift, "--root", &other]).expect(65);
    let mut changed = fs::read(&lift).unwrap();
    let at = changed.windows(4).position(|w| w == [0, 0x11, 0x22, 0x33]).unwrap();
    changed[at] ^= 1;
    let changed = table.put("changed", &changed);
    let answer = bkv(["ceremony", "show", &changed, "--root", &root]).expect(65);
    assert!(words(&answer).contains("not good under this root"), "{answer:?}");
    bkv(["ceremony", "show", &changed]).expect(0);
    // `sign` is for documents, and names the command for a lift.
    let answer =
        bkv(["ceremony", "sign", &lift, "--key", &key, "--root", &root, "-o", &table.at("x"), "--yes"]);
    assert!(words(&answer.expect(65)).contains("bkv ceremony lift --signed"));
    let answer = bkv(["ceremony", "show", &table.put("noise", b"neither")]).expect(65);
    assert!(words(&answer).contains("Give a root file"), "{answer:?}");
}
