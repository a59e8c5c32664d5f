//! Carries a plan out: server-side apply of what differs, under one field manager; deletion of what is no longer planned; nothing else. An object that
//! is not ours is neither adopted nor overwritten.

mod absence;
mod object;
mod seen;
mod target;
mod watch;

pub use absence::Absence;
pub use object::SeenObject;
pub use seen::{Applied, Children, Key, Seen};
pub use target::{Applier, ApplyError, Owner, Wanted};
pub use watch::{Changed, watch};
