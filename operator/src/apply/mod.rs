//! Carries out a plan: server-side apply of what differs, under one field manager, and deletion of what is no longer planned. The operator neither adopts
//! nor overwrites a foreign object.

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
