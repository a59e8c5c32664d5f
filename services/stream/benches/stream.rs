//! Speed of the stream beside raw AES-256-GCM on a hot buffer in the same run, and its memory. JSON lines on stdout.
//! `memory` sources copy plaintext from RAM; `null` sources leave the buffer as it is and so show the stream's own cost;
//! at these speeds copying alone costs as much as AES, which the `memory` ratios show.

// A bench may stop at the first error.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bkv_stream::{
    Cancel, Control, DEFAULT_SEGMENT, Encryptor, Options, StreamKey, copy_decrypt, copy_encrypt,
};

const MIB: u64 = 1 << 20;
const RUN: u64 = 1024 * MIB;

fn line(name: &str, value: f64, unit: &str) {
    println!("{{\"name\":\"{name}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
}

/// Best of three, in MB/s (10⁶ bytes).
fn rate(bytes: u64, mut run: impl FnMut()) -> f64 {
    let mut best = 0_f64;
    for _ in 0..3 {
        let start = Instant::now();
        run();
        #[allow(clippy::cast_precision_loss)]
        let rate = bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
        best = best.max(rate);
    }
    best
}

fn raw(threads: u64, open: bool) -> f64 {
    rate(RUN, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
                    let mut buffer = vec![0_u8; DEFAULT_SEGMENT];
                    let mut scratch = vec![0_u8; DEFAULT_SEGMENT];
                    let nonce = || Nonce::assume_unique_for_key([1; 12]);
                    let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut buffer).unwrap();
                    for _ in 0..RUN / MIB / threads {
                        if open {
                            key.open_separate_gather(
                                nonce(),
                                Aad::empty(),
                                &buffer,
                                tag.as_ref(),
                                &mut scratch,
                            )
                            .unwrap();
                        } else {
                            let _tag =
                                key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut buffer).unwrap();
                        }
                    }
                });
            }
        });
    })
}

/// Gives `left` bytes without touching the buffer.
struct Null {
    left: u64,
}
impl Read for Null {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        self.left -= n as u64;
        Ok(n)
    }
}

/// Gives `left` bytes copied from one hot buffer.
struct Memory<'a> {
    from: &'a [u8],
    left: u64,
}
impl Read for Memory<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len()).min(self.from.len());
        out[..n].copy_from_slice(&self.from[..n]);
        self.left -= n as u64;
        Ok(n)
    }
}

#[allow(clippy::cast_precision_loss)]
fn peak_rss() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    kib.map_or(f64::NAN, |kib: u64| kib as f64 / 1024.0)
}

fn main() {
    let key = StreamKey::from_bytes(&[9; 32]);
    let cancel = Cancel::default();
    let control = Control { progress: &(), cancel: &cancel };
    let source = vec![0x5a_u8; 1 << 20];
    // Memory first, while nothing else has raised the peak.
    for workers in [1, 2] {
        let options = Options { workers, ..Options::default() };
        let before = peak_rss();
        copy_encrypt(&mut Memory { from: &source, left: RUN }, io::sink(), &key, b"", options, control)
            .unwrap();
        line(&format!("stream.peak_rss_growth.{workers}_threads.1GiB"), peak_rss() - before, "MiB");
    }
    for workers in [1_usize, 2] {
        let options = Options { workers, ..Options::default() };
        let threads = u64::try_from(workers).unwrap();
        let seal = raw(threads, false);
        let open = raw(threads, true);
        line(&format!("raw.seal.{workers}_threads"), seal, "MB/s");
        line(&format!("raw.open.{workers}_threads"), open, "MB/s");
        let null = rate(RUN, || {
            copy_encrypt(&mut Null { left: RUN }, io::sink(), &key, b"", options, control).unwrap();
        });
        let memory = rate(RUN, || {
            copy_encrypt(&mut Memory { from: &source, left: RUN }, io::sink(), &key, b"", options, control)
                .unwrap();
        });
        let written = rate(RUN, || {
            let mut stream = Encryptor::new(io::sink(), &key, b"", options).unwrap();
            for _ in 0..RUN / MIB {
                stream.write_all(&source).unwrap();
            }
            stream.finish().unwrap();
        });
        // Decryption needs real ciphertext: 256 MiB of it in memory.
        let mut sealed = Vec::with_capacity(257 << 20);
        copy_encrypt(&mut Memory { from: &source, left: RUN / 4 }, &mut sealed, &key, b"", options, control)
            .unwrap();
        // What merely fetching that ciphertext costs, with one thread: the decryptor's reader pays it too.
        let mut buffer = vec![0_u8; DEFAULT_SEGMENT];
        let fetch = rate(RUN / 4, || {
            for part in sealed.chunks_exact(DEFAULT_SEGMENT) {
                buffer.copy_from_slice(part);
                std::hint::black_box(&buffer);
            }
        });
        line(&format!("memcpy.256MiB.beside_{workers}_threads"), fetch, "MB/s");
        let decrypt = rate(RUN / 4, || {
            copy_decrypt(&mut sealed.as_slice(), io::sink(), &key, b"", options, control).unwrap();
        });
        for (name, value, base) in [
            ("encrypt.null", null, seal),
            ("encrypt.memory", memory, seal),
            ("encrypt.write", written, seal),
            ("decrypt.memory", decrypt, open),
        ] {
            line(&format!("stream.{name}.{workers}_threads"), value, "MB/s");
            line(&format!("stream.{name}.{workers}_threads.ratio"), value / base, "of raw");
        }
    }
}
