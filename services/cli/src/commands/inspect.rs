//! `bkv inspect`: a backup's header, without its key.

use std::fs::File;
use std::path::Path;

use bkv_backups::single;
use bkv_stream::inspect as read_header;

use crate::backups::{shown_place, single_file};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::progress::bytes;
use crate::words::time;

pub(crate) fn inspect(out: Output, path: &Path) -> Outcome {
    let unreadable = |e: std::io::Error| {
        Failure::new(Exit::NoInput, format!("can't read {}: {e}", path.display()))
            .remedy("Name a `.bkv` file that you may read.")
    };
    if let Some(file) = single_file(path)? {
        return look(out, &file, path);
    }
    let mut file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(std::io::ErrorKind::IsADirectory.into()));
    }
    let header = read_header(&mut file).map_err(|e| {
        let mut failure = Failure::from(e);
        failure.message = format!("{}: {}", path.display(), failure.message);
        failure
    })?;
    let m = header.manifest();
    let text = format!(
        "sequence     {}\nbackup       {}\nmade         {}\naccount      {}\nThis header is proved only when the backup is opened with its key.",
        m.sequence,
        hex::encode(m.backup),
        time(m.created_ms),
        hex::encode(m.account)
    );
    out.shown(
        &text,
        facts([
            ("sequence", m.sequence.into()),
            ("backup", hex::encode(m.backup).into()),
            ("created", time(m.created_ms).into()),
            ("created_ms", m.created_ms.into()),
            ("account", hex::encode(m.account).into()),
        ]),
    )
}

/// What a file of the present form shows: neither names, times nor sizes of what is in it.
fn look(out: Output, file: &File, path: &Path) -> Outcome {
    let look = single::look(file, &shown_place(path))?;
    let generation = hex::encode(look.generation);
    let text = format!(
        "backup       {generation}\nobjects      {}\nsize         {}\nNothing of this is proved. Its content is proved when it is opened with its key.",
        look.objects,
        bytes(look.bytes)
    );
    out.shown(
        &text,
        facts([
            ("backup", generation.into()),
            ("objects", look.objects.into()),
            ("bytes", look.bytes.into()),
        ]),
    )
}
