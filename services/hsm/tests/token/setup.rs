//! The helper that makes SoftHSM tokens, and SoftHSM configurations that are wrong.

use bkv_hsm::softhsm::{self, SetupError};
use bkv_hsm::{Token, TokenConfig, TokenError, VaultName};

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
    // This test program doesn't call `run_child_if_asked`: it takes the argument for a filter, and ends with 0.
    let error = softhsm::init_token(dir.path(), "one", PIN, "9944-officer").unwrap_err();
    assert!(matches!(error, SetupError::Child { .. }), "{error}");
}

#[test]
fn a_refused_pin_is_told_without_it() {
    let dir = tempfile::tempdir().unwrap();
    // Shorter than SoftHSM allows.
    let error = softhsm::init_token_by(child(), dir.path(), "one", "zq9", "zq9").unwrap_err();
    assert!(!error.to_string().contains("zq9"), "{error}");
}

/// A token directory that is not there, and a variable that is not set: each child tries to connect.
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
    let said = run(Some(&conf));
    assert!(said.contains(conf.to_str().unwrap()), "{said}");
    let said = run(Some(&dir.path().join("no.conf")));
    assert!(said.contains("no.conf"), "{said}");
    // Without the variable SoftHSM falls back to Debian's directory, which has no such token.
    let said = run(None);
    assert!(said.contains("SOFTHSM2_CONF is not set"), "{said}");
}

/// Not a test by itself: the child of the one above.
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
