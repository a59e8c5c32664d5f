//! A restore gives no permission that the umask of its process takes away. The umask is that of the whole process, so this file has one test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use bkv_stream::archive::{PackOptions, pack, unpack};
use bkv_stream::{Cancel, Control};
use rustix::fs::Mode;
use rustix::process::umask;

#[test]
fn a_restore_keeps_to_the_umask() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    umask(Mode::empty());
    fs::create_dir_all(source.join("folder")).unwrap();
    let modes = [("", 0o777), ("folder", 0o755), ("folder/open", 0o666), ("program", 0o755), ("own", 0o600)];
    for (name, mode) in modes.into_iter().rev() {
        let path = source.join(name);
        if mode & 0o111 == 0 || name == "program" {
            fs::write(&path, name).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let cancel = Cancel::default();
    let control = || Control { progress: &(), cancel: &cancel };
    let mut tar = Vec::new();
    pack(&source, &mut tar, &PackOptions::default(), None, control()).unwrap();
    for taken in [0o000, 0o022, 0o027, 0o077] {
        umask(Mode::from_raw_mode(taken));
        let out = temp.path().join(format!("{taken:o}"));
        unpack(&mut tar.as_slice(), &out, control()).unwrap();
        for (name, mode) in modes {
            let found = fs::metadata(out.join(name)).unwrap().mode() & 0o777;
            assert_eq!(found, mode & !taken, "{name} with the umask {taken:o}: {found:o}");
        }
    }
}
