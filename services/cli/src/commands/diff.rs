//! `bkv diff`: what is different between two generations of a series.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bkv_backups::Reading;
use bkv_backups::format::tree::{Entry, Kind, Place};
use clap::Args;
use serde_json::{Value, json};

use super::ls;
use crate::args::MaybeOnline;
use crate::backups::{Number, Reader, Series, WhichGeneration, entries, name, number, path_fact};
use crate::exit::Outcome;
use crate::output::{Output, facts};
use crate::words::count;

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// The earlier generation.
    #[arg(value_name = "A", value_parser = number)]
    pub before: Number,
    /// The later generation, by number or `latest`.
    #[arg(value_name = "B", value_parser = number)]
    pub after: Number,
    #[command(flatten)]
    pub series: Series,
    #[command(flatten)]
    pub online: MaybeOnline,
}

type Tree = BTreeMap<Vec<u8>, Entry>;

/// The sign of a difference. None if the entries are the same.
fn sign(before: Option<&Entry>, after: Option<&Entry>) -> Option<char> {
    let (before, after) = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => return Some('+'),
        (Some(_), None) => return Some('-'),
        (Some(before), Some(after)) => (before, after),
    };
    if ls::kind(before) != ls::kind(after) {
        return Some('T');
    }
    let content = match (&before.kind, &after.kind) {
        (
            Kind::File { place: Place::Blob(a), size: x, .. },
            Kind::File { place: Place::Blob(b), size: y, .. },
        ) => a.hash != b.hash || x != y,
        // The content of a small file has no hash of its own.
        (Kind::File { size: x, .. }, Kind::File { size: y, .. }) => {
            x != y || before.attributes.mtime != after.attributes.mtime
        }
        (a, b) => a != b,
    };
    if content {
        return Some('M');
    }
    let (a, b) = (&before.attributes, &after.attributes);
    // The time of a folder changes with each entry in it.
    let time = before.kind != Kind::Folder && a.mtime != b.mtime;
    let same = (a.mode, a.uid, a.gid, &a.xattrs) == (b.mode, b.uid, b.gid, &b.xattrs);
    (time || !same).then_some('U')
}

fn read(out: Output, reader: &Reader, series: &Series, number: Number) -> Outcome<(u64, Tree)> {
    let mut library = reader.library(false)?;
    let which = WhichGeneration { series: series.clone(), generation: Some(number), at: None };
    let choice = which.choose(Output { quiet: true, ..out }, &mut library, false)?;
    let reading = Reading::open(reader.access(), choice)?;
    let mut tree = Tree::new();
    entries(&reading, |path, _, entry| {
        tree.insert(path.to_vec(), entry.clone());
    })?;
    Ok((reading.manifest().number, tree))
}

pub(crate) async fn run(out: Output, a: &Diff) -> Outcome {
    let reader = Reader::open(out, &a.online, &a.from).await?;
    let (first, before) = read(out, &reader, &a.series, a.before)?;
    let (second, after) = read(out, &reader, &a.series, a.after)?;
    let mut differences: BTreeMap<&Vec<u8>, char> = BTreeMap::new();
    for path in before.keys().chain(after.keys()) {
        differences.extend(sign(before.get(path), after.get(path)).map(|sign| (path, sign)));
    }
    let mut lines: Vec<String> =
        differences.iter().map(|(path, sign)| format!("{sign} {}", name(path))).collect();
    let number = |wanted: char| differences.values().filter(|sign| **sign == wanted).count() as u64;
    let [added, removed, changed] = ['+', '-', 'M'].map(number);
    lines.push(format!(
        "{} added, {} removed, {} changed between generations {first} and {second}",
        count(added, "entry"),
        count(removed, "entry"),
        count(changed, "file")
    ));
    let listed: Vec<Value> = differences
        .iter()
        .map(|(path, sign)| {
            let mut fact = path_fact(path);
            fact.insert("sign".into(), sign.to_string().into());
            Value::Object(fact)
        })
        .collect();
    out.shown(
        &lines.join("\n"),
        facts([
            ("before", first.into()),
            ("after", second.into()),
            ("differences", json!(listed)),
            ("added", added.into()),
            ("removed", removed.into()),
            ("changed", changed.into()),
        ]),
    )
}
