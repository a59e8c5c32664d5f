//! Backups in one file, and through pipes.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::world::*;

impl World {
    /// Runs the command with this input.
    fn fed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A command that is refused does not read it.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        output
    }

    #[track_caller]
    pub(crate) fn fed_ok(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.fed(args, input);
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        output.stdout
    }

    /// Another device with the same digits.
    fn other_device(&self, state: &str) {
        let digits = self.ok(&["key", "show", "--plain", "--quiet"]);
        fs::write(self.at("digits"), digits.trim()).unwrap();
        self.ok(&["key", "enter", "--key-file", "digits", "--state", state]);
    }

    fn names(&self, folder: &str) -> Vec<PathBuf> {
        fs::read_dir(self.at(folder)).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// A folder in one file: every command that reads takes it, and the digits alone open it.
#[test]
fn a_single_file_is_read_by_every_command_and_the_digits_open_it() {
    let world = World::new();
    world.write("letters/june.txt", "dear diary");
    world.write("film", noise(3 << 20, 4));
    let made = world.json(0, &["backup", "source", "--to", "cloud", "--form", "file"]);
    let file = made["file"].as_str().unwrap();
    assert!(file.contains("cloud/source-20") && file.contains(".bkv"), "{made}");
    assert_eq!((&made["files"], &made["complete"]), (&2.into(), &true.into()), "{made}");
    assert_eq!(world.names("cloud"), [world.at("cloud").join(PathBuf::from(file).file_name().unwrap())]);
    world.other_device("laptop");
    let laptop = ["--state", "laptop"];
    let with = |args: &[&str]| world.ok(&[args, &laptop].concat());
    assert!(with(&["ls", file]).contains("letters/june.txt"));
    assert_eq!(with(&["cat", file, "letters/june.txt"]), "dear diary");
    assert!(with(&["find", file, "*.txt"]).contains("letters/june.txt"));
    assert!(with(&["verify", file]).contains("whole and authentic"));
    assert!(with(&["backups", file]).contains("a single file"));
    assert!(world.ok(&["inspect", file]).contains("objects"));
    with(&["restore", file, "--to", "out"]);
    assert_eq!(tree(&world.at("out")), tree(&world.at("source")));
    with(&["restore", "cloud", "--to", "letters", "--include", "letters"]);
    assert!(world.at("letters/letters/june.txt").exists() && !world.at("letters/film").exists());
    // What is for destinations says so.
    world.ends(2, &["copy", file, "--to", "source"]);
    world.ends(2, &["verify", file, "--repair"]);
    world.ends(66, &["prune", file, "--keep-last", "1"]);
    world.ok(&["key", "new", "--state", "stranger"]);
    for args in [["ls", file], ["verify", file]] {
        let text = world.ends(15, &[&args[..], &["--state", "stranger"]].concat());
        assert!(text.contains("another key"), "{text}");
    }
    world.ends(15, &["restore", file, "--to", "none", "--state", "stranger"]);
    assert!(!world.at("none").exists());
}

/// A path names the file, and nothing is ever replaced. A damaged or cut file restores nothing, and is not passed over in silence.
#[test]
fn a_damaged_file_restores_nothing_and_may_be_the_newest() {
    let world = World::new();
    world.write("file", "one");
    world.ok(&["backup", "source", "--to", "cloud/a.bkv"]);
    let text = world.ends(73, &["backup", "source", "--to", "cloud/a.bkv"]);
    assert!(text.contains("exists already"), "{text}");
    world.ends(73, &["backup", "source", "--to", "absent/a.bkv"]);
    world.ends(2, &["backup", "source", "--to", "cloud/b.bkv", "--read-all"]);
    world.ends(66, &["backup", "source", "--to", "cloud", "--form", "file", "--name", "a/b"]);
    // A disk that is not mounted.
    world.ends(73, &["backup", "source", "--to", "disk", "--form", "file"]);
    assert!(!world.at("disk").exists());
    world.write("file", "two");
    world.ok(&["backup", "source", "--to", "cloud/b.bkv"]);
    world.ok(&["restore", "cloud", "--to", "newest"]);
    assert_eq!(fs::read(world.at("newest/file")).unwrap(), b"two");
    let good = fs::read(world.at("cloud/b.bkv")).unwrap();
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 1;
    for bad in [&good[..good.len() - 1], &good[..100], &flipped] {
        fs::write(world.at("cloud/b.bkv"), bad).unwrap();
        world.ends(65, &["restore", "cloud/b.bkv", "--to", "none"]);
        world.ends(65, &["verify", "cloud/b.bkv"]);
        assert!(!world.at("none").exists());
    }
    fs::write(world.at("cloud/b.bkv"), &good[..good.len() - 1]).unwrap();
    let text = world.ends(65, &["restore", "cloud", "--to", "none"]);
    assert!(text.contains("cut short") && text.contains("may be the newest"), "{text}");
    let text = world.ok(&["restore", "cloud", "--to", "older", "--allow-older"]);
    assert!(text.contains("passed over: cloud/b.bkv"), "{text}");
    assert_eq!(fs::read(world.at("older/file")).unwrap(), b"one");
}

/// Files of earlier versions beside them: the later one is restored, whatever its form.
#[test]
fn of_old_and_new_files_the_later_one_is_restored() {
    let world = World::new();
    let old = ["backup", "source", "--to", "cloud", "--form", "old-file"];
    world.write("file", "one");
    world.ok(&old);
    world.write("file", "two");
    world.ok(&["backup", "source", "--to", "cloud", "--form", "file"]);
    world.ok(&["restore", "cloud", "--to", "second"]);
    assert_eq!(fs::read(world.at("second/file")).unwrap(), b"two");
    world.write("file", "three");
    world.ok(&old);
    world.ok(&["restore", "cloud", "--to", "third"]);
    assert_eq!(fs::read(world.at("third/file")).unwrap(), b"three");
    let text = world.ends(66, &["ls", "cloud/source-000001.bkv"]);
    assert!(text.contains("`bkv restore` restores it"), "{text}");
}

/// A folder goes through one pipe, and the bytes of a program through another.
#[test]
fn pipes_carry_folders_and_bytes_both_ways() {
    let world = World::new();
    world.write("file", noise(2 << 20, 3));
    let piped = world.fed_ok(&["backup", "source", "--to", "-"], b"");
    world.fed_ok(&["restore", "-", "--to", "out"], &piped);
    assert_eq!(tree(&world.at("out")), tree(&world.at("source")));
    let cut = world.fed(&["restore", "-", "--to", "none"], &piped[..piped.len() - 1]);
    assert_eq!(cut.status.code(), Some(65), "{}", shown(&cut));
    // A folder does not fit through standard output, and neither do two results.
    assert_eq!(world.fed(&["restore", "-", "--to", "-"], &piped).status.code(), Some(2));
    world.ends(2, &["backup", "source", "--to", "-", "--json"]);

    let dump = noise(3 << 20, 8);
    world.fed_ok(&["backup", "--stdin-name", "db.sql", "--to", "dump.bkv"], &dump);
    assert_eq!(world.fed_ok(&["restore", "dump.bkv", "--to", "-"], b""), dump);
    world.ok(&["restore", "dump.bkv", "--to", "db.sql"]);
    assert_eq!(fs::read(world.at("db.sql")).unwrap(), dump);
    let text = world.ends(73, &["restore", "dump.bkv", "--to", "db.sql"]);
    assert!(text.contains("exists already"), "{text}");
    let both = world.fed_ok(&["backup", "--stdin-name", "db.sql", "--to", "-"], &dump);
    assert_eq!(world.fed_ok(&["restore", "-", "--to", "-"], &both), dump);

    // The same as a series.
    for content in [&dump[..1000], &dump] {
        world.fed_ok(&["backup", "--stdin-name", "db.sql", "--to", "cloud"], content);
    }
    let list = world.json(0, &["backups", "cloud"]);
    let series = &list["writers"][0]["series"][0];
    assert_eq!((&series["label"], &series["generations"][1]["content"]), (&"db.sql".into(), &"pipe".into()));
    assert_eq!(world.fed_ok(&["restore", "cloud", "--to", "-", "--generation", "1"], b""), &dump[..1000]);
    assert_eq!(world.fed_ok(&["cat", "cloud"], b""), dump);
}

/// A backup that is killed leaves nothing, and one that waits for its producer ends at a signal.
#[test]
fn a_backup_of_a_pipe_that_is_killed_or_interrupted_leaves_nothing() {
    let world = World::new();
    for (signal, code) in [(Signal::KILL, None), (Signal::TERM, Some(130))] {
        let mut command = world.command(&["backup", "--stdin-name", "x", "--to", "cloud/x.bkv", "--quiet"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // More than a pipe holds: it has begun to read, and so to write.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&noise(8 << 20, 2)).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), code);
        assert_eq!(world.names("cloud"), Vec::<PathBuf>::new());
        drop(stdin);
    }
}
