//! Messages, generated from `proto/`. Their fields are bytes from outside until a caller has turned them into core's types.
#![allow(missing_docs, clippy::pedantic, clippy::all)]

mod debug;

/// Messages between client and vault, inside the encrypted channel.
pub mod inner {
    include!(concat!(env!("OUT_DIR"), "/bkv.inner.v1.rs"));
}
/// Frames with opaque data between client, `ChatD` and vault.
pub mod outer {
    include!(concat!(env!("OUT_DIR"), "/bkv.outer.v1.rs"));
}
/// The documents that the root signs.
pub mod documents {
    include!(concat!(env!("OUT_DIR"), "/bkv.documents.v1.rs"));
}
/// Messages between vaults.
pub mod peer {
    include!(concat!(env!("OUT_DIR"), "/bkv.peer.v1.rs"));
}
