//! The format of a backup: the key that a person can write down, the file header, the encrypted stream, the archive in it.
//!
//! Nothing here uses a network. All functions are synchronous and take `std::io` readers and writers. A file is
//! `header ‖ Tink AES256-GCM-HKDF stream ‖ end mark`. The header is public and bound to the stream.
#![forbid(unsafe_code)]

pub mod archive;
mod decrypt;
mod encrypt;
mod error;
mod file;
pub mod header;
pub mod key;
mod pipeline;
mod progress;
mod segment;

pub use decrypt::{Decryptor, copy_decrypt};
pub use encrypt::{Encryptor, copy_encrypt};
pub use error::{Error, Result};
pub use file::{BackupReader, BackupWriter, END_MARK_LEN};
pub use header::{Compression, Content, Expect, Header, Inspected, Known, Manifest, inspect};
pub use key::{BackupKey, KeyError};
pub use progress::{Cancel, Control, Progress};
pub use segment::{DEFAULT_SEGMENT, Options, StreamKey};
