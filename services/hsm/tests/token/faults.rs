//! Mistakes of the operator, and tokens that vanish while they are in use.

use std::fs;

use bkv_fixtures::{eventually, eventually_some};
use bkv_hsm::{GoneReason, Health, Op, Outcome, Token, TokenError};

use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::Stand;
use crate::stand::{Kind, LABEL, PIN};

fn count(token: &Token, op: Op, outcome: Outcome) -> u64 {
    token.counters().iter().find(|c| c.op == op && c.outcome == outcome).map_or(0, |c| c.count)
}

pub(crate) fn a_wrong_pin_is_named(stand: &Stand) {
    stand.write_pin("not-the-pin");
    let error = stand.connect().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TokenError::PinRefused { .. }), "{text}");
    assert!(text.contains(LABEL) && text.contains("pin") && !text.contains("not-the-pin"), "{text}");
    stand.write_pin(PIN);
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
}

pub(crate) fn a_wrong_label_or_module_or_pin_file_is_named(stand: &Stand) {
    let vault = Stand::vault();
    let mut config = stand.config();
    config.token_label = "other".into();
    let text = Token::connect(&config, &vault).unwrap_err().to_string();
    assert!(text.contains("\"other\"") && text.contains(LABEL) && text.contains("token_label"), "{text}");
    let variable = match stand.kind {
        Kind::SoftHsm => "SOFTHSM2_CONF",
        Kind::Kryoptic => "KRYOPTIC_CONF",
        _ => "check the module's own configuration",
    };
    assert!(text.contains(variable), "{text}");

    let mut config = stand.config();
    config.module = "/nowhere/module.so".into();
    let text = Token::connect(&config, &vault).unwrap_err().to_string();
    assert!(text.contains("/nowhere/module.so") && text.contains("no such file"), "{text}");

    let no_module = stand.dir.join("text.so");
    fs::write(&no_module, "no library").unwrap();
    config.module.clone_from(&no_module);
    let error = Token::connect(&config, &vault).unwrap_err();
    assert!(matches!(&error, TokenError::Module { path, .. } if *path == no_module), "{error}");

    let mut config = stand.config();
    config.pin_file = stand.dir.join("no-pin");
    let text = Token::connect(&config, &vault).unwrap_err().to_string();
    assert!(text.contains("no-pin") && text.contains("mount the PIN"), "{text}");

    let mut config = stand.config();
    config.pool = 0;
    assert!(matches!(Token::connect(&config, &vault), Err(TokenError::Config(e)) if e.field == "pool"));
    stand.connect().unwrap();
}

/// S27: the vault refuses requests with a reason while the token is dead. The test moves the token's storage away while it is in use, and back.
pub(crate) fn s27_a_token_that_vanishes_is_named_and_comes_back(stand: &Stand) {
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    let pad = token.mask_pad_blocking(b"p", &[0; 16]).unwrap();
    let aside = stand.dir.join("aside");
    fs::rename(&stand.storage, &aside).unwrap();
    let error = eventually_some("the loss is noticed", || token.mask_pad_blocking(b"p", &[0; 16]).err());
    println!("noticed: {error}");
    assert!(matches!(error, TokenError::Gone { .. }), "{error}");
    let reason = eventually_some("the refused reconnection is named", || match token.health() {
        Health::Down {
            reason: reason @ (TokenError::NoToken { .. } | TokenError::ModuleStart { .. }),
            ..
        } => Some(reason),
        _ => None,
    });
    println!("named: {reason}");
    let error = token.mask_pad_blocking(b"p", &[0; 16]).unwrap_err();
    assert!(
        matches!(&error, TokenError::Gone { reason: GoneReason::NotConnected, detail: Some(_), .. }),
        "{error}"
    );
    if fs::symlink_metadata(&stand.storage).is_ok() {
        fs::remove_dir_all(&stand.storage).unwrap();
    }
    fs::rename(&aside, &stand.storage).unwrap();
    let again = eventually_some("it is back", || token.mask_pad_blocking(b"p", &[0; 16]).ok());
    assert_eq!(again, pad);
    assert!(token.health().is_up());
    assert!(count(&token, Op::MaskPad, Outcome::Gone) >= 2);
    assert!(count(&token, Op::Connect, Outcome::Refused) >= 1);
}

/// S27: a restored or exchanged token under the same label is refused, because it does not have the vault's keys.
pub(crate) fn s27_a_token_that_comes_back_as_another_is_refused(stand: &Stand) {
    let token = stand.connect().unwrap();
    // The empty token, before it had keys.
    let empty = stand.dir.join("empty");
    copy(&stand.storage, &empty);
    token.provision_blocking().unwrap();
    token.identity_spki_blocking().unwrap();
    fs::rename(&stand.storage, stand.dir.join("aside")).unwrap();
    eventually_some("the loss is noticed", || token.mask_pad_blocking(b"p", &[0; 16]).err());
    if fs::symlink_metadata(&stand.storage).is_ok() {
        fs::remove_dir_all(&stand.storage).unwrap();
    }
    fs::rename(&empty, &stand.storage).unwrap();
    let reason = eventually_some("the other token is refused", || match token.health() {
        Health::Down {
            reason: reason @ TokenError::Gone { reason: GoneReason::KeyVanished, .. }, ..
        } => Some(reason),
        _ => None,
    });
    println!("refused: {reason}");
    // A ceremony must not make new keys in it either.
    assert!(token.provision_blocking().is_err());
    assert!(token.sign_ecdsa_p256_blocking(b"m").is_err());
}

/// Tokens lock after a few wrong PINs (Kryoptic after ten). So a refused PIN is offered once, however often the pool reconnects. A corrected file is
/// used at the next connection.
pub(crate) fn a_refused_pin_is_not_offered_again(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    stand.write_pin("not-the-pin");
    let session = stand.raw_session();
    session.logout().unwrap();
    for _ in 0..8 {
        let wrong = AuthPin::new("also-not-the-pin".into());
        session.login(UserType::User, Some(&wrong)).unwrap_err();
    }
    session.close().unwrap();
    token.mask_pad_blocking(b"p", &[0; 16]).unwrap_err();
    eventually("the PIN was refused and the connection tried again", || {
        count(&token, Op::Connect, Outcome::Refused) >= 4
    });
    let Health::Down { reason, .. } = token.health() else { panic!("up without a PIN") };
    assert!(matches!(reason, TokenError::PinRefused { .. }), "{reason}");
    // A second login with the wrong PIN would have been the tenth and locked the token.
    stand.write_pin(PIN);
    eventually_some("it is back", || token.mask_pad_blocking(b"p", &[0; 16]).ok());
}

/// S37: the PIN is in no argument, no environment variable and no text.
pub(crate) fn s37_the_pin_is_nowhere_to_be_seen(stand: &Stand) {
    let token = stand.connect().unwrap();
    let config = stand.config();
    for (what, bytes) in [
        ("arguments", fs::read("/proc/self/cmdline").unwrap()),
        ("environment", fs::read("/proc/self/environ").unwrap()),
        ("Debug of the token", format!("{token:?}").into_bytes()),
        ("Debug of the configuration", format!("{config:?}").into_bytes()),
        ("health", format!("{:?}", token.health()).into_bytes()),
    ] {
        assert!(!bytes.windows(PIN.len()).any(|w| w == PIN.as_bytes()), "the PIN is in the {what}");
    }
    for entry in fs::read_dir(&stand.dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && entry.file_name() != "pin" {
            let bytes = fs::read(entry.path()).unwrap();
            assert!(
                !bytes.windows(PIN.len()).any(|w| w == PIN.as_bytes()),
                "the PIN is in {}",
                entry.path().display()
            );
        }
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// S27: the pool reconnects after a logout and after the end of the module.
pub(crate) fn s27_lost_sessions_are_opened_again(stand: &Stand) {
    let token = stand.connect_one();
    token.provision_blocking().unwrap();
    let pad = token.mask_pad_blocking(b"p", &[0; 16]).unwrap();
    let resets: [(&str, GoneReason, fn(&Stand)); 2] = [
        ("logged out", GoneReason::LoggedOut, |stand| stand.raw_session().logout().unwrap()),
        ("the module ended", GoneReason::SessionLost, |stand| {
            cryptoki::context::Pkcs11::new(&stand.module).unwrap().finalize().unwrap();
        }),
    ];
    // kmsp11 needs no login.
    let skipped = usize::from(stand.kind.is_cloud_kms());
    for (what, expected, reset) in resets.into_iter().skip(skipped) {
        reset(stand);
        let first = token.mask_pad_blocking(b"p", &[0; 16]);
        println!("{what}: {first:?}");
        assert!(
            matches!(&first, Err(TokenError::Gone { reason, .. }) if *reason == expected),
            "{what}: {first:?}"
        );
        let again = eventually_some("it is back", || token.mask_pad_blocking(b"p", &[0; 16]).ok());
        assert_eq!(again, pad, "{what}");
    }
    eventually("all are counted", || count(&token, Op::MaskPad, Outcome::Ok) == 3 - skipped as u64);
}

/// A second process uses the token of a running vault that makes keys. SoftHSM sometimes fails then.
pub(crate) fn another_process_comes_up_while_keys_are_made(stand: &Stand) {
    const SECOND: &str = "BKV_HSM_TEST_SECOND";
    if std::env::var_os(SECOND).is_some() {
        stand.connect().unwrap().mask_pad_blocking(b"p", &[0; 16]).unwrap();
        return;
    }
    let token = stand.connect().unwrap();
    token.provision_blocking().unwrap();
    // Never the same epoch twice: Cloud KMS uses a name once.
    let mut epoch = 0;
    for round in 0..10 {
        let mut second = crate::stand::this_test_again();
        let mut second = second.env(SECOND, "1").spawn().unwrap();
        let before = epoch;
        let status = loop {
            if let Some(status) = second.try_wait().unwrap() {
                break status;
            }
            epoch += 1;
            assert!(token.epoch_create_blocking(epoch).unwrap());
            assert!(token.epoch_destroy_blocking(epoch).unwrap());
        };
        println!("round {round}: {} keys made and destroyed meanwhile", epoch - before);
        assert!(status.success(), "round {round}: {status}");
    }
}
