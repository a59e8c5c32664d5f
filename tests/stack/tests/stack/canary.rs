//! Known secrets go through one whole run. Afterwards the test searches for them wherever a program could have leaked them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bkv_stack_tests::canary::{Canary, search_files, search_memory};
use bkv_stack_tests::folder::tree;
use bkv_stack_tests::packet_capture::PacketCapture;
use bkv_stack_tests::program::{Program, program, skipped};
use bkv_stack_tests::{Fleet, bkv, files, wait};
use rustix::process::getuid;

const PASSWORD: &str = "yellow canary sings §4 at 7 in the mine";
const CHANGED: &str = "second canary sings §5 at 8 in the shaft";
const GUESS: &str = "third canary guesses §6 at 9 in the dark";
const CONTENT: &str = "the content of a diary that only its owner reads";

fn passwords() -> Vec<Canary> {
    vec![
        Canary::new("the password", PASSWORD.as_bytes()),
        Canary::new("the new password", CHANGED.as_bytes()),
        Canary::new("the wrong guess", GUESS.as_bytes()),
        Canary::new("the content of the backup", CONTENT.as_bytes()),
    ]
}

fn key_of(state: &Path) -> [Canary; 2] {
    let shown = bkv(["key", "show", "--state", state.to_str().unwrap()]).expect(0).json;
    let digits = shown["key"].as_str().unwrap().to_owned();
    let bytes: Vec<u8> =
        (0..32).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect();
    let grouped: Vec<&str> = (0..16).map(|i| &digits[4 * i..4 * i + 4]).collect();
    [
        Canary::new("the backup key", &bytes).or("digits in groups", grouped.join(" ").as_bytes()),
        Canary::new("the backup key's digits", digits.as_bytes()),
    ]
}

/// Everything that serves: vaults, ChatD, the database.
fn pids(fleet: &Fleet) -> Vec<(String, u32)> {
    let status = fleet.dev(&["status"], &[]).expect(0).json;
    let pid = |v: &serde_json::Value| u32::try_from(v["pid"].as_u64().unwrap()).unwrap();
    let mut all: Vec<(String, u32)> = status["regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["name"].as_str().unwrap().to_owned(), pid(r)))
        .collect();
    all.push(("chatd".into(), pid(&status["chatd"])));
    all.push(("postgres".into(), pid(&status["postgres"])));
    all
}

/// The ports on which the fleet's programs listen.
fn ports(fleet: &Fleet) -> Vec<u16> {
    let plan: serde_json::Value =
        serde_json::from_slice(&fs::read(fleet.dir().join("plan.json")).unwrap()).unwrap();
    let number = |v: &serde_json::Value| u16::try_from(v.as_u64().unwrap()).unwrap();
    let regions = plan["regions"].as_array().unwrap();
    let mut ports: Vec<u16> =
        regions.iter().flat_map(|r| ["peer", "relay", "admin", "health"].map(|p| number(&r[p]))).collect();
    ports.extend([number(&plan["chatd"]), number(&plan["chatd_health"])]);
    ports
}

fn cleared(found: &[String], place: &str) {
    assert!(found.is_empty(), "{place}: {found:#?}");
}

/// S04, S37: only the owner has password, keys and content. PINs and tokens are in no log, argument or environment.
#[test]
fn s04_s37_canaries_are_nowhere_after_a_whole_run() {
    let fleet = Fleet::up();
    let capture = PacketCapture::start(ports(&fleet));
    let alice = fleet.account("alice");
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    tree(&fleet.path("original"), 300_000);
    fs::write(fleet.path("original/diary"), CONTENT).unwrap();
    fs::create_dir(at("cloud")).unwrap();
    alice.run(&["register"], "home", Some(PASSWORD)).expect(0);
    let mut canaries = passwords();
    canaries.extend(key_of(&alice.state("home")));
    alice.run(&["backup", &at("original"), "--to", &at("cloud")], "home", None).expect(0);
    alice.recover("thief", GUESS).expect(10);
    alice.recover("thief", GUESS).expect(10);
    alice.run(&["restore", &at("cloud"), "--to", &at("restored")], "new", Some(PASSWORD)).expect(0);
    fs::write(at("new.password"), CHANGED).unwrap();
    alice
        .run(&["password", "change", "--new-password-file", &at("new.password")], "new", Some(PASSWORD))
        .expect(0);
    alice.recover("newest", CHANGED).expect(0);
    alice.run(&["status"], "newest", None).expect(0);

    // The control: the search finds the key in the device's own state and the content in the restored folder.
    let mut known = Vec::new();
    search_files(&alice.state("new"), &canaries, &mut known);
    search_files(&fleet.path("restored"), &canaries, &mut known);
    assert!(known.iter().any(|k| k.starts_with("the backup key")), "{known:?}");
    assert!(known.iter().any(|k| k.starts_with("the content")), "{known:?}");
    let mut known = Vec::new();
    search_files(&alice.state("new"), &passwords(), &mut known);
    cleared(&known, "a device's state keeps no password");

    // Memory of all servers, after they have handled every secret.
    let running = pids(&fleet);
    let mut found = Vec::new();
    for (name, pid) in &running {
        let bytes = search_memory(*pid, &canaries, &mut found);
        if bytes == 0 {
            skipped(&format!("memory of {name}"), "this test may not read it");
        } else {
            assert!(bytes > 1 << 20, "{name}: only {bytes} bytes");
        }
    }
    cleared(&found, "memory");

    // S37: arguments and environments, against every secret that is in a file of the fleet.
    let mut secrets = canaries_of_files(&fleet);
    let tokens: serde_json::Value = serde_json::from_slice(&fs::read(&alice.token).unwrap()).unwrap();
    for (name, which) in [("the token for ChatD", "chatd"), ("the token for vaults", "vault")] {
        secrets.push(Canary::new(name, tokens[which].as_str().unwrap().as_bytes()));
    }
    for (name, pid) in &running {
        for what in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{what}")).unwrap();
            assert!(what == "environ" || !text.is_empty());
            for c in secrets.iter().chain(&canaries) {
                assert_eq!(c.found_in(&text), None, "{} in {what} of {name}", c.name);
            }
        }
    }
    let mut found = Vec::new();
    let mut logs = 0;
    for log in files(&fleet.dir()).iter().filter(|f| f.ends_with("log")) {
        logs += 1;
        let text = fs::read(log).unwrap();
        for c in secrets.iter().chain(&canaries) {
            found.extend(c.found_in(&text).map(|form| format!("{} ({form}) in {}", c.name, log.display())));
        }
    }
    assert!(logs >= 5, "{logs} logs");
    cleared(&found, "logs");

    alice.run(&["delete", "--yes"], "newest", None).expect(0);
    fleet.dev(&["down"], &[]).expect(0);
    // Stores, tokens, the database's files, logs, the cloud's folder.
    let mut found = Vec::new();
    let fleet_bytes = search_files(&fleet.dir(), &canaries, &mut found);
    let cloud_bytes = search_files(&fleet.path("cloud"), &canaries, &mut found);
    assert!(fleet_bytes > 20 << 20 && cloud_bytes > 300_000, "{fleet_bytes} {cloud_bytes}");
    cleared(&found, "files");
    assert!(fleet.dir().join("postgres/data/PG_VERSION").exists());

    match capture {
        Err(e) => skipped("packets", &e),
        Ok(capture) => {
            let heard = capture.stop();
            assert!(heard.len() > 100_000, "{} bytes", heard.len());
            let of = |c: &Canary| c.found_in(&heard).map(|form| format!("{} ({form})", c.name));
            // The accounts' tokens travel inside TLS only.
            let found: Vec<String> = canaries.iter().chain(&secrets).filter_map(of).collect();
            cleared(&found, "packets");
        }
    }
}

/// PINs, private keys and the root's seed, as they lie in the fleet's folder.
fn canaries_of_files(fleet: &Fleet) -> Vec<Canary> {
    let dir = fleet.dir();
    let mut all = Vec::new();
    for region in fleet.regions() {
        let folder = dir.join("regions").join(region);
        all.push(Canary::new("a PIN", &fs::read(folder.join("pin")).unwrap()));
        all.push(pem("a vault's TLS key", &folder.join("tls/tls.key")));
    }
    all.push(pem("ChatD's TLS key", &dir.join("chatd/tls.key")));
    all.push(pem("ChatD's web key", &dir.join("chatd/web.key")));
    all.push(Canary::new("the root's key", &fs::read(dir.join("root.key")).unwrap()));
    all.push(Canary::new("the issuer's key", &fs::read(dir.join("issuer/key.pkcs8")).unwrap()[8..40]));
    all
}

/// The second line of a PEM file: all of it is secret and none of it is common to all keys.
fn pem(name: &'static str, path: &Path) -> Canary {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().nth(2).filter(|l| l.len() >= 12).or(text.lines().nth(1)).unwrap();
    Canary::new(name, line.as_bytes())
}

/// A program that has just hardened itself and waits: `bkv` for a password, the servers for their configuration.
fn waiting(name: &str, folder: &Path) -> (Program, PathBuf) {
    let pipe = folder.join(format!("{name}.pipe"));
    assert!(Command::new("mkfifo").arg("-m").arg("666").arg(&pipe).status().unwrap().success());
    let mut command = program(name);
    if name == "bkv" {
        // It opens its state folder, then reads the digits.
        command.args(["key", "enter", "--key-file"]).arg(&pipe).arg("--state").arg(folder.join("state"));
    } else {
        command.arg("--config").arg(&pipe);
    }
    command.stdin(Stdio::null()).current_dir("/");
    if getuid().is_root() {
        command.uid(65534).gid(65534);
    }
    (Program::start(command), pipe)
}

/// S04: neither client nor server leaves a core file, and no other process of their user may look into them.
#[test]
fn s04_core_dumps_are_off_in_every_program() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let reachable = |d: &Path| d.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    if getuid().is_root() {
        if !bkv_stack_tests::bin_dir().ancestors().all(reachable) {
            return skipped("core dumps", "another user can't run the programs from this folder");
        }
        chown(dir.path(), Some(65534), Some(65534)).unwrap();
    }
    for name in ["bkv", "bkv-vault", "bkv-chatd"] {
        let (mut p, pipe) = waiting(name, dir.path());
        let limits = || fs::read_to_string(format!("/proc/{}/limits", p.pid())).unwrap_or_default();
        let core = || limits().lines().find(|l| l.starts_with("Max core file size")).map(str::to_owned);
        wait(&format!("core size 0 of {name}"), Duration::from_secs(30), || {
            core().is_some_and(|l| l.split_whitespace().filter(|w| *w == "0").count() == 2)
        });
        // In /proc a process that is not dumpable belongs to root, whichever user runs it.
        if getuid().is_root() {
            wait(&format!("{name} not dumpable"), Duration::from_secs(30), || {
                fs::metadata(format!("/proc/{}/environ", p.pid())).is_ok_and(|m| m.uid() == 0)
            });
        } else {
            assert!(fs::File::open(format!("/proc/{}/environ", p.pid())).is_err(), "{name} is dumpable");
        }
        assert!(p.runs(), "{name} ended: {}", p.text("err"));
        drop(p);
        fs::remove_file(pipe).unwrap();
    }
}
