//! `[token]` of `vault.toml`: the HSM token, and how long its operations may take.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::FieldError;

/// The token's PKCS#11 module, label and PIN file, and the deadlines of its operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Path of the PKCS#11 module, absolute.
    pub module: PathBuf,
    /// The token's label (`C_GetTokenInfo`), at most 32 bytes.
    pub token_label: String,
    /// File that holds the user PIN; readable by its owner and at most its group.
    pub pin_file: PathBuf,
    /// Sessions and threads, 1 to 64.
    #[serde(default = "default_pool", skip_serializing_if = "is_default_pool")]
    pub pool: usize,
    /// How long one operation in service may take, in milliseconds. This includes the wait for a free session.
    #[serde(default = "default_call", skip_serializing_if = "is_default_call")]
    pub call_deadline_ms: u64,
    /// How long a connection, a ceremony or a probe may take, in milliseconds. It is longer, because these make keys.
    #[serde(default = "default_ceremony", skip_serializing_if = "is_default_ceremony")]
    pub ceremony_deadline_ms: u64,
    /// Operations that may wait for a free session. The vault refuses further ones at once.
    #[serde(default = "default_queue", skip_serializing_if = "is_default_queue")]
    pub queue: usize,
    /// Whether the vault leaves an *anchor* in the token at an orderly stop, which proves at the next start that the store is no older copy. Set it to false if the token
    /// can be set back together with the store, as a software token on the same volume can.
    #[serde(default = "default_anchors", skip_serializing_if = "is_default_anchors")]
    pub anchors: bool,
}

const fn default_pool() -> usize {
    4
}
const fn default_call() -> u64 {
    2_000
}
const fn default_ceremony() -> u64 {
    30_000
}
const fn default_queue() -> usize {
    4_096
}
const fn default_anchors() -> bool {
    true
}
const fn is_default_pool(n: &usize) -> bool {
    *n == default_pool()
}
const fn is_default_call(n: &u64) -> bool {
    *n == default_call()
}
const fn is_default_ceremony(n: &u64) -> bool {
    *n == default_ceremony()
}
const fn is_default_queue(n: &usize) -> bool {
    *n == default_queue()
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_default_anchors(anchors: &bool) -> bool {
    *anchors == default_anchors()
}

impl TokenConfig {
    /// A configuration with the default of each field that has one.
    pub fn new(module: PathBuf, token_label: String, pin_file: PathBuf) -> Self {
        Self {
            module,
            token_label,
            pin_file,
            pool: default_pool(),
            call_deadline_ms: default_call(),
            ceremony_deadline_ms: default_ceremony(),
            queue: default_queue(),
            anchors: default_anchors(),
        }
    }

    /// Checks every field. The files themselves are checked when the vault connects the token.
    pub fn validate(&self) -> Result<(), FieldError> {
        let bad = |field, why: &str| Err(FieldError::new(field, why));
        if !self.module.is_absolute() {
            // The loader searches the library path for a relative name. An attacker who can set that path would choose the module.
            return bad("module", "must be the absolute path of a PKCS#11 module");
        }
        if self.token_label.is_empty() || self.token_label.len() > 32 {
            return bad("token_label", "must have 1 to 32 bytes, as PKCS#11 token labels do");
        }
        if !self.pin_file.is_absolute() {
            return bad("pin_file", "must be the absolute path of a file that holds the user PIN");
        }
        if !(1..=64).contains(&self.pool) {
            return bad("pool", "must be 1 to 64 sessions");
        }
        if !(10..=60_000).contains(&self.call_deadline_ms) {
            return bad("call_deadline_ms", "must be 10 to 60000 milliseconds");
        }
        if self.ceremony_deadline_ms < self.call_deadline_ms || self.ceremony_deadline_ms > 600_000 {
            return bad("ceremony_deadline_ms", "must be between call_deadline_ms and 600000 milliseconds");
        }
        if !(1..=1_000_000).contains(&self.queue) {
            return bad("queue", "must be 1 to 1000000 waiting operations");
        }
        Ok(())
    }

    /// As a duration.
    pub const fn call_deadline(&self) -> Duration {
        Duration::from_millis(self.call_deadline_ms)
    }

    /// As a duration.
    pub const fn ceremony_deadline(&self) -> Duration {
        Duration::from_millis(self.ceremony_deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> TokenConfig {
        TokenConfig::new("/m.so".into(), "label".into(), "/pin".into())
    }

    #[test]
    fn defaults_are_valid_and_are_not_written() {
        let text = "module = \"/m.so\"\ntoken_label = \"label\"\npin_file = \"/pin\"\n";
        let read: TokenConfig = toml::from_str(text).unwrap();
        assert_eq!(read, good());
        read.validate().unwrap();
        assert_eq!(toml::to_string(&read).unwrap(), text);
        let other = TokenConfig { pool: 2, queue: 9, ..good() };
        assert_eq!(toml::from_str::<TokenConfig>(&toml::to_string(&other).unwrap()).unwrap(), other);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        // An operator may write a PIN into the configuration by mistake.
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
}
