//! Reads the PIN from its file. No other source is accepted, because arguments and environments show up in process lists and crash reports.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::TokenError;

/// The longest PIN file, in bytes. PKCS#11 modules accept PINs of at most 255 bytes.
const LONGEST_PIN_FILE: usize = 1024;

/// Reads the PIN. The file is read at every connection, so a changed PIN needs no restart.
pub(crate) fn read_pin(path: &Path) -> Result<Zeroizing<String>, TokenError> {
    let bad = |why: String| TokenError::PinFile { path: path.to_owned(), why };
    let file = fs::File::open(path).map_err(|e| bad(format!("cannot be read ({e}); mount the PIN there")))?;
    // Check the opened file, not the path: an attacker could exchange the file in between.
    let meta = file.metadata().map_err(|e| bad(format!("cannot be examined ({e})")))?;
    if !meta.is_file() {
        return Err(bad("is not a regular file; mount the PIN there".to_owned()));
    }
    // Group read is allowed, because Kubernetes mounts a Secret like that for a process that is not root.
    if meta.mode() & 0o037 != 0 {
        return Err(bad(format!(
            "has mode {:04o}, so others could read or change the PIN; chmod 0400",
            meta.mode() & 0o7777
        )));
    }
    // Allocate the whole buffer at once: a buffer that grows leaves copies of the PIN in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_PIN_FILE + 1));
    file.take(LONGEST_PIN_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| bad(format!("cannot be read ({e})")))?;
    if bytes.len() > LONGEST_PIN_FILE {
        return Err(bad(format!("is longer than {LONGEST_PIN_FILE} bytes; mount a file with the PIN alone")));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| bad("is not UTF-8 text; mount a file with the PIN alone".to_owned()))?;
    let pin = text.strip_suffix('\n').unwrap_or(text);
    let pin = pin.strip_suffix('\r').unwrap_or(pin);
    if pin.is_empty() {
        return Err(bad("is empty; mount the PIN there".to_owned()));
    }
    Ok(Zeroizing::new(pin.to_owned()))
}

#[cfg(test)]
#[path = "pin_test.rs"]
mod tests;
