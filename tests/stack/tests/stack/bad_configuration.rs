//! Every mistake that an operator can make before a program serves: the program ends at once, with an exit code and a message that names the mistake.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bkv_stack_tests::folder::copy;
use bkv_stack_tests::program::{End, Program, program};
use bkv_stack_tests::{Fleet, wait};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_mins(1);

const VAULT: &str = r#"region = "eu-west"
data = "data"
root = "root.bin"
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
[tls]
cert = "tls.crt"
key = "tls.key"
ca = "ca.crt"
[peers]
us-east = "10.0.0.2:7000"
"#;

const CHATD: &str = r#"[listen]
public = "127.0.0.1:1"
health = "127.0.0.1:2"
[web]
cert = "web.crt"
key = "web.key"
[tls]
cert = "tls.crt"
key = "tls.key"
ca = "ca.crt"
[tokens]
issuer = "https://issuer.example"
audience = "chatd"
keys = { file = "jwks.json" }
[postgres]
url_file = "postgres.url"
[vaults]
eu-west = "127.0.0.1:3"
"#;

fn with_config(name: &str, config: &Path) -> End {
    let mut command = program(name);
    command.arg("--config").arg(config);
    Program::start(command).end(PATIENCE)
}

/// A replacement in the configuration (from, to), and a text that the message must contain.
type Case = (&'static str, &'static str, &'static str);

fn all_refused(name: &str, good: &str, cases: &[Case]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, good).unwrap();
    let mut check = program(name);
    check.arg("--config").arg(&file).arg("--check");
    Program::start(check).end(PATIENCE).expect(0, &["good"]);
    for (from, to, word) in cases {
        let bad = good.replacen(from, to, 1);
        assert_ne!(&bad, good, "nothing to replace: {from}");
        fs::write(&file, bad).unwrap();
        let end = with_config(name, &file);
        assert_eq!(end.code, 64, "{from} -> {to}: {}", end.err);
        assert!(end.err.contains(word), "{from} -> {to} must name {word}: {}", end.err);
    }
    fs::write(&file, [0xff, 0xfe, b'\n']).unwrap();
    with_config(name, &file).expect(64, &["config.toml"]);
    with_config(name, &dir.path().join("absent.toml")).expect(64, &["absent.toml"]);
    with_config(name, dir.path()).expect(64, &[dir.path().to_str().unwrap()]);
}

#[test]
fn every_bad_field_of_a_vault_ends_it_with_64_and_its_name() {
    all_refused(
        "bkv-vault",
        VAULT,
        &[
            ("shards", "colour = 3\nshards", "colour"),
            ("region = \"eu-west\"\n", "", "region"),
            ("region = \"eu-west\"", "region = \"EU west\"", "region"),
            ("region = \"eu-west\"", "region = \"a-name-of-more-than-16\"", "region"),
            ("region = \"eu-west\"", "region = 7", "region"),
            ("data = \"data\"\n", "", "data"),
            ("root = \"root.bin\"\n", "", "root"),
            ("shards = 4", "shards = 0", "shards"),
            ("shards = 4", "shards = 70000", "shards"),
            ("module = \"/usr", "module = \"usr", "token.module"),
            ("token_label = \"eu-west\"", "token_label = \"\"", "token.token_label"),
            ("pin_file = \"pin\"", "pin = \"1234\"", "pin"),
            ("pin_file = \"pin\"", "pin_file = \"pin\"\npool = 0", "token.pool"),
            ("peer = \"127.0.0.1:1\"", "peer = \"127.0.0.1\"", "peer"),
            ("peer = \"127.0.0.1:1\"", "peer = \"example.org:1\"", "peer"),
            ("admin = \"127.0.0.1:3\"\n", "", "admin"),
            ("relay = \"127.0.0.1:2\"", "relay = \"127.0.0.1:1\"", "listen"),
            ("health = \"127.0.0.1:4\"", "health = \"127.0.0.1:3\"", "listen"),
            ("us-east = \"10.0.0.2:7000\"", "us-east = \"10.0.0.2\"", "us-east"),
            ("us-east = \"10.0.0.2:7000\"", "us-east = \":7000\"", "us-east"),
            ("us-east = \"10.0.0.2:7000\"", "us-east = \"a:1\"\nap-south = \"a:1\"", "peers"),
            ("us-east = \"10.0.0.2:7000\"", "us-east = \"a:1\"\nus-east = \"b:1\"", "us-east"),
            ("us-east = \"10.0.0.2:7000\"", "\"US east\" = \"a:1\"", "US east"),
            ("[tls]", "[raft]\nheartbeat_ms = 0\n[tls]", "raft"),
            ("[tls]", "[raft]\nelection_max_ms = 10\n[tls]", "raft"),
            ("ca = \"ca.crt\"\n", "", "ca"),
        ],
    );
}

#[test]
fn every_bad_field_of_chatd_ends_it_with_64_and_its_name() {
    all_refused(
        "bkv-chatd",
        CHATD,
        &[
            ("[web]", "[webb]", "webb"),
            ("[web]", "colour = 3\n[web]", "colour"),
            ("public = \"127.0.0.1:1\"", "public = \"nowhere\"", "public"),
            ("public = \"127.0.0.1:1\"\n", "", "public"),
            ("health = \"127.0.0.1:2\"", "health = \"127.0.0.1:1\"", "listen"),
            ("issuer = \"https://issuer.example\"", "issuer = \"\"", "issuer"),
            ("audience = \"chatd\"", "audience = \"\"", "audience"),
            // A word that is no variant may be a value, so the error names the field, and what is expected.
            ("keys = { file", "keys = { fille", "`keys`: unknown variant, expected one of `inline`"),
            ("keys = { file = \"jwks.json\" }\n", "", "keys"),
            ("url_file = \"postgres.url\"", "url = \"postgres://u:secret@h/d\"", "url"),
            ("eu-west = \"127.0.0.1:3\"", "", "vaults"),
            ("eu-west = \"127.0.0.1:3\"", "eu-west = \"127.0.0.1\"", "vaults"),
            ("eu-west = \"127.0.0.1:3\"", "eu-west = \"a:3\"\nus-east = \"a:3\"", "vaults"),
            ("[vaults]", "[limits]\nstreams = 0\n[vaults]", "limits"),
            ("[vaults]", "[limits]\nstreems = 1\n[vaults]", "streems"),
        ],
    );
}

/// S37: a password that was written into the configuration by mistake is not repeated in the log.
#[test]
fn s37_a_secret_in_the_wrong_place_is_not_echoed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    for (name, good, from, to) in [
        ("bkv-vault", VAULT, "pin_file = \"pin\"", "pin = \"hunter2hunter2\""),
        ("bkv-chatd", CHATD, "url_file = \"postgres.url\"", "url = \"postgres://u:hunter2hunter2@h/d\""),
    ] {
        fs::write(&file, good.replace(from, to)).unwrap();
        let end = with_config(name, &file);
        assert_eq!(end.code, 64);
        assert!(!end.err.contains("hunter2") && !end.out.contains("hunter2"), "{name}: {}", end.err);
    }
}

/// The files of one vault that has served once, stopped; each case breaks a copy.
struct Stopped {
    fleet: Fleet,
}

impl Stopped {
    fn new() -> Self {
        let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
        fleet.dev(&["down"], &[]).expect(0);
        Self { fleet }
    }

    fn region(&self) -> PathBuf {
        self.fleet.dir().join("regions/eu-west")
    }

    /// A copy beside the original, with a token directory of its own.
    fn copy(&self, name: &str) -> Vault {
        let folder = self.fleet.dir().join("regions").join(name);
        copy(&self.region(), &folder);
        let conf = folder.join("token/softhsm2.conf");
        let text = fs::read_to_string(&conf).unwrap();
        let (old, new) = (self.region().display().to_string(), folder.display().to_string());
        assert!(text.contains(&old), "{text}");
        fs::write(&conf, text.replace(&old, &new)).unwrap();
        Vault(folder)
    }
}

struct Vault(PathBuf);

impl Vault {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.path("vault.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = program("bkv-vault");
        command.arg("--config").arg(self.path("vault.toml"));
        command.env("SOFTHSM2_CONF", self.path("token/softhsm2.conf"));
        command
    }

    fn ends(&self) -> End {
        Program::start(self.command()).end(PATIENCE)
    }

    #[track_caller]
    fn starts_and_stops(&self) {
        let p = Program::start(self.command());
        wait("a vault that is up", PATIENCE, || p.text("err").contains(" up "));
        p.signal(Signal::TERM);
        p.end(PATIENCE).expect(0, &[]);
    }
}

#[test]
fn every_bad_token_ends_a_vault_with_70_and_a_remedy() {
    let stopped = Stopped::new();
    // The control: the unbroken copy works.
    stopped.copy("whole").starts_and_stops();

    let v = stopped.copy("no-tokens");
    fs::remove_dir_all(v.path("token/tokens")).unwrap();
    v.ends().expect(70, &["token", "SOFTHSM2_CONF", "exist"]);

    let v = stopped.copy("no-conf");
    let mut command = v.command();
    command.env("SOFTHSM2_CONF", v.path("nowhere.conf"));
    Program::start(command).end(PATIENCE).expect(70, &["token", "SOFTHSM2_CONF", "nowhere.conf"]);

    let v = stopped.copy("no-module");
    v.edit("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/softhsm/absent.so");
    v.ends().expect(70, &["absent.so", "module"]);
    // S37: in a pod this message, and nothing else of the log, reaches the status.
    let (mut command, log) = (v.command(), v.path("termination-log"));
    fs::write(&log, "of an earlier start, and longer than the new one".repeat(40)).unwrap();
    command.arg("--termination-log").arg(&log);
    let end = Program::start(command).end(PATIENCE);
    let message = fs::read_to_string(&log).unwrap();
    assert!(message.starts_with("bkv-vault: ") && message.contains("absent.so"), "{message}");
    assert!(end.err.contains(&message), "{message}: {}", end.err);
    let v = stopped.copy("not-a-module");
    v.edit("/usr/lib/softhsm/libsofthsm2.so", "/etc/passwd");
    v.ends().expect(70, &["/etc/passwd", "module"]);

    let v = stopped.copy("other-label");
    v.edit("token_label = \"eu-west\"", "token_label = \"us-east\"");
    v.ends().expect(70, &["us-east", "eu-west", "token_label"]);

    // The token has keys of `eu-west`: another vault must not serve with them.
    let three = Fleet::with(&["--no-postgres"]);
    three.dev(&["down"], &[]).expect(0);
    let v = stopped.copy("other-vault");
    fs::remove_dir_all(v.path("tls")).unwrap();
    copy(&three.dir().join("regions/us-east/tls"), &v.path("tls"));
    v.edit("region = \"eu-west\"", "region = \"us-east\"");
    v.ends().expect(70, &["belongs to vault 'eu-west'", "us-east", "its own token"]);

    let v = stopped.copy("no-pin");
    fs::remove_file(v.path("pin")).unwrap();
    v.ends().expect(70, &["PIN file", "no-pin/pin"]);
    let v = stopped.copy("open-pin");
    fs::set_permissions(v.path("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    v.ends().expect(70, &["PIN file", "chmod 0400"]);
}

/// A supervisor that starts the vault again and again offers a wrong PIN once, not once a start: real tokens lock after a few.
#[test]
fn a_wrong_pin_is_offered_once_however_often_the_vault_starts() {
    let stopped = Stopped::new();
    let v = stopped.copy("wrong-pin");
    let right = fs::read(v.path("pin")).unwrap();
    fs::write(v.path("pin"), "000000000000000f").unwrap();
    let end = v.ends();
    end.expect(70, &["refuses the PIN", "wrong-pin/pin"]);
    assert!(!end.err.contains("000000000000000f"), "the PIN is in the log");
    assert_eq!(end.err.matches("refuses the PIN").count(), 2, "offered again: {}", end.err);
    for _ in 0..3 {
        v.ends().expect(70, &["refused at an earlier start", "wrong-pin/pin", "lock"]);
    }
    // The vault never offers the refused PIN again, not even to the right token. It offers the PIN of a corrected file.
    fs::write(v.path("pin"), &right).unwrap();
    v.starts_and_stops();
    assert!(!v.path("data/pin-refused").exists());
}

#[test]
fn every_bad_file_or_address_ends_a_vault_with_70_and_its_name() {
    let stopped = Stopped::new();
    let other = Stopped::new();

    let v = stopped.copy("no-root");
    v.edit("../../root.bin", "../../absent.bin");
    v.ends().expect(70, &["root", "absent.bin"]);
    let v = stopped.copy("broken-root");
    fs::write(v.path("broken.bin"), b"no root at all").unwrap();
    v.edit("../../root.bin", "broken.bin");
    v.ends().expect(70, &["root", "broken.bin"]);
    // A vault does not obey documents that it accepted under another root.
    let v = stopped.copy("other-root");
    fs::copy(other.fleet.dir().join("root.bin"), v.path("other.bin")).unwrap();
    v.edit("../../root.bin", "other.bin");
    v.ends().expect(70, &["documents", "root"]);

    let v = stopped.copy("no-cert");
    fs::remove_file(v.path("tls/tls.crt")).unwrap();
    v.ends().expect(70, &["tls", "tls.crt"]);
    // Another region's name, with this one's certificate.
    let v = stopped.copy("cert-of-another");
    v.edit("region = \"eu-west\"", "region = \"us-east\"");
    v.ends().expect(70, &["tls.cert", "bkv://role/vault/eu-west", "bkv://role/vault/us-east"]);
    let v = stopped.copy("cert-of-chatd");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        fs::copy(stopped.fleet.dir().join("chatd").join(name), v.path("tls").join(name)).unwrap();
    }
    v.ends().expect(70, &["tls", "vault"]);

    // A file in the folder's place: even root can't write there.
    let v = stopped.copy("no-folder");
    v.edit("data = \"data\"", "data = \"pin/data\"");
    v.ends().expect(70, &["store", "pin/data"]);
    // A store that another token sealed.
    let v = stopped.copy("other-store");
    fs::remove_dir_all(v.path("data")).unwrap();
    copy(&other.region().join("data"), &v.path("data"));
    v.ends().expect(70, &["store", "another"]);
    let v = stopped.copy("broken-store");
    fs::write(v.path("data/vault.redb"), b"not a database at all").unwrap();
    v.ends().expect(70, &["store", "vault.redb"]);

    for (endpoint, field) in [
        ("relay", "listen.relay"),
        ("admin", "listen.admin"),
        ("health", "listen.health"),
        ("peer", "listen.peer"),
    ] {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let v = stopped.copy(&format!("taken-{endpoint}"));
        let text = fs::read_to_string(v.path("vault.toml")).unwrap();
        let line = text.lines().find(|l| l.starts_with(&format!("{endpoint} ="))).unwrap().to_owned();
        v.edit(&line, &format!("{endpoint} = \"{}\"", taken.local_addr().unwrap()));
        v.ends().expect(70, &[field, &taken.local_addr().unwrap().to_string(), "in use"]);
    }
}

#[test]
fn a_second_vault_on_one_store_is_refused_and_the_first_serves_on() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let stopped = Stopped { fleet };
    let alice = stopped.fleet.registered("alice");
    let v = stopped.copy("second");
    // Its own token and addresses, the first one's store.
    let data = stopped.region().join("data");
    v.edit("data = \"data\"", &format!("data = \"{}\"", data.display()));
    let text = fs::read_to_string(v.path("vault.toml")).unwrap();
    for endpoint in ["peer", "relay", "admin", "health"] {
        let line = text.lines().find(|l| l.starts_with(&format!("{endpoint} ="))).unwrap();
        v.edit(line, &format!("{endpoint} = \"127.0.0.1:0\""));
    }
    v.ends().expect(70, &["vault.redb", "another process", "its own `data`"]);
    assert_eq!(alice.tries_left(), 10);
    alice.recover("device", bkv_stack_tests::RIGHT).expect(0);
}

/// S26: two vaults of one region. No vault accepts the one whose token is not on the admission list as a peer, whatever certificate and address it has.
#[test]
fn s26_of_two_vaults_of_one_region_the_admission_list_decides() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let other = Stopped::new();
    // It takes the real one's place: its name, addresses and role certificate, with a token of its own and an empty store.
    fleet.region("stop", "eu-west");
    let real = fleet.dir().join("regions/eu-west");
    let impostor = Vault(fleet.dir().join("regions/impostor"));
    copy(&real, &impostor.0);
    fs::remove_dir_all(impostor.path("data")).unwrap();
    fs::remove_dir_all(impostor.path("token")).unwrap();
    copy(&other.copy("token-for-impostor").path("token"), &impostor.path("token"));
    let conf = impostor.path("token/softhsm2.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let from = other.fleet.dir().join("regions/token-for-impostor");
    fs::write(&conf, text.replace(from.to_str().unwrap(), impostor.0.to_str().unwrap())).unwrap();
    fs::copy(other.region().join("pin"), impostor.path("pin")).unwrap();
    let running = Program::start(impostor.command());
    wait("an impostor that is up", PATIENCE, || running.text("err").contains(" up "));
    fleet.wait_ready(2);
    for device in ["one", "two"] {
        alice.recover(device, bkv_stack_tests::RIGHT).expect(0);
    }
    let status = alice.run(&["status"], "asker", None).expect(0).json;
    assert_eq!(status["regions"].as_array().unwrap().len(), 2, "{status}");
    assert_eq!(status["silent"], serde_json::json!(["eu-west"]), "{status}");
    running.signal(Signal::TERM);
    running.end(PATIENCE).expect(0, &[]);
    fleet.start("eu-west");
    alice.recover("three", bkv_stack_tests::RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}

#[test]
fn every_bad_file_or_address_ends_chatd_with_70_and_its_name() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    fleet.dev(&["down"], &[]).expect(0);
    let chatd = |name: &str| {
        let folder = fleet.dir().join(name);
        copy(&fleet.dir().join("chatd"), &folder);
        folder
    };
    let edit = |folder: &Path, from: &str, to: &str| {
        let file = folder.join("chatd.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(file, text.replacen(from, to, 1)).unwrap();
    };
    let ends = |folder: &Path| with_config("bkv-chatd", &folder.join("chatd.toml"));

    let c = chatd("no-keys");
    edit(&c, "../issuer/jwks.json", "absent.json");
    ends(&c).expect(70, &["tokens.keys", "absent.json"]);
    let c = chatd("bad-keys");
    fs::write(c.join("jwks.json"), "{\"keys\": 3}").unwrap();
    edit(&c, "../issuer/jwks.json", "jwks.json");
    ends(&c).expect(70, &["tokens.keys"]);
    let c = chatd("no-web");
    fs::remove_file(c.join("web.crt")).unwrap();
    ends(&c).expect(70, &["tls", "web.crt"]);
    let c = chatd("bad-web");
    fs::write(c.join("web.key"), "no key").unwrap();
    ends(&c).expect(70, &["tls", "web.key"]);
    let c = chatd("cert-of-vault");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        fs::copy(fleet.dir().join("regions/eu-west/tls").join(name), c.join(name)).unwrap();
    }
    ends(&c).expect(70, &["tls", "chatd"]);
    for (endpoint, field) in [("public", "listen.public"), ("health", "listen.health")] {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let c = chatd(&format!("taken-{endpoint}"));
        let text = fs::read_to_string(c.join("chatd.toml")).unwrap();
        let line = text.lines().find(|l| l.starts_with(&format!("{endpoint} ="))).unwrap().to_owned();
        edit(&c, &line, &format!("{endpoint} = \"{}\"", taken.local_addr().unwrap()));
        ends(&c).expect(70, &[field, "in use"]);
    }
}

/// S37: a module reads its variables when it is loaded, before any configuration of ours could stop it.
#[test]
fn s37_a_vault_refuses_variables_that_make_a_module_log_the_pin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    fs::write(&file, VAULT).unwrap();
    for name in ["YKCS11_DBG", "LOGLEVEL", "PKCS11SPY_OUTPUT", "CKNFAST_DEBUGFILE"] {
        for more in [&[][..], &["--check"]] {
            let mut command = program("bkv-vault");
            command.arg("--config").arg(&file).args(more).env(name, "1");
            Program::start(command).end(PATIENCE).expect(64, &[name, "log the PIN", "remove the variable"]);
        }
        let mut command = program("bkv-vault");
        command.args(["init-token", "--config"]).arg(&file).env(name, "1");
        Program::start(command).end(PATIENCE).expect(64, &[name, "log the PIN", "remove the variable"]);
    }
}
