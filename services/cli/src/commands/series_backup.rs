//! `bkv backup`: one generation of a series. `single_backup` makes a single file.

use std::path::PathBuf;

use bkv_backups::backup::{Options, Report, Storage, backup as store};
use bkv_backups::format::manifest::Reason;
use bkv_backups::prune::GRACE_MS;
use bkv_backups::{
    Clock as _, Destination, Error, Naming, Outside, Selection, StateFile, SystemClock, Vault, VaultFault,
    Writer,
};
use bkv_client::BackupKey;
use bkv_stream::{Cancel, Control};
use serde_json::{Map, Value, json};

use super::backup::{self, FileBackup};
use super::backup_options::{Backup, Form, SeriesOptions, label, what};
use super::interrupt::cancellable;
use super::single_backup;
use crate::backups::{
    AccountVault, DryPlace, DryState, DryVault, Excluded, Forms, Place, Stdin, What, Writers, host, name,
    own_places, path_fact, tag,
};
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::progress::{Progress, bytes};
use crate::words::count;

pub(crate) async fn run(out: Output, a: Backup) -> Outcome {
    match a.form() {
        Form::Series => make(out, a).await,
        Form::File => single_backup::run(out, a).await,
        Form::OldFile => old_file(out, a).await,
    }
}

async fn old_file(out: Output, a: Backup) -> Outcome {
    let usage = |what: &str, remedy: &str| Err(Failure::new(Exit::Usage, what).remedy(remedy));
    if a.series.is_given() {
        return usage(
            "an option was given that a file of earlier versions does not have",
            "Leave --form old-file away, or that option.",
        );
    }
    if Place::is_elsewhere(&a.to)? {
        return usage(
            "a file of earlier versions goes to a folder of this machine",
            "Leave --form old-file away: a server takes series.",
        );
    }
    let [source] = a.source.as_slice() else {
        return usage(
            "a file of earlier versions holds one folder",
            "Name one folder, or leave --form old-file away.",
        );
    };
    let single = FileBackup {
        source: source.clone(),
        to: a.to,
        name: a.name,
        compress: a.compress,
        skip_unreadable: a.skip_unreadable,
        online: a.online,
    };
    backup::run(out, single).await
}

/// Everything that the thread needs.
struct Job {
    out: Output,
    key: BackupKey,
    vault: AccountVault,
    place: Place,
    writers: Writers,
    tag: bkv_backups::format::Tag,
    own: PathBuf,
    what: What,
    label: String,
    excluded: Excluded,
    options: SeriesOptions,
}

/// A generation, and who made it.
struct Made {
    report: Report,
    writer: String,
    began_anew: bool,
    /// The place at which the history was before.
    moved_from: Option<PathBuf>,
    /// Until when the vault gives V, if the key is gone from it.
    v_kept_until: Option<u64>,
}

/// The newest ledger of this device is not at the destination.
const GONE: &str = "Wait for a sync to finish, or look for the newest copy of the destination. If it was emptied or exchanged on purpose, add --new-writer: this device begins a new history with a full backup.";

/// What an interrupted backup leaves.
const INTERRUPTED: &str = "The last complete backup is whole. Repeat the command to make this one. What this run has stored is used by none, and a prune deletes it after 30 days.";

async fn make(out: Output, a: Backup) -> Outcome {
    let device = DeviceState::open_for_writing(&a.online.device)?;
    let kept = device.require()?;
    let what = what(&a)?;
    let label = label(&a, &what)?;
    let excluded = Excluded::read(&a.series.exclude)?;
    let place = Place::open(&a.to, &a.online.remote, Exit::CantCreate)?;
    let tag = tag(&kept)?;
    if !a.series.dry_run {
        place.make(&tag)?;
    }
    let job = Job {
        out,
        key: kept.key()?,
        vault: AccountVault::open(&a.online, &device, &kept).await?,
        writers: Writers::of(&device, &kept, tag)?,
        tag,
        own: device.folder().to_owned(),
        place,
        what,
        label,
        excluded,
        options: a.series,
    };
    let to = job.place.shown();
    let folder = job.place.path().map(std::path::Path::to_owned);
    let dry = job.options.dry_run;
    let made = cancellable(move |cancel| job.run(cancel)).await?;
    let made = made.map_err(|failure| match failure.exit {
        Exit::Interrupted => failure.remedy(INTERRUPTED),
        _ => failure,
    })?;
    if made.report.manifest.number == 1
        && let Some(folder) = &folder
    {
        report_files(out, folder);
    }
    tell(out, &made, &to, dry)
}

impl Job {
    fn run(&self, cancel: &Cancel) -> Outcome<Made> {
        if !self.options.dry_run {
            let (state, before) = self.writers.state_file(&self.place)?;
            if let Some(before) = &before {
                self.out.warning(&format!(
                    "This device's backups of {} are here, and no longer there. Their history goes on here. If that disk is only unplugged, what it holds is older from now on.",
                    before.display()
                ));
            }
            let made = self.write(self.place.destination(), &self.vault, &state, cancel)?;
            return Ok(Made { moved_from: before, ..made });
        }
        let copy = DryState::copy(&self.writers.state_of_next(&self.place)?)?;
        self.write(&DryPlace::new(self.place.destination()), &DryVault(&self.vault), &copy.file(), cancel)
    }

    fn write(
        &self,
        destination: &dyn Destination,
        vault: &dyn Vault,
        state: &std::path::Path,
        cancel: &Cancel,
    ) -> Outcome<Made> {
        let outside = Outside { destination, vault, clock: &SystemClock, key: &self.key, tag: self.tag };
        let open = || -> Result<Writer<'_>, Error> {
            Writer::open(outside, StateFile::lock(state, self.options.wait_lock)?, true)
        };
        if self.options.new_writer {
            let _lock = StateFile::lock(state, self.options.wait_lock)?;
            Writers::begin_anew(state)?;
        }
        let (mut writer, twin) = match open() {
            Err(Error::Twin) => {
                Writers::begin_anew(state)?;
                (open()?, true)
            }
            Err(error @ Error::RolledBack { .. }) => return Err(Failure::from(error).remedy(GONE)),
            other => (other?, false),
        };
        if twin {
            self.out.warning("Another device continues the history that this one had here: the state of one is a copy of the other's. This device begins a new history with a full backup. Never copy a state folder.");
        }
        let is_new = writer.state().newest().is_none();
        let ledger = writer.ledger();
        let before = ledger.series(&self.label).and_then(|series| ledger.generations(&series.id).next_back());
        // The size of the last one is a good guess.
        let progress = Progress::new(self.out, "Backing up", before.map(|kept| kept.bytes));
        let is_excluded = |path: &std::path::Path, folder: bool| self.excluded.is(path, folder);
        let options = Options {
            label: self.label.clone(),
            host: host(),
            tags: self.options.tag.clone(),
            selection: Selection {
                excluded: Some(&is_excluded),
                own: own_places(&self.own, &self.place),
                one_file_system: self.options.exclude.one_file_system,
            },
            allow_empty: self.options.allow_empty,
            read_all: self.options.read_all,
            ignore_inode: self.options.ignore_inode,
            storage: Storage::default(),
            ..Options::default()
        };
        let control = Control { progress: &progress, cancel };
        let mut stdin = Stdin::new(cancel);
        let report = store(&mut writer, self.what.source(&mut stdin), &options, control);
        progress.end();
        let (report, writer) = (report?, hex::encode(writer.state().writer));
        let is_gone = matches!(&report.naming, Naming::NotNamed { fault: VaultFault::KeyGone(_), .. });
        let v_kept_until = if is_gone { self.vault.kept_until() } else { None };
        Ok(Made { report, writer, began_anew: is_new, moved_from: None, v_kept_until })
    }
}

/// At the first backup of a series: what the folder has from an earlier version or from `--form file`.
fn report_files(out: Output, to: &std::path::Path) {
    let Some(newest) = Forms::at(to).ok().and_then(|forms| forms.files.into_iter().next_back()) else {
        return;
    };
    out.note(&format!(
        "{} also holds backups in single files (.bkv), which stay as they are. `bkv restore {} --to DIR` restores the last one by name.",
        to.display(),
        newest.display()
    ));
}

/// Why an entry is not in the backup as it was.
const fn reason(why: Reason) -> &'static str {
    match why {
        Reason::Unreadable => "it can't be read",
        Reason::Changed => "it changed while it was read; what was read is kept",
        Reason::Vanished => "it was gone when it was read",
        Reason::Special => "a pipe, socket or device",
        Reason::OtherFileSystem => "another file system",
        Reason::TooLong => "its name or its attributes are too long",
        Reason::OwnPlace => "the backups themselves, or this device's state",
    }
}

pub(super) fn fact(path: &std::path::Path, why: Reason) -> Value {
    let mut fact = path_fact(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
    fact.insert("reason".into(), reason(why).into());
    fact.insert("failed".into(), why.is_failure().into());
    Value::Object(fact)
}

pub(super) fn not_named(naming: &Naming) -> Value {
    match naming {
        Naming::Named | Naming::NoVault => Value::Null,
        Naming::NotNamed { fault, since_ms, opens_nowhere_else } => json!({
            "message": fault.to_string(),
            "since_ms": since_ms,
            "opens_nowhere_else": opens_nowhere_else,
        }),
    }
}

/// What helps against a vault that did not name the backup.
const fn remedy(fault: &VaultFault) -> &'static str {
    match fault {
        VaultFault::KeyGone(_) => {
            "This device still opens its backups. `bkv status` shows the state of the key. If the account has another key now, `bkv recover` gets it onto this device. Otherwise `bkv register` here stores this one again, or makes a new one."
        }
        VaultFault::TooManyWriters(_) => {
            "Back up to a destination where this device has backups already. Or let the vault forget one that is no longer used: `bkv writers` lists them, `bkv forget` takes one, which goes 7 days later."
        }
        VaultFault::NotNow(_) => "Repeat the command after that time.",
        VaultFault::Refused { .. } | VaultFault::Unreachable(_) => {
            "Repeat the command with --fleet and --token while the vault can be reached."
        }
    }
}

/// Reports a backup that the vault does not know of, and how the command ends because of it. A backup that will never be named must not end with 0.
fn unnamed(out: Output, made: &Made) -> Option<Failure> {
    let report = &made.report;
    let Naming::NotNamed { fault, since_ms, opens_nowhere_else } = &report.naming else { return None };
    let whole = if report.manifest.is_complete() {
        "the backup is whole".into()
    } else {
        let failed = count(report.manifest.counts.failed, "entry");
        format!("the backup was made, {failed} of the source could not be kept as they are")
    };
    let failure = |exit, message| Some(Failure::new(exit, message).remedy(remedy(fault)));
    if let VaultFault::KeyGone(why) = fault {
        let v = made.v_kept_until.map(|until| {
            let until = crate::words::time(until);
            format!(". Until {until} the vault gives V to a device that has this key, which then opens the backups before this one; after that only this device opens them")
        });
        let v = v.unwrap_or_default();
        let message = format!("{whole}, but the vault will never know of it: the key is gone ({why}){v}");
        return failure(Exit::Gone, message);
    }
    if *opens_nowhere_else {
        let message =
            format!("{whole}, but only this device can open it: the vault has not got V yet ({fault})");
        return failure(Exit::NotNamed, message);
    }
    let late = since_ms.saturating_add(GRACE_MS) <= SystemClock.now_ms();
    let message = format!(
        "{whole}, but since {} the vault does not know of this device's backups: {fault}. Until it does, another device can't notice if an older one is served",
        crate::backups::local(*since_ms)
    );
    if late {
        return failure(Exit::NotNamed, message);
    }
    out.warning(&format!("The vault is behind: {message}."));
    None
}

fn made_facts(made: &Made, to: &str, dry: bool) -> Map<String, Value> {
    let Report { manifest, left_out, began_anew, naming, .. } = &made.report;
    facts([
        ("destination", to.into()),
        ("writer", made.writer.clone().into()),
        ("series", manifest.label.clone().into()),
        ("generation", manifest.number.into()),
        ("files", manifest.counts.files.into()),
        ("bytes", manifest.counts.bytes.into()),
        ("new_bytes", manifest.counts.new_bytes.into()),
        ("complete", manifest.is_complete().into()),
        ("failed", manifest.counts.failed.into()),
        ("skipped", left_out.iter().map(|(path, why)| fact(path, *why)).collect::<Vec<_>>().into()),
        ("named_at_vault", (!dry && *naming == Naming::Named).into()),
        ("not_named", not_named(naming)),
        ("v_kept_until_ms", made.v_kept_until.into()),
        ("new_writer", made.began_anew.into()),
        ("moved_from", made.moved_from.as_ref().map(|path| path.display().to_string()).into()),
        ("read_anew", began_anew.clone().into()),
        ("dry_run", dry.into()),
    ])
}

fn tell(out: Output, made: &Made, to: &str, dry: bool) -> Outcome {
    let Report { manifest, left_out, began_anew, .. } = &made.report;
    report_left_out(out, left_out);
    if let Some(why) = began_anew {
        out.warning(&format!(
            "The last backup could not be used, so everything was read and stored anew: {why}."
        ));
    }
    let counts = &manifest.counts;
    let what = format!(
        "{}, {}, of it {} new",
        count(counts.files, "file"),
        bytes(counts.bytes),
        bytes(counts.new_bytes)
    );
    let label = name(manifest.label.as_bytes());
    let text = if dry {
        format!("{what}: this would be generation {} of '{label}'. Nothing was written.", manifest.number)
    } else {
        format!("{what}: generation {} of '{label}' in {}", manifest.number, to)
    };
    let facts = made_facts(made, to, dry);
    let unnamed = unnamed(out, made);
    if manifest.is_complete() && unnamed.is_none() {
        return out.result(&text, facts);
    }
    if !out.json {
        out.result(&text, Map::new())?;
    }
    if let Some(mut failure) = unnamed {
        failure.details = facts;
        return Err(failure);
    }
    Err(incomplete(&made.report, facts))
}

pub(super) fn report_left_out(out: Output, left_out: &[(PathBuf, Reason)]) {
    for (path, why) in left_out {
        out.note(&format!("left out: {}: {}", path.display(), reason(*why)));
    }
}

/// A backup that was made, and does not hold everything.
pub(super) fn incomplete(report: &Report, facts: Map<String, Value>) -> Failure {
    let failed = count(report.manifest.counts.failed, "entry");
    let mut failure = Failure::new(
        Exit::Incomplete,
        format!("the backup was made, and {failed} of the source could not be kept as they are"),
    )
    .remedy("The list above names them. Make them readable, or leave them out with --exclude.");
    failure.details = facts;
    failure.details.insert("skipped_listed".into(), json!(report.left_out.len()));
    failure
}
