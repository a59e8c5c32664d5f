//! Errors of a parser without the text of the file. A user may name a file of tokens, a key or a password by mistake, and an operator may write a PIN
//! into the wrong field. The parsers' own messages contain lines and values of the file, which would get onto a screen and into logs.

use serde::de::DeserializeOwned;

/// The most characters of a word of the file that an error shows. No field of ours has a longer name.
const LONGEST_NAME: usize = 24;

/// Parses TOML. The error has line, column, field and reason, and no value of the file.
pub fn toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|e| located(text, &e))
}

fn located(text: &str, e: &toml::de::Error) -> String {
    let at = e.span().map_or(0, |s| s.start);
    let before = text.get(..at).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let why = reason(e.message());
    // A file that is not TOML has no fields: the words before a `=` may be a part of a secret.
    let has_fields = e.message().starts_with("duplicate key") || toml::from_str::<toml::Table>(text).is_ok();
    let line = text.lines().nth(number - 1).filter(|_| has_fields).unwrap_or_default();
    match line.split_once('=').map(|(field, _)| field.trim()).filter(|field| is_name(field)) {
        Some(field) => format!("line {number}, column {column}, `{field}`: {why}"),
        None => format!("line {number}, column {column}: {why}"),
    }
}

/// The message of a parser without the words and values that it quotes from the file. Names of fields stay.
pub fn reason(message: &str) -> String {
    let mut rest = message.lines().next().unwrap_or_default();
    let mut clean = String::new();
    if let Some(variant) = rest.strip_prefix("unknown variant `") {
        // The word may contain the mark itself.
        clean.push_str("unknown variant");
        rest = variant.rsplit_once("`, expected").map_or("", |(_, names)| names);
        clean.push_str(if rest.is_empty() { "" } else { ", expected" });
    }
    while let Some(at) = rest.find(['`', '"']) {
        let (plain, quoted) = rest.split_at(at);
        let mark = if quoted.starts_with('`') { '`' } else { '"' };
        clean.push_str(plain);
        let inner = quoted.get(1..).unwrap_or_default();
        let Some(end) = end_of(inner, mark) else {
            clean.push('…');
            return clean;
        };
        let (word, after) = inner.split_at(end);
        let after = after.get(1..).unwrap_or_default();
        if mark == '"' {
            clean.push('…');
            rest = after;
        } else if (is_name(word) || is_sign(word)) && ends_there(after) {
            clean.push(mark);
            clean.push_str(word);
            clean.push(mark);
            rest = after;
        } else {
            // The word is of the file, and may itself contain the mark: hide everything up to the last one.
            clean.push('…');
            rest = inner.rsplit(mark).next().unwrap_or_default();
        }
    }
    clean + rest
}

/// Where a quotation ends. In one with `"`, a backslash escapes the next character.
fn end_of(inner: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' && mark == '"' {
            escaped = true;
        } else if c == mark {
            return Some(at);
        }
    }
    None
}

/// The form that every field's name has.
fn is_name(word: &str) -> bool {
    let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
    word.len() <= LONGEST_NAME
        && word.bytes().next().is_some_and(|c| c.is_ascii_lowercase())
        && word.bytes().all(inside)
}

/// Whether a quotation ends here, and not at a mark inside the quoted word.
fn ends_there(after: &str) -> bool {
    after.chars().next().is_none_or(|c| c == ' ' || c == ',')
}

/// What a parser expected: a sign of the language.
fn is_sign(word: &str) -> bool {
    matches!(word, "=" | "." | "," | ":" | "[" | "]" | "{" | "}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // read by the derived parser only
    struct Profile {
        chatd: String,
        port: Option<u16>,
    }

    fn error(text: &str) -> String {
        toml::<Profile>(text).unwrap_err()
    }

    #[test]
    fn an_error_has_line_column_field_and_reason() {
        assert_eq!(
            error("chatd = \"a\"\ncolour = 1"),
            "line 2, column 1, `colour`: unknown field `colour`, expected `chatd` or `port`"
        );
        assert_eq!(
            error("chatd = \"a\"\nport = \"hunter2\""),
            "line 2, column 8, `port`: invalid type: string …, expected u16"
        );
        assert_eq!(error("port = 1"), "line 1, column 1, `port`: missing field `chatd`");
        assert!(
            error("chatd = \"a\"\nchatd = \"b\"").starts_with("line 2, column 1, `chatd`: duplicate key")
        );
    }

    #[test]
    fn s37_a_file_of_secrets_that_is_named_by_mistake_is_not_in_the_error() {
        for secret in [
            "{\"chatd\": \"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2ln\", \"vault\": \"eyJhbGciOiJFZERTQSJ9\"}",
            "0123 4567 89ab cdef 0123 4567 89ab cdef 0123 4567 89ab cdef 0123 4567 89ab cdef",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "correct horse battery staple",
            "hunter2=hunter2",
            "chatd = hunter2",
            "chatd = \"a\"\nport = \"say \\\"hunter2\\\" twice\"",
            "c2VjcmV0LXNlY3JldA==",
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----",
        ] {
            let shown = error(secret);
            let words = secret.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| w.len() > 3);
            for word in words.filter(|w| !["chatd", "port"].contains(w)) {
                assert!(!shown.contains(word), "`{word}` in: {shown}");
            }
            assert!(shown.starts_with("line "), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn s37_no_value_is_in_a_reason(value in "[A-Z\"\\\\`]{6,40}") {
            for message in [
                format!("invalid type: string {value:?}, expected u16 at line 1 column 3"),
                format!("invalid value: character `{value}`, expected a map"),
                format!("unknown field `{value}`"),
                format!("unknown variant `{value}`, expected `one` or `two`"),
            ] {
                prop_assert!(!reason(&message).contains(value.get(..6).unwrap_or_default()), "{}", reason(&message));
            }
        }
    }
}
