//! Decides what a fleet needs next, while it is made and afterwards.

use bkv_core::id::Slot;
use bkv_wire::documents::{Kind, Root};

use super::decision::{Action, Decision, Verdict};
use super::documents::{Documents, documents};
use super::facts::{Custody, Facts};
use super::silence::unanswered;
use crate::conditions::{Check, Trouble};
use crate::journal::{Journal, JournalStage};
use crate::vaults::{Phase, Vault};

fn only(action: Action, step: &'static str) -> Decision {
    Decision { actions: vec![action], waits: Vec::new(), verdict: Verdict::Bootstrapping(step) }
}

fn waiting(waits: Vec<Trouble>, step: &'static str) -> Decision {
    Decision { actions: Vec::new(), waits, verdict: Verdict::Bootstrapping(step) }
}

fn halted(verdict: Verdict, check: Check, target: &str, message: String) -> Decision {
    let wait = Trouble { check, target: target.to_owned(), message };
    Decision { actions: Vec::new(), waits: vec![wait], verdict }
}

/// The next actions.
pub(super) fn next_actions(f: &Facts) -> Decision {
    let Some(journal) = &f.journal else { return begin(f) };
    let decision = next(f, journal);
    match decision.verdict {
        // Repair steps such as publishing the root again must not show an initialised fleet as Bootstrapping.
        Verdict::Bootstrapping(_) if journal.stage == JournalStage::Initialised => {
            Decision { verdict: Verdict::Made, ..decision }
        }
        _ => decision,
    }
}

fn next(f: &Facts, journal: &Journal) -> Decision {
    if let Some((region, id)) = stranger(f, journal) {
        let why = format!(
            "this vault belongs to fleet {id}, but the journal names {}: its volumes are another fleet's. Give the vault its own volumes back",
            journal.fleet
        );
        return halted(Verdict::Contradiction, Check::ForeignFleet, region, why);
    }
    if journal.stage == JournalStage::Initialised
        && f.regions.iter().all(|(_, r)| f.vaults.get(r).is_some_and(|v| v.status.fleet.is_none()))
    {
        let why = format!(
            "fleet {} was made, and no vault knows it any more: its volumes are gone. Restore the volumes. The operator makes no new keys over a lost fleet",
            journal.fleet
        );
        return halted(Verdict::Lost, Check::FleetLost, &journal.fleet, why);
    }
    let Some(bytes) = &f.root else { return publish_root(f, journal) };
    let root = match Root::decode(bytes) {
        Ok(root) if hex::encode(root.fleet.0) == journal.fleet => root,
        Ok(root) => {
            let why = format!(
                "the published root belongs to fleet {}, but the journal names {}: somebody has replaced one of the two ConfigMaps; restore it",
                hex::encode(root.fleet.0),
                journal.fleet
            );
            return halted(Verdict::Contradiction, Check::RootMismatch, &journal.fleet, why);
        }
        Err(e) => {
            return halted(
                Verdict::Contradiction,
                Check::RootMismatch,
                &journal.fleet,
                format!("the published root does not parse: {e}; restore the ConfigMap"),
            );
        }
    };
    match documents(f, journal, &root) {
        Documents::Incomplete(d) => d,
        Documents::Current { admission, policy, members, mut actions, waits } => {
            let current = [(Kind::Admission, admission), (Kind::Policy, policy)];
            for (_, region) in &members {
                if let Some(vault) = f.vaults.get(region) {
                    install(&mut actions, region, vault, &current);
                }
            }
            carry_on(f, journal, actions, waits, &members)
        }
    }
}

/// Without a journal: a new fleet, or one whose journal was deleted.
fn begin(f: &Facts) -> Decision {
    let Some((_, first)) = f.regions.first() else { return waiting(Vec::new(), "Journal") };
    let new = |fleet: String, seed: &str, stage| {
        let journal = Journal { fleet, seed: seed.to_owned(), pinned: f.pinned.clone(), stage };
        only(Action::WriteJournal(journal), "Journal")
    };
    // Vaults still know a fleet whose journal was deleted. A published root proves that there was one. A vault that reports no id of a fleet lies: the
    // operator could not read a journal with it.
    let mut known = f.vaults.values().filter_map(|v| v.status.fleet.clone());
    if let Some(fleet) = known.find(|id| Journal::is_fleet_id(id)) {
        return new(fleet, f.holder().unwrap_or(first), JournalStage::Initialised);
    }
    if let Some(root) = f.root.as_ref().and_then(|b| Root::decode(b).ok()) {
        return new(hex::encode(root.fleet.0), f.holder().unwrap_or(first), JournalStage::Initialising);
    }
    if f.remains {
        let why = "volumes or workloads of an earlier fleet of this name exist, but its journal does not: restore the ConfigMap, or delete them if nobody needs a key in them";
        return halted(Verdict::Contradiction, Check::JournalGone, "journal", why.into());
    }
    match (f.custody, &f.given_root) {
        (Custody::InFleet, _) => new(f.new_id.clone(), first, JournalStage::Begun),
        (Custody::Offline, given) => match given.as_ref().map(|b| Root::decode(b)) {
            Some(Ok(root)) => new(hex::encode(root.fleet.0), first, JournalStage::Begun),
            other => {
                let why = match other {
                    Some(Err(e)) => format!("that is no root file of `bkv ceremony root` (the public half): {e}"),
                    _ => "the public root file is missing: make it with `bkv ceremony root` off the cluster and put it into that ConfigMap".into(),
                };
                halted(
                    Verdict::AwaitingSignature,
                    Check::RootFile,
                    "fleet.root.offline.rootConfigMapRef",
                    why,
                )
            }
        },
    }
}

fn stranger<'a>(f: &'a Facts, journal: &Journal) -> Option<(&'a str, &'a str)> {
    f.vaults.iter().find_map(|(region, v)| {
        let id = v.status.fleet.as_deref()?;
        (id != journal.fleet).then_some((region.as_str(), id))
    })
}

fn publish_root(f: &Facts, journal: &Journal) -> Decision {
    match (f.custody, &f.given_root) {
        (Custody::Offline, Some(bytes)) => only(Action::PublishGivenRoot(bytes.clone()), "Root"),
        (Custody::Offline, None) => {
            let target = "fleet.root.offline.rootConfigMapRef".to_owned();
            waiting(
                vec![Trouble {
                    check: Check::RootFile,
                    target,
                    message: "the public root file is missing".into(),
                }],
                "Root",
            )
        }
        (Custody::InFleet, _) => {
            // Every vault of an initialised fleet has the public root. In a new fleet only the seed can make it.
            let made = f.vaults.iter().find(|(_, v)| v.status.fleet.is_some()).map(|(r, _)| r);
            let source = if f.stage(journal) == JournalStage::Begun { Some(&journal.seed) } else { made };
            match source.filter(|r| f.vaults.contains_key(*r)) {
                Some(region) => only(Action::PublishRoot { region: region.clone() }, "Root"),
                None => waiting(vec![unanswered(f, &journal.seed)], "Root"),
            }
        }
    }
}

fn install(actions: &mut Vec<Action>, region: &str, vault: &Vault, current: &[(Kind, (u64, &Vec<u8>)); 2]) {
    for (kind, (number, signed)) in current {
        let has = match kind {
            Kind::Admission => vault.status.admission,
            Kind::Policy => vault.status.policy,
        };
        if has.is_none_or(|n| n < *number) {
            actions.push(Action::Install {
                region: region.to_owned(),
                kind: *kind,
                signed: (*signed).clone(),
            });
        }
    }
}

/// Once both documents are signed: initialises the fleet, hands the root to members without it, and waits for the vaults that are late.
fn carry_on(
    f: &Facts,
    journal: &Journal,
    mut actions: Vec<Action>,
    mut waits: Vec<Trouble>,
    members: &[(Slot, String)],
) -> Decision {
    let made = journal.stage == JournalStage::Initialised;
    for (_, region) in &f.regions {
        match f.vaults.get(region) {
            None => waits.push(unanswered(f, region)),
            Some(v) if !v.status.ready && made => {
                let message = not_ready(region, v, f.regions.len() / 2 + 1);
                waits.push(Trouble { check: Check::VaultNotReady, target: region.clone(), message });
            }
            Some(v) if v.status.refuses_tokens() && made => {
                let message = format!(
                    "the vault of {region} has no issuer's keys younger than a day, so it refuses every token. Check the URL of clientAuth.jwks and whether pods can reach it; the vault's log has the error"
                );
                waits.push(Trouble { check: Check::IssuerKeysAway, target: region.clone(), message });
            }
            Some(_) => {}
        }
    }
    let knows = |v: &Vault| v.status.fleet.as_deref() == Some(&journal.fleet);
    if made && !f.vaults.values().any(knows) {
        let message = "no vault that answers knows the fleet. Bring back the vaults that do not answer, before anything else".into();
        waits.push(Trouble { check: Check::FleetUnconfirmed, target: journal.fleet.clone(), message });
    }
    let step = match journal.stage {
        JournalStage::Initialised => {
            if f.custody == Custody::InFleet {
                actions.extend(hand_over(f, members));
            }
            return Decision { actions, waits, verdict: Verdict::Made };
        }
        // Wait until every vault has both documents: a voter without them would not know the others.
        _ if actions.iter().any(|a| *a != Action::WithdrawRequest) || f.vaults.len() < f.regions.len() => {
            "Documents"
        }
        JournalStage::Begun => {
            actions.push(Action::Advance(JournalStage::Initialising));
            "Initialise"
        }
        JournalStage::Initialising => {
            let known = f.vaults.values().any(|v| v.status.initialised && knows(v));
            actions.push(if known {
                Action::Advance(JournalStage::Initialised)
            } else {
                Action::Initialise { region: journal.seed.clone() }
            });
            "Initialise"
        }
    };
    Decision { actions, waits, verdict: Verdict::Bootstrapping(step) }
}

/// Why a vault is not ready. `majority` is the fleet's.
fn not_ready(region: &str, v: &Vault, majority: usize) -> String {
    let token = v.status.token_words();
    let Some(s) = v.status.shards.iter().find(|s| s.phase != Phase::Verified) else {
        return format!("the vault of {region} is not ready: token: {token}");
    };
    if let Phase::Joining(unheard) = &s.phase
        && !unheard.is_empty()
    {
        // A vault that restarts while another region is away ends up here.
        return format!(
            "the vault of {region} has restarted and can vote only after {majority} serving regions, or all others, confirm that its disk is the newest. Missing: {}. Bring them back: nothing else lets it vote (token: {token})",
            unheard.join(", ")
        );
    }
    format!("the vault of {region} is not ready: shard {} is {}; token: {token}", s.shard, s.phase.name())
}

/// Hands the private root to the members that obey the published root and lack it.
fn hand_over(f: &Facts, members: &[(Slot, String)]) -> Vec<Action> {
    let Some(from) = f.holder() else { return Vec::new() };
    let ours = f.vaults.get(from).and_then(|v| v.status.root.clone());
    let lacks = |region: &String| {
        let status = f.vaults.get(region).map(|v| &v.status);
        status.is_some_and(|s| !s.root_held && s.initialised && s.root == ours)
    };
    let needy = members.iter().filter(|(_, region)| lacks(region));
    needy.map(|(slot, to)| Action::HandRootOver { from: from.clone(), to: to.clone(), slot: *slot }).collect()
}
