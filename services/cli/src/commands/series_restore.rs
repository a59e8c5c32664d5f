//! `bkv restore`: a generation of a series, or a single file. Which of both lies at the place decides.

use std::path::{Path, PathBuf};

use bkv_backups::format::tree::TreePath;
use bkv_backups::format::{Id, Tag};
use bkv_backups::restore::{Options, Report, check_destination, clear_leftovers, restore as unpack};
use bkv_backups::{Expected, Reading};
use bkv_client::{Lineage, Status, WriterId};
use bkv_stream::{Cancel, Control};
use clap::Args;
use serde_json::{Map, Value, json};

use super::connection::{ASK, online};
use super::interrupt::cancellable;
use super::{restore, single_restore};
use crate::args::{MaybeOnline, PasswordSource};
use crate::backups::{
    AccountVault, Forms, PIPE, Patterns, Place, Reader, WhichGeneration, Writers, entries, expected, name,
    path_fact, shown, single_file, source_names, tag,
};
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::progress::{Progress, bytes};
use crate::words::count;

/// Objects that are read at the same time.
const IN_FLIGHT: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A folder with backups, the address of a server's, a `.bkv` file, or `-` for a single file that comes through standard input. From a folder with single files the newest of
    /// this account and key is taken; the command lists the others.
    pub from: PathBuf,
    /// Where to write the restored folder: a path that does not exist yet, or an empty folder. What was backed up with --stdin-name becomes one file there, and goes to standard
    /// output for `-`. What is written there is authentic. That it is whole is proved at its end, so look at the exit code.
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Restore an older backup than the newest one known.
    #[arg(long)]
    pub allow_older: bool,
    #[command(flatten, next_help_heading = "Options for series")]
    pub which: WhichGeneration,
    /// Restore only what fits this pattern, and folders that fit with all that is in them: `*.jpg`, `letters/2026`, `/top`. Repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Restore what is good although something is damaged or missing, list the rest, and end with 3.
    #[arg(long)]
    pub keep_going: bool,
    /// Also set owners and the set-user-id and set-group-id bits. Needs root.
    #[arg(long)]
    pub preserve_all: bool,
    #[command(flatten, next_help_heading = "Key and vault")]
    pub online: MaybeOnline,
    #[command(flatten)]
    pub password: PasswordSource,
    /// Use the last try without asking.
    #[arg(long)]
    pub yes: bool,
}

impl Restore {
    fn asks_for_a_series(&self) -> bool {
        let which = &self.which;
        which.series.series.is_some()
            || which.series.writer.is_some()
            || which.generation.is_some()
            || which.at.is_some()
            || !self.include.is_empty()
            || self.keep_going
            || self.preserve_all
    }
}

pub(crate) async fn run(out: Output, a: Restore) -> Outcome {
    if out.json && a.to.as_os_str() == PIPE {
        return Err(Failure::new(Exit::Usage, "standard output is for --json, and not for the content too")
            .remedy("Leave one of both away."));
    }
    if let Some(file) = single_file(&a.from)? {
        return single_restore::one(out, a, file, Vec::new()).await;
    }
    let forms = if Place::is_elsewhere(&a.from)? {
        let place = Place::open(&a.from, &a.online.remote, Exit::NoInput)?;
        let forms = Forms::of(&place)?;
        if forms.accounts.is_empty() {
            return Err(Failure::new(Exit::NoInput, format!("{} has no backups", place.shown()))
                .remedy("Check the address, the endpoint and the credentials. Nothing was written, and no try was spent."));
        }
        forms
    } else {
        Forms::at(&a.from)?
    };
    let device = DeviceState::open(&a.online.device)?;
    let kept = device.load()?;
    if kept.is_none() && a.online.token.is_none() {
        // No password is asked for without a token, so the key can only come from the digits.
        device.require()?;
    }
    match &kept {
        Some(kept) if forms.has(&tag(kept)?) || (forms.files.is_empty() && !forms.accounts.is_empty()) => {
            let patterns = checked(out, &a)?;
            return generation(out, a, patterns, None).await;
        }
        None if is_by_password(&forms, &a).await? => {
            let patterns = checked(out, &a)?;
            let place = Place::open(&a.from, &a.online.remote, Exit::NoInput)?;
            let (recovered, ..) =
                restore::recover(out, &a, |status, lineage| is_here(&forms, &place, status, lineage)).await?;
            let known = recovered.writers.as_deref().map(expected);
            return generation(out, a, patterns, known).await;
        }
        _ => {}
    }
    let mut not_here = Vec::new();
    if a.from.is_dir() {
        if let Some(kept) = &kept {
            not_here = missing(out, &a, &device, kept).await?;
        }
        if let Some(path) = single_restore::newest(out, &a, &forms, &mut not_here).await?
            && let Some(file) = single_file(&path)?
        {
            return single_restore::one(out, Restore { from: path, ..a }, file, not_here).await;
        }
    }
    if a.to.as_os_str() == PIPE {
        return Err(no_stream(&a.from));
    }
    if a.asks_for_a_series() {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} has no series, and an option was given that single files do not have", a.from.display()),
        )
        .remedy("Leave the options for series away, or check the folder. `bkv backups` lists what is in a folder."));
    }
    restore::run(out, a, not_here).await
}

/// Before single files of a folder are taken: fails if this device has backed up a series to it, which is not there. Whoever can write to the folder could serve old files by
/// removing it. Returns the other writers that the vault names.
async fn missing(out: Output, a: &Restore, device: &DeviceState, kept: &Kept) -> Outcome<Vec<Id>> {
    let place = Place::open(&a.from, &a.online.remote, Exit::NoInput)?;
    let writers = Writers::of(device, kept, tag(kept)?)?;
    if writers.here(&place)?.iter().any(|state| state.newest().is_some()) {
        let what = format!("this device has backed up a series to {}, and it is not there", place.shown());
        if !a.allow_older {
            return Err(Failure::new(Exit::Damaged, what).remedy(
                "Wait for a sync to finish, or look for the newest copy of the folder. `bkv restore FILE.bkv --to DIR` restores one of the single files in it, and --allow-older the newest of them.",
            ));
        }
        out.warning(&format!("{what}. A single file is taken, as --allow-older says."));
    }
    if kept.mode != Mode::Password {
        return Ok(Vec::new());
    }
    let mut online = a.online.clone();
    online.timeout = online.timeout.min(ASK.as_secs());
    // A vault that does not answer is reported when the newest file is asked for.
    let named = AccountVault::open(&online, device, kept).await?.expected().await.unwrap_or_default();
    let own = writers.ids()?;
    Ok(named.into_iter().map(|known| known.writer).filter(|id| !own.contains(id)).collect())
}

/// True if a device without a key restores a series: what is here is of that form only, or the account has series here. The account is asked for without a try.
async fn is_by_password(forms: &Forms, a: &Restore) -> Outcome<bool> {
    if forms.accounts.is_empty() || forms.files.is_empty() || a.asks_for_a_series() {
        return Ok(!forms.accounts.is_empty());
    }
    let (client, _) = profile::client(&online(a.online.clone())?, &DeviceState::open(&a.online.device)?)?;
    let (account, lineage) = client.account().await?;
    Ok(forms.has(&Tag::new(&lineage.0, &account.0)))
}

/// What is wrong with the command and with the place to restore to is found before a try is spent.
pub(super) fn checked(out: Output, a: &Restore) -> Outcome<Patterns> {
    if a.to.as_os_str() == PIPE {
        return Patterns::parse(&a.include);
    }
    restore::has_parent(&a.to)?;
    for folder in clear_leftovers(&a.to) {
        restore::report_leftover(out, &folder);
    }
    check_destination(&a.to)?;
    Patterns::parse(&a.include)
}

/// The folders' names show whose series are here, so this costs no try. Under a password only a writer that the vault names opens on a new device.
fn is_here(forms: &Forms, place: &Place, status: &Status, lineage: &Lineage) -> Outcome {
    let tag = Tag::new(&lineage.0, &status.account.0);
    let from = place.shown();
    let refused = |what: String, remedy: &str| {
        Err(Failure::new(Exit::NoInput, what)
            .remedy(format!("{remedy} Nothing was written, and no try was spent.")))
    };
    if !forms.has(&tag) {
        let others = count(forms.accounts.len() as u64, "other account");
        let what = format!("{from} has no series of this account, but of {others}");
        return refused(what, "Is this the right folder, and the right account?");
    }
    let there = place.writers(&tag)?;
    let mut named = status.writers.iter().filter(|writer| writer.id != WriterId::FILES);
    if named.any(|writer| there.contains(&hex::encode(writer.id.0))) {
        return Ok(());
    }
    refused(
        format!(
            "{from} has no series that the vault knows of, and others open only on the device that made them"
        ),
        "Is this the right folder? If it is being synced, wait for that. A backup with --fleet and --token on that device tells the vault.",
    )
}

/// What was restored.
struct Restored {
    report: Report,
    series: String,
    number: u64,
    made_ms: i64,
    /// The backup could read all of its source.
    complete: bool,
}

impl Restored {
    fn of(report: Report, reading: &Reading<'_>, complete: bool) -> Self {
        let manifest = reading.manifest();
        let (series, number, made_ms) = (manifest.label.clone(), manifest.number, manifest.ended_ms);
        Self { report, series, number, made_ms, complete }
    }
}

async fn generation(out: Output, a: Restore, patterns: Patterns, known: Option<Vec<Expected>>) -> Outcome {
    let reader = Reader::with(out, &a.online, &a.from, known).await?;
    read(out, a, patterns, reader).await
}

fn no_stream(from: &Path) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("{} holds folders, which standard output does not take", from.display()),
    )
    .remedy("Name a folder to restore to. `bkv cat` writes one file to standard output.")
}

pub(super) async fn read(out: Output, a: Restore, patterns: Patterns, reader: Reader) -> Outcome {
    let not_here = reader.not_here(out);
    let to = a.to.clone();
    let done = cancellable(move |cancel| write(out, &a, &reader, &patterns, cancel)).await?;
    let done = done.map_err(|failure| match failure.exit {
        Exit::Interrupted => failure.remedy("Nothing was left behind."),
        _ => failure,
    })?;
    tell(out, &done, &to, not_here)
}

fn write(
    out: Output,
    a: &Restore,
    reader: &Reader,
    patterns: &Patterns,
    cancel: &Cancel,
) -> Outcome<Restored> {
    let mut library = reader.library(a.allow_older)?;
    let choice = a.which.choose(out, &mut library, a.allow_older)?;
    let complete = choice.kept.complete;
    let reading = Reading::open(reader.access(), choice)?;
    let progress = || Progress::new(out, "Restoring", None);
    if single_restore::is_stream(&reading) {
        if !patterns.is_empty() {
            return Err(Failure::new(Exit::Usage, "the backup is a stream of bytes, which has no paths")
                .remedy("Leave --include away."));
        }
        let progress = progress();
        let written = single_restore::write_stream(&reading, &a.to, Control { progress: &progress, cancel });
        progress.end();
        return Ok(Restored::of(written?, &reading, complete));
    }
    if a.to.as_os_str() == PIPE {
        return Err(no_stream(&a.from));
    }
    let sources = if patterns.is_empty() { Vec::new() } else { source_names(&reading)? };
    let included = |path: &TreePath| {
        let source = usize::try_from(path.root).ok().and_then(|root| sources.get(root));
        let path = shown(source.map_or(&[], Vec::as_slice), path);
        patterns.fit_at_or_above(bytes_path(&path), true)
    };
    let included = (!patterns.is_empty()).then_some(&included as &dyn Fn(&TreePath) -> bool);
    if let Some(included) = included {
        fits_something(&reading, included)?;
    } else if !a.keep_going {
        // A sync may not have finished. The restore reports missing objects before it spends hours on the others.
        reading.check_presence()?;
    }
    let progress = progress();
    let control = Control { progress: &progress, cancel };
    let options =
        Options { included, keep_going: a.keep_going, preserve_all: a.preserve_all, in_flight: IN_FLIGHT };
    let report = unpack(&reading, &a.to, &options, control);
    progress.end();
    Ok(Restored::of(report?, &reading, complete))
}

fn bytes_path(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

fn fits_something(reading: &Reading<'_>, included: &dyn Fn(&TreePath) -> bool) -> Outcome {
    let mut fits = false;
    entries(reading, |_, path, _| fits = fits || included(path))?;
    if fits {
        return Ok(());
    }
    Err(Failure::new(Exit::NoInput, "nothing in this generation fits --include")
        .remedy("`bkv ls` shows its paths. Nothing was written."))
}

fn tell(out: Output, done: &Restored, to: &Path, not_here: Value) -> Outcome {
    let report = &done.report;
    for (path, why) in &report.not_kept {
        out.note(&format!("not kept here: {}: {why}", path.display()));
    }
    for (path, error) in &report.failed {
        out.warning(&format!("not restored: {}: {error}", path.display()));
    }
    if !done.complete {
        out.warning(&format!(
            "Generation {} is incomplete: its backup left out files that it could not read or that changed meanwhile. `bkv backups` shows the complete ones, and --generation takes one.",
            done.number
        ));
    }
    let text = format!(
        "{}, {} from generation {} of '{}' of {} to {}",
        count(report.files, "file"),
        bytes(report.bytes),
        done.number,
        name(done.series.as_bytes()),
        crate::backups::local(done.made_ms),
        to.display()
    );
    let listed = |path: &Path, why: String| {
        let mut fact = path_fact(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        fact.insert("reason".into(), why.into());
        Value::Object(fact)
    };
    let failed: Vec<Value> =
        report.failed.iter().map(|(path, error)| listed(path, error.to_string())).collect();
    let not_kept: Vec<Value> = report.not_kept.iter().map(|(path, why)| listed(path, why.clone())).collect();
    let facts = facts([
        ("series", done.series.clone().into()),
        ("generation", done.number.into()),
        ("made_ms", done.made_ms.into()),
        ("complete", done.complete.into()),
        ("files", report.files.into()),
        ("bytes", report.bytes.into()),
        ("failed", json!(failed)),
        ("not_kept", json!(not_kept)),
        ("not_here", not_here),
    ]);
    if report.failed.is_empty() && to.as_os_str() == PIPE {
        out.note(&text);
        return Ok(());
    }
    if report.failed.is_empty() {
        return out.result(&text, facts);
    }
    if !out.json {
        out.result(&text, Map::new())?;
    }
    let mut failure = Failure::new(
        Exit::Incomplete,
        format!("{} could not be restored", count(report.failed.len() as u64, "file")),
    )
    .remedy(
        "The list above names them. An earlier generation or another copy of the destination may have them.",
    );
    failure.details = facts;
    Err(failure)
}
