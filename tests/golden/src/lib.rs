//! Golden files: text that a program generates and the checkout keeps, so that a reviewer sees every change of it. `make golden` renews all of them.
#![forbid(unsafe_code)]
#![allow(clippy::panic)] // a failed comparison is how it reports

mod format;

use std::fs;
use std::path::Path;

pub use format::Format;

/// What renews the files.
pub const RENEW: &str = "if that is meant, run `make golden` and read the difference";

/// True if this run renews golden files instead of comparing: `make golden` sets BKV_GOLDEN=write.
pub fn renewing() -> bool {
    std::env::var_os("BKV_GOLDEN").is_some_and(|v| v == "write")
}

/// Compares `text` with the file, or renews the file.
#[track_caller]
pub fn same(file: &Path, text: &str) {
    if renewing() {
        fs::write(file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        return;
    }
    let kept = fs::read_to_string(file).unwrap_or_default();
    assert!(kept == text, "{} differs {}\n{RENEW}", file.display(), difference(&kept, text));
}

/// The lines that differ, each with its sign.
pub fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(same..).unwrap_or_default(), new.get(same..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], sign: &str| {
        let lines = lines.iter().take((lines.len() - tail).min(40));
        lines.map(|line| [sign, " ", line, "\n"].concat()).collect::<String>()
    };
    format!("from line {}:\n{}{}", same + 1, part(old, "-"), part(new, "+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_as_lines() {
        let shown = difference("a\nb\nc\n", "a\nx\nc\n");
        assert_eq!(shown, "from line 2:\n- b\n+ x\n");
        assert_eq!(difference("a\n", "a\nb\n"), "from line 2:\n+ b\n");
    }
}
