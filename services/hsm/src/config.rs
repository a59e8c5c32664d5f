//! What a vault must be told to reach its token, and the PIN's way from its file into the login.
//! The PIN comes from a file only: arguments and environments show up in process lists and crash reports.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::TokenError;

/// Longest PIN file read, in bytes; PKCS#11 modules stop at 255.
const LONGEST_PIN_FILE: usize = 1024;

/// Where the token is and how long it may take. Unknown fields are refused.
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
    #[serde(default = "default_pool")]
    pub pool: usize,
    /// How long one operation in service may take, in milliseconds, waiting for a free session included.
    #[serde(default = "default_call")]
    pub call_deadline_ms: u64,
    /// How long a connection, a ceremony or a probe may take, in milliseconds: it makes keys.
    #[serde(default = "default_ceremony")]
    pub ceremony_deadline_ms: u64,
    /// Operations that may wait for a free session; more are refused at once.
    #[serde(default = "default_queue")]
    pub queue: usize,
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

/// A field of [`TokenConfig`] that can't be used; names the field and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl TokenConfig {
    /// A configuration with defaults for all that has one.
    pub fn new(module: PathBuf, token_label: String, pin_file: PathBuf) -> Self {
        Self {
            module,
            token_label,
            pin_file,
            pool: default_pool(),
            call_deadline_ms: default_call(),
            ceremony_deadline_ms: default_ceremony(),
            queue: default_queue(),
        }
    }

    /// Checks every field. Files are looked at when the token is connected, not here.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bad = |field, why: &str| Err(ConfigError { field, why: why.to_owned() });
        if !self.module.is_absolute() {
            // A relative path would be searched for in the library path: whoever sets that picks the module.
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

    pub(crate) const fn call_deadline(&self) -> Duration {
        Duration::from_millis(self.call_deadline_ms)
    }

    pub(crate) const fn ceremony_deadline(&self) -> Duration {
        Duration::from_millis(self.ceremony_deadline_ms)
    }
}

/// Reads the PIN. The file is read at every connection, so a changed PIN needs no restart.
pub(crate) fn read_pin(path: &Path) -> Result<Zeroizing<String>, TokenError> {
    let bad = |why: String| TokenError::PinFile { path: path.to_owned(), why };
    let file = fs::File::open(path).map_err(|e| bad(format!("cannot be read ({e}); mount the PIN there")))?;
    // Of the opened file, not of the path: the two could differ by the time it is read.
    let meta = file.metadata().map_err(|e| bad(format!("cannot be examined ({e})")))?;
    if !meta.is_file() {
        return Err(bad("is not a file".to_owned()));
    }
    // Group read is allowed: that is how Kubernetes gives a Secret to a process that is not root.
    if meta.mode() & 0o037 != 0 {
        return Err(bad(format!(
            "has mode {:04o}, others could read or change it; chmod 0400",
            meta.mode() & 0o7777
        )));
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_PIN_FILE + 1));
    file.take(LONGEST_PIN_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| bad(format!("cannot be read ({e})")))?;
    if bytes.len() > LONGEST_PIN_FILE {
        return Err(bad(format!("is longer than {LONGEST_PIN_FILE} bytes, which no PIN is")));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| bad("is not UTF-8 text".to_owned()))?;
    let pin = text.strip_suffix('\n').unwrap_or(text);
    let pin = pin.strip_suffix('\r').unwrap_or(pin);
    if pin.is_empty() {
        return Err(bad("is empty".to_owned()));
    }
    Ok(Zeroizing::new(pin.to_owned()))
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
