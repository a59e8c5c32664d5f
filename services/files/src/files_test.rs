use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::SystemTime;

use super::*;

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn content_and_mode_are_replaced_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    replace(&path, b"one", Mode::Public).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"one".to_vec(), 0o644));
    replace(&path, b"two", Mode::Private).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o600));
    replace(&path, b"", Mode::Bits(0o555)).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (Vec::new(), 0o555));
    assert_eq!(entries(folder.path()), ["file"]);
}

#[test]
fn a_new_file_never_replaces_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    create(&path, b"one", Mode::Private).unwrap();
    assert_eq!(create(&path, b"two", Mode::Private).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(entries(folder.path()), ["file"]);
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("file"), folder.path().join("other"));
    fs::write(&other, "untouched").unwrap();
    symlink(&other, &path).unwrap();
    assert_eq!(create(&path, b"x", Mode::Private).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    replace(&path, b"new", Mode::Private).unwrap();
    assert!(path.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(&other).unwrap(), b"untouched");
}

#[test]
fn an_unfinished_file_is_private_and_goes_with_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = Unpublished::beside(&path).unwrap();
    file.write_all(b"half").unwrap();
    let names = entries(folder.path());
    assert_eq!(mode(&folder.path().join(&names[0])), 0o600);
    assert!(names.len() == 1 && names[0].starts_with(".file.") && names[0].strip_suffix(".new").is_some());
    drop(file);
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn only_old_leftovers_of_this_file_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let old = SystemTime::now() - ABANDONED * 2;
    for name in [".file.abc.new", ".file.young.new", ".other.abc.new", ".file.abc"] {
        let file = File::create(folder.path().join(name)).unwrap();
        if !name.contains("young") {
            file.set_modified(old).unwrap();
        }
    }
    replace(&folder.path().join("file"), b"x", Mode::Private).unwrap();
    assert_eq!(entries(folder.path()), [".file.abc", ".file.young.new", ".other.abc.new", "file"]);
}

#[test]
fn a_missing_folder_and_a_folder_in_the_way_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    assert!(replace(&folder.path().join("none/file"), b"x", Mode::Private).is_err());
    fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(replace(&folder.path().join("folder"), b"x", Mode::Private).is_err());
    assert!(replace(Path::new("/"), b"x", Mode::Private).is_err());
    assert_eq!(entries(folder.path()), ["folder"]);
}

#[test]
fn a_file_without_a_name_gets_it_when_it_is_whole_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = NewFile::at(&path).unwrap();
    file.write_all(b"half").unwrap();
    #[cfg(target_os = "linux")]
    assert!(entries(folder.path()).is_empty(), "a kill would leave it");
    drop(file);
    assert!(entries(folder.path()).is_empty());
    let mut file = NewFile::at(&path).unwrap();
    file.write_all(b"whole").unwrap();
    assert_eq!(file.file().metadata().unwrap().len(), 5);
    file.publish(Mode::Private).unwrap();
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"whole".to_vec(), 0o600));
    let file = NewFile::at(&path).unwrap();
    assert_eq!(file.publish(Mode::Private).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(entries(folder.path()), ["file"]);
    assert!(NewFile::at(&folder.path().join("none/file")).is_err());
}
