//! Scenario 3: the status is a cache. When it is wiped, as by a restore from a backup, the operator rebuilds it from the objects and changes nothing else.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::resource::{self, PEOPLE};
use super::testbed::Testbed;

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let (before, versions, since) = (testbed.demo(), testbed.versions(PEOPLE), Instant::now());
    let wipe = r#"[{"op": "replace", "path": "/status", "value": {}}]"#;
    let patched = testbed.cluster.kubectl(&[
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
    testbed
        .cluster
        .until("the status is back", Duration::from_secs(30), || resource::settled(&testbed.demo()));
    let took = since.elapsed();
    let lasting = |o: &Value| {
        (o["status"]["fleet"].clone(), o["status"]["quorum"].clone(), o["status"]["regions"].clone())
    };
    assert_eq!(lasting(&testbed.demo()), lasting(&before), "the new status differs");
    let mut now = testbed.versions(PEOPLE);
    now.insert("BackupKeyVault demo".into(), versions["BackupKeyVault demo"].clone());
    assert_eq!(now, versions, "more than the status was written");
    testbed.people.went_on(&testbed.cluster, since, 1);
    format!("whole again after {:.1} s", took.as_secs_f32())
}
