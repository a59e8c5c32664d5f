//! The tree: the content of a folder's generation. Records in depth-first order, each with one name and no path.

mod path;
mod read;
mod record;
mod write;

pub use path::{Steps, TreePath};
pub(crate) use read::{Item, TreeReader};
pub use record::{Attributes, Entry, Extent, Kind, Place, Root, Time, Xattr};
pub(crate) use record::{MAX_EXTENTS, Pack, Record};
pub(crate) use write::TreeWriter;
