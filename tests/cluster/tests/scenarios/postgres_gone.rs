//! Scenario 17: ChatD's database is away for a while. It holds only metadata, so recoveries go on. The condition reports it and heals.

use std::time::{Duration, Instant};

use super::resource::{self, PEOPLE};
use super::testbed::Testbed;

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let pod = testbed.cluster.get(PEOPLE, "pod", "demo-postgres-0");
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let since = Instant::now();
    // Its volume lies on that node: it can't come back elsewhere.
    testbed.cluster.kubectl(&["cordon", node]).good();
    testbed.cluster.kubectl(&["-n", PEOPLE, "delete", "pod", "demo-postgres-0", "--grace-period=1"]).good();
    testbed.cluster.until("PostgresReady is False", Duration::from_mins(1), || {
        let demo = testbed.demo();
        resource::wants(&demo, "PostgresReady", "False", "Unavailable")?;
        resource::wants(&demo, "ChatdReady", "True", "")?;
        resource::wants(&demo, "Ready", "True", "Serving")
    });
    let (recoveries, longest) = testbed.people.went_on(&testbed.cluster, since, 6);
    testbed.people.no_try_was_spent();
    testbed.cluster.kubectl(&["uncordon", node]).good();
    testbed.cluster.until("PostgresReady", Duration::from_secs(90), || {
        resource::wants(&testbed.demo(), "PostgresReady", "True", "Ready")
    });
    testbed.heals(Duration::from_mins(1));
    format!("{recoveries} recoveries without it, the longest {:.1} s", longest.as_secs_f32())
}
