//! The ports for ChatD, administrators and probes. They are bound before the anchor is taken, and accept once the vault is assembled: a port that is in use must not cost the
//! anchor.

use bkv_config::vault::Listen;
use tokio::net::TcpListener;

use super::RunError;
use crate::env::{Listener, Network};

/// Bound ports.
pub(super) struct Ports {
    pub relay: Box<dyn Listener>,
    pub admin: Box<dyn Listener>,
    pub health: TcpListener,
}

impl Ports {
    pub(super) async fn bind(listen: &Listen, network: &dyn Network) -> Result<Self, RunError> {
        let failed = |which, address| move |source| RunError::Listen { which, address, source };
        Ok(Self {
            relay: network.listen(listen.relay).await.map_err(failed("relay", listen.relay))?,
            admin: network.listen(listen.admin).await.map_err(failed("admin", listen.admin))?,
            health: bkv_net::bind(listen.health).map_err(failed("health", listen.health))?,
        })
    }
}
