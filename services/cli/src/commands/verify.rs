//! `bkv verify`: reads everything and proves it.

use std::path::PathBuf;

use bkv_backups::format::Id;
use bkv_backups::verify::{Finding, Options, Verdict, verify};
use bkv_backups::{Error, History, Library, Naming, Which};
use bkv_stream::{Cancel, Control};
use clap::Args;
use serde_json::{Map, Value, json};

use super::backups::standing;
use super::interrupt::cancellable;
use super::repair::{Marked, Repair};
use super::series_backup::not_named;
use crate::args::MaybeOnline;
use crate::backups::{Reader, WhichGeneration, name, warn_of_standing, writer};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::progress::{Progress, bytes};
use crate::words::count;

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    #[command(flatten)]
    pub which: WhichGeneration,
    /// Read only this share of the data, such as `5%`. Each run draws another. What describes the backups is always read.
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "100%")]
    pub sample: f64,
    /// Mark damaged data of this device, so that its next backup stores it again.
    #[arg(long)]
    pub repair: bool,
    /// With --repair: wait for another backup of this device to end.
    #[arg(long, requires = "repair")]
    pub wait_lock: bool,
    #[command(flatten)]
    pub online: MaybeOnline,
}

fn share(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number
        .filter(|n| *n > 0.0 && *n <= 100.0)
        .map(|n| n / 100.0)
        .ok_or_else(|| "a share above 0% and up to 100% is needed".into())
}

/// What is wrong, for people and programs.
#[derive(Debug)]
struct Broken {
    object: String,
    of: String,
    failure: Failure,
}

impl Broken {
    fn new(finding: Finding) -> Self {
        let failure = Failure::from(finding.error);
        let generations: Vec<String> = finding
            .generations
            .iter()
            .map(|(label, number)| format!("generation {number} of '{}'", name(label.as_bytes())))
            .collect();
        let of = match generations.as_slice() {
            [] => format!("ledger of writer {}", writer(&finding.writer)),
            some => some.join(", "),
        };
        let object =
            failure.details.get("object").and_then(Value::as_str).unwrap_or(&finding.object).to_owned();
        Self { object, of, failure }
    }

    fn fact(&self) -> Value {
        json!({
            "object": self.object,
            "of": self.of,
            "error": self.failure.exit.word(),
            "message": self.failure.message,
        })
    }
}

/// What was read.
struct Read {
    verdict: Verdict,
    broken: Vec<Broken>,
    /// None without --repair.
    marked: Option<Outcome<Marked>>,
    /// How sure it is that each writer's ledger is the newest.
    writers: Vec<Value>,
}

/// The generations of a writer that were asked for: all of them if none was named.
fn chosen(a: &WhichGeneration, history: &History) -> Vec<(Id, u64)> {
    let mut chosen = Vec::new();
    let label = a.series.series.as_ref();
    for series in history.ledger.series.iter().filter(|s| label.is_none_or(|label| *label == s.label)) {
        let all = || history.ledger.generations(&series.id);
        let newest = match a.which() {
            Which::Latest if a.generation.is_none() => {
                chosen.extend(all().map(|kept| (series.id, kept.number)));
                continue;
            }
            Which::Latest => all().next_back(),
            Which::Number(number) => all().find(|kept| kept.number == number),
            Which::At(ms) => all().rev().find(|kept| kept.ended_ms <= ms),
        };
        chosen.extend(newest.map(|kept| (series.id, kept.number)));
    }
    chosen
}

/// Fails with what there is if nothing fits.
fn fits_something(a: &WhichGeneration, library: &Library) -> Outcome {
    if library.histories.iter().all(|history| chosen(a, history).is_empty()) {
        library.choose(a.series.series.as_deref(), a.which())?;
    }
    Ok(())
}

fn read(out: Output, a: &Verify, reader: &Reader, repair: Option<&Repair>, cancel: &Cancel) -> Outcome<Read> {
    let mut library = reader.library(false)?;
    let mut broken: Vec<Broken> = std::mem::take(&mut library.unreadable)
        .into_iter()
        .map(|(writer, error)| {
            let object = format!("bkv-…/{}/ledgers", hex::encode(writer));
            Broken::new(Finding { writer, generations: Vec::new(), object, error })
        })
        .collect();
    a.which.series.narrow(out, &mut library, false)?;
    if broken.is_empty() {
        fits_something(&a.which, &library)?;
    }
    let mut verdict = Verdict::default();
    let mut writers = Vec::new();
    for history in &library.histories {
        let wanted = chosen(&a.which, history);
        if wanted.is_empty() {
            continue;
        }
        warn_of_standing(out, history);
        writers.push(standing(history));
        let progress = Progress::new(out, "Reading", None);
        let control = Control { progress: &progress, cancel };
        let is_wanted = |series: &Id, number: u64| wanted.contains(&(*series, number));
        let options = Options { sample: a.sample };
        let ended = verify(reader.access(), history, Some(&is_wanted), options, &mut verdict, control);
        progress.end();
        ended.map_err(|error: Error| Failure::from(error))?;
    }
    let marked = repair.map(|repair| repair.mark(reader, &verdict));
    broken.extend(std::mem::take(&mut verdict.findings).into_iter().map(Broken::new));
    Ok(Read { verdict, broken, marked, writers })
}

const ELSEWHERE: &str = "Fetch these objects again from another copy of the destination. `bkv restore --keep-going` restores everything else.";

/// What helps now.
fn remedy(marked: Option<&Outcome<Marked>>) -> String {
    let Marked { blobs, others, naming } = match marked {
        Some(Ok(marked)) => marked,
        Some(Err(why)) => {
            let advice = why.remedy.as_deref().unwrap_or_default();
            return format!(
                "Nothing was marked for the next backup: {why}. {advice} Then repeat the command."
            );
        }
        None => {
            return format!(
                "{ELSEWHERE} --repair lets the next backup store again what the source still has."
            );
        }
    };
    let mut parts = Vec::new();
    if *blobs > 0 {
        parts.push(format!(
            "{} of this device marked: its next backup stores them again if the source still has the same files, and older generations then read again. What the source no longer has must be fetched from another copy of the destination.",
            count(*blobs as u64, "damaged blob")
        ));
    } else if naming.is_some() {
        parts.push("The ledger of this device was written anew.".to_owned());
    }
    if *others > 0 {
        parts.push(format!(
            "{} of other writers: only the device that made them can mark them, by the same command.",
            count(*others as u64, "damaged blob")
        ));
    }
    if *blobs == 0 {
        parts.push(ELSEWHERE.to_owned());
    }
    parts.join(" ")
}

pub(crate) async fn run(out: Output, a: Verify) -> Outcome {
    let reader = Reader::open(out, &a.online, &a.from).await?;
    let sample = a.sample;
    let not_here = reader.not_here(out);
    if a.repair {
        reader.must_be_a_destination("--repair")?;
    }
    let repair = if a.repair { Some(Repair::open(&a.online, a.wait_lock).await?) } else { None };
    let read = cancellable(move |cancel| read(out, &a, &reader, repair.as_ref(), cancel)).await??;
    let Read { verdict, broken, marked, writers } = read;
    let done = marked.as_ref().and_then(|marked| marked.as_ref().ok());
    let naming = done.and_then(|marked| marked.naming.as_ref());
    if let Some(Naming::NotNamed { fault, .. }) = naming {
        out.warning(&format!(
            "The vault does not know of the marks yet: {fault}. The next backup that reaches it tells it."
        ));
    }
    let facts: Map<String, Value> = facts([
        ("generations", verdict.generations.into()),
        ("bytes", verdict.bytes.into()),
        ("sample", sample.into()),
        ("not_here", not_here),
        ("writers", writers.into()),
        ("broken", broken.iter().map(Broken::fact).collect::<Vec<_>>().into()),
        ("marked", done.map(|marked| marked.blobs).into()),
        ("of_other_devices", done.map(|marked| marked.others).into()),
        (
            "not_marked",
            marked.as_ref().and_then(|marked| marked.as_ref().err()).map(|e| e.message.clone()).into(),
        ),
        ("not_named", naming.map_or(Value::Null, not_named)),
    ]);
    let Some(first) = broken.first() else {
        let what = if sample < 1.0 { "What was read" } else { "All of it" };
        let read = format!("{}, {}", count(verdict.generations, "generation"), bytes(verdict.bytes));
        return out.shown(&format!("{read}. {what} is whole and authentic."), facts);
    };
    if !out.json {
        for broken in &broken {
            out.warning(&format!("broken: {} ({}): {}", broken.object, broken.of, broken.failure.message));
        }
    }
    // A destination that does not answer proves nothing. Anything else is what verify looks for, whatever was found before it.
    let is_damage = |broken: &&Broken| {
        !matches!(broken.failure.exit, Exit::Unavailable | Exit::WrongKey | Exit::Interrupted)
    };
    let damage = broken.iter().find(is_damage);
    let exit = damage.map_or(first.failure.exit, |_| Exit::Damaged);
    let first = damage.unwrap_or(first);
    let number = count(broken.len() as u64, "object");
    let message = format!("{number} can't be used, the first is {}", first.object);
    let mut failure = Failure::new(exit, message).remedy(remedy(marked.as_ref()));
    failure.details = facts;
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_above_nothing_and_at_most_everything() {
        assert_eq!((share("5%"), share("100%")), (Ok(0.05), Ok(1.0)));
        for bad in ["0%", "101%", "5", "x%", "NaN%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
