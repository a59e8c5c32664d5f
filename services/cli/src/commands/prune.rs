//! `bkv prune`: lets old generations of this device go.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bkv_backups::format::Id;
use bkv_backups::format::ledger::{Ledger, Series};
use bkv_backups::prune::{GRACE_MS, Policy, Swept, condemn, decide, sweep, undo};
use bkv_backups::{Clock as _, Naming, Outside, StateFile, SystemClock, Vault as _, VaultFault, Writer};
use bkv_client::BackupKey;
use bkv_stream::{Cancel, Control};
use clap::Args;
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::interrupt::cancellable;
use super::series_backup::not_named;
use crate::args::MaybeOnline;
use crate::backups::{AccountVault, Place, Writers, local, name, tag};
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::words::count;

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// Only the series of this name. [default: each series of this device]
    #[arg(long, value_name = "LABEL")]
    pub series: Option<String>,
    /// Condemn the generation of this number, in the place of the rules. Repeatable. For one that is damaged or has a wrong date.
    #[arg(long, value_name = "N", conflicts_with_all = ["undo", "keep_last", "keep_within", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_tag"])]
    pub drop: Vec<u64>,
    /// Bring back everything that was condemned and is not deleted yet.
    #[arg(long, conflicts_with_all = ["dry_run", "series"])]
    pub undo: bool,
    /// Show what would be condemned. Nothing is changed.
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for another backup of this device to end.
    #[arg(long)]
    pub wait_lock: bool,
    #[command(flatten)]
    pub keep: Keep,
    #[command(flatten, next_help_heading = "Key and vault")]
    pub online: MaybeOnline,
}

#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_field_names)] // as the options are called
#[command(next_help_heading = "What to keep of each series: what any of these keeps, stays")]
pub(crate) struct Keep {
    /// The newest so many.
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// All that were made within this time before the newest one: `30d`, `6mo`, `1y 6mo`.
    #[arg(long, value_name = "TIME", value_parser = within)]
    pub keep_within: Option<i64>,
    /// The newest of each of the last so many hours that have one.
    #[arg(long, value_name = "N")]
    pub keep_hourly: Option<u32>,
    /// The same with days.
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// With weeks, which begin on Monday.
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// With months.
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// With years.
    #[arg(long, value_name = "N")]
    pub keep_yearly: Option<u32>,
    /// All with this tag. Repeatable.
    #[arg(long, value_name = "TAG")]
    pub keep_tag: Vec<String>,
}

/// Milliseconds of a span that ends now.
fn within(text: &str) -> Result<i64, String> {
    let wrong = || "such as 30d, 8w, 6mo or 1y".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let now = Zoned::now();
    let begin = now.checked_sub(span).map_err(|_| wrong())?;
    let length = now.timestamp().as_millisecond() - begin.timestamp().as_millisecond();
    if length > 0 { Ok(length) } else { Err(wrong()) }
}

impl Keep {
    fn policy(&self) -> Policy {
        let n = |n: Option<u32>| n.unwrap_or(0);
        Policy {
            last: n(self.keep_last),
            within_ms: self.keep_within,
            hourly: n(self.keep_hourly),
            daily: n(self.keep_daily),
            weekly: n(self.keep_weekly),
            monthly: n(self.keep_monthly),
            yearly: n(self.keep_yearly),
            tags: self.keep_tag.clone(),
        }
    }
}

/// Everything that the thread needs.
struct Job {
    key: BackupKey,
    vault: AccountVault,
    place: Place,
    writers: Writers,
    tag: bkv_backups::format::Tag,
    a: Prune,
}

/// What was done.
enum Done {
    Undone(usize, Naming),
    /// With whether the vault knows, if anything was condemned.
    Pruned {
        condemned: Vec<(String, u64)>,
        stay: u64,
        naming: Option<Naming>,
        swept: Option<Swept>,
    },
}

/// A generation, by series and number.
type Of = (Id, u64);

impl Job {
    fn run(&self, cancel: &Cancel) -> Outcome<Done> {
        let control = Control { progress: &(), cancel };
        let Some(state) = self.writers.known(&self.place) else {
            let what = format!("this device has made no backups in {}", self.place.shown());
            return Err(Failure::new(Exit::NoInput, what).remedy(
                "A device prunes only its own backups, and no copy. `bkv backups` shows whose they are. If the disk was moved here, make a backup here first: it goes on with the history.",
            ));
        };
        let lock = StateFile::lock(&state, self.a.wait_lock)?;
        let outside = Outside {
            destination: self.place.destination(),
            vault: &self.vault,
            clock: &SystemClock,
            key: &self.key,
            tag: self.tag,
        };
        let mut writer = Writer::open(outside, lock, true)?;
        if self.a.undo {
            let (number, naming) = undo(&mut writer)?;
            return Ok(Done::Undone(number, naming));
        }
        let (chosen, named, stay) = self.choose(&writer)?;
        if self.a.dry_run {
            return Ok(Done::Pruned { condemned: named, stay, naming: None, swept: None });
        }
        let mut naming = None;
        if !chosen.is_empty() {
            self.ask_vault(&writer)?;
            naming = Some(condemn(&mut writer, &chosen, control)?.naming);
        }
        // Nothing is deleted by a ledger that the vault does not know.
        if matches!(naming, Some(Naming::NotNamed { .. })) {
            return Ok(Done::Pruned { condemned: named, stay, naming, swept: None });
        }
        let swept = sweep(&mut writer, true, control).map_err(|error| {
            let failure = Failure::from(error);
            if chosen.is_empty() {
                return failure;
            }
            let number = count(named.len() as u64, "generation");
            let message =
                format!("{number} condemned, which --undo brings back, and then: {}", failure.message);
            Failure { message, ..failure }.detail("condemned", listed(&named))
        })?;
        Ok(Done::Pruned { condemned: named, stay, naming, swept: Some(swept) })
    }

    /// The sweep needs the vault. Whoever asks first changes nothing if it is away.
    fn ask_vault(&self, writer: &Writer<'_>) -> Outcome {
        let Err(fault) = self.vault.named(&writer.state().writer) else { return Ok(()) };
        let exit = if matches!(fault, VaultFault::KeyGone(_)) { Exit::Gone } else { Exit::Unavailable };
        Err(Failure::new(
            exit,
            format!("nothing was condemned, because the vault could not be asked: {fault}"),
        )
        .remedy("Repeat the command with --fleet and --token while the vault can be reached."))
    }

    /// What no rule keeps: as the core and as a person names it. Also returns how many stay.
    fn choose(&self, writer: &Writer<'_>) -> Outcome<(BTreeSet<Of>, Vec<(String, u64)>, u64)> {
        let (ledger, policy) = (writer.ledger(), self.a.keep.policy());
        let (mut chosen, mut named, mut stay) = (BTreeSet::new(), Vec::new(), 0);
        let label = self.a.series.as_ref();
        let wanted: Vec<_> =
            ledger.series.iter().filter(|series| label.is_none_or(|label| *label == series.label)).collect();
        if let (true, Some(label)) = (wanted.is_empty(), label) {
            let what = format!("this device has no series '{label}' here");
            return Err(Failure::new(Exit::NoInput, what).remedy("`bkv backups` lists the series."));
        }
        if !self.a.drop.is_empty() {
            return self.by_number(ledger, &wanted);
        }
        for series in wanted {
            let generations: Vec<_> = ledger.generations(&series.id).collect();
            let keep = decide(&generations, &policy, None, SystemClock.now_ms(), &TimeZone::system());
            let keep = keep.map_err(|error| {
                let failure = Failure::from(error);
                let remedy = failure.remedy.clone().unwrap_or_default();
                failure.remedy(format!("{remedy} `--drop N` does that."))
            })?;
            for (kept, stays) in generations.iter().zip(keep) {
                if stays {
                    stay += 1;
                } else {
                    chosen.insert((series.id, kept.number));
                    named.push((series.label.clone(), kept.number));
                }
            }
        }
        Ok((chosen, named, stay))
    }

    /// What --drop names, in the same form.
    fn by_number(
        &self,
        ledger: &Ledger,
        wanted: &[&Series],
    ) -> Outcome<(BTreeSet<Of>, Vec<(String, u64)>, u64)> {
        let [series] = wanted else {
            return Err(Failure::new(Exit::Usage, "--drop names generations of one series")
                .remedy("Add --series. `bkv backups` lists the series."));
        };
        let (mut chosen, mut named) = (BTreeSet::new(), Vec::new());
        for number in &self.a.drop {
            if !ledger.generations(&series.id).any(|kept| kept.number == *number) {
                let what = format!("'{}' has no generation {number}", name(series.label.as_bytes()));
                return Err(Failure::new(Exit::NoInput, what)
                    .remedy("`bkv backups` lists the generations. Nothing was changed."));
            }
            if chosen.insert((series.id, *number)) {
                named.push((series.label.clone(), *number));
            }
        }
        let stay = ledger.kept.len().saturating_sub(chosen.len()) as u64;
        Ok((chosen, named, stay))
    }
}

pub(crate) async fn run(out: Output, a: Prune) -> Outcome {
    let device = DeviceState::open_for_writing(&a.online.device)?;
    let kept = device.require()?;
    let tag = tag(&kept)?;
    let place = Place::open(&a.from, &a.online.remote, Exit::NoInput)?;
    let (undoing, dry) = (a.undo, a.dry_run);
    if !undoing && a.drop.is_empty() && a.keep.policy() == Policy::default() {
        return Err(Failure::new(Exit::Usage, "no rule says what to keep")
            .remedy("Give at least one, such as --keep-daily 7 --keep-weekly 4. --undo brings condemned generations back."));
    }
    let vault = AccountVault::open(&a.online, &device, &kept).await?;
    let job = Job { key: kept.key()?, vault, writers: Writers::of(&device, &kept, tag)?, tag, place, a };
    let done = cancellable(move |cancel| job.run(cancel)).await??;
    match done {
        Done::Undone(number, naming) => {
            behind(out, Some(&naming));
            out.result(
                &format!("{} back", count(number as u64, "generation")),
                facts([("undone", number.into()), ("not_named", not_named(&naming))]),
            )
        }
        Done::Pruned { condemned, stay, naming, swept } => {
            let naming = swept.as_ref().and_then(|swept| swept.naming.clone()).or(naming);
            behind(out, naming.as_ref());
            tell(out, &condemned, stay, naming.as_ref(), swept, dry)
        }
    }
}

/// Warns that the vault does not know of the change.
fn behind(out: Output, naming: Option<&Naming>) {
    if let Some(Naming::NotNamed { fault, .. }) = naming {
        out.warning(&format!(
            "The vault does not know of this change: {fault}. The next backup or prune that reaches it tells it. Until then nothing is deleted."
        ));
    }
}

/// Generations, as facts for programs.
fn listed(condemned: &[(String, u64)]) -> Value {
    condemned.iter().map(|(label, number)| json!({ "series": label, "generation": number })).collect()
}

fn tell(
    out: Output,
    condemned: &[(String, u64)],
    stay: u64,
    naming: Option<&Naming>,
    swept: Option<Swept>,
    dry: bool,
) -> Outcome {
    let mut lines: Vec<String> = condemned
        .iter()
        .map(|(label, number)| format!("condemned: generation {number} of '{}'", name(label.as_bytes())))
        .collect();
    let number = count(condemned.len() as u64, "generation");
    lines.push(if dry {
        format!("{number} would be condemned, {stay} would stay. Nothing was changed.")
    } else if condemned.is_empty() {
        format!("No generation was condemned, {stay} stay.")
    } else {
        format!(
            "{number} condemned, {stay} stay. `bkv prune --undo` brings them back. A prune {} days from now or later deletes them.",
            GRACE_MS / 86_400_000
        )
    });
    let swept = swept.unwrap_or_default();
    if swept.objects + swept.orphans + swept.ledgers > 0 {
        lines.push(format!(
            "Deleted: {} that were condemned before, {}, {} of killed backups, {}.",
            count(swept.generations as u64, "generation"),
            count(swept.objects, "object"),
            count(swept.orphans, "object"),
            count(swept.ledgers, "old ledger")
        ));
    }
    if swept.new_v {
        lines.push("The vault has a new V. Copies of this folder that were made before open for 7 more days, with --allow-older, and then no more: renew them by `bkv copy`.".into());
    }
    if let Some(why) = &swept.v_kept {
        lines.push(format!(
            "Old ledgers still open with the key until the vault has a new V, which it has not now: {why}."
        ));
    }
    if let Some(next) = swept.next_ms {
        lines.push(format!("The next can be deleted from {} on.", local(next)));
    }
    out.result(
        &lines.join("\n"),
        facts([
            ("condemned", listed(condemned)),
            ("not_named", naming.map_or(Value::Null, not_named)),
            ("stay", stay.into()),
            ("deleted_generations", swept.generations.into()),
            ("deleted_objects", swept.objects.into()),
            ("deleted_orphans", swept.orphans.into()),
            ("deleted_ledgers", swept.ledgers.into()),
            ("next_ms", swept.next_ms.into()),
            ("new_v", swept.new_v.into()),
            ("v_kept", swept.v_kept.into()),
            ("dry_run", dry.into()),
        ]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_keep_is_a_length_in_days_weeks_months_or_years() {
        assert_eq!(within("1h"), Ok(3_600_000));
        assert!(within("6mo").unwrap() > 180 * 86_400_000);
        for bad in ["", "7", "soon", "-3d"] {
            assert!(within(bad).is_err(), "{bad}");
        }
    }
}
