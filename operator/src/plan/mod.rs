//! Turns a [`Fleet`] into Kubernetes objects. It is pure and cannot fail: the same input gives the same objects, byte for byte. Secrets with key
//! material are not planned. The stages certificates and credentials make them, and the planned objects name them.
//!
//! The pod template of a vault depends on the spec and on what the journal pinned, and on nothing else: a new operator must not restart vaults.

mod certificates;
mod chatd;
mod embedded;
mod hash;
mod input;
mod monitoring;
mod needed;
mod network;
mod object;
mod planner;
mod pod;
mod postgres;
mod root;
mod service;
mod vault;

#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod parser_test;
#[cfg(test)]
mod plan_test;
#[cfg(test)]
mod restricted_test;
#[cfg(test)]
mod rules_test;
#[cfg(test)]
mod samples_test;
#[cfg(test)]
mod specs_test;

pub use embedded::{Embedded, EmbeddedError};
pub use input::{Content, Input, Settings};
pub use needed::{Needed, needed};
pub use object::Object;
pub(crate) use planner::{Planned, Planner, template_hash};
pub(crate) use vault::{ADMIN, HEALTH};
pub use vault::{PinRequest, pins};

/// All objects of the fleet, in the order in which they are to be applied.
///
/// ChatD is planned only after the fleet is initialised, because it could not serve before. The database may start at once, because it takes longest.
pub fn objects(input: &Input<'_>) -> Vec<Object> {
    let mut all: Vec<Object> = Vec::new();
    all.extend(root::config_map(input));
    for region in &input.fleet.regions {
        all.extend(vault::objects(input, region));
    }
    all.extend(vault::budget(input));
    all.extend(postgres::objects(input));
    if input.initialised {
        all.extend(chatd::objects(input));
    }
    all.extend(network::objects(input));
    all.extend(monitoring::objects(input));
    all.extend(certificates::objects(input));
    all.sort_by(|a, b| (a.wave(), a.kind.name(), &a.name).cmp(&(b.wave(), b.kind.name(), &b.name)));
    all
}
