//! SoftHSM writes `token.object` anew at every login: it empties the file first. A process that is killed, or a machine that loses power, in that moment
//! leaves an empty one, and the token with all its keys is gone for good, though every key still lies in its own file. So a copy is kept beside: label,
//! serial number and the PINs' blobs never change, and the flags that do are of no worth.

use std::fs;
use std::path::{Path, PathBuf};

use super::SetupError;
use super::conf::{self, at};

const OBJECT: &str = "token.object";
/// SoftHSM looks at names that end in `.object` only.
const COPY: &str = "token.copy";

/// Keeps a copy of each token in the directory, once it has its user PIN.
pub(super) fn keep_copies(tokens: &Path) -> Result<(), SetupError> {
    for token in tokens_in(tokens)? {
        put(&token.join(COPY), &fs::read(token.join(OBJECT)).map_err(at(&token))?)?;
    }
    Ok(())
}

/// Puts the copy back where `token.object` is torn. To be called before the module is loaded, by a program that is about to use the token. Gives the
/// tokens that were healed; without copies there is nothing to do.
pub fn heal(conf: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let text = fs::read_to_string(conf).map_err(at(conf))?;
    let mut healed = Vec::new();
    for token in tokens_in(&conf::token_directory(conf, &text)?)? {
        let Ok(copy) = fs::read(token.join(COPY)) else { continue };
        let object = fs::read(token.join(OBJECT)).unwrap_or_default();
        // One of the same length is left alone: its PIN may have been changed since.
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

/// Whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    bkv_files::replace(path, bytes, bkv_files::Mode::Private).map_err(at(path))
}
