//! Carries a plan out: server-side apply of what differs, under one field manager; deletion of what is no longer planned; nothing else. An object that
//! is not ours is neither adopted nor overwritten.

mod object;
mod seen;
mod target;

pub use object::SeenObject;
pub use seen::{Key, Seen};
pub use target::{Applier, ApplyError, Owner, Wanted};

/// The field manager, and the value of the label `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "bkv-operator";
/// Label: which resource an object belongs to.
pub const VAULT_LABEL: &str = "bkv.dev/vault";
/// Label: who made it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Annotation: the hash of what was applied, so that a pass over an unchanged plan writes nothing, also after a restart.
pub const HASH: &str = "bkv.dev/applied-hash";
