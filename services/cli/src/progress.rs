//! Progress of long work: a bar with rate and time left on a terminal, a plain line now and then elsewhere.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(5);

/// Shows how far a stream has come.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    plain: Option<Mutex<Instant>>,
    what: &'static str,
    out: Output,
    start: Instant,
}

impl Progress {
    /// `total` bytes, if known.
    pub(crate) fn new(out: Output, what: &'static str, total: Option<u64>) -> Self {
        let bar = out.bar().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let template = if total.is_some() {
                "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left"
            } else {
                "{msg} {spinner} {bytes} {bytes_per_sec} {elapsed}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar
        });
        let plain = (bar.is_none() && !out.quiet && !out.json).then(|| Mutex::new(Instant::now()));
        Self { bar, plain, what, out, start: Instant::now() }
    }

    /// `done` bytes so far.
    pub(crate) fn at(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        if let Some(last) = &self.plain
            && let Ok(mut last) = last.try_lock()
            && last.elapsed() >= EVERY
        {
            *last = Instant::now();
            self.out.note(&format!("{}: {} in {} s", self.what, bytes(done), self.start.elapsed().as_secs()));
        }
    }

    /// Clears the bar.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl bkv_stream::Progress for Progress {
    fn bytes(&self, done: u64, _: Option<u64>) {
        self.at(done);
    }
}

/// `3.4 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}
