//! `bkv ls`: the entries of a generation.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bkv_backups::Reading;
use bkv_backups::format::tree::{Entry, Kind};
use clap::Args;
use serde_json::{Map, Value};

use crate::args::MaybeOnline;
use crate::backups::{Reader, WhichGeneration, entries, local, name, path_fact};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// Only these paths and what is below them.
    pub path: Vec<OsString>,
    /// Also show permission bits, size, time and the target of links.
    #[arg(long, short)]
    pub long: bool,
    #[command(flatten)]
    pub which: WhichGeneration,
    #[command(flatten)]
    pub online: MaybeOnline,
}

/// What an entry is, for programs.
pub(super) const fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Folder => "folder",
        Kind::File { .. } => "file",
        Kind::Symlink(_) => "symlink",
        Kind::Hardlink(_) => "hardlink",
    }
}

pub(super) const fn size(entry: &Entry) -> u64 {
    match entry.kind {
        Kind::File { size, .. } => size,
        _ => 0,
    }
}

pub(super) fn modified_ms(entry: &Entry) -> i64 {
    let time = entry.attributes.mtime;
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000))
}

fn line(path: &[u8], entry: &Entry, long: bool) -> String {
    let shown = name(path);
    let end = if entry.kind == Kind::Folder { "/" } else { "" };
    if !long {
        return format!("{shown}{end}");
    }
    let target = match &entry.kind {
        Kind::Symlink(target) | Kind::Hardlink(target) => format!(" -> {}", name(target)),
        _ => String::new(),
    };
    let letter = match entry.kind {
        Kind::Folder => 'd',
        Kind::File { .. } => '-',
        Kind::Symlink(_) => 'l',
        Kind::Hardlink(_) => 'h',
    };
    let mode = entry.attributes.mode;
    format!("{letter} {mode:04o} {:>12} {} {shown}{end}{target}", size(entry), local(modified_ms(entry)))
}

pub(super) fn fact(path: &[u8], entry: &Entry) -> Map<String, Value> {
    let mut fact = path_fact(path);
    fact.insert("type".into(), kind(entry).into());
    fact.insert("size".into(), size(entry).into());
    fact.insert("mode".into(), format!("{:04o}", entry.attributes.mode).into());
    fact.insert("modified_ms".into(), modified_ms(entry).into());
    if let Kind::Symlink(target) | Kind::Hardlink(target) = &entry.kind {
        fact.insert("target".into(), String::from_utf8_lossy(target).into_owned().into());
    }
    fact
}

/// True for a path that was named, or one below it.
fn is_below(path: &[u8], named: &[OsString]) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    named.is_empty()
        || named.iter().any(|top| {
            let top = Path::new(top);
            let top = top.strip_prefix("/").or_else(|_| top.strip_prefix(".")).unwrap_or(top);
            path.starts_with(top)
        })
}

pub(crate) async fn run(out: Output, a: &Ls) -> Outcome {
    let reader = Reader::open(out, &a.online, &a.from).await?;
    let mut library = reader.library(false)?;
    let choice = a.which.choose(out, &mut library, false)?;
    let reading = Reading::open(reader.access(), choice)?;
    let (mut lines, mut listed) = (Vec::new(), Vec::new());
    let mut found = false;
    entries(&reading, |path, _, entry| {
        if !is_below(path, &a.path) {
            return;
        }
        found = true;
        if out.json {
            listed.push(Value::Object(fact(path, entry)));
        } else {
            lines.push(line(path, entry, a.long));
        }
    })?;
    if !found && !a.path.is_empty() {
        return Err(Failure::new(Exit::NoInput, "nothing in this generation has such a path").remedy(
            "Paths are relative to the folder that was backed up. `bkv find` looks in all generations.",
        ));
    }
    let manifest = reading.manifest();
    let facts = facts([
        ("series", manifest.label.clone().into()),
        ("generation", manifest.number.into()),
        ("entries", listed.into()),
    ]);
    if !out.json && lines.is_empty() {
        out.note("The generation has no entries.");
        return Ok(());
    }
    out.shown(&lines.join("\n"), facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_itself_and_what_is_below_it() {
        for (path, named, want) in [
            ("a/b", "a", true),
            ("a/b", "/a/b", true),
            ("a/b", "./a", true),
            ("a/b", "a/", true),
            ("ab", "a", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(is_below(path.as_bytes(), &[named.into()]), want, "{path} {named}");
        }
        assert!(is_below(b"x", &[]));
    }
}
