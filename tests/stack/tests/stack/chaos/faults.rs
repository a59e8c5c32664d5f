//! What happens to the fleet: at most one region at a time is lost, and another one restarts in order meanwhile.

use std::time::{Duration, Instant};

use bkv_stack_tests::Fleet;
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::Value;

/// How long the fleet may take until all regions serve again.
const HEALED: Duration = Duration::from_mins(2);
/// Round trips between the regions. The vaults reckon with the longest.
const ROUND_TRIPS: [&str; 4] = ["20ms", "100ms", "250ms", "400ms"];

/// Gives the fleet faults until `end`, and heals it.
pub(super) fn until(fleet: &Fleet, rng: &mut StdRng, end: Instant) {
    let regions = fleet.regions();
    let begin = Instant::now();
    while Instant::now() < end {
        let victim = &regions[rng.gen_range(0..regions.len())];
        let others: Vec<&String> = regions.iter().filter(|r| *r != victim).collect();
        let other = others[rng.gen_range(0..others.len())];
        let happened = match rng.gen_range(0..10) {
            0..=2 => {
                fleet.region("kill", victim);
                pause(rng, 0..5_000);
                fleet.region("start", victim);
                format!("{victim} killed")
            }
            3..=4 => {
                fleet.region("pause", victim);
                pause(rng, 500..10_000);
                fleet.region("resume", victim);
                format!("{victim} paused")
            }
            5..=6 => {
                fleet.region("stop", victim);
                fleet.region("start", victim);
                format!("{victim} restarted")
            }
            7 => {
                fleet.region("kill", victim);
                pause(rng, 2_000..15_000);
                fleet.region("stop", other);
                fleet.region("start", other);
                pause(rng, 2_000..15_000);
                fleet.region("start", victim);
                format!("{victim} away, and {other} restarted meanwhile")
            }
            _ => {
                let time = ROUND_TRIPS[rng.gen_range(0..ROUND_TRIPS.len())];
                fleet.dev(&["round-trip", time], &[]).expect(0);
                format!("round trip {time}")
            }
        };
        eprintln!("{:6.1} s: {happened}", begin.elapsed().as_secs_f64());
        healed(fleet, regions.len());
        pause(rng, 500..4_000);
    }
    fleet.dev(&["round-trip", "20ms"], &[]).expect(0);
    healed(fleet, regions.len());
}

fn pause(rng: &mut StdRng, ms: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(rng.gen_range(ms)));
}

fn healed(fleet: &Fleet, count: usize) {
    bkv_stack_tests::wait("all regions to be ready", HEALED, || {
        let status = fleet.dev(&["status"], &[]).json;
        let regions = status["regions"].as_array().cloned().unwrap_or_default();
        regions.iter().filter(|r| r["ready"] == Value::Bool(true)).count() >= count
    });
}
