//! S38: the parsers of both programs, given arbitrary text and good files with one changed byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use proptest::sample::Index;

use crate::{chatd, vault};

/// A good file with one byte replaced.
fn changed(good: &str, at: Index, to: u8) -> String {
    let mut bytes = good.as_bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] = to;
    String::from_utf8(bytes).unwrap()
}

proptest::proptest! {
    #[test]
    fn s38_arbitrary_and_changed_files_are_refused_or_read(text in ".{0,200}", at: Index, to in 0x20u8..0x7f) {
        let folder = Path::new("/");
        proptest::prop_assert!(vault::Config::parse(&text, folder).is_err());
        proptest::prop_assert!(chatd::Config::parse(&text, folder).is_err());
        let _ = vault::Config::parse(&changed(vault::tests::GOOD, at, to), folder);
        let _ = chatd::Config::parse(&changed(chatd::tests::GOOD, at, to), folder);
    }
}
