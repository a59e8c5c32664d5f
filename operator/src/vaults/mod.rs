//! The vaults' administration ports, as pods have them. Types and client are `bkv-admin-api`'s.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bkv_mtls::Identity;

use crate::plan::ADMIN;

pub use bkv_admin_api::{
    Capability, Fingerprints, Phase, ShardStatus, TokenHealth, VaultClient, VaultError, VaultStatus,
    VaultToken,
};

/// A client for the vault of `region` in the pod at `address`.
pub(crate) fn client(
    region: &str,
    address: IpAddr,
    identity: Arc<Identity>,
) -> Result<VaultClient, VaultError> {
    VaultClient::new(region, SocketAddr::new(address, ADMIN), identity)
}
