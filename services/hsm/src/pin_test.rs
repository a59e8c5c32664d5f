use std::os::unix::fs::PermissionsExt;

use super::*;

/// S37: the PIN is taken from a file that others can't read, and from nowhere else.
#[test]
fn s37_a_pin_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pin");
    std::fs::write(&path, "1234\n").unwrap();
    for (mode, fine) in
        [(0o400, true), (0o600, true), (0o440, true), (0o644, false), (0o660, false), (0o402, false)]
    {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = read_pin(&path);
        assert_eq!(read.is_ok(), fine, "{mode:o}");
        match read {
            Ok(pin) => assert_eq!(pin.as_str(), "1234"),
            Err(e) => assert!(e.to_string().contains("chmod 0400") && !e.to_string().contains("1234"), "{e}"),
        }
    }
}

#[test]
fn bad_pin_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pin");
    let missing = read_pin(&path).unwrap_err().to_string();
    assert!(missing.contains(path.to_str().unwrap()), "{missing}");
    for (content, why) in
        [(&b""[..], "empty"), (b"\n", "empty"), (b"\xff\xfe", "UTF-8"), (&[b'1'; 2000], "longer")]
    {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let error = read_pin(&path).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
