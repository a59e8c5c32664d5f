//! Fixtures of formats: files that a program of each number made, under `tests/formats`. Unlike a golden file, a fixture never changes.

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

    /// The folders of the fixtures of all numbers, the present one last. Panics if the present one is missing.
    #[track_caller]
    pub fn released(&self) -> Vec<PathBuf> {
        let (present, constant) = (self.present(), self.constant);
        assert!(
            present.exists(),
            "{} is missing: run `make golden`, which makes the fixture of the number in {constant}",
            present.display()
        );
        (1..=self.number).map(|n| self.folder(n)).filter(|f| f.exists()).collect()
    }

    /// Panics if what this program makes differs from what the fixture of the present number has: the format has changed under its number.
    #[track_caller]
    pub fn unchanged(&self, what: &str, kept: &str, made: &str) {
        assert!(kept == made, "{what}: {}{}", difference(kept, made), self.how_to_change());
    }

    /// What to do if the format has changed.
    pub fn how_to_change(&self) -> String {
        let Self { name, number, constant } = self;
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
        let format = Format { name: "store", number: 3, constant: "FORMAT in format.rs" };
        let failed = std::panic::catch_unwind(|| format.unchanged("a row", "uint\n", "text\n")).unwrap_err();
        let text = failed.downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        for part in
            ["a row: from line 1:", "Raise FORMAT in format.rs to 4", "make golden", "tests/formats/store-4"]
        {
            assert!(text.contains(part), "{text}");
        }
        format.unchanged("a row", "uint", "uint");
    }
}
