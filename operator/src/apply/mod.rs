//! Carries out a plan: server-side apply of what differs, under one field manager, and deletion of what is no longer planned. The operator neither adopts
//! nor overwrites a foreign object.

mod applier;

pub(crate) use applier::{Applier, Owner, Wanted};
