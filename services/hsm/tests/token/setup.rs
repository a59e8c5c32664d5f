//! The helper that makes SoftHSM tokens, and SoftHSM configurations that are wrong.

use bkv_hsm::softhsm::{self, SetupError};
use bkv_hsm::{Token, TokenConfig, TokenError, VaultName};
use thiserror_ext::AsReport as _;

use crate::stand::test_process;

const PIN: &str = "9944-pin";

fn child() -> std::process::Command {
    let mut command = test_process("stand::init_child");
    command.env("BKV_HSM_TEST_INIT", "1");
    command
}

#[test]
fn a_directory_with_a_token_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let made = softhsm::init_token_by(child(), dir.path(), "one", PIN, "9944-officer").unwrap();
    assert!(made.conf.is_absolute() && made.conf.is_file());
    let error = softhsm::init_token_by(child(), dir.path(), "two", PIN, "9944-officer").unwrap_err();
    assert!(matches!(error, SetupError::Exists(_)), "{error}");
}

#[test]
fn a_program_that_is_no_child_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    // This test program does not call `run_child_if_asked`. It takes the argument as a filter and ends with 0.
    let error = softhsm::init_token(dir.path(), "one", PIN, "9944-officer").unwrap_err();
    assert!(matches!(error, SetupError::Child { .. }), "{error}");
}

#[test]
fn an_error_about_a_pin_does_not_contain_it() {
    let dir = tempfile::tempdir().unwrap();
    // Shorter than SoftHSM allows.
    let error = softhsm::init_token_by(child(), dir.path(), "one", "zq9", "zq9").unwrap_err();
    let text = error.to_report_string();
    assert!(text.contains("C_InitToken") && !text.contains("zq9"), "{text}");
}

/// A missing token directory, a missing configuration, and a variable that is not set. A child tries to connect with each.
#[test]
fn a_missing_token_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("c.conf");
    let gone = dir.path().join("gone");
    std::fs::write(&conf, format!("directories.tokendir = {}\n", gone.display())).unwrap();
    let run = |conf: Option<&std::path::Path>| {
        let mut command = test_process("setup::connects_nowhere");
        command.env("BKV_HSM_TEST_NOWHERE", "1").env_remove(softhsm::CONF_VARIABLE).env("HOME", dir.path());
        if let Some(conf) = conf {
            command.env(softhsm::CONF_VARIABLE, conf);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = run(Some(&conf));
    assert!(printed.contains(conf.to_str().unwrap()), "{printed}");
    let printed = run(Some(&dir.path().join("no.conf")));
    assert!(printed.contains("no.conf"), "{printed}");
    // Without the variable SoftHSM uses Debian's directory, which has no such token.
    let printed = run(None);
    assert!(printed.contains("SOFTHSM2_CONF is not set"), "{printed}");
}

/// Not a test: the child of the test above.
#[test]
fn connects_nowhere() {
    if std::env::var_os("BKV_HSM_TEST_NOWHERE").is_none() {
        return;
    }
    let config = TokenConfig::new(softhsm::DEBIAN_MODULE.into(), "bkv-nowhere".into(), "/nowhere/pin".into());
    let error = Token::connect(&config, &VaultName::new("v").unwrap()).unwrap_err();
    assert!(matches!(error, TokenError::ModuleStart { .. } | TokenError::NoToken { .. }), "{error}");
    println!("{error}");
}

/// A volume as in a pod: a given configuration, and a token directory that does not exist yet.
struct Volume {
    dir: tempfile::TempDir,
    wanted: softhsm::Wanted,
}

impl Volume {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("softhsm2.conf");
        let tokens = dir.path().join("volume/tokens");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(&conf, text).unwrap();
        std::fs::set_permissions(&conf, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        let pin_file = dir.path().join("pin");
        let wanted =
            softhsm::Wanted { module: softhsm::DEBIAN_MODULE.into(), label: "one".into(), pin_file, conf };
        let volume = Self { dir, wanted };
        volume.pin(PIN);
        volume
    }

    fn pin(&self, pin: &str) {
        let _ = std::fs::remove_file(&self.wanted.pin_file);
        std::fs::write(&self.wanted.pin_file, pin).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(&self.wanted.pin_file, mode).unwrap();
    }

    fn ensure(&self) -> Result<softhsm::Ensured, SetupError> {
        softhsm::ensure_token_by(|| Ok(child()), &self.wanted)
    }

    /// The names of all files of the volume. Their content changes, because SoftHSM writes each login into the token's flags.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![self.dir.path().join("volume")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    assert!(!std::fs::read(&path).unwrap().windows(PIN.len()).any(|w| w == PIN.as_bytes()));
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn a_volume_gets_its_token_once() {
    let volume = Volume::new();
    let conf = std::fs::read(&volume.wanted.conf).unwrap();
    assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Made);
    let made = volume.files();
    let tokens = volume.dir.path().join("volume/tokens");
    assert!(!made.is_empty() && made.iter().all(|path| path.starts_with(&tokens)));
    assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Found);
    assert_eq!(volume.files(), made, "a token that is there is not made again");
    assert_eq!(std::fs::read(&volume.wanted.conf).unwrap(), conf);
}

#[test]
fn a_wrong_or_missing_pin_for_an_existing_token_is_reported() {
    let volume = Volume::new();
    std::fs::remove_file(&volume.wanted.pin_file).unwrap_or_default();
    assert!(matches!(volume.ensure(), Err(SetupError::Pin(_))));
    assert!(!volume.dir.path().join("volume").exists(), "nothing is made without a PIN");
    volume.pin(PIN);
    volume.ensure().unwrap();
    let made = volume.files();
    volume.pin("another-pin");
    let error = volume.ensure().unwrap_err();
    assert!(matches!(&error, SetupError::PinRefused { .. }), "{error}");
    assert!(!error.to_string().contains("another-pin"));
    volume.pin("");
    assert!(matches!(volume.ensure(), Err(SetupError::Pin(_))));
    assert_eq!(volume.files(), made);
    // The right PIN works after any number of wrong PINs.
    volume.pin("another-pin");
    for _ in 0..12 {
        assert!(matches!(volume.ensure(), Err(SetupError::PinRefused { .. })));
    }
    volume.pin(PIN);
    assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Found);
}

/// A kill while the token was made leaves a directory beside its place. The next start removes that directory.
#[test]
fn a_half_made_token_is_thrown_away() {
    let volume = Volume::new();
    let half = volume.dir.path().join("volume/.making-tokens/tokens/0123");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("token.object"), b"half").unwrap();
    std::fs::create_dir(volume.dir.path().join("volume/tokens")).unwrap();
    assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Made);
    assert!(!volume.dir.path().join("volume/.making-tokens").exists());
    assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Found);
}

/// A program that is killed while it makes a token leaves its child alive for a moment. The child would write its token into the directory of the next program, so that
/// program waits for it.
#[test]
fn a_child_that_outlives_its_parent_keeps_the_lock() {
    let volume = Volume::new();
    let alive = volume.dir.path().join("alive");
    std::fs::write(&alive, b"").unwrap();
    let shell = || {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "(while [ -e \"$0\" ]; do sleep 0.01; done) 2>/dev/null &"]).arg(&alive);
        Ok(command)
    };
    softhsm::ensure_token_by(shell, &volume.wanted).unwrap_err();
    let folder = std::fs::File::open(volume.dir.path().join("volume")).unwrap();
    assert!(folder.try_lock().is_err(), "the child still has the lock");
    std::fs::remove_file(&alive).unwrap();
    bkv_fixtures::eventually("the lock of a child that has ended", || folder.try_lock().is_ok());
}

#[test]
fn a_directory_with_somebody_elses_token_is_left_alone() {
    let mut volume = Volume::new();
    volume.ensure().unwrap();
    let made = volume.files();
    volume.wanted.label = "two".into();
    let error = volume.ensure().unwrap_err();
    let text = error.to_report_string();
    assert!(text.contains("[\"one\"]") && text.contains("token_label"), "{text}");
    assert_eq!(volume.files(), made);
}

/// A kill in the middle of a login leaves a torn file. Without the copy the token and its keys would be lost.
#[test]
fn a_torn_token_object_is_put_back() {
    let volume = Volume::new();
    volume.ensure().unwrap();
    let object = volume.files().into_iter().find(|p| p.ends_with("token.object")).unwrap();
    let whole = std::fs::read(&object).unwrap();
    for torn in [&[][..], &whole[..100], &vec![0; whole.len()]] {
        std::fs::write(&object, torn).unwrap();
        assert_eq!(softhsm::heal(&volume.wanted.conf).unwrap(), [object.parent().unwrap()]);
        assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Found);
    }
    std::fs::write(&object, b"").unwrap();
    assert_eq!(volume.ensure().unwrap(), softhsm::Ensured::Found, "init-token heals too");
    assert!(softhsm::heal(&volume.wanted.conf).unwrap().is_empty(), "a whole one is left alone");
}
