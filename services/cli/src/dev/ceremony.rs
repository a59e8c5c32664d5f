//! The ceremony of a local fleet: its root signs the vaults' admission list and the policy, and no person compares fingerprints.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use bkv_admin_api::VaultClient;
use bkv_admin_api::draft;
use bkv_core::id::{Slot, Time};
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, unsigned, write_admission, write_policy};
use futures_util::future::join_all;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::admin::patiently;
use super::layout::Layout;
use super::policy::policy;
use crate::exit::{Exit, Failure, Outcome};

/// Signs both documents, installs them at every vault, and initialises the shards at the first.
pub(super) async fn ceremony(layout: &Layout, until: Instant) -> Outcome {
    let unexpected = |e: &dyn std::fmt::Display| Failure::new(Exit::Unexpected, e.to_string());
    let root = fs::read(layout.root()).map_err(|e| unexpected(&e))?;
    let root = Root::decode(&root).map_err(|e| unexpected(&e))?;
    let seed = Zeroizing::new(fs::read(layout.root_key()).map_err(|e| unexpected(&e))?);
    let seed: Zeroizing<[u8; 32]> =
        Zeroizing::new(seed.as_slice().try_into().map_err(|_| unexpected(&"root.key: length"))?);
    let key = RootKey::from_seed(&seed);
    let asked = layout.plan.regions.iter().map(|r| patiently(layout, r, until, VaultClient::token));
    let mut tokens = Vec::new();
    for (answer, slot) in join_all(asked).await.into_iter().zip(1u8..) {
        tokens.push((Slot(slot), answer?));
    }
    let tokens: Vec<_> = tokens.iter().map(|(slot, token)| (*slot, token)).collect();
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
    let list = draft::admission(&root, draft::members(&tokens), 1, Time(now));
    let jwks = fs::read_to_string(layout.jwks()).map_err(|e| unexpected(&e))?;
    let policy = policy(layout.plan.shards, &layout.plan.policy, &root, jwks, Time(now));
    let sign = |kind, body: Result<Vec<u8>, bkv_wire::documents::DocumentError>| {
        let body = body.map_err(|e| Failure::new(Exit::Config, e.to_string()))?;
        add_signature(kind, &unsigned(kind, body), &key).map_err(|e| unexpected(&e))
    };
    let (list, policy) =
        (sign(Kind::Admission, write_admission(&list))?, sign(Kind::Policy, write_policy(&policy))?);
    for region in &layout.plan.regions {
        for (kind, signed) in [(Kind::Admission, &list), (Kind::Policy, &policy)] {
            patiently(layout, region, until, async |c| c.install(kind, signed.clone()).await).await?;
        }
    }
    let seed = layout.plan.regions.first().ok_or_else(|| unexpected(&"no region"))?;
    patiently(layout, seed, until, VaultClient::init).await?;
    Ok(())
}
