//! Copies of whole folders, each test with its own root.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    fn new() -> Self {
        let image = Self { dir: tempfile::tempdir().unwrap() };
        image.file("opt/hsm/lib/module.so.1", "code", 0o755);
        image.file("opt/hsm/etc/client.conf", "slot = 1", 0o640);
        image.link("module.so.1", "opt/hsm/lib/module.so");
        image
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn file(&self, at: &str, content: &str, mode: u32) {
        let path = self.root().join(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn link(&self, target: &str, at: &str) {
        symlink(target, self.root().join(at)).unwrap();
    }

    fn destination(&self) -> PathBuf {
        self.dir.path().join("volume")
    }

    fn copy(&self, paths: &[&str]) -> (Result<(), TreeError>, Vec<String>) {
        self.copy_to(&self.destination(), paths)
    }

    fn copy_to(&self, destination: &Path, paths: &[&str]) -> (Result<(), TreeError>, Vec<String>) {
        let mut omitted = Vec::new();
        let root = self.root();
        let mut note = |o: &Omitted| omitted.push(o.to_string());
        let result = Tree::open(&root, destination, &mut note)
            .and_then(|mut tree| paths.iter().try_for_each(|p| tree.copy(Path::new(p))));
        (result, omitted)
    }

    /// Content and mode by path below the destination. The content of a folder is `/`.
    fn found(&self) -> BTreeMap<String, (String, u32)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.destination()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                assert!(!metadata.is_symlink(), "{} is still a link", path.display());
                let content =
                    if metadata.is_dir() { "/".to_owned() } else { fs::read_to_string(&path).unwrap() };
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                let name = path.strip_prefix(self.destination()).unwrap().display().to_string();
                found.insert(name, (content, metadata.permissions().mode() & 0o7777));
            }
        }
        found
    }
}

#[test]
fn each_keeps_its_path_and_mode_and_links_become_files() {
    let image = Image::new();
    let (result, omitted) = image.copy(&["/opt/hsm/lib", "/opt/hsm/etc/client.conf"]);
    result.unwrap();
    assert!(omitted.is_empty(), "{omitted:?}");
    let found = image.found();
    assert_eq!(found["opt/hsm/lib/module.so"], ("code".into(), 0o755));
    assert_eq!(found["opt/hsm/lib/module.so.1"], ("code".into(), 0o755));
    assert_eq!(found["opt/hsm/etc/client.conf"], ("slot = 1".into(), 0o640));
    assert_eq!(found.keys().filter(|k| k.ends_with("copying")).count(), 0);
}

#[test]
fn it_may_run_again_over_its_own_copies() {
    let image = Image::new();
    fs::set_permissions(image.root().join("opt/hsm/etc"), Permissions::from_mode(0o555)).unwrap();
    image.copy(&["/opt/hsm"]).0.unwrap();
    let first = image.found();
    assert_eq!(first["opt/hsm/etc"], ("/".into(), 0o555));
    image.copy(&["/opt/hsm"]).0.unwrap();
    assert_eq!(image.found(), first);
}

#[test]
fn set_user_id_bits_do_not_arrive() {
    let image = Image::new();
    image.file("opt/hsm/bin/tool", "program", 0o4755);
    image.copy(&["/opt/hsm/bin/tool"]).0.unwrap();
    assert_eq!(image.found()["opt/hsm/bin/tool"].1, 0o755);
}

#[test]
fn what_is_of_no_use_in_a_folder_is_left_out_and_named() {
    let image = Image::new();
    image.link("nowhere", "opt/hsm/dangling");
    image.link("/opt", "opt/hsm/round");
    image.link(".", "opt/hsm/self");
    image.link("/", "opt/hsm/all");
    let _socket = UnixListener::bind(image.root().join("opt/hsm/socket")).unwrap();
    let (result, omitted) = image.copy(&["/opt"]);
    result.unwrap();
    assert_eq!(
        omitted,
        [
            "/opt/hsm/all: a link to a folder that it lies in",
            "/opt/hsm/dangling: a link to nothing",
            "/opt/hsm/round: a link to a folder that it lies in",
            "/opt/hsm/self: a link to a folder that it lies in",
            "/opt/hsm/socket: neither file nor folder",
        ]
    );
    assert!(image.found().contains_key("opt/hsm/lib/module.so"));
}

#[test]
fn a_missing_or_special_path_is_refused_by_name() {
    let image = Image::new();
    let error = image.copy(&["/opt/hsm/lib", "/opt/hsm/other.so"]).0.unwrap_err();
    assert_eq!(error.to_string(), "/opt/hsm/other.so is not there");
    let _socket = UnixListener::bind(image.root().join("socket")).unwrap();
    assert!(matches!(image.copy(&["/socket"]).0, Err(TreeError::Special { .. })));
}

#[test]
fn a_link_out_of_the_root_stops_everything() {
    let image = Image::new();
    fs::write(image.dir.path().join("secret"), "of the host").unwrap();
    image.link("../../../secret", "opt/hsm/up");
    let error = image.copy(&["/opt"]).0.unwrap_err();
    assert!(matches!(error, TreeError::Resolve(ResolveError::LeavesRoot { .. })), "{error}");
    assert!(!image.found().contains_key("opt/hsm/up"));
}

#[test]
fn the_destination_is_not_copied_into_itself() {
    let image = Image::new();
    let inside = image.root().join("opt/volume");
    let (result, omitted) = image.copy_to(&inside, &["/opt"]);
    result.unwrap();
    assert_eq!(omitted, ["/opt/volume: where the copies go"]);
    assert!(inside.join("opt/hsm/lib/module.so").exists());
    assert!(!inside.join("opt/volume").exists());
}

#[test]
fn folders_that_unfold_without_end_are_refused() {
    let image = Image::new();
    for level in 0..20 {
        fs::create_dir_all(image.root().join(format!("d/{level}"))).unwrap();
        image.link(&format!("/d/{}", level + 1), &format!("d/{level}/a"));
        image.link(&format!("/d/{}", level + 1), &format!("d/{level}/b"));
    }
    let (root, destination) = (image.root(), image.destination());
    let mut ignore = |_: &Omitted| ();
    let mut tree = Tree::open(&root, &destination, &mut ignore).unwrap();
    assert_eq!(tree.limit, ENTRIES);
    tree.limit = 200;
    assert!(matches!(tree.copy(Path::new("/d/0")), Err(TreeError::TooMany)));
    assert_eq!(tree.done().files, 0);
}

#[test]
fn a_destination_that_is_no_folder_cannot_be_written() {
    let image = Image::new();
    let file = image.dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(image.copy_to(&file, &["/opt"]).0, Err(TreeError::Folder { .. })));
}
