//! Does ChatD reach a database that is not ours? Its own metric says so.

use std::net::SocketAddr;

use super::world::World;
use crate::observe::Observed;
use crate::plan::HEALTH;
use crate::validate::{Fleet, Postgres};

/// More is no answer of ChatD.
const MOST: usize = 1 << 20;

/// Every pod is asked, the first that answers counts. None: nobody answers, or the database is ours or there is none.
pub(super) async fn reached(world: &World, fleet: &Fleet, o: &Observed) -> Option<bool> {
    if !matches!(fleet.postgres, Postgres::External(_) | Postgres::CloudNativePg { .. }) {
        return None;
    }
    for address in &o.chatd_pods {
        let url = format!("http://{}/metrics", SocketAddr::new(*address, HEALTH));
        let Ok(mut answer) = world.http.get(url).send().await else { continue };
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
