//! `bkv dev token`: what an app gets from its identity provider.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bkv_tokens::dev::{CHATD_AUDIENCE, DevClaims, DevIssuer, ISSUER, VAULT_AUDIENCE};
use serde_json::{Value, json};

use super::layout::Layout;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts, to_stdout};

/// Signs both tokens, and binds the vaults' one to the key with the thumbprint `jkt`. Without `file` they go to stdout as JSON whatever the output: it is a file for `--token`.
pub(super) fn token(
    out: Output,
    layout: &Layout,
    subject: &str,
    lifetime: u64,
    jkt: Option<&str>,
    file: Option<&Path>,
) -> Outcome {
    if subject.is_empty() {
        return Err(
            Failure::new(Exit::NoInput, "a subject can't be empty").remedy("Give a name, such as alice.")
        );
    }
    let key = std::fs::read(layout.issuer_key())
        .map_err(|e| Failure::new(Exit::NoInput, format!("the issuer's key: {e}")))?;
    let issuer =
        DevIssuer::from_pkcs8(ISSUER, &key).map_err(|e| Failure::new(Exit::Config, e.to_string()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let claims = |audience| DevClaims { subject, audience, now, lifetime, enrolment: None };
    let vault = claims(VAULT_AUDIENCE);
    let vault = jkt.map_or_else(|| issuer.sign(&vault), |jkt| issuer.sign_bound(&vault, jkt));
    let tokens = json!({ "chatd": issuer.sign(&claims(CHATD_AUDIENCE)), "vault": vault }).to_string();
    let Some(file) = file else {
        return to_stdout(&tokens)
            .map_err(|e| e.remedy("Make room or choose another output. More tokens cost nothing."));
    };
    let replaced = write(file, tokens.as_bytes())?;
    let what = if replaced { ". Those that it held are replaced" } else { "" };
    out.result(
        &format!("The tokens, valid for {lifetime} s, are in {}{what}.", crate::legible::path(file)),
        facts([("file", file.display().to_string().into()), ("replaced", replaced.into())]),
    )
}

/// Writes a file that only its owner can read. Replaces one that holds tokens, and returns true. Any other file stays.
fn write(file: &Path, tokens: &[u8]) -> Outcome<bool> {
    let failed = |e: std::io::Error| {
        Failure::new(Exit::CantCreate, format!("can't write {}: {e}", file.display()))
            .remedy("Check the path and that you may write there.")
    };
    match bkv_files::create(file, tokens, bkv_files::Mode::Private) {
        Ok(()) => return Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed(e)),
    }
    if !holds_tokens(file) {
        return Err(Failure::new(Exit::CantCreate, format!("{} exists and holds no tokens", file.display()))
            .remedy("Choose another file. Nothing was written."));
    }
    bkv_files::replace(file, tokens, bkv_files::Mode::Private).map_err(failed)?;
    Ok(true)
}

fn holds_tokens(file: &Path) -> bool {
    let is_file = std::fs::symlink_metadata(file).is_ok_and(|m| m.is_file());
    let value: Option<Value> =
        std::fs::read(file).ok().filter(|_| is_file).and_then(|text| serde_json::from_slice(&text).ok());
    let object = value.as_ref().and_then(Value::as_object);
    object.is_some_and(|o| o.len() == 2 && ["chatd", "vault"].iter().all(|name| o.contains_key(*name)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn tokens_replace_only_tokens_and_are_for_their_owner() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alice.token");
        let tokens = br#"{"chatd":"a","vault":"b"}"#;
        assert!(!write(&file, tokens).unwrap());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(write(&file, tokens).unwrap(), "old tokens are replaced, and that is reported");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for other in ["", "my notes", r#"{"chatd":"a","vault":"b","more":1}"#] {
            std::fs::write(&file, other).unwrap();
            assert_eq!(write(&file, tokens).unwrap_err().exit, Exit::CantCreate);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), other);
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::write(&file, tokens).unwrap();
        write(&link, tokens).unwrap_err();
    }
}
