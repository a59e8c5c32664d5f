//! Writes records: length (u32, big endian), CBOR.

use std::io::Write;

use super::super::MAX_RECORD;
use super::record::{End, Record};
use crate::error::{Error, Result};

/// Encodes records into a sink.
#[derive(Debug, Default)]
pub(crate) struct TreeWriter {
    records: u64,
    buffer: Vec<u8>,
}

impl TreeWriter {
    pub(crate) fn record(&mut self, record: &Record, sink: &mut impl Write) -> Result<()> {
        self.buffer.clear();
        minicbor::encode(record, &mut self.buffer).map_err(|_| Error::TooMuch("a record of the tree"))?;
        let length = u32::try_from(self.buffer.len()).ok().filter(|_| self.buffer.len() <= MAX_RECORD);
        let length = length.ok_or(Error::TooMuch("a record of the tree"))?;
        sink.write_all(&length.to_be_bytes()).map_err(Error::from_io)?;
        sink.write_all(&self.buffer).map_err(Error::from_io)?;
        self.records += 1;
        Ok(())
    }

    /// Writes the last record.
    pub(crate) fn end(mut self, sink: &mut impl Write) -> Result<()> {
        let records = self.records;
        self.record(&Record::End(End { records }), sink)
    }
}
