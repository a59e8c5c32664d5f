//! At rest the operator writes nothing for a minute, while people recover all the time.

use std::time::{Duration, Instant};

use super::resource::PEOPLE;
use super::testbed::Testbed;

const REST: Duration = Duration::from_secs(61);

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.heals(Duration::from_mins(1));
    let (since, versions, writes) = (Instant::now(), testbed.versions(PEOPLE), testbed.writes());
    assert!(versions.len() > 20 && versions.contains_key("BackupKeyVault demo"), "{versions:?}");
    assert!(writes.values().sum::<u64>() > 0, "the operators' metrics are empty");
    std::thread::sleep(REST); // no condition to wait for: nothing may happen in this time
    assert_eq!(testbed.versions(PEOPLE), versions, "an object was written to at rest");
    assert_eq!(testbed.writes(), writes, "the operator wrote at rest");
    let (recoveries, _) = testbed.people.went_on(&testbed.cluster, since, 10);
    format!("{} objects, no write in {} s; {recoveries} recoveries", versions.len(), REST.as_secs())
}
