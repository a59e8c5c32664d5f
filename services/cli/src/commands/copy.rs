//! `bkv copy`: the backups of a destination at a second one.

use std::path::PathBuf;

use bkv_backups::copy::{Copied, copy};
use bkv_backups::{Error, History};
use bkv_stream::{Cancel, Control};
use clap::Args;
use serde_json::{Map, Value, json};

use super::interrupt::cancellable;
use crate::args::MaybeOnline;
use crate::backups::{Place, Reader, Series, warn_of_standing};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::progress::{Progress, bytes};
use crate::words::count;

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// Folder or address that gets the copy. The options of S3 hold for both.
    #[arg(long, value_name = "DEST")]
    pub to: PathBuf,
    /// Only the backups of this device, by the first digits of its writer. [default: those of all devices]
    #[arg(long, value_name = "ID")]
    pub writer: Option<String>,
    #[command(flatten)]
    pub online: MaybeOnline,
}

/// The backups of one writer, copied.
struct One {
    writer: String,
    /// Generations that its ledger keeps.
    kept: u64,
    copied: Copied,
}

impl One {
    fn line(&self) -> String {
        let Copied { generations, objects, bytes: length, blobs_there, .. } = &self.copied;
        format!(
            "writer {}: {} of {}, {} written, {}; {} listed there already, not read",
            self.writer.chars().take(8).collect::<String>(),
            generations,
            count(self.kept, "generation"),
            count(*objects, "object"),
            bytes(*length),
            count(*blobs_there, "blob"),
        )
    }

    fn fact(&self) -> Value {
        let Copied { generations, objects, bytes, blobs_there, broken } = &self.copied;
        let broken: Vec<Value> = broken.iter().map(|(object, error)| fact(object, error)).collect();
        json!({
            "writer": self.writer,
            "kept": self.kept,
            "generations": generations,
            "objects": objects,
            "bytes": bytes,
            "blobs_there": blobs_there,
            "broken": broken,
        })
    }
}

fn fact(object: &str, error: &Error) -> Value {
    json!({ "object": object, "message": error.to_string() })
}

/// What was copied, and why the backups of some writers were not.
struct Done {
    all: Vec<One>,
    not_copied: Vec<(String, Failure)>,
}

/// Opens the second destination. A copy beside the original protects from nothing.
fn second(reader: &Reader, a: &CopyArgs) -> Outcome<Place> {
    let place = Place::open(&a.to, &a.online.remote, Exit::CantCreate)?;
    if place.identity() == reader.place.identity() {
        return Err(Failure::new(Exit::Usage, "both destinations are the same")
            .remedy("Name another folder with --to, best on another disk or service."));
    }
    Ok(place)
}

fn run_all(out: Output, a: &CopyArgs, reader: &Reader, to: &Place, cancel: &Cancel) -> Outcome<Done> {
    let mut library = reader.library(false)?;
    let named = Series { series: None, writer: a.writer.clone() };
    named.only_writer(&mut library)?;
    if library.histories.is_empty() && library.unreadable.is_empty() {
        library.choose(None, bkv_backups::Which::Latest)?;
    }
    to.make(&reader.access().tag)?;
    let unreadable = std::mem::take(&mut library.unreadable).into_iter();
    let mut not_copied: Vec<_> =
        unreadable.map(|(id, error)| (hex::encode(id), Failure::from(error))).collect();
    let mut all = Vec::new();
    for history in &library.histories {
        warn_of_standing(out, history);
        let progress = Progress::new(out, "Copying", None);
        let control = Control { progress: &progress, cancel };
        let copied = copy(reader.access(), history, to.destination(), control);
        progress.end();
        let writer = hex::encode(history.writer);
        match copied {
            Ok(copied) => all.push(One { writer, kept: kept(history), copied }),
            Err(error @ Error::Cancelled) => return Err(error.into()),
            Err(error) => not_copied.push((writer, error.into())),
        }
    }
    Ok(Done { all, not_copied })
}

fn kept(history: &History) -> u64 {
    history.ledger.kept.len() as u64
}

pub(crate) async fn run(out: Output, a: CopyArgs) -> Outcome {
    let reader = Reader::open(out, &a.online, &a.from).await?;
    reader.must_be_a_destination("`bkv copy`")?;
    let to = second(&reader, &a)?;
    let not_here = reader.not_here(out);
    let shown = to.shown();
    let done = cancellable(move |cancel| run_all(out, &a, &reader, &to, cancel)).await??;
    tell(out, &done, shown, not_here)
}

fn tell(out: Output, done: &Done, to: String, not_here: Value) -> Outcome {
    let broken: Vec<&(String, Error)> = done.all.iter().flat_map(|one| &one.copied.broken).collect();
    for (object, error) in &broken {
        out.warning(&format!("not copied: {object}: {error}"));
    }
    let lines: Vec<String> = done.all.iter().map(One::line).collect();
    let not_copied: Vec<Value> = done
        .not_copied
        .iter()
        .map(|(id, why)| json!({ "writer": id, "error": why.exit.word(), "message": why.message }))
        .collect();
    let facts = facts([
        ("to", to.into()),
        ("writers", done.all.iter().map(One::fact).collect::<Vec<_>>().into()),
        ("not_copied", not_copied.into()),
        ("not_here", not_here),
    ]);
    if done.not_copied.is_empty() && broken.is_empty() {
        return out.result(&lines.join("\n"), facts);
    }
    if !out.json && !lines.is_empty() {
        out.result(&lines.join("\n"), Map::new())?;
    }
    let mut failure = if let Some((id, why)) = done.not_copied.first() {
        let short: String = id.chars().take(8).collect();
        let message = format!("the backups of writer {short} were not copied: {}", why.message);
        let remedy = why.remedy.clone().unwrap_or_default();
        let others = if done.all.is_empty() { "" } else { " Those of the other writers were copied." };
        Failure::new(why.exit, message).remedy(format!("{remedy}{others}"))
    } else {
        let number = count(broken.len() as u64, "object");
        Failure::new(Exit::Incomplete, format!("the copy was made, and {number} are not in it")).remedy(
                "The list above names them. What is damaged at the first destination may be healed by `bkv verify --repair` and a backup. Remove a foreign object at the second one. Then repeat the command.",
            )
    };
    failure.details = facts;
    Err(failure)
}
