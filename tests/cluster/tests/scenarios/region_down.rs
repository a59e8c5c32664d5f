//! Scenario 5: one region loses power, with its vault, a ChatD and perhaps the operator. Recoveries go on. The resource reports it and heals.

use std::time::{Duration, Instant};

use super::resource;
use super::stage::Stage;

/// A recovery that meets the dead region on its way must end within this.
const LONGEST: Duration = Duration::from_secs(25);

pub(crate) fn run(stage: &mut Stage) -> String {
    stage.heals(Duration::from_mins(1));
    let since = Instant::now();
    stage.cluster.must(&["node", "down", "3"]);
    stage.cluster.until("Degraded", Duration::from_mins(1), || {
        let demo = stage.demo();
        resource::wants(&demo, "QuorumHealthy", "True", "Degraded")?;
        resource::wants(&demo, "Ready", "True", "Serving")
    });
    let (noticed, demo) = (since.elapsed(), stage.demo());
    assert_eq!(
        (&demo["status"]["quorum"]["inSync"], &demo["status"]["quorum"]["tolerates"]),
        (&2.into(), &0.into())
    );
    let named = demo["status"]["waits"].as_array().into_iter().flatten().any(|w| w["target"] == "ap-south");
    assert!(named, "the region is not named: {}", resource::summary(&demo));
    let (recoveries, longest) = stage.people.went_on(&stage.cluster, since, 12);
    assert!(longest < LONGEST, "a person waited for {longest:?}");
    stage.people.no_try_was_spent();
    stage.cluster.must(&["node", "up", "3"]);
    let back = Instant::now();
    stage.heals(Duration::from_mins(2));
    format!(
        "reported after {:.0} s; {recoveries} recoveries, the longest {:.1} s; healed {:.0} s after the power was back",
        noticed.as_secs_f32(),
        longest.as_secs_f32(),
        back.elapsed().as_secs_f32()
    )
}
