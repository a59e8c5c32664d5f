//! How backups are shown: names, times and tables for people, names for programs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bkv_backups::format::Id;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::legible;

/// A name or path in a backup, for a terminal.
pub(crate) fn name(bytes: &[u8]) -> String {
    legible::path(Path::new(OsStr::from_bytes(bytes)))
}

/// A path for programs: `path`, and the bytes in hexadecimal if it is not UTF-8.
pub(crate) fn path_fact(bytes: &[u8]) -> Map<String, Value> {
    let mut fact = Map::new();
    fact.insert("path".into(), String::from_utf8_lossy(bytes).into_owned().into());
    if std::str::from_utf8(bytes).is_err() {
        fact.insert("path_bytes".into(), hex::encode(bytes).into());
    }
    fact
}

/// The first digits of a writer, as `--writer` takes them.
pub(crate) fn writer(id: &Id) -> String {
    hex::encode(id).chars().take(8).collect()
}

/// A time in this device's zone. An attacker may have chosen the number: if it is no valid time, it is shown as a number.
pub(crate) fn local(ms: i64) -> String {
    at(ms, &TimeZone::system())
}

fn at(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{ms} ms since 1970"),
    }
}

/// Columns, parted by two spaces. Columns whose heading begins with a space are numbers, and are right-aligned.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain(heading.get(n).map(|h| h.trim().len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for ((cell, width), title) in cells.zip(&widths).zip(heading) {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let cells = if title.starts_with(' ') { [gap.as_str(), cell] } else { [cell, gap.as_str()] };
            text.push_str(&cells.concat());
            text.push_str("  ");
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heading.iter().map(|h| h.trim()))];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let rows = [vec!["a".into(), "7".into(), "x".into()], vec!["bcd".into(), "1000".into(), "y".into()]];
        assert_eq!(table(&["name", " size", "of"], &rows), "name  size  of\na        7  x\nbcd   1000  y");
    }

    #[test]
    fn names_are_escaped_for_people_and_whole_for_programs() {
        assert_eq!(name(b"a\x1b\n\xff"), "a\\u{1b}\\n\u{fffd}");
        assert_eq!(path_fact(b"a\n").len(), 1);
        assert_eq!(path_fact(b"\xff").get("path_bytes").and_then(|b| b.as_str()), Some("ff"));
        assert_eq!(at(0, &TimeZone::UTC), "1970-01-01 00:00:00");
        assert_eq!(at(i64::MAX, &TimeZone::UTC), format!("{} ms since 1970", i64::MAX));
    }
}
