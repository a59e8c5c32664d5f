//! Scenario 5: one region loses power, with its vault, a ChatD and perhaps the operator. Recoveries go on. The resource reports it and heals.

use std::time::{Duration, Instant};

use super::resource;
use super::testbed::Testbed;

/// A recovery that meets the dead region on its way must end within this.
const LONGEST: Duration = Duration::from_secs(25);

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let since = Instant::now();
    testbed.cluster.must(&["node", "down", "3"]);
    testbed.cluster.until("Degraded", Duration::from_mins(1), || {
        let demo = testbed.demo();
        resource::wants(&demo, "QuorumHealthy", "True", "Degraded")?;
        resource::wants(&demo, "Ready", "True", "Serving")
    });
    let (noticed, demo) = (since.elapsed(), testbed.demo());
    assert_eq!(
        (&demo["status"]["quorum"]["inSync"], &demo["status"]["quorum"]["tolerates"]),
        (&2.into(), &0.into())
    );
    let named = demo["status"]["waits"].as_array().into_iter().flatten().any(|w| w["target"] == "ap-south");
    assert!(named, "the region is not named: {}", resource::summary(&demo));
    let (recoveries, longest) = testbed.people.went_on(&testbed.cluster, since, 12);
    assert!(longest < LONGEST, "a person waited for {longest:?}");
    testbed.people.no_try_was_spent();
    testbed.cluster.must(&["node", "up", "3"]);
    let back = Instant::now();
    testbed.heals(Duration::from_mins(2));
    format!(
        "reported after {:.0} s; {recoveries} recoveries, the longest {:.1} s; healed {:.0} s after the power was back",
        noticed.as_secs_f32(),
        longest.as_secs_f32(),
        back.elapsed().as_secs_f32()
    )
}
