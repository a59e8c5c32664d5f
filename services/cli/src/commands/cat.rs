//! `bkv cat`: the content of one file, to standard output.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use bkv_backups::format::manifest::Content;
use bkv_backups::format::tree::Kind;
use bkv_backups::{Error, Reading};
use bkv_stream::{Cancel, Control};
use clap::Args;

use crate::args::MaybeOnline;
use crate::backups::{Reader, WhichGeneration, find};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Folder with backups, or the address of one: `s3://BUCKET/PREFIX`, `webdavs://HOST/PATH`.
    pub from: PathBuf,
    /// Path of the file, as `bkv ls` shows it. A generation that is a stream of bytes has none.
    pub path: Option<OsString>,
    #[command(flatten)]
    pub which: WhichGeneration,
    #[command(flatten)]
    pub online: MaybeOnline,
}

fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe)
}

pub(crate) async fn run(out: Output, a: &Cat) -> Outcome {
    let reader = Reader::open(out, &a.online, &a.from).await?;
    let mut library = reader.library(false)?;
    let choice = a.which.choose(out, &mut library, false)?;
    let reading = Reading::open(reader.access(), choice)?;
    let control = Control { progress: &(), cancel: &Cancel::default() };
    let mut sink = std::io::stdout().lock();
    let written = match (&a.path, reading.manifest().content) {
        (None, Content::Tree) => {
            return Err(Failure::new(Exit::Usage, "the generation has files, and none was named")
                .remedy("Add the path of a file. `bkv ls` shows them."));
        }
        (None, _) => reading.write_bytes(&mut sink, control),
        (Some(path), _) => {
            let (mut place, entry) = find(&reading, path.as_bytes())?;
            if let Kind::Hardlink(first_name) = entry.kind {
                place.steps = first_name.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
            }
            reading.write_file(&place, &mut sink, control)
        }
    };
    match written.and_then(|_| sink.flush().map_err(Error::Io)) {
        // A reader that has closed the pipe wants no more.
        Err(error) if !is_closed(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
