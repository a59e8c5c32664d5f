//! Scenario 3: the status is a cache. When it is wiped, as by a restore from a backup, the operator rebuilds it from the objects and changes nothing else.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::resource::{self, PEOPLE};
use super::stage::Stage;

pub(crate) fn run(stage: &mut Stage) -> String {
    stage.heals(Duration::from_mins(1));
    let (before, versions, since) = (stage.demo(), stage.versions(PEOPLE), Instant::now());
    let wipe = r#"[{"op": "replace", "path": "/status", "value": {}}]"#;
    let patched = stage.cluster.kubectl(&[
        "-n",
        PEOPLE,
        "patch",
        "bkv",
        "demo",
        "--subresource=status",
        "--type=json",
        "-p",
        wipe,
    ]);
    patched.good();
    stage.cluster.until("the status is back", Duration::from_secs(30), || resource::settled(&stage.demo()));
    let took = since.elapsed();
    let lasting = |o: &Value| {
        (o["status"]["fleet"].clone(), o["status"]["quorum"].clone(), o["status"]["regions"].clone())
    };
    assert_eq!(lasting(&stage.demo()), lasting(&before), "the new status differs");
    let mut now = stage.versions(PEOPLE);
    now.insert("BackupKeyVault demo".into(), versions["BackupKeyVault demo"].clone());
    assert_eq!(now, versions, "more than the status was written");
    stage.people.went_on(&stage.cluster, since, 1);
    format!("whole again after {:.1} s", took.as_secs_f32())
}
