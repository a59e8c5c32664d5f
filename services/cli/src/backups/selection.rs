//! What is backed up: the sources, and what is left out of them.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bkv_backups::Identity;
use clap::Args;

use super::forms::is_account;
use super::{Patterns, Place};
use crate::exit::{Exit, Failure, Outcome};

/// How a CACHEDIR.TAG begins (bford.info/cachedir).
const CACHE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What a person leaves out.
#[derive(Debug, Clone, Default, Args)]
#[allow(clippy::struct_field_names)] // as the options are called
pub(crate) struct Exclude {
    /// Leave out what fits this pattern: `*.tmp` by name, `build/out` by the end of the path, `/home/a/x` from the top, `cache/` folders only. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// The same without regard to upper and lower case.
    #[arg(long, value_name = "PATTERN")]
    pub iexclude: Vec<String>,
    /// Leave out what fits a pattern in this file: one a line, `#` begins a remark.
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,
    /// Leave out folders that contain a file of this name.
    #[arg(long, value_name = "NAME")]
    pub exclude_if_present: Vec<String>,
    /// Leave out folders that their program has marked as a cache, by a CACHEDIR.TAG.
    #[arg(long)]
    pub exclude_caches: bool,
    /// Leave out files above this size: `500k`, `100M`, `2G`.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub exclude_larger_than: Option<u64>,
    /// Do not enter other file systems. A mount point is kept as an empty folder.
    #[arg(long)]
    pub one_file_system: bool,
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.trim_end_matches(['b', 'B']).char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        Some((at, 't' | 'T')) => (text.get(..at), 40),
        _ => (Some(text), 0),
    };
    let number = digits.and_then(|digits| digits.parse::<u64>().ok());
    number.and_then(|n| n.checked_mul(1 << shift)).ok_or_else(|| "such as 500k, 100M or 2G".into())
}

/// The rules of [`Exclude`], read.
#[derive(Debug, Default)]
pub(crate) struct Excluded {
    patterns: Patterns,
    if_present: Vec<String>,
    caches: bool,
    larger_than: Option<u64>,
}

impl Excluded {
    pub(crate) fn read(rules: &Exclude) -> Outcome<Self> {
        let mut patterns = Patterns::parse(&rules.exclude)?;
        for text in &rules.iexclude {
            patterns.add(text, true)?;
        }
        for file in &rules.exclude_from {
            let text = fs::read_to_string(file).map_err(|e| {
                Failure::new(Exit::NoInput, format!("can't read the patterns in {}: {e}", file.display()))
                    .remedy("Name a text file with one pattern a line.")
            })?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.into_iter().try_for_each(|line| patterns.add(line, false))?;
        }
        Ok(Self {
            patterns,
            if_present: rules.exclude_if_present.clone(),
            caches: rules.exclude_caches,
            larger_than: rules.exclude_larger_than,
        })
    }

    /// True for an entry that is left out.
    pub(crate) fn is(&self, path: &Path, is_folder: bool) -> bool {
        self.patterns.fit(path, is_folder)
            || (is_folder && self.if_present.iter().any(|name| fs::symlink_metadata(path.join(name)).is_ok()))
            || (is_folder && self.caches && is_cache(path))
            || (!is_folder && self.is_large(path))
    }

    fn is_large(&self, path: &Path) -> bool {
        let Some(most) = self.larger_than else { return false };
        fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > most)
    }
}

fn is_cache(folder: &Path) -> bool {
    let tag = folder.join("CACHEDIR.TAG");
    // A pipe would block.
    if !fs::symlink_metadata(&tag).is_ok_and(|meta| meta.is_file()) {
        return false;
    }
    let mut beginning = Vec::new();
    let read =
        fs::File::open(&tag).and_then(|file| file.take(CACHE.len() as u64).read_to_end(&mut beginning));
    read.is_ok() && beginning == CACHE
}

/// The sources by absolute paths, so that a series does not depend on where the command runs.
pub(crate) fn sources(named: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for path in named {
        let failed = |why: String, remedy: &str| {
            Err(Failure::new(Exit::NoInput, format!("can't read {}: {why}", path.display())).remedy(remedy))
        };
        match fs::metadata(path) {
            Err(e) => return failed(e.to_string(), "Check the path of the folder that is to be backed up."),
            Ok(meta) if !meta.is_dir() => {
                return failed("it is not a folder".into(), "Give the folder that it lies in.");
            }
            Ok(_) => {}
        }
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        // Without a slash at the end.
        sources.push(absolute.components().collect());
    }
    Ok(sources)
}

/// The name of this machine.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "device".into() } else { name.to_owned() }
}

/// What is never part of a backup: this device's state, which holds the key and whose copy would make a twin, and the backups at the destination. Other files in the
/// destination's folder are no backups and are kept.
pub(crate) fn own_places(state: &Path, place: &Place) -> Vec<Identity> {
    let entries = place.path().map(fs::read_dir).into_iter().flatten().flatten().flatten();
    let is_single =
        |name: &str| Path::new(name.trim_end_matches(".partial")).extension().is_some_and(|end| end == "bkv");
    let is_backup = |name: &str| is_account(name) || is_single(name);
    let backups = entries.filter(|e| e.file_name().to_str().is_some_and(is_backup)).map(|e| e.path());
    let state = state.canonicalize().ok();
    let identity = |path: PathBuf| fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
    backups.chain(state).filter_map(identity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_need_a_number() {
        for (text, want) in [
            ("7", Some(7)),
            ("500k", Some(500 << 10)),
            ("1M", Some(1 << 20)),
            ("2G", Some(2 << 30)),
            ("1T", Some(1 << 40)),
            ("", None),
            ("M", None),
            ("1.5G", None),
            ("99999999999T", None),
        ] {
            assert_eq!(size(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn each_rule_leaves_out_what_it_says_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["cache", "false-cache", "marked", "plain"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("cache/CACHEDIR.TAG"), [CACHE, b"\nmore"].concat()).unwrap();
        fs::write(at("false-cache/CACHEDIR.TAG"), "something else").unwrap();
        fs::write(at("marked/.nobackup"), "").unwrap();
        fs::write(at("large"), vec![0; 2000]).unwrap();
        fs::write(at("small"), vec![0; 1024]).unwrap();
        fs::write(at("rules"), "# remark\n\n*.log\n").unwrap();
        let rules = Exclude {
            exclude: vec!["*.tmp".into()],
            iexclude: vec!["*.BAK".into()],
            exclude_from: vec![at("rules")],
            exclude_if_present: vec![".nobackup".into()],
            exclude_caches: true,
            exclude_larger_than: Some(1024),
            one_file_system: false,
        };
        let excluded = Excluded::read(&rules).unwrap();
        for (name, folder, want) in [
            ("a.tmp", false, true),
            ("a.bak", false, true),
            ("a.log", false, true),
            ("cache", true, true),
            ("false-cache", true, false),
            ("marked", true, true),
            ("plain", true, false),
            ("large", false, true),
            ("small", false, false),
        ] {
            assert_eq!(excluded.is(&at(name), folder), want, "{name}");
        }
        let absent = Exclude { exclude_from: vec![at("absent")], ..Exclude::default() };
        assert_eq!(Excluded::read(&absent).unwrap_err().exit, Exit::NoInput);
    }
}
