//! Text from outside on a terminal: names in folders and backups, a server's words, what was typed. An attacker who chooses such a text could otherwise
//! repaint the screen with escape sequences, forge lines with line breaks, or turn a name around with bidirectional controls.

use std::borrow::Cow;

/// Control characters, and characters that change the order or the lines of what is around them.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_bad = |c| is_harmful(c) && !is_kept(c);
    if !text.contains(is_bad) {
        // Borrowed, because the text can be a key.
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_bad(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// A text that must stay on one line.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A text of several lines. What comes from outside must have passed [`line`] before.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// A path as a part of a text.
pub(crate) fn path(path: &std::path::Path) -> String {
    line(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_move_the_cursor_or_turn_text_around_is_escaped() {
        for (text, shown) in [
            ("naïve – ünïcode שלום 👩‍👩‍👧", "naïve – ünïcode שלום 👩‍👩‍👧"),
            ("\u{1b}[31mRED\u{7}", "\\u{1b}[31mRED\\u{7}"),
            ("a\nforged: line\r", "a\\nforged: line\\r"),
            ("invoice\u{202e}fdp.exe", "invoice\\u{202e}fdp.exe"),
            ("\u{9b}2J\u{2028}\u{2066}", "\\u{9b}2J\\u{2028}\\u{2066}"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\nb\u{1b}"), "a\nb\\u{1b}");
    }
}
