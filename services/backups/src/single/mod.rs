//! A backup in one file, or through a pipe: head, objects, manifest, in one run. It has no seed and no ledger, so the backup key alone opens it, and it is never judged a
//! rollback.
//!
//! `head ‖ frame…`, a frame is `name (16) ‖ length (u32) ‖ object`. The objects and their names are those that a writer's folder would have, with the generation's id for
//! the writer. A frame's head is not authenticated. It only says where an object lies, as a name at a destination does. The last frame is the manifest.

mod read;
mod write;

pub use read::{Look, Opened, SingleFile, is_single, look, open, spool};
pub use write::write;

/// Name and length in front of an object.
const FRAME_HEAD: usize = 16 + 4;

/// The number at the end of an object's path.
fn number(path: &str) -> Option<u128> {
    path.rsplit('/').next().and_then(|name| u128::from_str_radix(name, 16).ok())
}
