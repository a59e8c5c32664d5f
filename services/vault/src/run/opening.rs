//! Opens what a vault needs before it can run: its role certificate, its token, its store and its keys.

use std::sync::Arc;

use bkv_config::vault::{Config, MakeRoot};
use bkv_crypto::delivery::DeliveryKey;
use bkv_hsm::{Token, TokenError, VaultName};
use bkv_mtls::{Files, Identity, Role, RoleName};
use zeroize::Zeroizing;

use super::RunError;
use crate::pin::RefusedPin;
use crate::replica::{Env, Node};
use crate::root::{Custody, FirstStart, RootFile, establish};
use crate::store::{DataKeys, Store};
use crate::volume::make_room_to_start;

/// The number of the storage epoch. There is no rotation yet.
pub const EPOCH: u64 = 1;

/// Derives the store's data keys in the token.
pub struct TokenKeys(pub Token);

impl DataKeys for TokenKeys {
    fn data_key(&self, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        self.0.epoch_mac_blocking(EPOCH, info)
    }
}

/// The certificate for ChatD and administrators. Refuse a wrong role now, because both would refuse every connection of a vault with another name.
pub(super) fn role(config: &Config) -> Result<Arc<Identity>, RunError> {
    let files = Files {
        certificate: config.tls.cert.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
    };
    let identity = Identity::load(files)?;
    let needed = RoleName::new(Role::Vault, &config.region)?;
    if identity.name() != needed {
        let (path, found) = (config.tls.cert.display().to_string(), identity.name().to_uri());
        return Err(RunError::Role { path, found, needed: needed.to_uri() });
    }
    Ok(identity)
}

/// Connects to the token and makes the keys that it lacks. Offers no PIN that the token has refused before.
pub(super) async fn open_token(
    config: &Config,
    first: &FirstStart,
    makes_root: bool,
) -> Result<Token, RunError> {
    let name = VaultName::new(&config.region)?;
    let refused = RefusedPin::new(&config.data, &config.token.pin_file);
    if refused.is_known() {
        return Err(RunError::PinStillRefused(config.token.pin_file.clone()));
    }
    let settings = config.token.clone();
    let token = match tokio::task::spawn_blocking(move || Token::connect(&settings, &name)).await? {
        Err(e @ TokenError::PinRefused { .. }) => {
            refused.remember();
            return Err(e.into());
        }
        token => token?,
    };
    refused.forget();
    if makes_root && matches!(token.identity_spki().await, Err(TokenError::NotProvisioned { .. })) {
        first.note()?;
    }
    let ceremony = token.provision().await?;
    tracing::info!(made = ?ceremony.made, found = ?ceremony.found, "token keys");
    if !token.epochs().await?.contains(&EPOCH) {
        token.epoch_create(EPOCH).await?;
    }
    Ok(token)
}

/// Opens the store, and pins the root that the file holds or that this fleet makes.
pub(super) async fn open_store(
    config: &Config,
    token: &Token,
    env: &Env,
    root_file: RootFile,
    make_root: Option<MakeRoot>,
    first: &FirstStart,
) -> Result<(Store, Custody), RunError> {
    let keys: Arc<dyn DataKeys> = Arc::new(TokenKeys(token.clone()));
    make_room_to_start(&config.data, env.volumes.as_ref());
    let store = Store::open(&config.data, &keys, env.random.as_ref())?;
    let custody =
        establish(root_file, make_root.map(|m| m.fleet), &store, first, env.random.as_ref()).await?;
    if custody.root().development {
        tracing::warn!(
            "development root: its private key lies in the clear on a disk, so this fleet protects no account"
        );
    }
    Ok((store, custody))
}

/// The key to which shares are sealed. Made and stored at the first start.
pub async fn delivery_key(node: &Node) -> Result<DeliveryKey, RunError> {
    if let Some(kept) = node.secret("delivery")? {
        let kept = Zeroizing::new(kept);
        let bytes: Zeroizing<[u8; 32]> =
            Zeroizing::new(kept.as_slice().try_into().map_err(|_| RunError::DeliveryLength)?);
        return Ok(DeliveryKey::from_secret(&bytes)?);
    }
    let key = DeliveryKey::generate()?;
    node.put_secret("delivery", key.secret()?.to_vec()).await?;
    Ok(key)
}
