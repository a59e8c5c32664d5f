use std::os::unix::fs::PermissionsExt;

use super::*;

fn good() -> TokenConfig {
    TokenConfig::new("/m.so".into(), "label".into(), "/pin".into())
}

#[test]
fn defaults_are_valid_and_round_trip() {
    let text = "module = '/m.so'\ntoken_label = 'label'\npin_file = '/pin'\n";
    let read: TokenConfig = toml::from_str(text).unwrap();
    assert_eq!(read, good());
    read.validate().unwrap();
    assert_eq!(toml::from_str::<TokenConfig>(&toml::to_string(&read).unwrap()).unwrap(), read);
}

#[test]
fn an_unknown_field_is_refused_by_name() {
    // A PIN in the configuration is the mistake that people make.
    let text = "module = '/m.so'\ntoken_label = 'label'\npin_file = '/pin'\npin = '1234'\n";
    let error = toml::from_str::<TokenConfig>(text).unwrap_err();
    assert!(error.message().contains("`pin`"), "{error}");
}

#[test]
fn each_bad_field_is_named() {
    type Spoil = fn(&mut TokenConfig);
    let cases: [(&str, Spoil); 7] = [
        ("module", |c| c.module = "m.so".into()),
        ("token_label", |c| c.token_label = "x".repeat(33)),
        ("pin_file", |c| c.pin_file = "pin".into()),
        ("pool", |c| c.pool = 0),
        ("call_deadline_ms", |c| c.call_deadline_ms = 1),
        ("ceremony_deadline_ms", |c| c.ceremony_deadline_ms = 1),
        ("queue", |c| c.queue = 0),
    ];
    for (field, spoil) in cases {
        let mut config = good();
        spoil(&mut config);
        assert_eq!(config.validate().unwrap_err().field, field);
    }
}

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
