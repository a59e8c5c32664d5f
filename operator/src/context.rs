//! The shared, immutable context of all passes.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Recorder;

use crate::api_server::Seen;
use crate::metrics::Metrics;
use crate::plan::{Embedded, Settings};

pub(crate) struct Context {
    pub client: Client,
    pub seen: Seen,
    pub settings: Settings,
    pub embedded: Embedded,
    pub metrics: Metrics,
    pub events: Recorder,
    /// Reads ChatD's metrics, without TLS.
    pub http: reqwest::Client,
    /// Pause between two passes over an unchanged resource.
    pub resync: Duration,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        seen: Seen,
        (settings, embedded): (Settings, Embedded),
        metrics: Metrics,
        events: Recorder,
        resync: Duration,
    ) -> Self {
        // A builder without TLS or proxies can't fail. The default client has no time-out, which costs only patience.
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap_or_default();
        Self { client, seen, settings, embedded, metrics, events, http, resync }
    }
}

/// The time of a pass, in whole seconds as Kubernetes stores times. With fractions a status would always differ from the stored one.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
