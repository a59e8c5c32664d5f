//! S38: archives by an attacker who has the key. For any bytes, nothing is written outside the destination, a refused archive leaves nothing behind,
//! and nothing panics.

use std::fs;

use proptest::prelude::*;

use super::{PackOptions, pack, unpack};
use crate::progress::{Cancel, Control};

fn control(cancel: &Cancel) -> Control<'_> {
    Control { progress: &(), cancel }
}

/// A small valid archive.
fn good() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::write(dir.path().join("folder/file"), b"text").unwrap();
    std::os::unix::fs::symlink("folder/file", dir.path().join("link")).unwrap();
    let mut tar = Vec::new();
    pack(dir.path(), &mut tar, &PackOptions::default(), None, control(&Cancel::default())).unwrap();
    tar
}

/// Unpacks into a new folder. Afterwards the folder may contain only `out`, and only if the archive was valid.
fn judge(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let cancel = Cancel::default();
    let done = unpack(&mut &*bytes, &home.join("out"), control(&cancel)).is_ok();
    let names: Vec<_> = fs::read_dir(&home).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), usize::from(done), "{names:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "written outside");
    done
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn s38_arbitrary_archives_write_nothing_outside(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        judge(&bytes);
    }

    /// The test corrects the header's checksum, so that the checksum does not reveal the change.
    #[test]
    fn s38_changed_archives_write_nothing_outside(block: prop::sample::Index, at in 0usize..512, to: u8, name in "[./a-z]{1,40}", rename: bool) {
        let mut bytes = good();
        let headers: Vec<usize> = (0..bytes.len() / 512).filter(|b| bytes[b * 512 + 257..].starts_with(b"ustar")).collect();
        let header = headers[block.index(headers.len())] * 512;
        if rename {
            bytes[header..header + 100].fill(0);
            bytes[header..header + name.len()].copy_from_slice(name.as_bytes());
        } else {
            bytes[header + at] = to;
        }
        bytes[header + 148..header + 156].fill(b' ');
        let sum: u32 = bytes[header..header + 512].iter().map(|b| u32::from(*b)).sum();
        bytes[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        judge(&bytes);
    }
}

#[test]
fn the_sample_is_good() {
    assert!(judge(&good()));
}

/// An attacker who had the key writes a name of any length. The tar reader would take it into memory whole.
#[test]
fn s38_a_name_of_any_length_takes_no_memory() {
    struct Counted<'a>(&'a [u8], usize);
    impl std::io::Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.read(buffer)?;
            self.1 += n;
            Ok(n)
        }
    }
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(4 << 20);
        header.set_cksum();
        archive.append(&header, &vec![b'x'; 4 << 20][..]).unwrap();
        let bytes = archive.into_inner().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (mut source, cancel) = (Counted(&bytes, 0), Cancel::default());
        assert!(unpack(&mut source, &folder.path().join("to"), control(&cancel)).is_err(), "{kind:?}");
        assert!(source.1 <= 128 << 10, "{kind:?}: {} bytes were read", source.1);
    }
}
