//! The command line, and how long each part may take.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Measures the whole stack on this machine. Leaves nothing behind but the results.
#[derive(Debug, Parser)]
#[command(name = "bkv-bench", max_term_width = 110)]
pub(crate) struct Args {
    /// A short run of about a minute: shorter loads, fewer records, one repetition.
    #[arg(long)]
    pub quick: bool,
    /// Accounts to register for bytes per record and start-up time. [default: 10000, quick: 1000]
    #[arg(long, value_name = "N")]
    pub records: Option<usize>,
    /// Run only these parts: stream, register, recover, idle, gap, records.
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    pub only: Vec<String>,
    /// Folder with `bkv`, `bkv-vault` and `bkv-chatd`, built in release. [default: beside this program]
    #[arg(long, env = "BKV_BIN_DIR", value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// The file for the results.
    #[arg(long, default_value = "target/bench/results.json", value_name = "FILE")]
    pub output: PathBuf,
    /// Make the fleet's folder here. It must be on a disk, because fsync costs nothing on tmpfs. [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// Round trip between the regions, as `bkv dev up` takes it. The goals are those of one data centre.
    #[arg(long, value_name = "TIME")]
    pub round_trip: Option<String>,
    /// How far single delays differ, as `bkv dev up` takes it.
    #[arg(long, value_name = "PERCENT", requires = "round_trip")]
    pub jitter: Option<String>,
    /// Exit with 1 if a goal does not hold.
    #[arg(long)]
    pub strict: bool,
    /// End the whole run after this many seconds. The table lists the rest as not measured.
    #[arg(long, value_name = "SECONDS")]
    pub limit: Option<u64>,
}

/// Parts of a run.
pub(crate) const PARTS: [&str; 6] = ["stream", "register", "recover", "idle", "gap", "records"];

/// How long each part runs, and how many accounts it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Duration of each load.
    pub load: Duration,
    /// Duration of the unmeasured load before it.
    pub warm: Duration,
    /// Duration of the measurement of an idle fleet.
    pub idle: Duration,
    /// How often a leader is killed, and how often paused.
    pub repetitions: usize,
    /// Accounts to register.
    pub records: usize,
    /// Longest time to register them. After it the bench measures with those that exist.
    pub filling: Duration,
    /// Longest duration of the whole run.
    pub limit: Duration,
}

impl Args {
    /// Whether this part runs.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|p| p == part)
    }

    /// The options of `bkv dev up` for the network.
    pub(crate) fn network(&self) -> Vec<String> {
        let options = [("--round-trip", &self.round_trip), ("--jitter", &self.jitter)];
        let given = options.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value.clone()?]));
        given.flatten().collect()
    }

    /// The first part in `--only` that does not exist.
    pub(crate) fn unknown_part(&self) -> Option<&str> {
        self.only.iter().map(String::as_str).find(|p| !PARTS.contains(p))
    }

    /// The extent that the options ask for.
    pub(crate) fn extent(&self) -> Extent {
        let seconds = Duration::from_secs;
        let mut extent = if self.quick {
            Extent {
                load: seconds(3),
                warm: seconds(1),
                idle: seconds(5),
                repetitions: 1,
                records: 1_000,
                filling: seconds(30),
                limit: seconds(180),
            }
        } else {
            Extent {
                load: seconds(10),
                warm: seconds(2),
                idle: seconds(20),
                repetitions: 3,
                records: 10_000,
                filling: seconds(150),
                limit: seconds(480),
            }
        };
        if let Some(records) = self.records {
            extent.records = records;
            // The user asked for this number, so wait for it at a rate that a slow machine reaches.
            let wanted = seconds(60 + u64::try_from(records / 50).unwrap_or(u64::MAX));
            extent.limit += wanted.saturating_sub(extent.filling);
            extent.filling = extent.filling.max(wanted);
        }
        if let Some(limit) = self.limit {
            extent.limit = seconds(limit);
        }
        extent
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn more_records_make_a_longer_run_and_a_limit_is_obeyed() {
        let plain = Args::try_parse_from(["bkv-bench"]).unwrap();
        assert_eq!(plain.extent().limit, Duration::from_mins(8));
        let many = Args::try_parse_from(["bkv-bench", "--records", "100000"]).unwrap();
        assert!(many.extent().limit > plain.extent().limit);
        let bound = Args::try_parse_from(["bkv-bench", "--records", "100000", "--limit", "9"]).unwrap();
        assert_eq!(bound.extent().limit, Duration::from_secs(9));
    }

    #[test]
    fn an_unknown_part_is_named() {
        let args = Args::try_parse_from(["bkv-bench", "--only", "stream,strem"]).unwrap();
        assert_eq!(args.unknown_part(), Some("strem"));
        assert!(args.wants("stream") && !args.wants("gap"));
    }
}
