//! The real restic and borg under passwords that `bkv key derive` gives: back up, lose the device, derive again, restore.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const BKV: &str = env!("CARGO_BIN_EXE_bkv");
const CONTENT: &str = "what must come back";

struct World(tempfile::TempDir);

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.bkv(&["key", "new"]);
        let digits = world.bkv(&["key", "show", "--plain", "--quiet"]);
        fs::write(world.at("paper"), digits).unwrap();
        fs::create_dir(world.at("source")).unwrap();
        fs::write(world.at("source/file"), CONTENT).unwrap();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a program here, with an empty home.
    fn try_run(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command.env("HOME", self.at("home")).env("BKV_STATE", self.at("state")).env_remove("BKV_FLEET");
        for name in
            ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "RESTIC_PASSWORD", "BORG_PASSPHRASE"]
        {
            command.env_remove(name);
        }
        command.envs(env.iter().copied());
        command.output().unwrap_or_else(|e| panic!("{program}: {e}; scripts/needs.sh installs it"))
    }

    #[track_caller]
    fn run(&self, program: &str, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.try_run(program, args, env);
        assert!(output.status.success(), "{program} {args:?}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn bkv(&self, args: &[&str]) -> String {
        self.run(BKV, args, &[])
    }

    /// The device is gone: its key, its files, and what the other program kept there.
    fn lose(&self) {
        for folder in ["state", "source", "home"] {
            let _ = fs::remove_dir_all(self.at(folder));
        }
    }

    fn restored(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}

#[test]
fn restic_restores_under_a_password_that_is_derived_again() {
    let world = World::new();
    let command = format!("{BKV} key derive restic");
    let env = [("RESTIC_PASSWORD_COMMAND", command.as_str()), ("RESTIC_REPOSITORY", "repository")];
    world.run("restic", &["init"], &env);
    world.run("restic", &["backup", "source"], &env);
    world.lose();
    let locked = world.try_run("restic", &["snapshots"], &env);
    assert!(!locked.status.success(), "it opened without the key");
    world.bkv(&["key", "enter", "--key-file", "paper"]);
    world.run("restic", &["restore", "latest", "--target", "out"], &env);
    assert_eq!(world.restored("out/source/file"), CONTENT);
    // Another purpose is another password.
    let other = format!("{BKV} key derive borg");
    let wrong = world.try_run("restic", &["snapshots"], &[env[1], ("RESTIC_PASSWORD_COMMAND", &other)]);
    assert!(shown(&wrong).contains("wrong password"), "{}", shown(&wrong));
}

#[test]
fn borg_restores_under_a_passphrase_that_is_derived_again() {
    let world = World::new();
    let command = format!("{BKV} key derive borg");
    let env = [("BORG_PASSCOMMAND", command.as_str()), ("BORG_REPO", "repository")];
    world.run("borg", &["init", "--encryption", "repokey-blake2"], &env);
    world.run("borg", &["create", "::first", "source"], &env);
    world.lose();
    let locked = world.try_run("borg", &["list"], &env);
    assert!(!locked.status.success(), "it opened without the key");
    world.bkv(&["key", "enter", "--key-file", "paper"]);
    world.run("borg", &["extract", "::first"], &env);
    assert_eq!(world.restored("source/file"), CONTENT);
}

/// The lines for rclone in docs/other-tools.md, without `drive:`. They stop if there is no key: rclone would encrypt under an empty password, which is a key of zeros.
#[test]
fn rclone_encrypts_under_a_derived_password_and_under_no_empty_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/other-tools.md");
    let page = fs::read_to_string(page).unwrap();
    let block = page.split("```").find(|block| block.contains("RCLONE_CONFIG_SECRET_TYPE")).unwrap();
    let world = World::new();
    fs::create_dir(world.at("drive")).unwrap();
    let script = block
        .replace("drive:backup", world.at("drive").to_str().unwrap())
        .replace("~/Documents", "source")
        .replace("bkv key", &format!("{BKV} key"));
    world.run("sh", &["-c", &script], &[]);
    let stored = fs::read_dir(world.at("drive")).unwrap().count();
    assert_eq!(stored, 1);
    world.lose();
    fs::create_dir(world.at("source")).unwrap();
    fs::write(world.at("source/secret"), "not under zeros").unwrap();
    let failed = world.try_run("sh", &["-c", &script], &[]);
    assert!(!failed.status.success(), "{}", shown(&failed));
    assert_eq!(fs::read_dir(world.at("drive")).unwrap().count(), stored, "it was encrypted without a key");
    world.bkv(&["key", "enter", "--key-file", "paper"]);
    let restore = script.replace("rclone copy source secret:", "rclone copy secret: out");
    world.run("sh", &["-c", &restore], &[]);
    assert_eq!(world.restored("out/file"), CONTENT);
}

/// S37: the password goes to standard output or into a new file that only its owner can read.
#[test]
fn s37_a_derived_password_is_in_no_argument_and_no_file_for_others() {
    let world = World::new();
    let printed = world.bkv(&["key", "derive", "restic"]);
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(printed.len() == 65 && printed.ends_with('\n') && printed.trim_end().chars().all(is_digit));
    assert_ne!(world.bkv(&["key", "derive", "borg"]), printed);
    assert!(!fs::read_to_string(world.at("paper")).unwrap().contains(printed.trim_end()));
    let said = world.bkv(&["key", "derive", "restic", "--output", "password"]);
    assert!(!said.contains(printed.trim_end()), "{said}");
    assert_eq!(world.restored("password"), printed);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.at("password")), 0o600);
    let again = world.try_run(BKV, &["key", "derive", "borg", "--output", "password"], &[]);
    assert_eq!(again.status.code(), Some(73), "{}", shown(&again));
    assert_eq!(world.restored("password"), printed, "a file was overwritten");
    let json = world.bkv(&["key", "derive", "restic", "--json"]);
    assert_eq!(json, format!("{{\"password\":\"{}\"}}\n", printed.trim_end()));
    let wrong = world.try_run(BKV, &["key", "derive", "Restic"], &[]);
    assert_eq!(wrong.status.code(), Some(2), "{}", shown(&wrong));
    world.lose();
    let none = world.try_run(BKV, &["key", "derive", "restic"], &[]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(13), 0), "{}", shown(&none));
}
