//! *Anchor*: a value in the token that shows at a start that the store is the one of the last orderly stop, and no older copy. With it a vault serves again although
//! another region is away. Without it the vault asks the others what they have seen of it (`bkv_core::join`).
//!
//! The last write of an orderly stop puts random bytes into the store. The anchor is a hash of them and of each shard's vote, log end and applied end. A start destroys
//! the anchor before the vault joins, so it proves one start, and a copy of the store from between the two proves nothing later.

use bkv_core::hash::tagged;
use bkv_hsm::{Token, TokenError};
use prost::Message as _;

use crate::env::Random;
use crate::raft::types::{ballot, log_id_out};
use crate::replica::{Ended, Node};
use crate::store::StoreError;

/// The row with the random bytes.
const ROW: &str = "anchor";
const LABEL: &str = "bkv/anchor/1";

/// Why a stop leaves no anchor, or a start can't use one.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The token failed, or its module stores no data objects.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Leaves an anchor after a shutdown, if it may vouch for the store. Nothing may write to the store after it. False if none is left.
///
/// A shard that still had to show that its disk is the newest would otherwise be proven by a restart.
pub async fn leave(
    node: &Node,
    token: &Token,
    random: &dyn Random,
    ended: Ended,
) -> Result<bool, AnchorError> {
    if !(ended.in_order && ended.proven) {
        return Ok(false);
    }
    let bytes = random.bytes::<32>();
    node.put_secret(ROW, bytes.to_vec()).await?;
    token.anchor_put(value(node, &bytes)).await?;
    Ok(true)
}

/// Takes the anchor before the first admission list is in force, and lets the shards join by it if it fits the store. An error means that the anchor may still be
/// in the token. Then the vault must not run: after it, an older copy of the store would fit. Where the configuration turns anchors off, it is destroyed all the same, and
/// proves nothing.
pub async fn take(node: &Node, token: &Token, anchors: bool) -> Result<bool, AnchorError> {
    let Some(anchor) = token.anchor_take().await? else { return Ok(false) };
    if !anchors {
        return Ok(false);
    }
    let fits = node.secret(ROW)?.is_some_and(|bytes| value(node, &bytes) == anchor);
    if fits {
        node.set_anchored();
    } else {
        tracing::warn!("the store is not the one of the last orderly stop: the other vaults are asked");
    }
    Ok(fits)
}

fn value(node: &Node, bytes: &[u8]) -> [u8; 32] {
    let mut heads = Vec::new();
    for replica in node.replicas() {
        let state = replica.state();
        let (last, applied) = (state.log().last(), state.applied_end());
        // Without the flag that it is committed, because a start drops that.
        let vote = ballot(state.log().vote().as_ref());
        heads.push([vote.term.to_be_bytes(), vote.node.0.to_be_bytes()].concat());
        heads.push(
            last.map(|(id, chain)| [log_id_out(&id).encode_to_vec(), chain.0.to_vec()].concat())
                .unwrap_or_default(),
        );
        heads.push(
            applied
                .map(|(index, chain)| [index.to_be_bytes().to_vec(), chain.0.to_vec()].concat())
                .unwrap_or_default(),
        );
    }
    let fields: Vec<&[u8]> = std::iter::once(bytes).chain(heads.iter().map(Vec::as_slice)).collect();
    tagged(LABEL, &fields).0
}
