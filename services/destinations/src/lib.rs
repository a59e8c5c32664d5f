//! Backups on a person's own S3 or WebDAV server: [`Cloud`] is a [`bkv_backups::Destination`] over OpenDAL.
//! An [`Address`] is what a person types. [`Settings`] is what it does not say: endpoint, region, where the credentials are.
#![forbid(unsafe_code)]

mod address;
mod answer;
mod bridge;
mod cloud;
mod credentials;
mod fault;
mod hrefs;
mod listing;
mod open;
mod settings;
mod tls;
mod transport;

pub use address::{Address, AddressError};
pub use cloud::Cloud;
pub use credentials::CredentialsError;
pub use open::{OpenError, open};
pub use settings::{Addressing, Environment, Settings};
