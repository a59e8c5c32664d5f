//! Names of things that others make: objects, their keys, images, hosts.

use std::collections::BTreeSet;

use super::names::{self, HostName, Image};
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::resource::KeyReference;

/// A key in a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOf {
    /// The object's name.
    pub name: String,
    /// The key.
    pub key: String,
}

/// An object's name.
pub(super) fn object(name: &str, field: &str, refusals: &mut Refusals) {
    refusals.want(
        names::object_name(name),
        field,
        Reason::InvalidName,
        "must be an object's name: lower case letters, digits, '-' and '.', at most 253",
    );
}

pub(super) fn key_of(reference: &KeyReference, default: &str, field: &str, refusals: &mut Refusals) -> KeyOf {
    key(&reference.name, reference.key_or(default), field, refusals)
}

pub(super) fn key(name: &str, key: &str, field: &str, refusals: &mut Refusals) -> KeyOf {
    object(name, &format!("{field}.name"), refusals);
    refusals.want(
        names::data_key(key),
        &format!("{field}.key"),
        Reason::InvalidName,
        "must be a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.'",
    );
    KeyOf { name: name.to_owned(), key: key.to_owned() }
}

pub(super) fn image(reference: &str, field: &str, refusals: &mut Refusals) -> Option<Image> {
    Image::new(reference).or_else(|| {
        refusals.refuse(
            field,
            Reason::InvalidValue,
            format!("{reference:?} is not an image: write registry/name:tag or registry/name@sha256:…"),
        )
    })
}

pub(super) fn host(name: &str, field: &str, refusals: &mut Refusals) -> Option<HostName> {
    HostName::new(name).or_else(|| {
        let message = format!("{name:?} is not a DNS name: write it as chat.example.org, without scheme, port or capitals; an IP address is not possible");
        refusals.refuse(field, Reason::InvalidName, message)
    })
}

pub(super) fn hosts(given: &[String], field: &str, refusals: &mut Refusals) -> Vec<HostName> {
    refusals.range(field, given.len(), (0, 8));
    // Drop duplicates: the API server treats the list as a set and would refuse a duplicate.
    let mut seen = BTreeSet::new();
    let unique = given.iter().enumerate().filter(|(_, name)| seen.insert(name.as_str()));
    unique.filter_map(|(i, name)| host(name, &format!("{field}[{i}]"), refusals)).collect()
}
