//! Scenario 4: all volumes of a fleet are lost. The resource reports it, and the operator makes no new keys in place of those that people rely on.

use std::time::Duration;

use serde_json::{Value, json};

use super::resource::{self, REGIONS};
use super::testbed::Testbed;

const NAMESPACE: &str = "lost";
const NAME: &str = "gone";

pub(crate) fn run(testbed: &mut Testbed) -> String {
    testbed.namespace(NAMESPACE);
    let cluster = &testbed.cluster;
    cluster.apply(NAMESPACE, &resource::small(NAME, &REGIONS, &json!({})));
    let read = || resource::read(cluster, NAMESPACE, NAME);
    cluster.until("Ready", Duration::from_mins(2), || resource::settled(&read()));
    let kept = || {
        ["fleet", "root", "documents"]
            .map(|m| content(&cluster.get(NAMESPACE, "configmap", &format!("{NAME}-{m}"))))
    };
    let before = kept();
    assert!(before.iter().all(|c| !c[0].is_null() || !c[1].is_null()), "{before:?}");

    let vaults = "bkv.dev/vault=gone,app.kubernetes.io/component=vault";
    cluster.kubectl(&["-n", NAMESPACE, "delete", "pvc", "-l", vaults, "--wait=false"]).good();
    cluster.kubectl(&["-n", NAMESPACE, "delete", "pod", "-l", vaults, "--grace-period=0", "--force"]).good();
    cluster.until("FleetLost", Duration::from_mins(2), || {
        let now = read();
        resource::wants(&now, "FleetInitialized", "False", "FleetLost")?;
        resource::wants(&now, "Ready", "False", "FleetLost")?;
        resource::wants(&now, "Stalled", "True", "FleetLost")
    });
    cluster.until("the event", Duration::from_secs(30), || {
        resource::wants_warning(cluster, NAMESPACE, NAME, "FleetLost")
    });
    // The state is final: once the status of pods and volumes is written, the operator writes nothing more.
    cluster.until("the operator writes no more", Duration::from_mins(1), || {
        let version = read()["metadata"]["resourceVersion"].clone();
        std::thread::sleep(Duration::from_secs(15));
        let now = read();
        if now["metadata"]["resourceVersion"] == version { Ok(()) } else { Err(resource::summary(&now)) }
    });
    resource::wants(&read(), "Stalled", "True", "FleetLost").unwrap();
    assert_eq!(kept(), before, "journal, root or documents were made anew");
    for region in REGIONS {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{NAME}-{region}-0:9090/proxy/readyz");
        assert!(!cluster.kubectl(&["get", "--raw", &path]).ok, "the empty vault of {region} serves");
    }
    testbed.leave(NAMESPACE);
    "nothing was made anew".into()
}

fn content(map: &Value) -> [Value; 2] {
    [map["data"].clone(), map["binaryData"].clone()]
}
