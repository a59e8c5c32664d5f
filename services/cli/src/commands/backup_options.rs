//! The options of `bkv backup`, and what follows from them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::MaybeOnline;
use crate::backups::{Exclude, PIPE, Place, What, host, sources};
use crate::exit::{Exit, Failure, Outcome};

/// How a backup lies at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A generation of a series: only what has changed is stored anew.
    Series,
    /// One file that ends in `.bkv`, with everything in it. The key alone opens it.
    File,
    /// One file as earlier versions made and read it. The vault knows which is the newest.
    OldFile,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Folder to back up. Several are one backup, which then needs --name.
    #[arg(required_unless_present = "stdin_name")]
    pub source: Vec<PathBuf>,
    /// Folder to put the backup into, or `s3://BUCKET/PREFIX` or `webdavs://HOST/PATH` for a series. Of a single file also its path, or `-` for standard output.
    #[arg(long, value_name = "DEST")]
    pub to: PathBuf,
    /// Name of the series, and the beginning of the name of a single file. [default: the device's name and the source's path; of a file, the source's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Back up standard input under this name, and no folder. Whether the program that writes it has failed is not seen: look at its own exit code too.
    #[arg(long, value_name = "NAME", conflicts_with = "source")]
    pub stdin_name: Option<String>,
    /// How the backup lies there. [default: series, and file if --to is `-` or ends in `.bkv`]
    #[arg(long, value_enum)]
    pub form: Option<Form>,
    /// Compress an old-file with zstd before encrypting. The other forms are always compressed.
    #[arg(long)]
    pub compress: bool,
    /// Leave out of an old-file what can't be read, and list it, instead of stopping. The other forms always do, and end with 3.
    #[arg(long)]
    pub skip_unreadable: bool,
    #[command(flatten, next_help_heading = "What is left out, and options of a series")]
    pub series: SeriesOptions,
    #[command(flatten, next_help_heading = "Key and vault")]
    pub online: MaybeOnline,
}

#[derive(Debug, Args)]
pub(crate) struct SeriesOptions {
    #[command(flatten)]
    pub exclude: Exclude,
    /// Read every file, also those that look unchanged.
    #[arg(long)]
    pub read_all: bool,
    /// Do not compare inode numbers, on file systems that make them up.
    #[arg(long)]
    pub ignore_inode: bool,
    /// Back up a source that is empty, although its last backup was not.
    #[arg(long)]
    pub allow_empty: bool,
    /// Begin the history of this device here anew, with a full backup: after the destination was emptied or exchanged.
    #[arg(long)]
    pub new_writer: bool,
    /// Show what a backup would store. It reads what a backup reads, and writes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for another backup of this device to end.
    #[arg(long)]
    pub wait_lock: bool,
    /// A word to find this generation by, and to keep it by. Repeatable.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
}

impl SeriesOptions {
    /// True if one of them was given.
    pub(super) fn is_given(&self) -> bool {
        let rules = &self.exclude;
        let lists = [&rules.exclude, &rules.iexclude, &rules.exclude_if_present, &self.tag];
        self.is_for_series_only()
            || rules.exclude_caches
            || rules.one_file_system
            || lists.iter().any(|list| !list.is_empty())
            || !rules.exclude_from.is_empty()
            || rules.exclude_larger_than.is_some()
    }

    /// True if an option was given that no single file has.
    pub(super) fn is_for_series_only(&self) -> bool {
        let flags = [
            self.read_all,
            self.ignore_inode,
            self.allow_empty,
            self.new_writer,
            self.dry_run,
            self.wait_lock,
        ];
        flags.contains(&true)
    }
}

impl Backup {
    /// As the option says, or as the place asks for.
    pub(super) fn form(&self) -> Form {
        let is_here = !Place::is_elsewhere(&self.to).unwrap_or(false) && !self.to.is_dir();
        let ends = is_here && self.to.extension().is_some_and(|end| end == "bkv");
        let is_file = ends || self.to.as_os_str() == PIPE;
        self.form.unwrap_or(if is_file { Form::File } else { Form::Series })
    }
}

/// In bytes.
const LONGEST_LABEL: usize = 255;

/// Folders or standard input, as the options say.
pub(super) fn what(a: &Backup) -> Outcome<What> {
    match &a.stdin_name {
        Some(name) => Ok(What::Pipe(name.clone())),
        None => Ok(What::Folders(sources(&a.source)?)),
    }
}

/// The label of the series, also of a single file.
pub(super) fn label(a: &Backup, what: &What) -> Outcome<String> {
    match (&a.name, what) {
        (Some(name), _) | (None, What::Pipe(name)) => Ok(name.clone()),
        (None, What::Folders(folders)) => default_label(folders),
    }
}

/// The label of a series without a name.
fn default_label(sources: &[PathBuf]) -> Outcome<String> {
    let [one] = sources else {
        return Err(Failure::new(Exit::Usage, "several folders are one series, and it needs a name").remedy(
            "Add --name, such as --name documents. Or back up each folder by a command of its own.",
        ));
    };
    let label = format!("{}:{}", host(), one.to_string_lossy());
    if label.len() > LONGEST_LABEL {
        return Err(Failure::new(
            Exit::Usage,
            format!("the path is too long to name the series by: {}", one.display()),
        )
        .remedy("Add --name, such as --name documents."));
    }
    Ok(label)
}
