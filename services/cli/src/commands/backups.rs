//! `bkv backups`: the devices, series and generations at a place.

use std::path::PathBuf;

use bkv_backups::format::ledger::{Kept, Series};
use bkv_backups::format::manifest::Content;
use bkv_backups::{History, Standing};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::args::MaybeOnline;
use crate::backups::{Reader, local, name, table, writer};
use crate::exit::{Failure, Outcome};
use crate::output::{Output, facts};
use crate::progress::bytes;

#[derive(Debug, Args)]
pub(crate) struct Backups {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// Only the series of this name.
    #[arg(long, value_name = "LABEL")]
    pub series: Option<String>,
    #[command(flatten)]
    pub online: MaybeOnline,
}

/// How sure it is that a ledger is the newest, for a listing.
const fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::Named => "the newest that is known",
        Standing::Newer { .. } => "newer than is known",
        Standing::Unchecked => "not known whether it is the newest",
        Standing::Older => "older than the newest",
        Standing::SingleFile => "a single file",
    }
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Named => "named",
        Standing::Newer { .. } => "newer",
        Standing::Unchecked => "unchecked",
        Standing::Older => "older",
        Standing::SingleFile => "file",
    }
}

const HEADING: [&str; 7] = ["series", " generation", "made", " files", " size", " new", "state"];

fn row(series: &Series, kept: &Kept, condemned: bool) -> Vec<String> {
    let state = match (condemned, kept.complete) {
        (true, _) => "condemned",
        (false, true) => "complete",
        (false, false) => "incomplete",
    };
    vec![
        name(series.label.as_bytes()),
        kept.number.to_string(),
        local(kept.ended_ms),
        kept.files.to_string(),
        bytes(kept.bytes),
        bytes(kept.new_bytes),
        state.into(),
    ]
}

const fn content(content: Content) -> &'static str {
    match content {
        Content::Tree => "folders",
        Content::Bytes => "bytes",
        Content::Pipe => "pipe",
    }
}

fn generation(kept: &Kept, condemned_since: Option<i64>) -> Value {
    json!({
        "generation": kept.number,
        "content": content(kept.content),
        "begun_ms": kept.begun_ms,
        "ended_ms": kept.ended_ms,
        "files": kept.files,
        "bytes": kept.bytes,
        "new_bytes": kept.new_bytes,
        "complete": kept.complete,
        "tags": kept.tags,
        "condemned_since_ms": condemned_since,
    })
}

fn wanted<'h>(history: &'h History, label: Option<&'h str>) -> impl Iterator<Item = &'h Series> {
    history.ledger.series.iter().filter(move |series| label.is_none_or(|label| label == series.label))
}

fn for_people(history: &History, own: bool, label: Option<&str>) -> String {
    let device = if own { ", this device" } else { "" };
    let mut text = format!("writer {}{device}: {}", writer(&history.writer), words(history.standing));
    let mut rows = Vec::new();
    for series in wanted(history, label) {
        rows.extend(history.ledger.generations(&series.id).map(|kept| row(series, kept, false)));
        let condemned = history.ledger.condemned.iter().filter(|c| c.kept.series == series.id);
        rows.extend(condemned.map(|c| row(series, &c.kept, true)));
    }
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&HEADING, &rows));
    }
    text
}

fn for_programs(history: &History, own: bool, label: Option<&str>) -> Value {
    let series: Vec<Value> = wanted(history, label)
        .map(|series| {
            let kept = history.ledger.generations(&series.id).map(|kept| generation(kept, None));
            let condemned = history.ledger.condemned.iter().filter(|c| c.kept.series == series.id);
            let condemned = condemned.map(|c| generation(&c.kept, Some(c.since_ms)));
            json!({
                "label": series.label,
                "sources": series.sources,
                "generations": kept.chain(condemned).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "writer": hex::encode(history.writer),
        "this_device": own,
        "standing": word(history.standing),
        "ledger": history.ledger.counter,
        "series": series,
    })
}

/// Whether a writer's ledger is the newest, and what was passed over, for programs.
pub(super) fn standing(history: &History) -> Value {
    let notes: Vec<String> = history.notes.iter().map(ToString::to_string).collect();
    json!({ "writer": hex::encode(history.writer), "standing": word(history.standing), "notes": notes })
}

pub(crate) async fn run(out: Output, a: &Backups) -> Outcome {
    let reader = Reader::open(out, &a.online, &a.from).await?;
    // An older ledger is shown as what it is.
    let library = reader.library(true)?;
    let label = a.series.as_deref();
    if library.histories.is_empty() && library.unreadable.is_empty() {
        library.choose(label, bkv_backups::Which::Latest)?;
    }
    let mut texts = Vec::new();
    let mut writers = Vec::new();
    for history in &library.histories {
        let own = reader.is_own(&history.writer);
        texts.push(for_people(history, own, label));
        writers.push(for_programs(history, own, label));
        for note in &history.notes {
            out.warning(&format!("Passed over: {note}."));
        }
    }
    let mut unreadable = Vec::new();
    let mut first: Option<Failure> = None;
    for (id, error) in library.unreadable {
        let failure = Failure::from(error);
        unreadable.push(
            json!({ "writer": hex::encode(id), "error": failure.exit.word(), "message": failure.message }),
        );
        let message = format!("the backups of writer {} do not read: {}", writer(&id), failure.message);
        first.get_or_insert(Failure { message, ..failure });
    }
    let facts = facts([
        ("destination", reader.place.shown().into()),
        ("writers", writers.into()),
        ("unreadable", unreadable.into()),
        ("not_here", reader.not_here(out)),
        ("other_accounts", library.other_accounts.into()),
    ]);
    let text = texts.join("\n\n");
    let Some(mut failure) = first else { return out.shown(&text, facts) };
    if !out.json && !text.is_empty() {
        out.shown(&text, Map::new())?;
    }
    failure.details.extend(facts);
    Err(failure)
}
