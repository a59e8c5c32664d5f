//! `bkv` as a program, for what needs no fleet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn bkv(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bkv"));
    command.args(args).stdin(Stdio::null()).env_remove("BKV_FLEET").env_remove("BKV_STATE");
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Both streams.
fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The error of a TOML parser contains the line of the file: both tokens, the 64 digits or the password, if a user names the wrong file.
#[test]
fn s37_a_secret_file_that_is_named_as_the_profile_is_not_printed() {
    let dir = tempfile::tempdir().unwrap();
    let (state, file) = (dir.path().join("state"), dir.path().join("named-by-mistake"));
    for secret in [
        "{\"chatd\": \"eyJhbGciOi.secretsecret.sig\", \"vault\": \"eyJhbGciOi.secretsecret.sig\"}",
        "secr 4567 89ab cdef 0123 4567 89ab cdef 0123 4567 89ab cdef 0123 4567 89ab cdef\n",
        "secret horse battery staple\n",
        "secret=secret\n",
    ] {
        fs::write(&file, secret).unwrap();
        for json in [&[][..], &["--json"]] {
            let args = ["status", "--fleet", text(&file), "--token", text(&file), "--state", text(&state)];
            let output = bkv(&args).args(json).output().unwrap();
            let shown = shown(&output);
            assert_eq!(output.status.code(), Some(64), "{shown}");
            assert!(!shown.contains("secr"), "{shown}");
            for part in [text(&file), "line 1, column ", "A profile holds"] {
                assert!(shown.contains(part), "no `{part}` in: {shown}");
            }
        }
    }
}

fn full() -> fs::File {
    fs::OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// A script that keeps the digits of `bkv key show --plain > FILE` on a full disk would keep nothing.
#[test]
fn a_result_that_cannot_be_written_is_a_failure_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let state = text(&state);
    let made = bkv(&["key", "new", "--state", state]).stdout(full()).output().unwrap();
    assert_eq!(made.status.code(), Some(73));
    for part in ["can't write the result", "A new key is on this device"] {
        assert!(shown(&made).contains(part), "{}", shown(&made));
    }
    for args in [
        &["key", "show", "--plain", "--state", state][..],
        &["key", "show", "--state", state],
        &["key", "show", "--state", state, "--json"],
        &["--help"],
    ] {
        let ended = bkv(args).stdout(full()).output().unwrap();
        assert_eq!(ended.status.code(), Some(73), "{args:?}: {}", shown(&ended));
        assert!(shown(&ended).contains("can't write the result"), "{args:?}: {}", shown(&ended));
    }
    // A reader that has closed its end wants no more.
    let mut ended = bkv(&["key", "show", "--plain", "--state", state])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(ended.stdout.take());
    let ended = ended.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_usage_error_is_json_too_if_asked() {
    for args in [
        &["--json", "recover"][..],
        &["--json", "nonsense"],
        &["--json"],
        &["key", "show", "--json", "--colour"],
    ] {
        let ended = bkv(args).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
        let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(answer["error"], "usage", "{answer}");
        assert!(answer["message"].as_str().unwrap().len() > 5 && answer["remedy"].is_string(), "{answer}");
    }
}

#[test]
fn a_folder_and_an_empty_or_missing_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("empty"), "\n").unwrap();
    let folder = at("");
    for (args, code, parts) in [
        (vec!["inspect", &folder], 66, vec![folder.as_str(), "directory"]),
        (
            vec!["key", "enter", "--state", &at("s"), "--key-file", &at("empty")],
            66,
            vec!["empty", "nothing was given"],
        ),
    ] {
        let ended = bkv(&args).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{}", shown(&ended));
        for part in parts {
            assert!(shown(&ended).contains(part), "no `{part}` in: {}", shown(&ended));
        }
    }
    bkv(&["key", "new", "--state", &at("s")]).output().unwrap();
    fs::create_dir(at("cloud")).unwrap();
    for (from, to, code, missing) in [("absent", "cloud", 66, "absent"), ("cloud", "nowhere", 73, "nowhere")]
    {
        let ended = bkv(&["backup", &at(from), "--to", &at(to), "--state", &at("s")]).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{}", shown(&ended));
        assert!(
            shown(&ended).contains(&at(missing)) && shown(&ended).contains("No such file"),
            "{}",
            shown(&ended)
        );
    }
}

#[test]
fn a_restore_into_a_folder_that_does_not_exist_names_that_folder() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for folder in ["source", "cloud"] {
        fs::create_dir(at(folder)).unwrap();
    }
    let state = at("state");
    assert!(bkv(&["key", "new", "--state", &state]).status().unwrap().success());
    let made = bkv(&["backup", &at("source"), "--to", &at("cloud"), "--state", &state]).status().unwrap();
    assert!(made.success());
    let ended =
        bkv(&["restore", &at("cloud"), "--to", &at("no/such/out"), "--state", &state]).output().unwrap();
    assert_eq!(ended.status.code(), Some(73), "{}", shown(&ended));
    for part in [format!("there is no folder {}", at("no/such")), "Make that folder first".into()] {
        assert!(shown(&ended).contains(&part), "no `{part}` in: {}", shown(&ended));
    }
    assert!(!Path::new(&at("no")).exists());
}

/// `bkv` waits for its digits on a pipe that the test keeps open.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_command_never_replaces_a_key_that_the_first_is_making() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let enter = ["key", "enter", "--key-fd", "0", "--state", text(&state)];
    let mut first = Waiting(bkv(&enter).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let number = first.0.id().to_string();
    while fs::read_to_string(state.join("lock")).unwrap_or_default() != number {
        assert!(first.0.try_wait().unwrap().is_none(), "it ended before it had its digits");
        std::thread::yield_now();
    }
    let second = bkv(&["key", "new", "--state", text(&state)]).output().unwrap();
    assert_eq!(second.status.code(), Some(11), "{}", shown(&second));
    assert!(shown(&second).contains(&format!("process {number}")), "{}", shown(&second));
    let digits = "0123 4567 89ab cdef ".repeat(4);
    first.0.stdin.take().unwrap().write_all(digits.trim().as_bytes()).unwrap();
    assert!(first.0.wait().unwrap().success());
    let kept = bkv(&["key", "show", "--plain", "--state", text(&state)]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout).trim(), digits.replace(' ', ""));
}

/// `script` gives a pseudo-terminal. The shell ignores the signal and shows the terminal's settings afterwards.
#[test]
fn a_signal_at_a_prompt_gives_the_terminal_its_echo_back() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let line = format!(
        "trap : INT; stty -a; '{}' key enter --state '{}'; echo code \\$?; stty -a; echo end",
        env!("CARGO_BIN_EXE_bkv"),
        text(&state)
    );
    let mut script = Waiting(
        Command::new("script")
            .args(["-q", "-f", "-c", &format!("sh -c \"{line}\""), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let (mut keyboard, mut screen) = (script.0.stdin.take().unwrap(), script.0.stdout.take().unwrap());
    let (mut seen, mut part, mut typed) = (String::new(), [0; 256], false);
    while !seen.contains("\nend") {
        let n = screen.read(&mut part).unwrap();
        assert!(n > 0, "the terminal ended: {seen}");
        seen += &String::from_utf8_lossy(&part[..n]);
        if !typed && seen.contains("digits: ") {
            keyboard.write_all(b"\x03").unwrap();
            keyboard.flush().unwrap();
            typed = true;
        }
    }
    let (before, after) = seen.split_once("digits: ").unwrap();
    assert!(before.contains(" echo ") && after.contains(" echo ") && !after.contains("-echo "), "{seen}");
    assert!(after.contains("code 130") && after.contains("interrupted"), "{seen}");
}

/// A secret that is typed as an argument by mistake must not end up in the log of whoever runs the command.
#[test]
fn s37_a_secret_that_is_typed_as_an_argument_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let state = text(&state);
    fs::write(dir.path().join("token"), "{\"chatd\": \"x\", \"vault\": \"x\"}").unwrap();
    let long = "0123456789abcdef".repeat(4);
    for args in [
        &["key", "enter", "--state", state, "--key-fd", "hunter2"][..],
        &["key", "enter", "--state", state, "--key-fd=-7hunter2"],
        &["recover", "--password-fd", "hunter2"],
        &["password", "change", "--new-password-fd", "hunter2"],
        &["recover", "--password", "hunter2"],
        &["recover", "--password=hunter2"],
        &["recover", "--yes=hunter2"],
        &["recover", "hunter2"],
        &["register", "hunter2", "--json"],
        &["key", &long],
        &["key", "enter", &long],
        &[&long],
        &["key", "enter", "--state", state, "--key-file", &long],
        &["status", "--fleet", "token", "--state", state, "--token", "hunter2"],
    ] {
        for json in [&[][..], &["--json"]] {
            let ended = bkv(args).args(json).current_dir(dir.path()).output().unwrap();
            let shown = shown(&ended);
            assert!([Some(2), Some(64), Some(66)].contains(&ended.status.code()), "{args:?}: {shown}");
            assert!(!shown.contains("hunter2") && !shown.contains(&long), "{args:?}: {shown}");
        }
    }
    let typo = bkv(&["regster"]).output().unwrap();
    assert!(shown(&typo).contains("regster") && shown(&typo).contains("register"), "{}", shown(&typo));
    let fd = bkv(&["key", "enter", "--key-fd", "x"]).output().unwrap();
    assert!(shown(&fd).contains("3<FILE"), "{}", shown(&fd));
}

/// C5: whoever may write to a folder that is backed up, or to the cloud folder, chooses names that reach a terminal.
#[test]
fn names_from_outside_reach_no_terminal_raw() {
    const NAME: &str = "\u{1b}]0;pwned\u{7}\u{1b}[31mred\nleft out: forged\u{202e}txt\u{9b}2J";
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("cloud")).unwrap();
    fs::create_dir(at(&format!("source{NAME}"))).unwrap();
    let source = at(&format!("source{NAME}"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        Path::new(&source).join(NAME),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let runs = |args: &[&str], code: i32| {
        let ended = bkv(args).output().unwrap();
        let shown = shown(&ended);
        assert_eq!(ended.status.code(), Some(code), "{shown:?}");
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!shown.contains(harmful), "{shown:?}");
        assert!(shown.lines().all(|line| !line.starts_with("left out: forged")), "{shown:?}");
        assert!(shown.contains("\\u{1b}"), "the name is not shown: {shown:?}");
        ended
    };
    let (one, other) = (at("one"), at("other"));
    for state in [&one, &other] {
        assert!(bkv(&["key", "new", "--state", state]).status().unwrap().success());
        runs(&["backup", &source, "--to", &at("cloud"), "--state", state, "--form", "old-file"], 0);
    }
    // The other key's backup is named, and the own one is restored.
    runs(&["restore", &at("cloud"), "--to", &at("out"), "--state", &one], 0);
    runs(&["backup", &source, "--to", &at("cloud"), "--state", &one], 0);
    runs(&["restore", &at("cloud"), "--to", &at("generation"), "--state", &one], 0);
    fs::write(at(&format!("cloud/{NAME}.bkv")), "x").unwrap();
    runs(&["inspect", &at(&format!("cloud/{NAME}.bkv"))], 65);
    runs(&["backup", &at(&format!("missing{NAME}")), "--to", &at("cloud"), "--state", &one], 66);
    runs(&["key", &format!("--{NAME}")], 2);
    // JSON has the name itself.
    let made = bkv(&["--json", "backup", &source, "--to", &at("cloud"), "--state", &one]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(answer["skipped"][0]["path"].as_str().unwrap().ends_with(NAME), "{answer}");
}

/// Two cron jobs are enough. A restore takes only one of two backups with the same number.
#[test]
fn s29_two_backups_of_one_state_never_take_the_same_number() {
    const AT_ONCE: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for folder in ["source", "cloud"] {
        fs::create_dir(at(folder)).unwrap();
    }
    fs::write(at("source/file"), vec![7; 8 << 20]).unwrap();
    let state = at("state");
    assert!(bkv(&["key", "new", "--state", &state]).status().unwrap().success());
    let backup = |name: &str| {
        let mut command = bkv(&[
            "backup",
            &at("source"),
            "--to",
            &at("cloud"),
            "--state",
            &state,
            "--json",
            "--form",
            "old-file",
            "--name",
            name,
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let mut numbers = Vec::new();
    let names: Vec<String> = (0..AT_ONCE).map(|n| format!("series{n}")).collect();
    let running: Vec<Child> = names.iter().map(|name| backup(name).spawn().unwrap()).collect();
    for child in running {
        let ended = child.wait_with_output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        match ended.status.code() {
            Some(0) => numbers.push(answer["sequence"].as_u64().unwrap()),
            Some(11) => {
                assert!(answer["message"].as_str().unwrap().contains("another `bkv backup`"), "{answer}");
            }
            other => panic!("{other:?}: {answer}"),
        }
    }
    numbers.sort_unstable();
    assert!(!numbers.is_empty() && numbers.windows(2).all(|n| n[0] < n[1]), "{numbers:?}");
    assert_eq!(fs::read_dir(at("cloud")).unwrap().count(), numbers.len());
    // While one is at work, the other is refused. A killed one leaves no lock.
    let lock = fs::File::options().write(true).open(Path::new(&state).join("backup-lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(backup("refused").status().unwrap().code(), Some(11));
    drop(lock);
    assert_eq!(backup("taken").status().unwrap().code(), Some(0));
}
