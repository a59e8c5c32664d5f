//! Patterns of names. Without a slash, a pattern fits an entry of that name anywhere. With one at its beginning it fits from the top, with one elsewhere at any depth.
//! `*` and `?` stop at a slash, `**` is any number of folders, and a slash at the end fits folders only.

use std::path::Path;

use glob::{MatchOptions, Pattern as Glob};

use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug)]
struct Pattern {
    glob: Glob,
    folders_only: bool,
    ignore_case: bool,
}

/// Patterns of which one must fit.
#[derive(Debug, Default)]
pub(crate) struct Patterns(Vec<Pattern>);

impl Patterns {
    pub(crate) fn parse(texts: &[String]) -> Outcome<Self> {
        let mut patterns = Self::default();
        texts.iter().try_for_each(|text| patterns.add(text, false))?;
        Ok(patterns)
    }

    pub(crate) fn add(&mut self, text: &str, ignore_case: bool) -> Outcome {
        let (body, folders_only) = text.strip_suffix('/').map_or((text, false), |body| (body, true));
        let glob = match body.strip_prefix('/') {
            Some(anchored) => Glob::new(anchored),
            None => Glob::new(&format!("**/{body}")),
        };
        let refused = |why: String| {
            Failure::new(Exit::Usage, format!("the pattern '{text}' does not read: {why}"))
                .remedy("`*` and `?` stand for signs of one name, `[ab]` for one of these, `**` for any number of folders: 'cache/**/*.tmp'.")
        };
        if body.is_empty() {
            return Err(refused("it is empty".into()));
        }
        let glob = glob.map_err(|e| refused(e.msg.to_owned()))?;
        self.0.push(Pattern { glob, folders_only, ignore_case });
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `path` may begin with a slash. Bytes that are no UTF-8 fit `*` and `?`.
    pub(crate) fn fit(&self, path: &Path, is_folder: bool) -> bool {
        let text = path.to_string_lossy();
        let text = text.strip_prefix('/').unwrap_or(&text);
        self.0.iter().any(|pattern| {
            let how = MatchOptions {
                case_sensitive: !pattern.ignore_case,
                require_literal_separator: true,
                require_literal_leading_dot: false,
            };
            (is_folder || !pattern.folders_only) && pattern.glob.matches_with(text, how)
        })
    }

    /// The same for an entry or one of the folders above it.
    pub(crate) fn fit_at_or_above(&self, path: &Path, is_folder: bool) -> bool {
        self.fit(path, is_folder)
            || path.ancestors().skip(1).any(|above| !above.as_os_str().is_empty() && self.fit(above, true))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_pattern_fits_by_name_by_place_and_by_kind() {
        for (pattern, path, folder, want) in [
            ("*.tmp", "/a/b/x.tmp", false, true),
            ("*.tmp", "/x.tmp", false, true),
            ("*.tmp", "/a.tmp/b", false, false),
            ("b/*.tmp", "/a/b/x.tmp", false, true),
            ("b/*.tmp", "/a/b/c/x.tmp", false, false),
            ("/b/*", "/b/x", false, true),
            ("/b/*", "/a/b/x", false, false),
            ("cache/", "/a/cache", true, true),
            ("cache/", "/a/cache", false, false),
            ("a/**/z", "/q/a/b/c/z", false, true),
            ("a/**/z", "/q/a/z", false, true),
            (".*", "/a/.hidden", false, true),
            ("[ab]?", "/b1", false, true),
            ("*.JPG", "/x.jpg", false, false),
        ] {
            let patterns = Patterns::parse(&[pattern.to_owned()]).unwrap();
            assert_eq!(patterns.fit(Path::new(path), folder), want, "{pattern} {path}");
        }
        let mut any_case = Patterns::default();
        any_case.add("*.JPG", true).unwrap();
        assert!(any_case.fit(Path::new("/x.jpg"), false));
        let strange = Path::new(std::ffi::OsStr::from_bytes(b"/a/\xff.tmp"));
        assert!(Patterns::parse(&["*.tmp".into()]).unwrap().fit(strange, false));
        let below = Patterns::parse(&["docs".into()]).unwrap();
        assert!(below.fit_at_or_above(Path::new("a/docs/b/c"), false));
        assert!(!below.fit_at_or_above(Path::new("a/docx/b/c"), false));
        for bad in ["", "/", "a[", "a**"] {
            assert_eq!(Patterns::parse(&[bad.into()]).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }
}
