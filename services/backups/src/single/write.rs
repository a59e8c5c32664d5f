//! Writes the file, front to back.

use std::collections::HashMap;
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};

use bkv_stream::{BackupKey, Control};
use parking_lot::Mutex;

use super::number;
use crate::backup::{Options, Place, Report, Source, make};
use crate::clock::Clock;
use crate::destination::{Destination, Fault, Listed, Meta, fault};
use crate::error::{Error, Result};
use crate::format::Folder;
use crate::format::ledger::Ledger;
use crate::format::secret::random_id;
use crate::vault::Naming;

/// Writes a backup to `sink`, which the caller makes durable afterwards. `name` names it in errors. Every file is read: there is no generation before it.
pub fn write(
    (sink, name): (&mut (dyn Write + Send), &str),
    key: &BackupKey,
    clock: &dyn Clock,
    source: Source<'_>,
    options: &Options<'_>,
    control: Control<'_>,
) -> Result<Report> {
    let generation = random_id()?;
    let folder = Folder::of_file(name, &generation, key)?;
    let frames =
        Frames { folder: &folder, state: Mutex::new(State { sink, written: HashMap::new(), torn: false }) };
    let place = Place { destination: &frames, folder: &folder, clock, key };
    let begin = |head: &[u8]| frames.state.lock().sink.write_all(head).map_err(Error::Io);
    let made = make(place, &Ledger::first(generation), (generation, None), source, options, control, begin)?;
    frames.state.into_inner().sink.flush().map_err(Error::Io)?;
    Ok(made.report(Naming::NoVault))
}

/// A destination that puts each object behind the one before.
struct Frames<'a> {
    folder: &'a Folder,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    sink: &'a mut (dyn Write + Send),
    written: HashMap<u128, u64>,
    /// A write failed in the middle of a frame, so nothing can follow.
    torn: bool,
}

impl State<'_> {
    fn frame(&mut self, name: u128, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.sink.write_all(&name.to_be_bytes())?;
        self.sink.write_all(&length.to_be_bytes())?;
        self.sink.write_all(bytes)
    }
}

impl Destination for Frames<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> std::result::Result<(), Fault> {
        let number = number(name).ok_or_else(|| Fault::Other("it has no name of an object".into()))?;
        let mut state = self.state.lock();
        if state.torn {
            return Err(Fault::Other("an earlier write failed".into()));
        }
        if state.written.contains_key(&number) {
            return Err(Fault::Exists);
        }
        state.torn = true;
        state.frame(number, bytes).map_err(fault)?;
        state.torn = false;
        state.written.insert(number, bytes.len() as u64);
        Ok(())
    }

    fn read(&self, _: &str, _: usize, _: Range<u64>) -> std::result::Result<Vec<u8>, Fault> {
        Err(Fault::Other("a pipe can't be read back".into()))
    }

    fn stat(&self, name: &str) -> std::result::Result<Vec<Meta>, Fault> {
        let state = self.state.lock();
        let length = number(name).and_then(|name| state.written.get(&name).copied());
        Ok(length.map(|length| Meta { length, modified_ms: None }).into_iter().collect())
    }

    fn list(
        &self,
        _: &str,
        each: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> std::result::Result<(), Fault> {
        for (name, length) in &self.state.lock().written {
            let meta = Meta { length: *length, modified_ms: None };
            if each(Listed { name: self.folder.path_of(*name), meta }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn folders(&self, _: &str) -> std::result::Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn delete(&self, _: &str) -> std::result::Result<(), Fault> {
        Err(Fault::Denied("a file in one piece loses nothing".into()))
    }
}
