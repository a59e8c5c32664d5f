//! One history from one seed: drawn, run, printed, shortened.

use bkv_core::record::AttemptPolicy;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::step::{Step, Taste};
use super::world::World;

/// Steps of a history.
const STEPS: usize = 60;

#[derive(Clone)]
pub(super) struct History {
    seed: u64,
    policy: AttemptPolicy,
    steps: Vec<Step>,
}

/// What a history broke first, and at which step.
pub(super) struct Broken {
    pub(super) what: &'static str,
    detail: String,
    at: usize,
}

impl History {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let taste = Taste::new(&mut rng);
        let waits: [&[u64]; 4] = [&[], &[0, 60], &[100], &[0, 50, 700]];
        let policy = AttemptPolicy {
            max: rng.gen_range(2..5),
            lifetime_failures: rng.gen_range(3..15),
            waits_ms: waits[rng.gen_range(0..4)].to_vec(),
            last_try_ms: 60_000,
            attempt_ms: 20_000,
        };
        let mut steps = Vec::new();
        while steps.len() < STEPS {
            steps.extend(taste.steps(&mut rng));
        }
        Self { seed, policy, steps }
    }

    /// Runs the history up to what it breaks. `report` gets each step and what came of it.
    pub(super) fn run(&self, mut report: impl FnMut(usize, &Step, &str)) -> Option<Broken> {
        let mut world = World::new(&self.policy);
        for (at, step) in self.steps.iter().enumerate() {
            let result = world.step(step);
            report(at, step, &result);
            if let Some((what, detail)) = world.audit.first.take() {
                return Some(Broken { what, detail, at });
            }
        }
        None
    }

    pub(super) fn breaks(&self) -> Option<Broken> {
        self.run(|_, _, _| {})
    }

    /// The same history without the steps that are not needed to break the same.
    pub(super) fn shortened(&self, broken: &Broken) -> Self {
        let mut short = self.clone();
        short.steps.truncate(broken.at + 1);
        let mut i = short.steps.len();
        while i > 0 {
            i -= 1;
            let mut shorter = short.clone();
            shorter.steps.remove(i);
            if let Some(b) = shorter.breaks()
                && b.what == broken.what
            {
                shorter.steps.truncate(b.at + 1);
                i = i.min(shorter.steps.len());
                short = shorter;
            }
        }
        short
    }

    /// The history step by step, for people.
    pub(super) fn print(&self) -> String {
        let mut lines = vec![format!("seed {}, {:?}", self.seed, self.policy)];
        let broken = self.run(|at, step, result| {
            lines.push(format!("{at:3}  {step:?}"));
            if !result.is_empty() {
                lines.push(format!("       {result}"));
            }
        });
        lines.push(match broken {
            Some(b) => format!("broken at step {}: {}: {}", b.at, b.what, b.detail),
            None => "nothing is broken".into(),
        });
        lines.join("\n")
    }
}
