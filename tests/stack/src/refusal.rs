//! What `bkv` answers when it refuses.

use crate::Answer;

/// What the answer tells a person.
pub fn message(a: &Answer) -> String {
    format!(
        "{} {}",
        a.json["message"].as_str().unwrap_or_default(),
        a.json["remedy"].as_str().unwrap_or_default()
    )
}

/// Expects the code, and all words in message or remedy. A refusal always has a remedy and its one-word name.
#[allow(clippy::must_use_candidate)] // most tests need nothing more of the answer
#[track_caller]
pub fn refused(a: Answer, code: i32, words: &[&str]) -> Answer {
    let a = a.expect(code);
    let text = message(&a);
    for w in words {
        assert!(text.contains(w), "no `{w}` in: {text}");
    }
    assert!(a.json["error"].is_string() && a.json["remedy"].is_string(), "{a:?}");
    a
}
