//! Reads from ChatD's metrics whether it reaches an external database.

use std::net::SocketAddr;

use crate::context::Context;
use crate::observe::Observed;
use crate::plan::HEALTH;
use crate::validate::{Fleet, Postgres};

/// Longest answer, bytes.
const MOST: usize = 1 << 20;

/// Asks the pods in turn and takes the first answer. None without an answer or without an external database.
pub(super) async fn database_reached(context: &Context, fleet: &Fleet, o: &Observed) -> Option<bool> {
    if !matches!(fleet.postgres, Postgres::External(_) | Postgres::CloudNativePg { .. }) {
        return None;
    }
    for address in &o.chatd_pods {
        let url = format!("http://{}/metrics", SocketAddr::new(*address, HEALTH));
        let Ok(mut answer) = context.http.get(url).send().await else { continue };
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MOST {
                break;
            }
        }
        let text = String::from_utf8_lossy(&body);
        let up = text.lines().find_map(|l| l.strip_prefix("bkv_chatd_postgres_up "));
        return up.map(|v| v.trim() == "1");
    }
    None
}
