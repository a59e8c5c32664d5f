//! Backups as series and generations by the program `bkv`, with a 64-digit key and folders. No fleet is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A device with a source, a destination, and commands on them.
struct World {
    dir: tempfile::TempDir,
}

/// Both streams.
fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["source", "cloud"] {
            fs::create_dir(world.at(folder)).unwrap();
        }
        world.ok(&["key", "new"]);
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The command, run in the world's folder with the state `state`.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bkv"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("BKV_FLEET").env("BKV_STATE", self.at("state"));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn ends(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", shown(&output));
        shown(&output)
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.ends(0, args)
    }

    #[track_caller]
    fn json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.command(args).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", shown(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&output)))
    }

    #[track_caller]
    fn backup(&self, options: &[&str]) -> Value {
        self.json(
            0,
            &[&["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs"], options].concat(),
        )
    }

    /// All objects, without ledgers.
    fn objects(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = files(&self.at("cloud"));
        found.retain(|path| !path.to_string_lossy().contains("/ledgers/"));
        found
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Names, kinds, bits and content of everything below a folder.
fn tree(folder: &Path) -> Vec<(PathBuf, u32, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                open.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            found.push((
                path.strip_prefix(folder).unwrap().to_owned(),
                meta.mode(),
                meta.mtime_nsec(),
                content,
            ));
        }
    }
    found.sort();
    found
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn two_generations_are_listed_read_compared_and_restored() {
    let world = World::new();
    world.write("letters/june.txt", "first");
    world.write("letters/july.txt", "stays");
    world.write("film.bin", noise(3 << 20, 1));
    std::os::unix::fs::symlink("july.txt", world.at("source/letters/link")).unwrap();
    let before = tree(&world.at("source"));
    let first = world.backup(&[]);
    assert_eq!(
        (&first["generation"], &first["files"], &first["complete"]),
        (&1.into(), &3.into(), &true.into())
    );
    world.write("letters/june.txt", "second time");
    world.write("new.txt", "new");
    fs::remove_file(world.at("source/film.bin")).unwrap();
    let second = world.backup(&["--tag", "summer"]);
    assert!(second["new_bytes"].as_u64().unwrap() < 1 << 20, "all of it was stored again: {second}");

    let list = world.json(0, &["backups", "cloud"]);
    let writer = &list["writers"][0];
    assert_eq!((&writer["this_device"], &writer["standing"]), (&true.into(), &"named".into()), "{list}");
    let generations = writer["series"][0]["generations"].as_array().unwrap();
    assert_eq!(generations.len(), 2);
    assert_eq!(generations[1]["tags"][0], "summer");
    let text = world.ok(&["snapshots", "cloud"]);
    for part in ["docs", "complete", "this device", "series", "new"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }

    assert_eq!(
        world.ok(&["ls", "cloud"]),
        "letters/\nletters/july.txt\nletters/june.txt\nletters/link\nnew.txt\n"
    );
    let old = world.ok(&["ls", "cloud", "--generation", "1", "--long", "letters", "film.bin"]);
    assert!(old.contains("3145728") && old.contains("letters/link -> july.txt"), "{old}");
    assert!(!old.contains("new.txt"), "{old}");
    world.ends(66, &["ls", "cloud", "film.bin"]);

    assert_eq!(world.ok(&["cat", "cloud", "letters/june.txt"]), "second time");
    assert_eq!(world.ok(&["cat", "cloud", "letters/june.txt", "--generation", "1"]), "first");
    let film = world.run(&["cat", "cloud", "/film.bin", "--generation", "1"]);
    assert_eq!(film.stdout, noise(3 << 20, 1));
    assert!(world.ends(66, &["cat", "cloud", "film.bin"]).contains("bkv find"));
    world.ends(2, &["cat", "cloud"]);

    let found = world.json(0, &["find", "cloud", "*.bin", "june*"]);
    let generations: Vec<&Value> =
        found["found"].as_array().unwrap().iter().map(|f| &f["generations"]).collect();
    assert_eq!(generations, [&serde_json::json!([1]), &serde_json::json!([1, 2])]);
    assert!(world.ok(&["find", "cloud", "june*"]).contains("1-2"));
    world.ends(66, &["find", "cloud", "nothing"]);

    let text = world.ok(&["diff", "cloud", "1", "latest"]);
    for line in
        ["- film.bin", "M letters/june.txt", "+ new.txt", "1 entry added, 1 entry removed, 1 file changed"]
    {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    assert!(!text.contains("july"), "{text}");

    world.ok(&["restore", "cloud", "--to", "out", "--generation", "1"]);
    assert_eq!(tree(&world.at("out")), before);
    // The newest, into an empty folder that is there already.
    fs::create_dir(world.at("here")).unwrap();
    let restored = world.json(0, &["restore", "cloud", "--to", "here"]);
    assert_eq!((&restored["generation"], &restored["files"]), (&2.into(), &3.into()), "{restored}");
    assert_eq!(tree(&world.at("here")), tree(&world.at("source")));
    world.ends(73, &["restore", "cloud", "--to", "here"]);
    world.ok(&["restore", "cloud", "--to", "part", "--include", "letters/*.txt"]);
    assert_eq!(files(&world.at("part")).len(), 2);
    assert!(
        world.ends(66, &["restore", "cloud", "--to", "none", "--include", "*.xyz"]).contains("--include")
    );
    world.ends(66, &["restore", "cloud", "--to", "none", "--generation", "7"]);
    world.ends(66, &["restore", "cloud", "--to", "none", "--at", "1999-12-31"]);
    world.ends(66, &["restore", "cloud", "--to", "none", "--series", "other"]);
    assert!(!world.at("none").exists());
    let all = world.json(0, &["verify", "cloud"]);
    assert_eq!((&all["generations"], all["broken"].as_array().unwrap().len()), (&2.into(), 0));
}

/// Nothing of a damaged file appears, and the object is named.
#[test]
fn a_damaged_object_is_named_and_the_rest_can_be_saved() {
    let world = World::new();
    world.write("large", noise(2 << 20, 3));
    world.write("small", "kept");
    world.backup(&[]);
    let largest = world.objects().into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&largest, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&largest, &bytes).unwrap();
    let object = largest.strip_prefix(world.at("cloud")).unwrap().to_str().unwrap().to_owned();
    let verified = world.json(65, &["verify", "cloud"]);
    assert_eq!(verified["broken"][0]["object"], object.as_str(), "{verified}");
    assert!(world.ends(65, &["verify", "cloud"]).contains(&object));
    assert!(world.ends(65, &["restore", "cloud", "--to", "out"]).contains(&object));
    assert!(!world.at("out").exists());
    let kept = world.json(3, &["restore", "cloud", "--to", "out", "--keep-going"]);
    assert_eq!(kept["failed"].as_array().unwrap().len(), 1, "{kept}");
    assert_eq!(fs::read(world.at("out/small")).unwrap(), b"kept");
    assert!(!world.at("out/large").exists());
    // A sync that has not finished is no damage.
    fs::remove_file(&largest).unwrap();
    let text = world.ends(65, &["restore", "cloud", "--to", "later"]);
    assert!(text.contains("not all of this backup is here") && text.contains(&object), "{text}");
    world.ends(65, &["verify", "cloud"]);
}

#[test]
fn prune_condemns_what_no_rule_keeps_and_takes_it_back() {
    let world = World::new();
    for n in 0..4_u8 {
        world.write("file", [n]);
        world.backup(&[]);
    }
    assert!(world.ends(2, &["prune", "cloud"]).contains("--keep-daily"));
    let dry = world.json(0, &["prune", "cloud", "--keep-last", "2", "--dry-run"]);
    assert_eq!((dry["condemned"].as_array().unwrap().len(), &dry["stay"]), (2, &2.into()), "{dry}");
    let numbers = |world: &World| -> Vec<(u64, bool)> {
        let list = world.json(0, &["backups", "cloud"]);
        let all = list["writers"][0]["series"][0]["generations"].as_array().unwrap().clone();
        all.iter().map(|g| (g["generation"].as_u64().unwrap(), g["condemned_since_ms"].is_null())).collect()
    };
    assert_eq!(numbers(&world), [(1, true), (2, true), (3, true), (4, true)]);
    let objects = world.objects();
    let text = world.ok(&["prune", "cloud", "--keep-last", "2"]);
    assert!(text.contains("condemned: generation 1 of 'docs'") && text.contains("7 days"), "{text}");
    assert_eq!(numbers(&world), [(3, true), (4, true), (1, false), (2, false)]);
    assert_eq!(world.objects(), objects, "data was deleted at once");
    world.ends(66, &["restore", "cloud", "--to", "none", "--generation", "1"]);
    assert_eq!(world.json(0, &["prune", "cloud", "--undo"])["undone"], 2);
    world.ok(&["restore", "cloud", "--to", "out", "--generation", "1"]);
    assert_eq!(fs::read(world.at("out/file")).unwrap(), [0]);
    // Another device, or a place without backups of this one.
    fs::create_dir(world.at("empty")).unwrap();
    world.ends(66, &["prune", "empty", "--keep-last", "1"]);
    world.ends(66, &["prune", "cloud", "--keep-last", "1", "--series", "other"]);
}

#[test]
fn a_backup_that_is_killed_leaves_the_last_one_whole_and_the_next_one_ends_well() {
    let world = World::new();
    world.write("first", "whole");
    world.backup(&[]);
    let before = world.objects().len();
    for n in 0..24 {
        world.write(&format!("large-{n}"), noise(2 << 20, n + 7));
    }
    let args = ["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs", "--quiet"];
    let mut killed = world.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while world.objects().len() == before {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.ok(&["restore", "cloud", "--to", "out"]);
    assert_eq!(files(&world.at("out")).len(), 1);
    let next = world.backup(&[]);
    assert_eq!((&next["generation"], &next["files"]), (&2.into(), &25.into()), "{next}");
    world.ok(&["restore", "cloud", "--to", "all"]);
    assert_eq!(tree(&world.at("all")), tree(&world.at("source")));
    world.ok(&["verify", "cloud"]);
}

/// S29 for series: one backup of a writer at a time.
#[test]
fn a_second_backup_at_the_same_time_is_refused_or_waits() {
    let world = World::new();
    world.write("file", "x");
    world.backup(&[]);
    let state = files(&world.at("state/writers")).into_iter().find(|f| f.ends_with("state.lock")).unwrap();
    let lock = fs::File::options().write(true).open(state).unwrap();
    lock.lock().unwrap();
    let args = ["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs"];
    assert!(world.ends(11, &args).contains("another backup"));
    world.ends(11, &["prune", "cloud", "--keep-last", "1"]);
    // A reader needs no lock.
    world.ok(&["ls", "cloud"]);
    let waiting = world.command(&args).arg("--wait-lock").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut waiting = waiting.unwrap();
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    assert_eq!(
        world.json(0, &["backups", "cloud"])["writers"][0]["series"][0]["generations"][1]["generation"],
        2
    );
}

/// B1 and B18: two devices of one key in one folder.
#[test]
fn two_devices_share_a_destination_and_neither_disturbs_the_other() {
    let world = World::new();
    let digits = world.ok(&["key", "show", "--plain", "--quiet"]);
    fs::write(world.at("digits"), digits.lines().next().unwrap()).unwrap();
    world.ok(&["key", "enter", "--key-file", "digits", "--state", "tablet"]);
    world.write("file", "of the phone");
    world.backup(&[]);
    fs::create_dir(world.at("other")).unwrap();
    fs::write(world.at("other/file"), "of the tablet").unwrap();
    let tablet =
        ["backup", "other", "--to", "cloud", "--form", "series", "--name", "docs", "--state", "tablet"];
    let made = world.json(0, &tablet);
    assert_eq!(made["generation"], 1);
    world.write("file", "of the phone, later");
    world.backup(&[]);
    let list = world.json(0, &["backups", "cloud"]);
    assert_eq!(list["writers"].as_array().unwrap().len(), 2, "{list}");
    let own: Vec<bool> =
        list["writers"].as_array().unwrap().iter().map(|w| w["this_device"] == true).collect();
    assert_eq!(own.iter().filter(|own| **own).count(), 1);
    let text = world.ends(66, &["restore", "cloud", "--to", "none"]);
    assert!(text.contains("several series") && text.contains(made["writer"].as_str().unwrap()), "{text}");
    let writer = &made["writer"].as_str().unwrap()[..8];
    let text = world.ok(&["restore", "cloud", "--to", "theirs", "--writer", writer]);
    assert!(
        text.contains("if an older one is served"),
        "nothing is known of another device's newest: {text}"
    );
    assert_eq!(fs::read(world.at("theirs/file")).unwrap(), b"of the tablet");
    world.ends(66, &["restore", "cloud", "--to", "none", "--writer", "ffffffffffff"]);
    // A new device with nothing but the digits.
    world.ok(&["key", "enter", "--key-file", "digits", "--state", "new"]);
    world.ok(&[
        "restore",
        "cloud",
        "--to",
        "mine",
        "--state",
        "new",
        "--series",
        "docs",
        "--writer",
        list["writers"][usize::from(!own[0])]["writer"].as_str().unwrap(),
    ]);
    assert_eq!(fs::read(world.at("mine/file")).unwrap(), b"of the phone, later");
    // Another key sees that there are others' backups, and none of its own.
    world.ok(&["key", "new", "--state", "stranger"]);
    let text = world.ends(66, &["backups", "cloud", "--state", "stranger"]);
    assert!(text.contains("1 of other accounts or keys"), "{text}");
    world.ends(66, &["restore", "cloud", "--to", "none", "--state", "stranger"]);
    assert!(!world.at("none").exists());
}

/// K8: a copied state would continue one history twice.
#[test]
fn a_copied_state_becomes_a_new_writer_with_a_word() {
    let world = World::new();
    world.write("file", "one");
    world.backup(&[]);
    assert!(
        Command::new("cp").arg("-a").arg(world.at("state")).arg(world.at("copy")).status().unwrap().success()
    );
    world.write("file", "two");
    world.backup(&[]);
    let copy = ["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs", "--state", "copy"];
    let output = world.command(&copy).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(shown(&output).contains("Never copy a state folder"), "{}", shown(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["new_writer"], &made["generation"]), (&true.into(), &1.into()));
    let list = world.json(0, &["backups", "cloud"]);
    assert_eq!(list["writers"].as_array().unwrap().len(), 2, "{list}");
    assert_eq!(world.backup(&[])["generation"], 3);
}

/// S29: whoever keeps the destination shows it as it was.
#[test]
fn s29_an_older_copy_of_the_destination_is_noticed_and_an_emptied_one_can_be_begun_anew() {
    let world = World::new();
    let copy = |from: &str, to: &str| {
        let (from, to) = (world.at(from), world.at(to));
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    world.write("file", "one");
    world.backup(&[]);
    copy("cloud", "earlier");
    world.write("file", "two");
    world.backup(&[]);
    fs::rename(world.at("cloud"), world.at("newest")).unwrap();
    copy("earlier", "cloud");
    let text = world.ends(65, &["restore", "cloud", "--to", "out"]);
    assert!(text.contains("older copy of the destination"), "{text}");
    assert!(!world.at("out").exists());
    world.ok(&["restore", "cloud", "--to", "out", "--allow-older"]);
    assert_eq!(fs::read(world.at("out/file")).unwrap(), b"one");
    let list = world.json(0, &["backups", "cloud"]);
    assert_eq!(list["writers"][0]["standing"], "older", "{list}");
    world.ends(65, &["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs"]);
    fs::remove_dir_all(world.at("cloud")).unwrap();
    fs::create_dir(world.at("cloud")).unwrap();
    let text = world.ends(65, &["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs"]);
    assert!(text.contains("--new-writer"), "{text}");
    assert_eq!(world.backup(&["--new-writer"])["generation"], 1);
    // A disk under another path is the same destination.
    fs::rename(world.at("cloud"), world.at("moved")).unwrap();
    let moved = world.json(0, &["backup", "source", "--to", "moved", "--form", "series", "--name", "docs"]);
    assert_eq!(moved["generation"], 2);
}

#[test]
fn what_is_left_out_is_what_was_said_and_never_the_state_or_the_backups() {
    let world = World::new();
    for name in
        ["a.txt", "b.tmp", "C.BAK", "cache/x", "marked/.nobackup", "marked/y", "tagged/z", "sub/deep/b.tmp"]
    {
        world.write(name, "content");
    }
    world.write("tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    world.write("large", vec![7; 4096]);
    fs::write(world.at("rules"), "# rules\ncache/\n").unwrap();
    let options = [
        "--exclude",
        "*.tmp",
        "--iexclude",
        "*.bak",
        "--exclude-from",
        "rules",
        "--exclude-if-present",
        ".nobackup",
        "--exclude-caches",
        "--exclude-larger-than",
        "2k",
        "--one-file-system",
    ];
    let dry = world.backup(&[&options[..], &["--dry-run"]].concat());
    assert_eq!((&dry["files"], &dry["dry_run"]), (&1.into(), &true.into()), "{dry}");
    assert!(dry["new_bytes"].as_u64().unwrap() > 0);
    assert_eq!(files(&world.at("cloud")), [] as [PathBuf; 0], "a dry run wrote something");
    assert_eq!(world.backup(&options)["generation"], 1, "a dry run took a number");
    assert_eq!(world.ok(&["ls", "cloud"]), "a.txt\nsub/\nsub/deep/\n");

    // The world's own folder has the state and the backups in it.
    let all = ["backup", ".", "--to", "cloud", "--form", "series"];
    let made = world.json(0, &all);
    let label = made["series"].as_str().unwrap().to_owned();
    assert!(label.ends_with(world.dir.path().canonicalize().unwrap().to_str().unwrap()), "{label}");
    let skipped = made["skipped"].to_string();
    assert!(skipped.contains("state") && skipped.contains("bkv-"), "{skipped}");
    let listed = world.ok(&["ls", "cloud", "--series", &label]);
    assert!(
        listed.contains("source/a.txt") && !listed.contains("device.json") && !listed.contains("ledgers"),
        "{listed}"
    );
    // By the same path from elsewhere it is the same series.
    let again = world
        .command(&["backup", "..", "--to", "../cloud", "--form", "series", "--json"])
        .current_dir(world.at("source"))
        .output();
    assert!(again.unwrap().status.success());

    // Several sources need a name, and another set is refused.
    world.ends(2, &["backup", "source", "cloud", "--to", "cloud", "--form", "series"]);
    fs::create_dir(world.at("more")).unwrap();
    fs::write(world.at("more/m"), "m").unwrap();
    world.ok(&["backup", "source", "more", "--to", "cloud", "--form", "series", "--name", "both"]);
    assert_eq!(world.ok(&["cat", "cloud", "more/m", "--series", "both"]), "m");
    let text = world.ends(66, &["backup", "more", "--to", "cloud", "--form", "series", "--name", "both"]);
    assert!(text.contains("other sources"), "{text}");
    // An unmounted disk.
    fs::remove_dir_all(world.at("more")).unwrap();
    fs::create_dir(world.at("more")).unwrap();
    let only = ["backup", "more", "--to", "cloud", "--form", "series", "--name", "disk"];
    world.ok(&only);
    fs::write(world.at("more/m"), "m").unwrap();
    world.ok(&only);
    fs::remove_file(world.at("more/m")).unwrap();
    assert!(world.ends(66, &only).contains("mounted"));
    world.ok(&[&only[..], &["--allow-empty"]].concat());
    world.ends(66, &["backup", "absent", "--to", "cloud", "--form", "series"]);
    world.ends(66, &["backup", "rules", "--to", "cloud", "--form", "series"]);
    world.ends(2, &[&only[..], &["--exclude", "a**"]].concat());
}

/// Folders in each other below the source.
fn nest(world: &World, name: &str, depth: usize) {
    let script = format!(
        "import os\nos.chdir('source')\nfor i in range({depth}):\n os.mkdir('{name}')\n os.chdir('{name}')\nopen('end','w').write('deep')"
    );
    let made = Command::new("python3").args(["-c", &script]).current_dir(world.dir.path()).status();
    assert!(made.unwrap().success());
}

/// A path that is longer than the system takes can't be read, by root neither.
#[test]
fn a_backup_without_some_files_is_made_and_ends_with_3() {
    let world = World::new();
    world.write("good", "kept");
    nest(&world, &"n".repeat(250), 20);
    let args = ["backup", "source", "--to", "cloud", "--form", "series", "--name", "docs"];
    let made = world.json(3, &args);
    let is = (&made["complete"], &made["error"], &made["generation"]);
    assert_eq!(is, (&false.into(), &"incomplete".into(), &1.into()), "{made}");
    let skipped = &made["skipped"][0];
    assert!(skipped["path"].as_str().unwrap().contains("nnn") && skipped["failed"] == true, "{made}");
    let text = world.ends(3, &args);
    assert!(text.contains("generation 2 of 'docs'") && text.contains("could not be kept"), "{text}");
    assert!(world.ok(&["backups", "cloud"]).contains("incomplete"));
    assert_eq!(world.ok(&["cat", "cloud", "good"]), "kept");
}

#[test]
fn deep_trees_and_strange_names_come_back() {
    let world = World::new();
    let strange = OsStr::from_bytes(b"\xff\x1b]0;pwned\x07\n\xe2\x80\xaetxt");
    fs::write(world.at("source").join(strange), "strange").unwrap();
    nest(&world, "a", 1100);
    world.backup(&[]);
    for args in [
        &["ls", "cloud"][..],
        &["find", "cloud", "*txt"],
        &["restore", "cloud", "--to", "out"],
        &["diff", "cloud", "1", "1"],
    ] {
        let text = world.ok(args);
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(harmful), "{args:?}: {text:?}");
    }
    assert!(world.ok(&["ls", "cloud"]).contains("\\u{1b}]0;pwned"));
    assert_eq!(fs::read(world.at("out").join(strange)).unwrap(), b"strange");
    assert_eq!(fs::read(world.at("out").join("a/".repeat(1100)).join("end")).unwrap(), b"deep");
    let listed = world.json(0, &["ls", "cloud"]);
    let one = listed["entries"].as_array().unwrap().iter().find(|e| !e["path_bytes"].is_null()).unwrap();
    assert_eq!(one["path_bytes"], hex::encode(strange.as_bytes()));
    let mut cat = world.command(&["cat", "cloud"]);
    assert_eq!(cat.arg(strange).output().unwrap().stdout, b"strange");
}

#[test]
fn a_destination_that_takes_nothing_is_named() {
    let world = World::new();
    world.write("file", noise(2 << 20, 9));
    // No folder can be made there, by root neither.
    let text = world.ends(73, &["backup", "source", "--to", "/sys", "--form", "series"]);
    assert!(text.contains("/sys/bkv-") && text.contains("Make the destination writable"), "{text}");
    world.ends(73, &["backup", "source", "--to", "absent", "--form", "series"]);
    assert!(
        world
            .ends(73, &["backup", "source", "--to", "s3://bucket/x", "--form", "series"])
            .contains("not a folder of this machine")
    );
    // No file may have more than 512 KiB: as a full disk.
    let line = format!(
        "trap '' XFSZ; ulimit -f 1024; exec '{}' backup source --to cloud --form series --name docs",
        env!("CARGO_BIN_EXE_bkv")
    );
    let limited = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(world.dir.path()).env("BKV_STATE", world.at("state"));
        shell.output().unwrap()
    };
    let output = limited(&line);
    assert_eq!(output.status.code(), Some(73), "{}", shown(&output));
    assert!(shown(&output).contains("no room is left"), "{}", shown(&output));
    assert_eq!(world.backup(&[])["generation"], 1);
    world.ok(&["verify", "cloud"]);
}

/// Both kinds in one place.
#[test]
fn single_files_beside_series_are_named_and_stay_readable() {
    let world = World::new();
    world.write("file", "old");
    world.ok(&["backup", "source", "--to", "cloud"]);
    // Only single files: as always.
    world.ok(&["restore", "cloud", "--to", "one"]);
    assert_eq!(fs::read(world.at("one/file")).unwrap(), b"old");
    let text = world.ends(66, &["backups", "cloud"]);
    assert!(text.contains("1 backup in single files") && text.contains("source-000001.bkv"), "{text}");
    world.ends(2, &["restore", "cloud", "--to", "none", "--series", "docs"]);
    world.write("file", "new");
    world.backup(&[]);
    let text = world.ok(&["restore", "cloud", "--to", "two"]);
    assert!(text.contains("source-000001.bkv") && text.contains("does not look at them"), "{text}");
    assert_eq!(fs::read(world.at("two/file")).unwrap(), b"new");
    world.ok(&["restore", "cloud/source-000001.bkv", "--to", "three"]);
    assert_eq!(fs::read(world.at("three/file")).unwrap(), b"old");
    assert!(world.ok(&["inspect", "cloud/source-000001.bkv"]).contains("sequence"));
    for option in ["--exclude=x", "--dry-run", "--read-all"] {
        world.ends(2, &["backup", "source", "--to", "cloud", option]);
    }
}
