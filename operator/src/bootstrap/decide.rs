//! The decision.

use bkv_core::id::Slot;
use bkv_wire::documents::{Kind, Root};

use super::documents::{Documents, documents};
use super::facts::{Action, Custody, Decision, Facts, Vault, Verdict};
use crate::conditions::{Check, Trouble};
use crate::journal::{Journal, Stage};
use crate::vaults::Phase;

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
pub fn decide(f: &Facts) -> Decision {
    let Some(journal) = &f.journal else { return begin(f) };
    let decision = next(f, journal);
    match decision.verdict {
        // What is published anew over a fleet that is made does not unmake it.
        Verdict::Bootstrapping(_) if journal.stage == Stage::Initialised => {
            Decision { verdict: Verdict::Made, ..decision }
        }
        _ => decision,
    }
}

fn next(f: &Facts, journal: &Journal) -> Decision {
    if let Some((region, id)) = stranger(f, journal) {
        let why = format!(
            "this vault is of fleet {id}, the journal says {}: its volumes are another fleet's; give it its own back",
            journal.fleet
        );
        return halted(Verdict::Contradiction, Check::ForeignFleet, region, why);
    }
    if journal.stage == Stage::Initialised
        && f.regions.iter().all(|(_, r)| f.vaults.get(r).is_some_and(|v| v.status.fleet.is_none()))
    {
        let why = format!(
            "fleet {} was made and no vault knows it any more: its volumes are gone. Restore the volumes; no new keys are made over it",
            journal.fleet
        );
        return halted(Verdict::Lost, Check::FleetLost, &journal.fleet, why);
    }
    let Some(bytes) = &f.root else { return publish_root(f, journal) };
    let root = match Root::decode(bytes) {
        Ok(root) if hex::encode(root.fleet.0) == journal.fleet => root,
        Ok(root) => {
            let why = format!(
                "the published root is of fleet {}, the journal says {}: one of the two ConfigMaps was replaced; restore it",
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
                format!("the published root: {e}"),
            );
        }
    };
    match documents(f, journal, &root) {
        Documents::Go(d) => d,
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

/// No journal: a new fleet, or one whose journal was deleted.
fn begin(f: &Facts) -> Decision {
    let Some((_, first)) = f.regions.first() else { return waiting(Vec::new(), "Journal") };
    let new = |fleet: String, seed: &str, stage| {
        let journal = Journal { fleet, seed: seed.to_owned(), pinned: f.pinned.clone(), stage };
        only(Action::WriteJournal(journal), "Journal")
    };
    // The vaults remember what the cluster has forgotten; and a published root says that there was a fleet.
    if let Some(fleet) = f.vaults.values().find_map(|v| v.status.fleet.clone()) {
        return new(fleet, f.holder().unwrap_or(first), Stage::Initialised);
    }
    if let Some(root) = f.root.as_ref().and_then(|b| Root::decode(b).ok()) {
        return new(hex::encode(root.fleet.0), f.holder().unwrap_or(first), Stage::Initialising);
    }
    if f.remains {
        let why = "volumes or workloads of an earlier fleet of this name are there and its journal is not: restore the ConfigMap, or remove them if nobody needs a key in them";
        return halted(Verdict::Contradiction, Check::JournalGone, "journal", why.into());
    }
    match (f.custody, &f.given_root) {
        (Custody::InFleet, _) => new(f.new_id.clone(), first, Stage::Begun),
        (Custody::Offline, given) => match given.as_ref().map(|b| Root::decode(b)) {
            Some(Ok(root)) => new(hex::encode(root.fleet.0), first, Stage::Begun),
            other => {
                let why = match other {
                    Some(Err(e)) => format!("that is no root file of `bkv ceremony root`: {e}"),
                    _ => "the public root file is not there: make it with `bkv ceremony root` off the cluster and put it into that ConfigMap".into(),
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
                    message: "the public root file is not there".into(),
                }],
                "Root",
            )
        }
        (Custody::InFleet, _) => {
            // Of a fleet that is made any vault has it; of a new one only the seed can.
            let made = f.vaults.iter().find(|(_, v)| v.status.fleet.is_some()).map(|(r, _)| r);
            let source = if f.stage(journal) == Stage::Begun { Some(&journal.seed) } else { made };
            match source.filter(|r| f.vaults.contains_key(*r)) {
                Some(region) => only(Action::PublishRoot { region: region.clone() }, "Root"),
                None => waiting(vec![away(f, &journal.seed)], "Root"),
            }
        }
    }
}

/// A vault that does not answer, or not with all that is needed. In a fleet that is made, one whose pod runs should: a person may have to look.
pub(super) fn away(f: &Facts, region: &str) -> Trouble {
    let made = f.journal.as_ref().is_some_and(|j| j.stage == Stage::Initialised);
    let (check, message) = match f.silent.get(region) {
        Some(why) if made => {
            (Check::VaultSilent, format!("its pod runs and does not answer the operator: {why}"))
        }
        Some(why) => (Check::VaultStarting, format!("the vault of {region} does not answer yet: {why}")),
        None => (Check::VaultStarting, format!("the vault of {region} does not answer yet")),
    };
    Trouble { check, target: region.to_owned(), message }
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

/// Documents are signed and being installed: make the fleet, share the root, wait for whoever is late.
fn carry_on(
    f: &Facts,
    journal: &Journal,
    mut actions: Vec<Action>,
    mut waits: Vec<Trouble>,
    members: &[(Slot, String)],
) -> Decision {
    let made = journal.stage == Stage::Initialised;
    for (_, region) in &f.regions {
        match f.vaults.get(region) {
            None => waits.push(away(f, region)),
            Some(v) if !v.status.ready && made => {
                let message = not_ready(region, v, f.regions.len() / 2 + 1);
                waits.push(Trouble { check: Check::VaultNotReady, target: region.clone(), message });
            }
            Some(v) if v.status.issuer_keys_read == Some(0) && made => {
                let message = format!(
                    "the vault of {region} could never read the issuer's keys, so it refuses every token: is the URL of clientAuth.jwks right, and may pods reach it? The vault's log has the error"
                );
                waits.push(Trouble { check: Check::IssuerKeysAway, target: region.clone(), message });
            }
            Some(_) => {}
        }
    }
    let knows = |v: &Vault| v.status.fleet.as_deref() == Some(&journal.fleet);
    if made && !f.vaults.values().any(knows) {
        let message = "no vault that answers knows the fleet; those that do not answer may. Bring them back before anything else".into();
        waits.push(Trouble { check: Check::FleetUnconfirmed, target: journal.fleet.clone(), message });
    }
    let step = match journal.stage {
        Stage::Initialised => {
            if f.custody == Custody::InFleet {
                actions.extend(hand_over(f, members));
            }
            return Decision { actions, waits, verdict: Verdict::Made };
        }
        // Not before every vault has both documents: a voter without them would not know the others.
        _ if actions.iter().any(|a| *a != Action::WithdrawRequest) || f.vaults.len() < f.regions.len() => {
            "Documents"
        }
        Stage::Begun => {
            actions.push(Action::Advance(Stage::Initialising));
            "Initialise"
        }
        Stage::Initialising => {
            let known = f.vaults.values().any(|v| v.status.initialised && knows(v));
            actions.push(if known {
                Action::Advance(Stage::Initialised)
            } else {
                Action::Initialise { region: journal.seed.clone() }
            });
            "Initialise"
        }
    };
    Decision { actions, waits, verdict: Verdict::Bootstrapping(step) }
}

/// `majority`: of the fleet.
fn not_ready(region: &str, v: &Vault, majority: usize) -> String {
    let token = v.status.token_words();
    let Some(s) = v.status.shards.iter().find(|s| s.phase != Phase::Verified) else {
        return format!("the vault of {region} is not ready: token: {token}");
    };
    if let Phase::Joining(unheard) = &s.phase
        && !unheard.is_empty()
    {
        // With a region away a restart of another one ends here.
        return format!(
            "the vault of {region} has started and must hear that its disk is the newest, from {majority} others that serve or from all; not heard from: {}. Bring them back: nothing else lets it vote (token: {token})",
            unheard.join(", ")
        );
    }
    format!("the vault of {region} is not ready: shard {} is {}; token: {token}", s.shard, s.phase.name())
}

/// To members that obey the published root and lack its private half.
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
