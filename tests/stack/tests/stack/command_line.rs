//! `bkv` as a user types it: prompts, files and descriptors. Every kind of refusal has its own code and message, and spends no try.

use std::fs;
use std::process::Command;
use std::time::Duration;

use bkv_stack_tests::chatd::free_port;
use bkv_stack_tests::program::{End, Program, program};
use bkv_stack_tests::refusal::{message, refused};
use bkv_stack_tests::terminal::Terminal;
use bkv_stack_tests::{Fleet, RIGHT, bin_dir, bkv};

const WRONG: &str = "wrong password entirely";
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn passwords_come_from_a_prompt_asked_twice_for_new_ones_and_never_shown() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.account("alice");
    // A mistyped repetition registers nothing.
    let mut t = Terminal::bkv(&alice.args(&["register"], "home"));
    t.answer("Password: ", RIGHT);
    t.answer("Password again: ", "quiet otter paints the south window");
    let end = t.end();
    end.expect(2, &["the two passwords differ", "Nothing was changed"]);
    assert!(!end.out.contains("otter"), "the password is on the screen");
    refused(alice.recover("other", RIGHT), 13, &["no key"]);
    let mut t = Terminal::bkv(&alice.args(&["register"], "home"));
    t.answer("Password: ", RIGHT);
    t.answer("Password again: ", RIGHT);
    let end = t.end();
    end.expect(0, &["Registered"]);
    assert!(!end.out.contains("otter"), "the password is on the screen");
    // Asked once for a known one.
    let mut t = Terminal::bkv(&alice.args(&["recover"], "second"));
    t.answer("Password: ", WRONG);
    let end = t.end();
    end.expect(10, &["wrong password; 9 tries left"]);
    assert!(!end.out.contains(WRONG), "the password is on the screen");
    let mut t = Terminal::bkv(&alice.args(&["recover"], "second"));
    t.answer("Password: ", RIGHT);
    t.end().expect(0, &["Recovered"]);
    // The old one once, the new one twice.
    let mut t = Terminal::bkv(&alice.args(&["password", "change"], "home"));
    t.answer("Old password: ", RIGHT);
    t.answer("New password: ", "an entirely different passphrase");
    t.answer("New password again: ", "an entirely different passphrase");
    t.end().expect(0, &["The password is changed"]);
    alice.recover("third", "an entirely different passphrase").expect(0);
    // Deleting asks, and no is the default.
    for no in ["n", "", "perhaps", "Nyes"] {
        let mut t = Terminal::bkv(&alice.args(&["delete"], "home"));
        t.answer("[y/N] ", no);
        t.end().expect(2, &["not confirmed"]);
    }
    alice.recover("fourth", "an entirely different passphrase").expect(0);
    let mut t = Terminal::bkv(&alice.args(&["delete"], "home"));
    t.answer("[y/N] ", "y");
    t.end().expect(0, &["Deleted"]);
    alice.recover("fifth", "an entirely different passphrase").expect(12);
}

#[test]
fn the_last_try_is_asked_for_and_no_spends_nothing() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    for left in (1..10).rev() {
        assert_eq!(alice.recover("thief", WRONG).expect(10).json["tries_left"], left);
    }
    // Without a terminal and without --yes.
    refused(alice.run(&["recover"], "careful", Some(WRONG)), 2, &["one try is left", "--yes"]);
    let mut t = Terminal::bkv(&alice.args(&["recover"], "careful"));
    t.answer("Password: ", WRONG);
    t.answer("Only one try is left", "n");
    t.end().expect(2, &["it was not used"]);
    assert_eq!(alice.tries_left(), 1);
    // The question also comes where a restore would use it.
    fs::create_dir(fleet.path("original")).unwrap();
    fs::create_dir(fleet.path("cloud")).unwrap();
    let (from, cloud, to) = (fleet.path("original"), fleet.path("cloud"), fleet.path("restored"));
    alice.run(&["backup", from.to_str().unwrap(), "--to", cloud.to_str().unwrap()], "home", None).expect(0);
    let restore = ["restore", cloud.to_str().unwrap(), "--to", to.to_str().unwrap()];
    refused(alice.run(&restore, "new", Some(WRONG)), 2, &["one try is left"]);
    assert_eq!(alice.tries_left(), 1);
    let mut t = Terminal::bkv(&alice.args(&["recover"], "sure"));
    t.answer("Password: ", RIGHT);
    t.answer("Only one try is left", "y");
    t.end().expect(0, &["Recovered"]);
    assert_eq!(alice.tries_left(), 10);
}

fn shell(line: &str, args: &[String]) -> End {
    let mut command = Command::new("sh");
    // In the shell, $0 is bkv and $@ are its arguments.
    command.args(["-c", line]).arg(bin_dir().join("bkv")).args(args).env_remove("BKV_FLEET");
    Program::start(command).end(PATIENCE)
}

#[test]
fn passwords_come_from_files_and_descriptors_and_never_from_arguments() {
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.account("alice");
    let file = fleet.path("password");
    fs::write(&file, format!("{RIGHT}\n")).unwrap();
    let file = file.to_str().unwrap();
    shell(&format!("exec \"$0\" \"$@\" --password-fd 3 3<'{file}'"), &alice.args(&["register"], "home"))
        .expect(0, &["Registered"]);
    shell(&format!("exec \"$0\" \"$@\" --password-fd 0 <'{file}'"), &alice.args(&["recover"], "a"))
        .expect(0, &["Recovered"]);
    shell(&format!("cat '{file}' | \"$0\" \"$@\" --password-fd 0"), &alice.args(&["recover"], "b"))
        .expect(0, &["Recovered"]);
    shell(&format!("exec \"$0\" \"$@\" --password-file '{file}'"), &alice.args(&["recover"], "c"))
        .expect(0, &["Recovered"]);
    // The command has nothing to read from, in every way.
    let none = |more: &[&str]| {
        let mut args = alice.args(&["recover"], "d");
        args.extend(more.iter().map(|m| (*m).to_owned()));
        bkv(args)
    };
    refused(none(&["--password-fd", "77"]), 66, &["descriptor 77", "shell"]);
    refused(
        none(&["--password-file", fleet.path("absent").to_str().unwrap()]),
        66,
        &["absent", "Check the path"],
    );
    refused(none(&["--password-file", fleet.dir().to_str().unwrap()]), 66, &["can't read the password"]);
    let answer = none(&[]).expect(66);
    assert!(message(&answer).contains("no terminal to ask for the password"), "{answer:?}");
    fs::write(fleet.path("empty"), "\n").unwrap();
    let answer = none(&["--password-file", fleet.path("empty").to_str().unwrap()]).expect(66);
    assert!(message(&answer).contains("nothing was given for the password"), "{answer:?}");
    for args in [&["--password", "x"][..], &["--password-file", "a", "--password-fd", "3"], &["x"]] {
        assert_eq!(none(args).code, 2, "{args:?}");
    }
    // `bkv` refuses a bad choice with advice before it sends anything.
    for weak in ["password", "12345678", "aaaaaaaaaaaa", "x"] {
        let answer = refused(
            fleet.account("bob").run(&["register"], "home", Some(weak)),
            19,
            &["Choose another password"],
        );
        assert!(weak.len() < 2 || !answer.json["message"].as_str().unwrap().contains(&format!("`{weak}`")));
    }
    refused(fleet.account("bob").recover("x", RIGHT), 13, &[]);
    assert_eq!(alice.tries_left(), 10);
}

/// Each cause of failure has its own code and message, and costs no try.
#[test]
fn each_refusal_has_its_own_code_and_spends_no_try() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let with = |from: &str, to: &str, device: &str| {
        let args: Vec<String> = alice
            .args(&["recover", "--timeout", "6"], device)
            .iter()
            .map(|a| if a == from { to.to_owned() } else { a.clone() })
            .collect();
        let mut args = args;
        let file = fleet.path("right.password");
        fs::write(&file, RIGHT).unwrap();
        args.extend(["--password-file".into(), file.to_str().unwrap().into()]);
        bkv(args)
    };
    let profile = fleet.dir().join("fleet.toml");
    let profile = profile.to_str().unwrap();
    let token = alice.token.to_str().unwrap();
    let write = |name: &str, text: &str| {
        let path = fleet.path(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = fs::read_to_string(profile)
        .unwrap()
        .replace("\"root.bin\"", &format!("\"{}\"", fleet.dir().join("root.bin").display()))
        .replace("\"chatd/web-ca.crt\"", &format!("\"{}\"", fleet.dir().join("chatd/web-ca.crt").display()));
    assert_eq!(with(profile, &write("good.toml", &good), "good").code, 0);

    // The profile.
    refused(
        with(profile, "/nonexistent/fleet.toml", "a"),
        66,
        &["/nonexistent/fleet.toml", "Check the path"],
    );
    refused(with(profile, &write("p1.toml", "chatd = 3"), "a"), 64, &["p1.toml", "chatd"]);
    refused(
        with(profile, &write("p2.toml", &format!("colour = 1\n{good}")), "a"),
        64,
        &["colour", "A profile holds"],
    );
    refused(
        with(profile, &write("p3.toml", &good.replace("https://", "http://")), "a"),
        64,
        &["p3.toml", "https"],
    );
    refused(
        with(profile, &write("p4.toml", &good.replace("root.bin", "absent.bin")), "a"),
        66,
        &["root", "absent.bin"],
    );
    refused(
        with(profile, &write("p5.toml", &good.replace("root.bin", "fleet.toml")), "a"),
        64,
        &["fleet.toml"],
    );
    refused(
        with(profile, &write("p6.toml", &good.replace("chatd/web-ca.crt", "root.bin")), "a"),
        64,
        &["p6.toml", "chatd"],
    );
    // S06: with another fleet's root the client accepts nothing, and the message warns against entering the password.
    let root = fleet.path("other-root.bin");
    let key = fleet.path("other-root.key");
    bkv(["ceremony", "root", "--key", key.to_str().unwrap(), "--root", root.to_str().unwrap()]).expect(0);
    let other = good.replace(fleet.dir().join("root.bin").to_str().unwrap(), root.to_str().unwrap());
    refused(
        with(profile, &write("p7.toml", &other), "a"),
        16,
        &["not trusted", "Do not type the password again"],
    );
    // ChatD does not run, or another server has its address.
    let port = free_port();
    let line = good.lines().find(|l| l.starts_with("chatd =")).unwrap();
    let elsewhere = good.replace(line, &format!("chatd = \"https://127.0.0.1:{port}\""));
    refused(
        with(profile, &write("p8.toml", &elsewhere), "a"),
        69,
        &["ChatD can't be reached", "No try was spent"],
    );

    // The tokens.
    refused(with(token, "/nonexistent/token", "a"), 66, &["tokens", "/nonexistent/token"]);
    let broken = refused(
        with(token, &write("t1", "{\"chatd\": \"secret-token-text\"}"), "a"),
        66,
        &["t1", "identity provider"],
    );
    assert!(!broken.json.to_string().contains("secret-token-text"));
    refused(
        with(token, &write("t2", "{\"chatd\": \"x.y.z\", \"vault\": \"x.y.z\"}"), "a"),
        77,
        &["ChatD refused the token", "Sign in again"],
    );
    let good_token: serde_json::Value = serde_json::from_slice(&fs::read(&alice.token).unwrap()).unwrap();
    let swapped = serde_json::json!({ "chatd": good_token["vault"], "vault": good_token["chatd"] });
    let answer = refused(with(token, &write("t3", &swapped.to_string()), "a"), 77, &["refused the token"]);
    assert_eq!(answer.json["by"], "chatd");
    // S17: the vault refuses ChatD's token.
    let half = serde_json::json!({ "chatd": good_token["chatd"], "vault": good_token["chatd"] });
    let answer =
        refused(with(token, &write("t4", &half.to_string()), "a"), 77, &["the vault refused the token"]);
    assert_eq!(answer.json["by"], "vault");
    // Another account's vault token in place of this account's.
    let bob: serde_json::Value =
        serde_json::from_slice(&fs::read(fleet.account("bob").token).unwrap()).unwrap();
    let mixed = serde_json::json!({ "chatd": good_token["chatd"], "vault": bob["vault"] });
    refused(with(token, &write("t5", &mixed.to_string()), "a"), 77, &["the vault refused the token"]);
    assert_eq!(alice.tries_left(), 10);

    // Neither the device nor the vault has a key.
    refused(alice.run(&["delete", "--yes"], "empty", None), 13, &["this device has no key", "bkv register"]);
    refused(fleet.account("carol").recover("x", RIGHT), 13, &["no key for this account", "Register"]);
    // The memory file in the device's state does not parse.
    fs::create_dir_all(alice.state("broken")).unwrap();
    fs::write(alice.state("broken").join("memory.json"), "{\"lineage\": 3}").unwrap();
    refused(
        alice.recover("broken", RIGHT),
        64,
        &["memory.json", "Put the file back from a copy", "rename the file"],
    );
    assert_eq!(alice.tries_left(), 10);

    // The vaults are unreachable while ChatD runs: the message differs.
    for region in fleet.regions() {
        fleet.region("kill", &region);
    }
    refused(with("", "", "late"), 69, &["the vault can't be reached", "No try was spent"]);
    for region in fleet.regions() {
        fleet.region("start", &region);
    }
    fleet.wait_ready(3);
    alice.recover("back", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
    alice.run(&["delete", "--yes"], "home", None).expect(0);
    refused(alice.recover("late", RIGHT), 12, &["deleted by its owner", "Register"]);
}

/// A token that was valid an hour ago, signed by the issuer.
#[test]
fn an_expired_token_is_refused_and_a_fresh_one_taken() {
    use bkv_tokens::dev::{DevClaims, DevIssuer};
    let fleet = Fleet::with(&["--regions", "1", "--no-postgres"]);
    let alice = fleet.registered("alice");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&alice.token).unwrap()).unwrap();
    let key = fs::read(fleet.dir().join("issuer/key.pkcs8")).unwrap();
    let issuer = DevIssuer::from_pkcs8("https://issuer.bkv.localhost", &key).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let sign = |audience, now| {
        issuer.sign(&DevClaims { subject: "alice", audience, now, lifetime: 60, enrolment: None })
    };
    for (name, audience, by) in [("vault", "bkv-vault", "vault"), ("chatd", "bkv-chatd", "chatd")] {
        // The same claims signed today are taken: only their age is wrong.
        for (at, code) in [(now, 0), (now - 3600, 77)] {
            let mut tokens = good.clone();
            tokens[name] = sign(audience, at).into();
            fs::write(&alice.token, tokens.to_string()).unwrap();
            let answer = alice.run(&["status"], "home", None).expect(code);
            assert!(code == 0 || answer.json["by"] == by, "{answer:?}");
            // ChatD reports what is wrong with its token. The vault has one answer to every fault.
            let expired = message(&answer).contains("expired");
            assert_eq!(expired, code != 0 && by == "chatd", "{answer:?}");
        }
    }
    fs::write(&alice.token, good.to_string()).unwrap();
    assert_eq!(alice.tries_left(), 10);
    // `status` reports that a fleet of one region has no threshold. Without a wait it reports no time.
    let status = alice.run(&["status"], "home", None).expect(0).json;
    assert_eq!(status["single_region"], true, "{status}");
    assert!(status["next_allowed_ms"].is_null(), "{status}");
}

/// S18: the vault reports a wait with its end, also to another device. A request before the end costs no try.
#[test]
fn s18_a_wait_is_reported_with_its_end() {
    let fleet = Fleet::with(&["--waits-ms", "0,60000"]);
    let alice = fleet.registered("alice");
    let first = alice.recover("thief", WRONG).expect(10).json;
    assert_eq!(first["tries_left"], 9);
    let second = alice.recover("thief", WRONG).expect(10).json;
    assert_eq!(second["tries_left"], 8);
    let next = second["next_allowed_ms"].as_u64().unwrap();
    for device in ["thief", "owner"] {
        let wait =
            refused(alice.recover(device, RIGHT), 11, &["no attempt is allowed before", "Wait until then"]);
        assert_eq!(wait.json["until_ms"], next, "{wait:?}");
    }
    assert_eq!(alice.tries_left(), 8);
    assert_eq!(alice.run(&["status"], "asker", None).json["next_allowed_ms"], next);
    // A device that has the key needs no wait to set a new password.
    alice.run(&["register"], "home", Some("an entirely different passphrase")).expect(0);
    alice.recover("owner", "an entirely different passphrase").expect(0);
}

/// S15: a success does not reset the lifetime failures. A locked account is not destroyed: every password is refused with that reason, also the right one, and
/// the device that has the key unlocks it.
#[test]
fn s15_a_locked_account_is_reported_and_its_own_device_unlocks_it() {
    let fleet = Fleet::with(&["--lifetime-failures", "10"]);
    let alice = fleet.registered("alice");
    for _ in 0..5 {
        alice.recover("thief", WRONG).expect(10);
    }
    // A success gives the tries back, not the failures of a lifetime.
    alice.recover("owner", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
    for left in (5..10).rev() {
        assert_eq!(alice.recover("thief", WRONG).expect(10).json["tries_left"], left);
    }
    for password in [RIGHT, WRONG] {
        refused(alice.recover("late", password), 14, &["locked", "Nothing is destroyed", "`bkv register`"]);
    }
    let status = alice.run(&["status"], "asker", None).expect(0).json;
    assert_eq!(
        (status["state"].as_str(), status["lifetime_failures"].as_u64()),
        (Some("locked"), Some(10)),
        "{status}"
    );
    // The device that has the key reads its backups all the same.
    for folder in ["original", "cloud"] {
        fs::create_dir(fleet.path(folder)).unwrap();
    }
    let at = |n: &str| fleet.path(n).to_str().unwrap().to_owned();
    alice.run(&["backup", &at("original"), "--to", &at("cloud")], "home", None).expect(0);
    alice.run(&["restore", &at("cloud"), "--to", &at("restored")], "home", None).expect(0);
    // A change of password proves the old one first, also on that device; and a device without the key registers nothing over it.
    fs::write(fleet.path("new"), "an entirely different passphrase").unwrap();
    let change = ["password", "change", "--new-password-file", &at("new")];
    refused(alice.run(&change, "home", Some(RIGHT)), 14, &["locked"]);
    refused(
        alice.run(&["register"], "late", Some(RIGHT)),
        20,
        &["a key for this account already", "`bkv recover`"],
    );
    assert_eq!(alice.run(&["status"], "asker", None).expect(0).json["state"], "locked");
    // The remedy: register on the device that has the key.
    alice.run(&["register"], "home", Some("an entirely different passphrase")).expect(0);
    let status = alice.run(&["status"], "asker", None).expect(0).json;
    assert_eq!(
        (status["state"].as_str(), status["lifetime_failures"].as_u64(), status["tries_left"].as_u64()),
        (Some("live"), Some(0), Some(10)),
        "{status}"
    );
    refused(alice.recover("later", RIGHT), 10, &["9 tries left"]);
    alice.recover("later", "an entirely different passphrase").expect(0);
    alice.run(&["restore", &at("cloud"), "--to", &at("again")], "later", None).expect(0);
}

/// With --json there is always exactly one object on stdout. Results go to stdout and everything else to stderr.
#[test]
fn output_is_for_programs_or_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let at = |n: &str| dir.path().join(n).to_str().unwrap().to_owned();
    let run = |args: &[&str]| {
        let mut command = program("bkv");
        command.args(args);
        Program::start(command).end(PATIENCE)
    };
    let end = run(&["--json", "key", "new", "--state", &at("a")]);
    end.expect(0, &[]);
    assert_eq!(end.out.lines().count(), 1);
    let shown = run(&["key", "show", "--state", &at("a")]);
    // 64 digits in groups, the warning apart from them.
    let groups: Vec<&str> = shown.out.split_whitespace().collect();
    assert_eq!(groups.len(), 16, "{}", shown.out);
    assert!(groups.iter().all(|g| g.len() == 4 && g.bytes().all(|b| b.is_ascii_hexdigit())));
    assert!(shown.err.contains("Whoever sees these digits"));
    let plain = run(&["key", "show", "--plain", "--quiet", "--state", &at("a")]);
    assert_eq!(plain.out.trim(), groups.concat());
    assert_eq!(plain.err, "");
    let failed = run(&["--json", "key", "show", "--state", &at("none")]);
    failed.expect(13, &[]);
    let json: serde_json::Value = serde_json::from_str(&failed.out).unwrap();
    assert_eq!(json["error"], "no-key");
    let failed = run(&["--quiet", "key", "show", "--state", &at("none")]);
    failed.expect(13, &["bkv: this device has no key"]);
    assert_eq!(failed.out, "");
    run(&["nonsense"]).expect(2, &["Usage"]);
    run(&["key", "new", "--state", &at("a")]).expect(73, &["has a key already", "--state"]);
    // Groups, upper case and line breaks are read as they are written down.
    fs::write(at("digits"), groups.chunks(4).map(|c| c.join(" ").to_uppercase() + "\n").collect::<String>())
        .unwrap();
    run(&["key", "enter", "--state", &at("b"), "--key-file", &at("digits")]).expect(0, &[]);
    assert_eq!(run(&["key", "show", "--plain", "--state", &at("b")]).out, plain.out);
}

/// Until a region has followed, an attacker with root there can still use the deleted key. `--quiet` must not hide that.
#[test]
fn s55_quiet_still_names_a_region_that_has_not_followed() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let alice = fleet.registered("alice");
    let hung = fleet.regions().pop().unwrap();
    fleet.region("pause", &hung);
    let mut command = program("bkv");
    command.args(alice.args(&["--quiet", "delete", "--yes"], "home"));
    let end = Program::start(command).end(PATIENCE);
    fleet.region("resume", &hung);
    end.expect(0, &["Deleted"]);
    assert!(end.err.contains(&format!("Region {hung} has not signed this change")), "{}", end.err);
}
