//! Carries a plan out: server-side apply of what differs, under one field manager; deletion of what is no longer planned; nothing else. An object that
//! is not ours is neither adopted nor overwritten.

mod object;
mod seen;
mod target;

pub use object::SeenObject;
pub use seen::{Absence, Key, Seen};
pub use target::{Applier, ApplyError, Owner, Wanted};
