//! Stage: decide. Makes a fleet, and keeps its two documents in force. [`next`] gathers the facts, and [`next_actions()`]
//! is a function from facts to the next actions and waits. Every action can be
//! repeated, and each pass decides again from what the cluster and the vaults hold, so a crash at any point loses nothing.
//!
//! The operator must never make a second set of keys over an existing fleet: people could no longer open their backups.
//!
//! All files are pure.

mod decision;
mod documents;
mod facts;
mod next_actions;
mod silence;

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod next_actions_test;
#[cfg(test)]
mod parser_test;

pub(crate) use decision::{Action, Decision, Verdict};

use bkv_admin_api::draft::PolicyWish;
use bkv_core::document::JwksSource as SignedJwks;
use bkv_core::id::{Slot, Time};

use crate::api_server::WorkloadSeen;
use crate::conditions::{Check, Trouble};
use crate::journal::{Journal, Pinned};
use crate::observe::Observed;
use crate::plan::Planner;
use crate::validate::{Fleet, JwksSource, RootCustody};
use crate::vaults::Answers;
use facts::{Custody, Facts};
use next_actions::next_actions;

/// Returns the journal if it can be trusted, and the decision. `new_id`: the id that a new fleet would get. `at`: milliseconds since the epoch.
pub(crate) fn next(
    planner: &Planner<'_>,
    o: &Observed,
    answers: &Answers,
    new_id: String,
    at: i64,
) -> (Option<Journal>, Decision) {
    let (fleet, settings) = (planner.fleet, planner.settings);
    let journal = match &o.journal {
        Ok(journal) => journal.clone(),
        Err(e) => {
            let wait = Trouble {
                check: Check::JournalUnreadable,
                target: fleet.names().journal(),
                message: format!("{e}; restore it from a backup: guessing could make new keys over old ones"),
            };
            let halt = Decision { actions: Vec::new(), waits: vec![wait], verdict: Verdict::Contradiction };
            return (None, halt);
        }
    };
    if let Some(halt) = journal.as_ref().and_then(|j| journal_changed(planner, o, j)) {
        return (None, halt);
    }
    let facts = Facts {
        custody: custody(fleet),
        regions: fleet.regions.iter().map(|r| (Slot(r.slot), r.name.to_string())).collect(),
        wish: wish(fleet, o.jwks.as_deref()),
        pinned: Pinned {
            vault_image: fleet
                .images
                .vault
                .as_ref()
                .map_or_else(|| settings.vault_image.clone(), ToString::to_string),
            copier_image: settings.copier_image.clone(),
            pull_policy: fleet.images.pull_policy.unwrap_or(settings.pull_policy),
        },
        journal: journal.clone(),
        remains: !o.sets.is_empty() || !o.claims.is_empty(),
        new_id,
        root: o.root.clone(),
        given_root: o.given_root.clone(),
        documents: o.documents.clone(),
        given: o.given.clone(),
        requested: !o.request.is_empty(),
        vaults: answers.vaults.clone(),
        silent: answers.silent.clone(),
        now: Time(u64::try_from(at).unwrap_or(0)),
    };
    (journal, next_actions(&facts))
}

/// Detects an edited journal. The journal pins the vaults' image, and an attacker could edit its ConfigMap to choose another image. So this function
/// compares the journal with the running StatefulSets. If only a StatefulSet's image was edited, its template hash still fits the journal, and the pass
/// repairs it like any other drift.
fn journal_changed(planner: &Planner<'_>, o: &Observed, journal: &Journal) -> Option<Decision> {
    let image = &journal.pinned.vault_image;
    let others: Vec<_> =
        o.sets.iter().filter(|(_, s)| s.image.as_ref().is_some_and(|i| i != image)).collect();
    if others.is_empty() {
        return None;
    }
    let planned = planner.plan(journal);
    let of_another = |(region, set): &(&String, &WorkloadSeen)| {
        set.template_hash.is_none() || set.template_hash != planned.template_hash(planner.fleet, region)
    };
    let (region, set) = others.into_iter().find(of_another)?;
    let other = set.image.as_deref().unwrap_or_default();
    let message = format!(
        "the vault of {region} runs {other}, but the journal names {image}: somebody has edited the ConfigMap; restore it"
    );
    let waits = vec![Trouble { check: Check::JournalChanged, target: region.clone(), message }];
    Some(Decision { actions: Vec::new(), waits, verdict: Verdict::Contradiction })
}

fn wish(fleet: &Fleet, keys: Option<&str>) -> Option<PolicyWish> {
    let auth = &fleet.client_auth;
    let jwks = match &auth.jwks {
        JwksSource::Url { url, .. } => SignedJwks::Url(url.clone()),
        JwksSource::ConfigMap(_) => SignedJwks::Inline(keys?.to_owned()),
    };
    Some(PolicyWish {
        issuer: auth.issuer.clone(),
        vault_audience: auth.vault_audience.clone(),
        chatd_audience: auth.chatd_audience.clone(),
        jwks,
        enrolment_claim: auth.enrolment_claim.clone(),
        max: fleet.attempts.max,
        lifetime_failures: fleet.attempts.lifetime_failures,
        waits_ms: fleet.attempts.waits.clone(),
        token_max_age_ms: auth.token_max_age_ms,
        bound_tokens: auth.bound_tokens,
        shards: fleet.shards,
        development: false,
    })
}

const fn custody(fleet: &Fleet) -> Custody {
    match fleet.root {
        RootCustody::InFleet => Custody::InFleet,
        RootCustody::Offline { .. } => Custody::Offline,
    }
}
