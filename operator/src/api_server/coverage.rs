//! Which kinds the watches cover: those that were listed, that can't be listed, and that fail now.

use std::collections::{HashMap, HashSet};

use strum::VariantArray as _;

use super::absence::Absence;
use super::error::ObjectError;
use crate::kinds::Kind;

/// A kind in a watched namespace (empty: in all).
type Watched = (Kind, String);

/// Why a kind is not seen now.
struct Blind {
    why: String,
    forbidden: bool,
}

/// What is known of each kind.
#[derive(Default)]
pub(super) struct Coverage {
    /// Kinds that were listed once. The cluster knows them.
    listed: HashSet<Watched>,
    /// Kinds with one answer to a list, good or bad.
    tried: HashSet<Watched>,
    /// Kinds that can't be listed, and why.
    absent: HashMap<Watched, Absence>,
    /// Watches of children that fail now, and the error that a pass reports.
    blind: HashMap<Watched, Blind>,
}

impl Coverage {
    /// A list of the kind is complete.
    pub(super) fn listed(&mut self, kind: Kind, namespace: &str) {
        let watched = (kind, namespace.to_owned());
        self.absent.remove(&watched);
        self.blind.remove(&watched);
        self.tried.insert(watched.clone());
        self.listed.insert(watched);
    }

    /// The kind can't be watched now. Returns true if it is left out from now on.
    pub(super) fn failed(
        &mut self,
        kind: Kind,
        namespace: &str,
        absence: Option<Absence>,
        why: String,
    ) -> bool {
        let watched = (kind, namespace.to_owned());
        if kind.child() {
            let forbidden = absence == Some(Absence::Forbidden);
            self.blind.insert(watched.clone(), Blind { why, forbidden });
        }
        let left_out = absence.filter(|_| kind.optional());
        if let Some(why) = left_out {
            self.listed.remove(&watched);
            self.absent.insert(watched.clone(), why);
        }
        self.tried.insert(watched);
        left_out.is_some()
    }

    pub(super) fn knows(&self, kind: Kind) -> bool {
        self.listed.iter().any(|(k, _)| *k == kind)
    }

    pub(super) fn absence(&self, kind: Kind) -> Option<Absence> {
        let known = self.knows(kind);
        self.absent.iter().find(|((k, _), _)| *k == kind && !known).map(|(_, why)| *why)
    }

    /// An error while a child's kind can't be watched: its known state may be stale.
    pub(super) fn sees_children(&self, namespace: &str) -> Result<(), ObjectError> {
        let blind = self.blind.iter().find(|((_, place), _)| place.is_empty() || place == namespace);
        let Some(((kind, _), Blind { why, forbidden })) = blind else { return Ok(()) };
        Err(ObjectError::Unseen { kind: kind.name(), why: why.clone(), forbidden: *forbidden })
    }

    /// Every built-in kind was listed in each namespace, and every optional one had an answer.
    pub(super) fn is_complete(&self, namespaces: &[String]) -> bool {
        let mut pairs = Kind::VARIANTS.iter().flat_map(|k| namespaces.iter().map(move |n| (*k, n.clone())));
        pairs.all(|(k, n)| {
            let answered = if k.optional() { &self.tried } else { &self.listed };
            answered.contains(&(k, n))
        })
    }
}
