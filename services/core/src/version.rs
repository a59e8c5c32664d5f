//! Versions of the replicated state: how entries are encoded, and what commands do.
//!
//! The version in force is a part of each shard's state. A [`crate::command::Raise`] puts the next one in force, signed by every region of the list. Before that no
//! entry has a newer version, so every vault may go back to its old program. A program applies an entry only if it can apply the version in force there. Otherwise two
//! replicas could apply one entry by different rules.

use crate::batch::Batch;
use crate::command::{Command, VERSION};
use crate::outcome::Refusal;
use crate::shard::Shard;

/// The versions that a program can apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest. A new fleet begins with it.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Versions {
    /// Those of this program.
    pub const OF_THIS_PROGRAM: Self = Self { oldest: VERSION, newest: VERSION };

    /// True if the program can apply this version.
    pub const fn contains(self, version: u32) -> bool {
        self.oldest <= version && version <= self.newest
    }

    /// The text that this program can't apply a version, and what to do.
    pub fn cannot(self, version: u32) -> String {
        let Self { oldest, newest } = self;
        let known = if oldest == newest { oldest.to_string() } else { format!("{oldest} to {newest}") };
        let run = if version > newest { "the newer program" } else { "a program that can apply both" };
        format!("version {version} of the state, but this program can apply version {known}: run {run}")
    }
}

impl Shard {
    /// The version in force. None before `Init`.
    pub fn version(&self) -> Option<u32> {
        self.fleet.as_ref().map(|f| f.version)
    }

    /// True if an entry of this version takes effect. Every other entry does nothing, and a program need not decode it. A new leader may have made it before it had applied a raise in
    /// its log.
    pub fn takes(&self, version: u32) -> bool {
        self.version().is_none_or(|in_force| version == in_force)
    }

    /// Why no command of an entry takes effect: another version is in force, it has a Raise beside other commands, or it begins a shard with another version than its own. A program
    /// that can't apply the raised version stops behind the Raise, and could not stop within an entry.
    pub fn refuses(&self, batch: &Batch) -> Option<Refusal> {
        let raises = batch.commands.iter().any(|c| matches!(c, Command::Raise(_)));
        let other = |c: &Command| matches!(c, Command::Init(init) if init.version != batch.version);
        let refuses = !self.takes(batch.version)
            || (raises && batch.commands.len() > 1)
            || batch.commands.iter().any(other);
        refuses.then_some(Refusal::Version)
    }
}
