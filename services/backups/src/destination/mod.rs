//! Where objects are kept. A destination only stores bytes under names: it is never trusted with more.

mod folder;
mod patient;

use std::ops::{ControlFlow, Range};

pub use folder::LocalFolder;
pub(crate) use folder::fault;
pub use patient::Patient;

/// Why an operation failed. The text ends with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No object of this name.
    #[error("it is not there")]
    NotFound,
    /// Another object has this name.
    #[error("an object of this name is there already; run the command again, which takes new names")]
    Exists,
    /// No room, or a quota is reached.
    #[error("no room is left; free some space or raise the quota, then run the command again")]
    Full,
    /// The credentials do not allow it.
    #[error("access is denied ({0}); check the credentials and their permissions")]
    Denied(String),
    /// It did not answer.
    #[error("it does not answer ({0}); check the network, then run the command again")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// One stored copy of a name. Some services keep several objects of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Length in bytes.
    pub length: u64,
    /// When it was written, by the destination's clock, in milliseconds since 1970. None if the service does not tell.
    pub modified_ms: Option<i64>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name, from the destination's root.
    pub name: String,
    /// Length and time.
    pub meta: Meta,
}

/// Objects under names with slashes. Calls come from several threads. Backing up never calls [`Destination::delete`].
pub trait Destination: Send + Sync {
    /// Writes a new object and returns when it is durable. It must not replace an object of that name: it returns [`Fault::Exists`] instead, or keeps both.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault>;
    /// Reads a range of the copy with this number, from 0. The result is shorter if the object ends before the range does.
    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> Result<Vec<u8>, Fault>;
    /// The copies of a name. Empty if there is none.
    fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault>;
    /// All objects below a folder, in any order. A folder that does not exist is empty. It may lag, and may show an object twice.
    fn list(&self, folder: &str, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Fault>;
    /// Names of the folders directly below a folder. An empty name is the root.
    fn folders(&self, folder: &str) -> Result<Vec<String>, Fault>;
    /// Deletes all copies. A name that is not there is no error.
    fn delete(&self, name: &str) -> Result<(), Fault>;
}
