//! Turns a resource into a [`Fleet`], or into the list of everything that is wrong with it. Repeats the checks of CEL: a resource that an older CRD let through
//! must neither crash nor mislead later stages. Pure: no I/O, no clock.

mod attempts;
mod chatd;
mod client_auth;
mod fleet;
mod hsm;
mod images;
mod metadata;
mod monitoring;
mod names;
mod network;
mod note;
mod object_names;
mod period;
mod pkcs11;
mod postgres;
mod quantity;
mod references;
mod refusal;
mod regions;
mod resources;
mod root;
mod tls;
mod url;

#[cfg(test)]
mod parser_test;
#[cfg(test)]
mod validate_test;

pub use attempts::Attempts;
pub use chatd::{Chatd, Expose, Parent, Scaling};
pub use client_auth::{ClientAuth, JwksSource};
pub use fleet::Fleet;
pub use hsm::{Hsm, Pin};
pub use images::Images;
pub use monitoring::Monitoring;
pub use names::{FleetName, HostName, Image, RegionName};
pub use note::Note;
pub use object_names::ObjectNames;
pub use pkcs11::{ModuleFile, Pkcs11};
pub use postgres::Postgres;
pub use quantity::Quantity;
pub use references::KeyOf;
pub use refusal::Refusal;
pub use regions::Region;
pub use resources::{Resources, Volume};
pub use root::RootCustody;
pub use tls::Tls;

use crate::resource::BackupKeyVault;
pub use crate::resource::{LibraryDelivery, PullPolicy, ServiceType};
use refusal::Refusals;

/// Checks every field, and returns all refusals at once.
pub fn validate(resource: &BackupKeyVault) -> Result<Fleet, Vec<Refusal>> {
    let mut refusals = Refusals::default();
    match fleet::fleet(resource, &mut refusals) {
        Some(fleet) if refusals.is_empty() => Ok(fleet),
        _ => Err(refusals.into_list()),
    }
}
