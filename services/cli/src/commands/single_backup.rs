//! `bkv backup --form file`: everything in one file, or through a pipe. It needs no vault and no state, and the key alone opens it.

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bkv_backups::backup::{Options, Report};
use bkv_backups::{Identity, Selection, SystemClock, single};
use bkv_client::BackupKey;
use bkv_files::{Mode, NewFile};
use bkv_stream::{Cancel, Control};
use serde_json::{Map, Value};

use super::backup_options::{Backup, label, what};
use super::interrupt::cancellable;
use super::series_backup::{fact, incomplete, report_left_out};
use crate::backups::{Excluded, PIPE, Place, Remote, Stdin, What, host, name, own_places};
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::legible;
use crate::output::{Output, facts};
use crate::progress::{Progress, bytes};
use crate::words::count;

/// The most files of one second in one folder.
const SAME_SECOND: u32 = 1000;

/// Where the backup goes.
enum Target {
    StandardOutput(File),
    File(PathBuf),
}

struct Job {
    out: Output,
    key: BackupKey,
    what: What,
    label: String,
    target: Target,
    own: Vec<Identity>,
    excluded: Excluded,
    one_file_system: bool,
    tags: Vec<String>,
}

fn cant_create(what: String, remedy: &str) -> Failure {
    Failure::new(Exit::CantCreate, what).remedy(remedy)
}

/// The beginning of the file's name in a folder.
fn stem(a: &Backup, what: &What) -> Outcome<String> {
    let source = |path: &PathBuf| path.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
    let stem = match (&a.name, what) {
        (Some(name), _) | (None, What::Pipe(name)) => name.clone(),
        (None, What::Folders(folders)) => folders.first().and_then(source).unwrap_or_else(|| "backup".into()),
    };
    if stem.is_empty() || stem.contains(['/', '\0']) || stem.starts_with('.') {
        return Err(Failure::new(
            Exit::NoInput,
            "the name of a backup's file can't be empty, begin with a dot or hold a slash",
        )
        .remedy("Choose another with --name, or give the path of the file with --to."));
    }
    Ok(stem)
}

/// A path in the folder that is free.
fn free(folder: &Path, stem: &str) -> Outcome<PathBuf> {
    let time = jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string();
    let named = |n: u32| match n {
        1 => folder.join(format!("{stem}-{time}.bkv")),
        n => folder.join(format!("{stem}-{time}-{n}.bkv")),
    };
    (1..=SAME_SECOND).map(named).find(|path| std::fs::symlink_metadata(path).is_err()).ok_or_else(|| {
        cant_create(
            format!("{} has too many backups of this second", folder.display()),
            "Repeat the command.",
        )
    })
}

impl Target {
    fn of(out: Output, a: &Backup, what: &What) -> Outcome<Self> {
        if a.to.as_os_str() == PIPE {
            let stdout = std::io::stdout();
            if out.json || stdout.is_terminal() {
                let what = if out.json { "--json" } else { "a terminal" };
                return Err(Failure::new(Exit::Usage, format!("standard output is for {what}, and not for a backup too"))
                    .remedy("Send it to a program or a file: bkv backup ~/Documents --to - | ssh host 'cat > backup.bkv'"));
            }
            // A line buffer would look for lines.
            let file = stdout.as_fd().try_clone_to_owned();
            let file = file
                .map_err(|e| cant_create(format!("can't use standard output: {e}"), "Repeat the command."))?;
            return Ok(Self::StandardOutput(file.into()));
        }
        if a.to.is_dir() {
            return Ok(Self::File(free(&a.to, &stem(a, what)?)?));
        }
        if std::fs::symlink_metadata(&a.to).is_ok() {
            return Err(cant_create(
                format!("{} exists already", a.to.display()),
                "Choose another path. `bkv` replaces no backup.",
            ));
        }
        // Otherwise a disk that is not mounted would be taken for the name of a file.
        if a.to.extension().is_none_or(|extension| extension != "bkv") {
            return Err(cant_create(
                format!("{} is not a folder", a.to.display()),
                "Make it first. If it is a disk, mount it. The name of a single file ends in .bkv.",
            ));
        }
        Ok(Self::File(a.to.clone()))
    }

    fn shown(&self) -> String {
        match self {
            Self::StandardOutput(_) => "standard output".into(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// What is never part of the backup: the state, and the backups beside the file.
    fn own(&self, state: &Path) -> Outcome<Vec<Identity>> {
        let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        match self {
            Self::StandardOutput(file) => {
                let state = state.canonicalize().and_then(std::fs::metadata).ok();
                Ok(file.metadata().ok().into_iter().chain(state).map(identity).collect())
            }
            Self::File(path) => {
                let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Ok(own_places(
                    state,
                    &Place::open(folder.unwrap_or(Path::new(".")), &Remote::default(), Exit::CantCreate)?,
                ))
            }
        }
    }
}

impl Job {
    fn run(mut self, cancel: &Cancel) -> Outcome<Report> {
        match std::mem::replace(&mut self.target, Target::File(PathBuf::new())) {
            Target::StandardOutput(mut file) => self.write(&mut file, "standard output", cancel),
            Target::File(path) => {
                let shown = path.display().to_string();
                let failed = |e: std::io::Error| match e.kind() {
                    std::io::ErrorKind::AlreadyExists => {
                        cant_create(format!("{shown} exists already"), "Repeat the command.")
                    }
                    _ => cant_create(
                        format!("can't write {shown}: {e}"),
                        "Make the folder writable, or choose another.",
                    ),
                };
                let mut file = NewFile::at(&path).map_err(failed)?;
                self.own.extend(file.file().metadata().ok().map(|meta| (meta.dev(), meta.ino())));
                let report = self.write(&mut file, &shown, cancel)?;
                file.publish(Mode::Private).map_err(failed)?;
                Ok(report)
            }
        }
    }

    fn write(&mut self, sink: &mut (dyn Write + Send), to: &str, cancel: &Cancel) -> Outcome<Report> {
        let progress = Progress::new(self.out, "Backing up", None);
        let is_excluded = |path: &Path, folder: bool| self.excluded.is(path, folder);
        let options = Options {
            label: self.label.clone(),
            host: host(),
            tags: self.tags.clone(),
            selection: Selection {
                excluded: Some(&is_excluded),
                own: self.own.clone(),
                one_file_system: self.one_file_system,
            },
            ..Options::default()
        };
        let control = Control { progress: &progress, cancel };
        let mut stdin = Stdin::new(cancel);
        let report = single::write(
            (sink, to),
            &self.key,
            &SystemClock,
            self.what.source(&mut stdin),
            &options,
            control,
        );
        progress.end();
        Ok(report?)
    }
}

pub(crate) async fn run(out: Output, a: Backup) -> Outcome {
    if a.series.is_for_series_only() {
        return Err(Failure::new(Exit::Usage, "an option was given that a single file does not have")
            .remedy("Leave --form file away, or that option."));
    }
    if Place::is_elsewhere(&a.to)? {
        return Err(Failure::new(
            Exit::Usage,
            "a single file goes to a folder of this machine, or to standard output",
        )
        .remedy("Leave --form file away: a server takes series."));
    }
    let device = DeviceState::open(&a.online.device)?;
    let kept = device.require()?;
    let what = what(&a)?;
    let target = Target::of(out, &a, &what)?;
    let (to, is_pipe) = (target.shown(), matches!(target, Target::StandardOutput(_)));
    let job = Job {
        out,
        key: kept.key()?,
        label: label(&a, &what)?,
        own: target.own(device.folder())?,
        target,
        excluded: Excluded::read(&a.series.exclude)?,
        one_file_system: a.series.exclude.one_file_system,
        tags: a.series.tag,
        what,
    };
    let made = cancellable(move |cancel| job.run(cancel)).await?;
    let report = made.map_err(|failure| match failure.exit {
        Exit::Interrupted if is_pipe => failure.remedy("What was written is no whole backup."),
        Exit::Interrupted => failure.remedy("Nothing was left behind."),
        _ => failure,
    })?;
    tell(out, &report, &to, is_pipe)
}

fn tell(out: Output, report: &Report, to: &str, is_pipe: bool) -> Outcome {
    report_left_out(out, &report.left_out);
    let manifest = &report.manifest;
    let counts = &manifest.counts;
    let text = format!(
        "{}, {} of '{}' in {}",
        count(counts.files, "file"),
        bytes(counts.bytes),
        name(manifest.label.as_bytes()),
        legible::path(Path::new(to))
    );
    let facts = facts([
        ("file", to.into()),
        ("series", manifest.label.clone().into()),
        ("files", counts.files.into()),
        ("bytes", counts.bytes.into()),
        ("complete", manifest.is_complete().into()),
        ("failed", counts.failed.into()),
        (
            "skipped",
            report.left_out.iter().map(|(path, why)| fact(path, *why)).collect::<Vec<Value>>().into(),
        ),
    ]);
    let shown = |facts: Map<String, Value>| {
        if is_pipe {
            out.note(&text);
            return Ok(());
        }
        out.result(&text, facts)
    };
    if manifest.is_complete() {
        return shown(facts);
    }
    if !out.json {
        shown(Map::new())?;
    }
    Err(incomplete(report, facts))
}
