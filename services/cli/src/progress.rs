//! Progress of long work: a bar with rate and time left on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::output::Output;

/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(5);

/// Shows how far a stream has come.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    plain: Option<Mutex<Instant>>,
    what: &'static str,
    total: Option<u64>,
    out: Output,
    start: Instant,
}

impl Progress {
    /// `total`: the bytes to process, if known. Later reports may correct it.
    pub(crate) fn new(out: Output, what: &'static str, total: Option<u64>) -> Self {
        let bar = out.bar().then(|| {
            let bar = ProgressBar::no_length();
            bar.set_style(style(false));
            bar.set_message(what);
            bar
        });
        let plain = (bar.is_none() && !out.quiet && !out.json).then(|| Mutex::new(Instant::now()));
        Self { bar, plain, what, total, out, start: Instant::now() }
    }

    /// `done` bytes so far, of `total`. A compressed backup may unpack to more bytes than its file has. Then the total is unknown.
    fn at(&self, done: u64, total: Option<u64>) {
        let total = total.or(self.total).filter(|t| *t >= done);
        if let Some(bar) = &self.bar {
            if bar.length() != total {
                bar.set_style(style(total.is_some()));
                match total {
                    Some(total) => bar.set_length(total),
                    None => bar.unset_length(),
                }
            }
            bar.set_position(done);
        }
        if let Some(last) = &self.plain
            && let Some(mut last) = last.try_lock()
            && last.elapsed() >= EVERY
        {
            *last = Instant::now();
            self.out.note(&line(self.what, done, total, self.start.elapsed()));
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
    fn bytes(&self, done: u64, total: Option<u64>) {
        self.at(done, total);
    }
}

/// `3.4 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

fn style(total: bool) -> ProgressStyle {
    let template = if total {
        "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left"
    } else {
        "{msg} {spinner} {bytes} {bytes_per_sec} {elapsed}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A line for logs and pipes.
fn line(what: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let per_second = done.checked_div(elapsed.as_secs().max(1)).unwrap_or(0);
    let left = total.and_then(|t| t.saturating_sub(done).checked_div(per_second));
    let of = total.map(|t| format!(" of {}", bytes(t))).unwrap_or_default();
    let left = left.map(|s| format!(", {s} s left")).unwrap_or_default();
    format!("{what}: {}{of}, {}/s{left}", bytes(done), bytes(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_tells_rate_and_time_left_where_they_are_known() {
        let at = Duration::from_secs(10);
        assert_eq!(
            line("Backing up", 10 << 20, Some(30 << 20), at),
            "Backing up: 10.00 MiB of 30.00 MiB, 1.00 MiB/s, 20 s left"
        );
        assert_eq!(line("Restoring", 10 << 20, None, at), "Restoring: 10.00 MiB, 1.00 MiB/s");
        assert_eq!(line("Restoring", 0, Some(5), Duration::ZERO), "Restoring: 0 B of 5 B, 0 B/s");
    }
}
