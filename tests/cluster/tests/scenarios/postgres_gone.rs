//! Scenario 17: ChatD's database is away for a while. It holds only metadata, so recoveries go on. The condition reports it and heals.

use std::time::{Duration, Instant};

use super::resource::{self, PEOPLE};
use super::stage::Stage;

pub(crate) fn run(stage: &mut Stage) -> String {
    stage.heals(Duration::from_mins(1));
    let pod = stage.cluster.get(PEOPLE, "pod", "demo-postgres-0");
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let since = Instant::now();
    // Its volume lies on that node: it can't come back elsewhere.
    stage.cluster.kubectl(&["cordon", node]).good();
    stage.cluster.kubectl(&["-n", PEOPLE, "delete", "pod", "demo-postgres-0", "--grace-period=1"]).good();
    stage.cluster.until("PostgresReady is False", Duration::from_mins(1), || {
        let demo = stage.demo();
        resource::wants(&demo, "PostgresReady", "False", "Unavailable")?;
        resource::wants(&demo, "ChatdReady", "True", "")?;
        resource::wants(&demo, "Ready", "True", "Serving")
    });
    let (recoveries, longest) = stage.people.went_on(&stage.cluster, since, 6);
    stage.people.no_try_was_spent();
    stage.cluster.kubectl(&["uncordon", node]).good();
    stage.cluster.until("PostgresReady", Duration::from_secs(90), || {
        resource::wants(&stage.demo(), "PostgresReady", "True", "Ready")
    });
    stage.heals(Duration::from_mins(1));
    format!("{recoveries} recoveries without it, the longest {:.1} s", longest.as_secs_f32())
}
