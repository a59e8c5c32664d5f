//! A user's requests to the API server, from its audit log, which records no contents.

use serde_json::Value;

use crate::ApiServer;

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `patch`, `update`, `delete`.
    pub verb: String,
    /// `configmaps`, `backupkeyvaults/status`.
    pub resource: String,
    /// Empty for lists.
    pub name: String,
    /// HTTP status.
    pub code: u64,
}

impl Request {
    /// True if it may have changed something.
    pub fn writes(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// All requests of a user that were answered until now, in their order.
pub fn requests(server: &ApiServer, user: &str) -> Vec<Request> {
    let log = std::fs::read_to_string(server.folder().join("log/audit.json")).expect("the audit log");
    // The last line may not be whole yet.
    let events = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    events.filter(|e| e["user"]["username"] == user).map(|e| request(&e)).collect()
}

fn request(event: &Value) -> Request {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = &event["objectRef"];
    let part = of(&about["subresource"]);
    let resource = of(&about["resource"]);
    Request {
        verb: of(&event["verb"]),
        resource: if part.is_empty() { resource } else { format!("{resource}/{part}") },
        name: of(&about["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
    }
}
