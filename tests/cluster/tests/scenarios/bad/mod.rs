//! Bad input on real pods, all at once. For each mistake the operator reports a wait with the object and a remedy, a condition and an event. Then it writes
//! nothing more.

mod cases;

use std::time::Duration;

use serde_json::{Value, json};

use super::resource::{self, REGIONS};
use super::testbed::Testbed;
pub(crate) use cases::Case;

const NAMESPACE: &str = "bad";
/// How long the operator must write nothing after it has reported every mistake.
const QUIET: Duration = Duration::from_secs(30);

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.namespace(NAMESPACE);
    let cases = cases::all();
    for (number, case) in cases.iter().enumerate() {
        for object in &case.before {
            testbed.cluster.apply(NAMESPACE, object);
        }
        // Spread over the nodes, which have only so many volumes.
        let mut made = resource::small(case.name, &[REGIONS[number % REGIONS.len()]], &case.spec);
        if let Some(class) = case.class {
            made["spec"]["regions"][0]["storage"]["className"] = class.into();
        }
        testbed.cluster.apply(NAMESPACE, &made);
    }
    for case in &cases {
        if let Some(later) = case.later {
            later(testbed, NAMESPACE, case.name);
        }
    }
    for case in &cases {
        testbed.cluster.until(case.name, Duration::from_secs(150), || reported(testbed, case));
        testbed.cluster.until("the event", Duration::from_secs(30), || {
            resource::wants_warning(&testbed.cluster, NAMESPACE, case.name, case.check)
        });
    }
    quiet(testbed, &cases);
    for case in &cases {
        if let Some(after) = case.after {
            after(testbed, NAMESPACE);
        }
    }
    testbed.leave(NAMESPACE);
    format!(
        "{} mistakes, each with a reason, an object and a remedy; then no write for {} s",
        cases.len(),
        QUIET.as_secs()
    )
}

/// An error unless the status has the wait, with the object and a remedy in its message, and the condition has the same reason.
fn reported(testbed: &Testbed, case: &Case) -> Result<(), String> {
    let now = resource::read(&testbed.cluster, NAMESPACE, case.name);
    let (kind, status) = case.condition;
    let (list, field) = if case.target.is_empty() { ("conditions", "reason") } else { ("waits", "check") };
    let all = now["status"][list].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|w| w[field] == case.check).ok_or_else(|| resource::summary(&now))?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    let (target, message) = (text("target"), text("message"));
    if !target.contains(case.target) || !case.words.iter().all(|w| message.contains(w)) {
        return Err(format!("{target}: {message}, and not {} with {:?}", case.target, case.words));
    }
    resource::wants(&now, kind, status, case.check)
}

fn quiet(testbed: &Testbed, cases: &[Case]) {
    let look = || -> Vec<Value> {
        cases
            .iter()
            .map(|c| {
                let now = resource::read(&testbed.cluster, NAMESPACE, c.name);
                json!([now["metadata"]["name"], now["metadata"]["resourceVersion"], resource::summary(&now)])
            })
            .collect()
    };
    // What others write to all the time: pods that end and are started again, and those that count them. An object that the server refuses is asked for
    // again in every pass, which writes nothing.
    let objects = || {
        let mut all = testbed.versions(NAMESPACE);
        all.retain(|name, _| {
            !["Pod ", "StatefulSet ", "Deployment "].iter().any(|kind| name.starts_with(kind))
        });
        all
    };
    // Restarts of a pod are still counted when its end is reported. Later nothing changes any more.
    testbed.cluster.until("quiet", Duration::from_secs(150), || {
        let before = (look(), objects());
        std::thread::sleep(QUIET);
        let now = (look(), objects());
        if now == before {
            return Ok(());
        }
        let changed: Vec<_> = before.0.iter().zip(&now.0).filter(|(a, b)| a != b).collect();
        let written: Vec<_> =
            now.1.iter().filter(|(name, version)| before.1.get(*name) != Some(version)).collect();
        Err(format!("{changed:?} {written:?}"))
    });
}
