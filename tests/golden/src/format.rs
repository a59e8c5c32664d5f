//! Fixtures of formats: files that a program of each number made, under `tests/formats`. Unlike a golden file, a fixture never changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{difference, renewing};

/// The folder of the fixtures. Its README says what is in it.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../formats");

/// A format of files that are kept, or that programs of different versions send to each other.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// The oldest number that this version reads. It rises only if the program stops reading a number.
    pub oldest: u32,
    /// Its present number.
    pub number: u32,
    /// The constant with that number, and the constant's file.
    pub constant: &'static str,
}

impl Format {
    fn folder(&self, number: u32) -> PathBuf {
        Path::new(FIXTURES).join(format!("{}-{number}", self.name))
    }

    /// The folder of the fixture of the present number.
    pub fn present(&self) -> PathBuf {
        self.folder(self.number)
    }

    /// True if the present number has no fixture, and this run makes it.
    pub fn is_wanted(&self) -> bool {
        renewing() && !self.present().exists()
    }

    /// Keeps the fixture of the present number. Panics if there is one: a released format does not change.
    #[track_caller]
    pub fn keep<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        let folder = self.present();
        let made = fs::create_dir(&folder).and_then(|()| {
            files.into_iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
        });
        made.unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    }

    /// The folders of the fixtures of all numbers that this version reads, the present one last. Panics if one is missing, or if there is one of another number.
    #[track_caller]
    pub fn released(&self) -> Vec<PathBuf> {
        self.released_in(Path::new(FIXTURES))
    }

    #[track_caller]
    fn released_in(&self, fixtures: &Path) -> Vec<PathBuf> {
        let Self { name, oldest, number, constant } = self;
        let list = fs::read_dir(fixtures).unwrap_or_else(|e| panic!("{}: {e}", fixtures.display()));
        let names = list.flatten().filter_map(|f| f.file_name().into_string().ok());
        let numbers = names.filter_map(|f| f.strip_prefix(name)?.strip_prefix('-')?.parse().ok());
        let found: BTreeSet<u32> = numbers.collect();
        assert!(
            found.contains(number),
            "tests/formats/{name}-{number} is missing: run `make golden`, which makes the fixture of the number in {constant}"
        );
        for n in *oldest..*number {
            assert!(
                found.contains(&n),
                "tests/formats/{name}-{n} is missing: restore it from git. This version reads the numbers {oldest} to {number}"
            );
        }
        if let Some(n) = found.iter().find(|n| !(*oldest..=*number).contains(n)) {
            panic!(
                "tests/formats/{name}-{n} is there, but this version reads the numbers {oldest} to {number}"
            );
        }
        found.into_iter().map(|n| fixtures.join(format!("{name}-{n}"))).collect()
    }

    /// Panics if what this program makes differs from what the fixture of the present number has: the format has changed under its number.
    #[track_caller]
    pub fn unchanged(&self, what: &str, kept: &str, made: &str) {
        assert!(kept == made, "{what}: {}{}", difference(kept, made), self.how_to_change());
    }

    /// What to do if the format has changed.
    pub fn how_to_change(&self) -> String {
        let Self { name, number, constant, .. } = self;
        let next = number + 1;
        format!(
            "The format `{name}` has changed under its number {number}. If that is meant:\n\
             1. Raise {constant} to {next}.\n\
             2. Read number {number} too.\n\
             3. Run `make golden`, which makes the fixture tests/formats/{name}-{next}.\n\
             Leave tests/formats/{name}-{number} as it is. docs/changing.md has the steps."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_format_says_what_to_do() {
        let format = Format { name: "store", oldest: 1, number: 3, constant: "FORMAT in format.rs" };
        let failed = std::panic::catch_unwind(|| format.unchanged("a row", "uint\n", "text\n")).unwrap_err();
        let text = failed.downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        for part in
            ["a row: from line 1:", "Raise FORMAT in format.rs to 4", "make golden", "tests/formats/store-4"]
        {
            assert!(text.contains(part), "{text}");
        }
        format.unchanged("a row", "uint", "uint");
    }

    #[test]
    fn s52_a_fixture_that_was_deleted_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        let format = Format { name: "store", oldest: 2, number: 4, constant: "FORMAT in format.rs" };
        let fails = || {
            let failed = std::panic::catch_unwind(|| format.released_in(dir.path())).unwrap_err();
            failed.downcast_ref::<String>().cloned().unwrap_or_default()
        };
        let folder = |n: u32| dir.path().join(format!("store-{n}"));
        for n in 2..=4 {
            fs::create_dir(folder(n)).unwrap();
        }
        assert_eq!(format.released_in(dir.path()), [2, 3, 4].map(folder));
        for n in 2..=4 {
            fs::remove_dir(folder(n)).unwrap();
            assert!(fails().contains(&format!("store-{n} is missing")), "{n}: {}", fails());
            fs::create_dir(folder(n)).unwrap();
        }
        for n in [1, 5] {
            fs::create_dir(folder(n)).unwrap();
            assert!(fails().contains(&format!("store-{n} is there")), "{n}: {}", fails());
            fs::remove_dir(folder(n)).unwrap();
        }
    }
}
