//! `bkv find`: looks for names in all generations.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bkv_backups::format::manifest::Content;
use bkv_backups::format::tree::{Entry, Kind};
use bkv_backups::{Choice, Library, Reading};
use clap::Args;
use serde_json::Value;

use super::ls;
use crate::args::MaybeOnline;
use crate::backups::{Patterns, Reader, Series, entries, local, name, table, writer};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::progress::bytes;

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// What to look for: `*.pdf` by name, `letters/*.txt` by the end of the path, `/top` from the top.
    #[arg(required = true)]
    pub pattern: Vec<String>,
    #[command(flatten)]
    pub series: Series,
    #[command(flatten)]
    pub online: MaybeOnline,
}

/// Writer, series and path.
type Key = (String, String, Vec<u8>);

/// An entry in the newest generation that has it, and all that do.
struct Found {
    entry: Entry,
    generations: Vec<u64>,
}

fn look(
    reader: &Reader,
    library: &Library,
    series: Option<&str>,
    patterns: &Patterns,
) -> Outcome<BTreeMap<Key, Found>> {
    let mut all: BTreeMap<Key, Found> = BTreeMap::new();
    for history in &library.histories {
        for of in history.ledger.series.iter().filter(|s| series.is_none_or(|wanted| wanted == s.label)) {
            for kept in history.ledger.generations(&of.id) {
                if kept.content != Content::Tree {
                    continue; // a stream of bytes has no names
                }
                let reading = Reading::open(reader.access(), Choice { history, kept })?;
                entries(&reading, |path, _, entry| {
                    let is_folder = entry.kind == Kind::Folder;
                    if !patterns.fit(Path::new(OsStr::from_bytes(path)), is_folder) {
                        return;
                    }
                    let key = (writer(&history.writer), of.label.clone(), path.to_vec());
                    let found = all
                        .entry(key)
                        .or_insert_with(|| Found { entry: entry.clone(), generations: Vec::new() });
                    found.entry = entry.clone();
                    found.generations.push(kept.number);
                })?;
            }
        }
    }
    Ok(all)
}

/// `1-3, 7`.
fn runs(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let one = |(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn run(out: Output, a: &Find) -> Outcome {
    let patterns = Patterns::parse(&a.pattern)?;
    let reader = Reader::open(out, &a.online, &a.from).await?;
    let mut library = reader.library(false)?;
    a.series.narrow(out, &mut library, false)?;
    let found = look(&reader, &library, a.series.series.as_deref(), &patterns)?;
    let fact = |((writer, series, path), found): (&Key, &Found)| {
        let mut fact = ls::fact(path, &found.entry);
        fact.insert("writer".into(), writer.clone().into());
        fact.insert("series".into(), series.clone().into());
        fact.insert("generations".into(), found.generations.clone().into());
        Value::Object(fact)
    };
    let listed: Vec<Value> = found.iter().map(fact).collect();
    if listed.is_empty() {
        return Err(Failure::new(Exit::NoInput, "nothing in these backups has such a name")
            .remedy("A pattern fits whole names: '*tax*' fits every name with `tax` in it.")
            .detail("found", listed));
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|((_, series, path), found)| {
            vec![
                name(path),
                bytes(ls::size(&found.entry)),
                local(ls::modified_ms(&found.entry)),
                name(series.as_bytes()),
                runs(&found.generations),
            ]
        })
        .collect();
    let text = table(&["path", " size", "changed", "series", "generations"], &rows);
    out.shown(&text, facts([("found", listed.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_shown_as_runs() {
        assert_eq!(runs(&[1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
        assert_eq!(runs(&[]), "");
    }
}
