//! Reads the seized data, one value for each region, so that the arguments of an attack show which regions' secrets it has.

use std::path::PathBuf;
use std::sync::OnceLock;

use bkv_config::vault::Config;
use bkv_core::account::Account;
use bkv_core::command::Command;
use bkv_core::id::{AccountId, Ordinal, Slot};
use bkv_core::statement;
use bkv_crypto::toprf::{self, Commitments, Evaluation, Share};
use bkv_vault::forensics::Seized;

/// Names the folder of all that was seized, in the attacker's environment.
pub(crate) const VARIABLE: &str = "BKV_SEIZED";
/// The regions of `bkv dev`, in the order of their slots.
pub(crate) const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const ISSUER: &str = "https://issuer.bkv.localhost";

pub(crate) fn dir() -> PathBuf {
    std::env::var_os(VARIABLE).expect("set by the process that seized the fleet").into()
}

/// When a fleet was seized.
#[derive(Clone, Copy)]
pub(crate) enum Moment {
    /// Every key lives.
    Before,
    /// Bob's key is exhausted, carol's replaced, dave's deleted.
    After,
}

pub(crate) fn config(moment: Moment, region: &str) -> Config {
    let folder = match moment {
        Moment::Before => "before",
        Moment::After => "after",
    };
    Config::read(&dir().join(folder).join("regions").join(region).join("vault.toml")).unwrap()
}

fn open(moment: Moment) -> Vec<Seized> {
    REGIONS.map(|r| Seized::open(&config(moment, r)).unwrap()).into()
}

/// All three vaults before keys ended, opened once.
pub(crate) fn vaults() -> &'static [Seized] {
    static ALL: OnceLock<Vec<Seized>> = OnceLock::new();
    ALL.get_or_init(|| open(Moment::Before))
}

/// All three vaults after keys ended, opened once.
pub(crate) fn vaults_after() -> &'static [Seized] {
    static ALL: OnceLock<Vec<Seized>> = OnceLock::new();
    ALL.get_or_init(|| open(Moment::After))
}

/// An account as a vault has it, with its shard.
pub(crate) fn account(vault: &Seized, subject: &str) -> (u16, AccountId, Account) {
    let route = statement::route(ISSUER, subject);
    vault.accounts().unwrap().into_iter().find(|(_, _, a)| a.route == route).unwrap()
}

/// A region's own share of an account's live key.
pub(crate) fn share(vault: &Seized, subject: &str) -> Share {
    let (shard, id, account) = account(vault, subject);
    let secrets = vault.secrets(shard, &id, &account.live.unwrap().record).unwrap();
    secrets.share.expect("the region has its share")
}

/// An attempt as the log records it.
pub(crate) struct Attempt {
    pub(crate) statement: statement::Attempt,
    pub(crate) seed: [u8; 32],
}

/// All attempts at an account's live key, from a vault's log.
pub(crate) fn attempts(vault: &Seized, subject: &str) -> Vec<Attempt> {
    let (shard, id, account) = account(vault, subject);
    let live = account.live.unwrap();
    let mut found: Vec<Attempt> = Vec::new();
    let mut success = Ordinal(0);
    for command in vault.log(shard).unwrap().into_iter().flat_map(|b| b.commands) {
        match command {
            Command::Begin(b) if b.account == id && b.ordinal.0 == found.len() as u64 + 1 => {
                found.push(Attempt {
                    seed: *b.seed.expose(),
                    statement: statement::Attempt {
                        lineage: live.record.lineage,
                        era: live.record.era,
                        account: id,
                        generation: b.generation,
                        ordinal: b.ordinal,
                        success,
                        attempt: b.attempt,
                        blinded: b.blinded,
                        record: live.hash,
                        commitments: live.record.commitments.clone(),
                        ksf: live.record.ksf,
                        budget: live.record.attempts.max,
                        right: live.record.right,
                    },
                });
            }
            Command::Finish(f) if f.account == id => {
                success = found.iter().find(|a| a.statement.attempt == f.attempt).unwrap().statement.ordinal;
            }
            _ => {}
        }
    }
    found
}

/// What a region sent to the leader for an attempt, byte for byte: evaluations follow from share, seed and statement alone.
pub(crate) fn evaluation(of: &Seized, subject: &str, attempt: &Attempt) -> (Slot, Evaluation) {
    let slot = of.slot().unwrap();
    let (share, s) = (share(of, subject), &attempt.statement);
    let public = commitments(s).public_share(slot).unwrap();
    let context = statement::proof_context(s, slot);
    (slot, toprf::evaluate(&share, &public, slot, &attempt.seed, &context.0, &s.blinded).unwrap())
}

pub(crate) fn commitments(s: &statement::Attempt) -> Commitments {
    Commitments::parse(&s.commitments).unwrap()
}
