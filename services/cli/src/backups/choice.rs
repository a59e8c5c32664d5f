//! How a person names a series and a generation.

use bkv_backups::{Choice, History, Library, Standing, Which};
use clap::Args;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::shown::{name, writer};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;

/// Which series.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Series {
    /// Name of the series. Needed if there are several.
    #[arg(long, value_name = "LABEL")]
    pub series: Option<String>,
    /// The device that made it, by the first digits of its writer. Needed if two devices have series of one name.
    #[arg(long, value_name = "ID")]
    pub writer: Option<String>,
}

/// Which generation of which series.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WhichGeneration {
    #[command(flatten)]
    pub series: Series,
    /// Number of the generation, or `latest`. [default: latest]
    #[arg(long, value_name = "N", value_parser = number, conflicts_with = "at")]
    pub generation: Option<Number>,
    /// The newest generation that ended at this time or before: `2026-11-30`, `2026-11-30 13:45` in this device's time zone, or with a zone as RFC 3339 has it.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub at: Option<At>,
}

/// The value of `--generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number(Which);

/// The value of `--at`, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(i64);

pub(crate) fn number(text: &str) -> Result<Number, String> {
    if text == "latest" {
        return Ok(Number(Which::Latest));
    }
    text.parse().map(|n| Number(Which::Number(n))).map_err(|_| "a number or `latest` is needed".into())
}

fn time(text: &str) -> Result<At, String> {
    parse_time(text, &TimeZone::system())
        .map(|time| At(time.as_millisecond()))
        .ok_or_else(|| "such as 2026-11-30, \"2026-11-30 13:45\" or 2026-11-30T13:45:00Z".into())
}

/// A day means its end.
fn parse_time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let with_zone = |zoned: Zoned| zoned.timestamp();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if text.contains([':', 'T']) {
        return text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok().map(with_zone);
    }
    let day: Date = text.parse().ok()?;
    let end = day.at(23, 59, 59, 999_999_999);
    end.to_zoned(zone.clone()).ok().map(with_zone)
}

impl Series {
    /// Leaves only the writer that was named.
    pub(crate) fn only_writer(&self, library: &mut Library) -> Outcome {
        let Some(wanted) = &self.writer else { return Ok(()) };
        let fits = |id: &[u8]| hex::encode(id).starts_with(wanted.as_str());
        library.histories.retain(|history| fits(&history.writer));
        library.unreadable.retain(|(id, _)| fits(id));
        if library.histories.is_empty() && library.unreadable.is_empty() {
            return Err(Failure::new(Exit::NoInput, format!("no writer '{wanted}' is here"))
                .remedy("`bkv backups` lists the writers."));
        }
        Ok(())
    }

    /// Leaves only the writer that was named. Fails if a writer's ledger does not read that could have what is looked for: an older backup is never taken silently.
    pub(crate) fn narrow(&self, out: Output, library: &mut Library, accept_older: bool) -> Outcome {
        self.only_writer(library)?;
        let here = |label: &String| library.histories.iter().any(|h| h.ledger.series(label).is_some());
        let is_here = self.series.as_ref().is_some_and(here);
        for (id, error) in std::mem::take(&mut library.unreadable) {
            let failure = Failure::from(error);
            let message = format!("the backups of writer {} do not read: {failure}", writer(&id));
            if !accept_older && !is_here {
                let others: Vec<String> = library.histories.iter().map(|h| writer(&h.writer)).collect();
                let advice = failure.remedy.clone().unwrap_or_default();
                let others = match others.as_slice() {
                    [] => String::new(),
                    some => format!(" --writer takes the backups of another one: {}.", some.join(", ")),
                };
                return Err(Failure { message, ..failure }.remedy(format!("{advice}{others}")));
            }
            out.warning(&format!("{message}."));
        }
        Ok(())
    }
}

impl WhichGeneration {
    pub(crate) fn which(&self) -> Which {
        match (self.generation, self.at) {
            (Some(Number(which)), _) => which,
            (None, Some(At(ms))) => Which::At(ms),
            (None, None) => Which::Latest,
        }
    }

    /// Chooses, and reports what is not certain.
    pub(crate) fn choose<'l>(
        &self,
        out: Output,
        library: &'l mut Library,
        accept_older: bool,
    ) -> Outcome<Choice<'l>> {
        self.series.narrow(out, library, accept_older)?;
        let choice = library.choose(self.series.series.as_deref(), self.which())?;
        warn_of_standing(out, choice.history);
        Ok(choice)
    }
}

/// What a person must know before they trust that a history is the newest.
pub(crate) fn warn_of_standing(out: Output, history: &History) {
    let whose = writer(&history.writer);
    match history.standing {
        Standing::Named | Standing::SingleFile => {}
        Standing::Newer { than } => out.note(&format!(
            "The newest backup of writer {whose} is newer than the one that is known (ledger {} after {than}): it was made while the vault could not be reached.",
            history.ledger.counter
        )),
        Standing::Unchecked => out.warning(&format!(
            "Nothing tells this device which backup of writer {whose} is the newest: if an older one is served, nobody can notice."
        )),
        Standing::Older => out.warning(&format!(
            "The newest backup of writer {whose} does not read. An older one is taken, as --allow-older says."
        )),
    }
    for note in &history.notes {
        out.warning(&format!("Passed over: {}.", name(note.to_string().as_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_named_by_number_or_time() {
        assert_eq!(number("latest"), Ok(Number(Which::Latest)));
        assert_eq!(number("7"), Ok(Number(Which::Number(7))));
        assert!(number("seven").is_err() && number("-1").is_err());
        for (text, want) in [
            ("2026-11-30", "2026-11-30T23:59:59.999999999Z"),
            ("2026-11-30 13:45", "2026-11-30T13:45:00Z"),
            ("2026-11-30T13:45:10", "2026-11-30T13:45:10Z"),
            ("2026-11-30T13:45:00+01:00", "2026-11-30T12:45:00Z"),
        ] {
            assert_eq!(parse_time(text, &TimeZone::UTC), want.parse().ok(), "{text}");
        }
        for bad in ["", "yesterday", "2026-13-01", "13:45"] {
            assert_eq!(parse_time(bad, &TimeZone::UTC), None, "{bad}");
        }
    }
}
