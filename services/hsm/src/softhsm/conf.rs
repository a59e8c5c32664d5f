//! `softhsm2.conf`, which the module reads once per process.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{SetupError, SoftHsm};

const TOKEN_DIRECTORY: &str = "directories.tokendir";

pub(super) fn at(path: &Path) -> impl Fn(std::io::Error) -> SetupError + use<> {
    let path = path.to_owned();
    move |source| SetupError::Io { path: path.clone(), source }
}

/// Makes `dir`, an empty token directory in it, and a configuration that names the token directory and has the other lines of `like`.
pub(super) fn write(dir: &Path, like: &str) -> Result<SoftHsm, SetupError> {
    let tokens = dir.join("tokens");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&tokens).map_err(at(&tokens))?;
    // The path must be absolute: the vault that reads the file runs in another directory.
    let tokens = tokens.canonicalize().map_err(at(&tokens))?;
    if fs::read_dir(&tokens).map_err(at(&tokens))?.next().is_some() {
        return Err(SetupError::Exists(tokens));
    }
    let conf = dir.canonicalize().map_err(at(dir))?.join("softhsm2.conf");
    let others = like.lines().filter(|line| !names_tokens(line)).collect::<Vec<_>>().join("\n");
    let text = format!("{others}\n{TOKEN_DIRECTORY} = {}\n", tokens.display());
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&conf).map_err(at(&conf))?;
    file.write_all(text.as_bytes()).map_err(at(&conf))?;
    Ok(SoftHsm { conf, tokens })
}

fn names_tokens(line: &str) -> bool {
    line.split_once('=').is_some_and(|(name, _)| name.trim() == TOKEN_DIRECTORY)
}

/// The token directory that a configuration names last, as the module reads it.
pub(super) fn token_directory(conf: &Path, text: &str) -> Result<PathBuf, SetupError> {
    let named = text
        .lines()
        .filter(|line| names_tokens(line))
        .filter_map(|line| line.split_once('='))
        .map(|(_, directory)| PathBuf::from(directory.trim()))
        .next_back();
    named.filter(|d| d.is_absolute()).ok_or_else(|| SetupError::NoDirectory(conf.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_last_one_named_and_comments_are_none() {
        let conf = Path::new("c");
        let text = "# directories.tokendir = /a\nlog.level = ERROR\n directories.tokendir=/b \n";
        assert_eq!(token_directory(conf, text).unwrap(), Path::new("/b"));
        for bad in ["", "# directories.tokendir = /a", "directories.tokendir = tokens"] {
            assert!(matches!(token_directory(conf, bad), Err(SetupError::NoDirectory(_))), "{bad}");
        }
    }

    #[test]
    fn what_is_written_keeps_the_other_lines_and_names_its_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let made = write(dir.path(), "objectstore.backend = db\ndirectories.tokendir = /elsewhere").unwrap();
        let text = fs::read_to_string(&made.conf).unwrap();
        assert!(text.contains("backend = db") && !text.contains("/elsewhere"), "{text}");
        assert_eq!(token_directory(&made.conf, &text).unwrap(), made.tokens);
    }
}
