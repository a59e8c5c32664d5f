//! Restores a torn `token.object` from a copy. SoftHSM empties and rewrites this file at every login. If the process is killed or the machine loses power
//! in that moment, the file is empty and SoftHSM can no longer use the token's keys, although each key is whole in its own file. A copy made once is
//! enough: label, serial number and the PINs' blobs never change, and the flags that change do not matter.

use std::fs;
use std::path::{Path, PathBuf};

use super::SetupError;
use super::conf::{self, at};

const OBJECT: &str = "token.object";
/// SoftHSM reads only names that end in `.object`.
const COPY: &str = "token.copy";

/// Copies `token.object` of each token in the directory. Call it when the tokens have their user PINs.
pub(super) fn keep_copies(tokens: &Path) -> Result<(), SetupError> {
    for token in tokens_in(tokens)? {
        put(&token.join(COPY), &fs::read(token.join(OBJECT)).map_err(at(&token))?)?;
    }
    Ok(())
}

/// Puts the copy back where `token.object` is torn, and returns the tokens that it healed. Call it before the module is loaded. Without a copy it changes
/// nothing.
pub fn heal(conf: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let text = fs::read_to_string(conf).map_err(at(conf))?;
    let mut healed = Vec::new();
    for token in tokens_in(&conf::token_directory(conf, &text)?)? {
        let Ok(copy) = fs::read(token.join(COPY)) else { continue };
        let object = fs::read(token.join(OBJECT)).unwrap_or_default();
        // Leave a file of the same length: its PIN may have been changed since.
        if object.len() < copy.len() || object.iter().all(|b| *b == 0) {
            put(&token.join(OBJECT), &copy)?;
            healed.push(token);
        }
    }
    Ok(healed)
}

fn tokens_in(directory: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(directory))?,
    };
    let paths: Result<Vec<PathBuf>, _> = entries.map(|e| e.map(|e| e.path())).collect();
    Ok(paths.map_err(at(directory))?.into_iter().filter(|p| p.is_dir()).collect())
}

/// Writes the whole file or nothing.
fn put(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    bkv_files::replace(path, bytes, bkv_files::Mode::Private).map_err(at(path))
}
