//! The backup stream on one core, in turns with plain AES-256-GCM on a buffer that stays in the cache, and the stream's memory.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bkv_stream::{Cancel, Control, DEFAULT_SEGMENT, Options, StreamKey, copy_encrypt};

use crate::error::BenchError;
use crate::process;
use crate::report::{Goal, Report};

const MIB: u64 = 1 << 20;
const RUN: u64 = 512 * MIB;
const ROUNDS: usize = 5;

/// Gives `left` bytes. It copies them from one cached buffer if there is one. Otherwise it leaves the reader's buffer as it is, so that the stream's own
/// cost is measured without memcpy.
struct Source<'a> {
    from: Option<&'a [u8]>,
    left: u64,
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut n = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if let Some(from) = self.from {
            n = n.min(from.len());
            if let (Some(to), Some(from)) = (out.get_mut(..n), from.get(..n)) {
                to.copy_from_slice(from);
            }
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn broken(e: impl std::fmt::Display) -> BenchError {
    BenchError::Stream(e.to_string())
}

/// Plain AES-256-GCM. With `from` each buffer is filled from it first, as every reader must do.
fn raw(from: Option<&[u8]>) -> Result<Duration, BenchError> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(broken)?);
    let mut buffer = vec![0_u8; DEFAULT_SEGMENT];
    let start = Instant::now();
    for _ in 0..RUN / MIB {
        if let Some(from) = from {
            buffer.copy_from_slice(from);
        }
        let nonce = Nonce::assume_unique_for_key([1; 12]); // a rate, not a message
        let _tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut buffer).map_err(broken)?;
    }
    Ok(start.elapsed())
}

fn encrypt(from: Option<&[u8]>, bytes: u64) -> Result<Duration, BenchError> {
    let key = StreamKey::from_bytes(&[9; 32]);
    let cancel = Cancel::default();
    let control = Control { progress: &(), cancel: &cancel };
    let options = Options { workers: 1, ..Options::default() };
    let start = Instant::now();
    copy_encrypt(&mut Source { from, left: bytes }, io::sink(), &key, b"", options, control)
        .map_err(broken)?;
    Ok(start.elapsed())
}

/// How far the peak of memory rises above `base` while this many bytes are encrypted.
#[allow(clippy::cast_precision_loss)]
fn growth(base: Option<u64>, bytes: u64) -> Result<Option<f64>, BenchError> {
    process::forget_peak();
    encrypt(None, bytes)?;
    Ok(process::peak().zip(base).map(|(a, b)| a.saturating_sub(b) as f64 / MIB as f64))
}

/// Measures rates, their ratio, and memory.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn stream(report: &mut Report) -> Result<(), BenchError> {
    // Memory first, while the allocator holds nothing from before.
    process::forget_peak();
    let base = process::peak();
    let small = growth(base, 64 * MIB)?;
    let large = growth(base, 1024 * MIB)?;
    let hot = vec![0x5a_u8; DEFAULT_SEGMENT];
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        let times = [raw(None)?, encrypt(None, RUN)?, raw(Some(&hot))?, encrypt(Some(&hot), RUN)?];
        for (best, took) in best.iter_mut().zip(times) {
            *best = took.min(*best);
        }
    }
    let [plain, own, filled, copied] = best.map(|b| RUN as f64 / 1e9 / b.as_secs_f64());
    report.add("stream.aws_lc_hot", Some(plain), "GB/s per core", Goal::None);
    report.add("stream.encrypt", Some(own), "GB/s per core", Goal::None);
    report.add("stream.encrypt.ratio", Some(own / plain), "of aws-lc", Goal::AtLeast(0.8));
    report.add("stream.encrypt_with_copy", Some(copied), "GB/s per core", Goal::None);
    report.add("stream.encrypt_with_copy.ratio", Some(copied / plain), "of aws-lc", Goal::None);
    report.add(
        "stream.encrypt_with_copy.ratio_like",
        Some(copied / filled),
        "of aws-lc with copy",
        Goal::None,
    );
    report.add("stream.memory.64MiB", small, "MiB", Goal::None);
    report.add("stream.memory.1GiB", large, "MiB", Goal::AtMost(8.0));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_source_gives_exactly_what_it_has() {
        let hot = [1_u8; 10];
        for from in [None, Some(&hot[..])] {
            let mut all = Vec::new();
            Source { from, left: 25 }.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), 25);
        }
    }
}
