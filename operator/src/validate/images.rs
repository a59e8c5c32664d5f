//! Images that the resource names.

use super::names::Image;
use super::references::{image, object};
use super::refusal::Refusals;
use crate::resource::{self as spec, PullPolicy};

/// Images that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// The vault's.
    pub vault: Option<Image>,
    /// ChatD's.
    pub chatd: Option<Image>,
    /// Postgres'.
    pub postgres: Option<Image>,
    /// When they are pulled.
    pub pull_policy: Option<PullPolicy>,
    /// Secrets for pulling.
    pub pull_secrets: Vec<String>,
}

pub(super) fn images(given: &spec::Images, refusals: &mut Refusals) -> Images {
    let mut image = |reference: Option<&String>, field: &str| {
        image(reference?, &format!("spec.images.{field}"), refusals)
    };
    let (vault, chatd) = (image(given.vault.as_ref(), "vault"), image(given.chatd.as_ref(), "chatd"));
    let postgres = image(given.postgres.as_ref(), "postgres");
    refusals.range("spec.images.pullSecrets", given.pull_secrets.len(), (0, 8));
    let pull_secrets: Vec<String> = given.pull_secrets.iter().map(|s| s.name.clone()).collect();
    for (i, name) in pull_secrets.iter().enumerate() {
        object(name, &format!("spec.images.pullSecrets[{i}].name"), refusals);
    }
    Images { vault, chatd, postgres, pull_policy: given.pull_policy, pull_secrets }
}
