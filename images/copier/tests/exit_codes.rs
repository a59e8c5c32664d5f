//! Runs the program as the init containers do, and checks its output and exit codes.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bkv-copier")).args(arguments).output().unwrap()
}

fn refused(arguments: &[&str], code: i32, says: &str) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(says), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn it_installs_itself_and_the_copy_works() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&["install", text(dir.path())]).status.success());
    let copy = dir.path().join("copier");
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o7777, 0o555);
    // A container that restarts installs the program again.
    assert!(run(&["install", text(&copy)]).status.success());
    let version = Command::new(&copy).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("copier {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn it_copies_and_reports_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let (library, volume) = (dir.path().join("library.so"), dir.path().join("volume"));
    fs::write(&library, "code").unwrap();
    let output = run(&["copy", "--to", text(&volume), text(&library)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("copied 1 files, 4 bytes, to "));
    let copied = volume.join(library.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(copied).unwrap(), "code");
}

#[test]
fn each_failure_has_its_exit_code_and_names_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&dir.path().join(name)).to_owned();
    let (volume, missing, link, file) = (at("volume"), at("missing.so"), at("link"), at("file"));
    symlink("/proc/self/environ", &link).unwrap();
    fs::write(&file, "").unwrap();
    refused(&["copy", "--to", &volume], 2, "at least one PATH");
    refused(&["copy", "--to", &volume, "/proc/self/environ"], 65, "not the image's");
    refused(&["copy", "--to", &volume, &link], 65, &link);
    refused(&["copy", "--to", &volume, &missing], 66, &missing);
    refused(&["copy", "--to", &file, &file], 73, &file);
    refused(&["install", &at("no/folder/here")], 73, "no/folder/here");
}

#[test]
fn the_help_names_every_exit_code() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for code in ["0 done", "2 usage", "65 refused", "66 a path", "73 can't write"] {
        assert!(help.contains(code), "{code}");
    }
}
