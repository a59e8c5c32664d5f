//! The PIN's way from its file into the login. The PIN comes from a file only: arguments and environments show up in process lists and crash reports.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::TokenError;

/// Longest PIN file read, in bytes; PKCS#11 modules stop at 255.
const LONGEST_PIN_FILE: usize = 1024;

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
#[path = "pin_test.rs"]
mod tests;
