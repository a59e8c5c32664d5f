//! The decision.

use bkv_core::id::Slot;
use bkv_wire::documents::{Kind, Root};

use super::documents::{Documents, documents};
use super::facts::{Action, Custody, Decision, Facts, Vault, Verdict, Wait};
use crate::journal::{Journal, Stage};

fn only(action: Action, step: &'static str) -> Decision {
    Decision { actions: vec![action], waits: Vec::new(), verdict: Verdict::Bootstrapping(step) }
}

fn waiting(waits: Vec<Wait>, step: &'static str) -> Decision {
    Decision { actions: Vec::new(), waits, verdict: Verdict::Bootstrapping(step) }
}

fn halted(verdict: Verdict, check: &'static str, target: &str, message: String) -> Decision {
    let wait = Wait { check, target: target.to_owned(), message };
    Decision { actions: Vec::new(), waits: vec![wait], verdict }
}

/// The next actions.
pub fn decide(f: &Facts) -> Decision {
    let Some(journal) = &f.journal else { return begin(f) };
    if let Some((region, id)) = stranger(f, journal) {
        let why = format!(
            "this vault is of fleet {id}, the journal says {}: its volumes are another fleet's; give it its own back",
            journal.fleet
        );
        return halted(Verdict::Contradiction, "ForeignFleet", region, why);
    }
    if journal.stage == Stage::Initialised
        && f.regions.iter().all(|(_, r)| f.vaults.get(r).is_some_and(|v| v.status.fleet.is_none()))
    {
        let why = format!(
            "fleet {} was made and no vault knows it any more: its volumes are gone. Restore the volumes; no new keys are made over it",
            journal.fleet
        );
        return halted(Verdict::Lost, "FleetLost", &journal.fleet, why);
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
            return halted(Verdict::Contradiction, "RootMismatch", &journal.fleet, why);
        }
        Err(e) => {
            return halted(
                Verdict::Contradiction,
                "RootMismatch",
                &journal.fleet,
                format!("the published root: {e}"),
            );
        }
    };
    match documents(f, journal, &root) {
        Documents::Go(d) => d,
        Documents::Current { admission, policy, members, mut actions, waits } => {
            let current = [(Kind::Admission, admission), (Kind::Policy, policy)];
            for (slot, region) in &f.regions {
                let Some(vault) = f.vaults.get(region).filter(|_| members.contains(slot)) else { continue };
                install(&mut actions, region, vault, &current);
            }
            carry_on(f, journal, actions, waits, &members)
        }
    }
}

/// No journal: a new fleet, or one whose journal was deleted.
fn begin(f: &Facts) -> Decision {
    let Some((_, first)) = f.regions.first() else { return waiting(Vec::new(), "Journal") };
    let new = |fleet: String, seed: &str, stage| {
        only(
            Action::WriteJournal(Journal { fleet, seed: seed.to_owned(), pinned: f.pinned.clone(), stage }),
            "Journal",
        )
    };
    // The vaults remember what the cluster has forgotten.
    let known =
        f.vaults.iter().find_map(|(region, v)| Some((region, v.status.fleet.clone()?, v.status.root_held)));
    if let Some((_, fleet, _)) = known {
        let holder = f.vaults.iter().find(|(_, v)| v.status.root_held).map_or(first, |(r, _)| r);
        return new(fleet, holder, Stage::Initialised);
    }
    match (f.custody, &f.given_root) {
        (Custody::InFleet, _) => new(f.new_id.clone(), first, Stage::Begun),
        (Custody::Offline, None) => halted(
            Verdict::AwaitingSignature,
            "RootFile",
            "fleet.root.offline.rootConfigMapRef",
            "the public root file is not there: make it with `bkv ceremony root` off the cluster and put it into that ConfigMap".into(),
        ),
        (Custody::Offline, Some(bytes)) => match Root::decode(bytes) {
            Ok(root) => new(hex::encode(root.fleet.0), first, Stage::Begun),
            Err(e) => halted(
                Verdict::AwaitingSignature,
                "RootFile",
                "fleet.root.offline.rootConfigMapRef",
                format!("that is no root file of `bkv ceremony root`: {e}"),
            ),
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
                vec![Wait { check: "RootFile", target, message: "the public root file is not there".into() }],
                "Root",
            )
        }
        (Custody::InFleet, _) => {
            // Of a fleet that is made any vault has it; of a new one only the seed can.
            let made = f.vaults.iter().find(|(_, v)| v.status.fleet.is_some()).map(|(r, _)| r);
            let source = if journal.stage == Stage::Begun { Some(&journal.seed) } else { made };
            match source.filter(|r| f.vaults.contains_key(*r)) {
                Some(region) => only(Action::PublishRoot { region: region.clone() }, "Root"),
                None => waiting(vec![starting(&journal.seed)], "Root"),
            }
        }
    }
}

pub(super) fn starting(region: &str) -> Wait {
    Wait {
        check: "VaultStarting",
        target: region.to_owned(),
        message: format!("the vault of {region} does not answer yet"),
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

/// Documents are signed and being installed: make the fleet, share the root, wait for whoever is late.
fn carry_on(
    f: &Facts,
    journal: &Journal,
    mut actions: Vec<Action>,
    mut waits: Vec<Wait>,
    members: &[Slot],
) -> Decision {
    for (_, region) in &f.regions {
        match f.vaults.get(region) {
            None => waits.push(starting(region)),
            Some(v) if !v.status.ready && journal.stage == Stage::Initialised => waits.push(Wait {
                check: "VaultNotReady",
                target: region.clone(),
                message: not_ready(region, v),
            }),
            Some(_) => {}
        }
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
            let known = f
                .vaults
                .values()
                .any(|v| v.status.initialised && v.status.fleet.as_deref() == Some(&journal.fleet));
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

fn not_ready(region: &str, v: &Vault) -> String {
    let worst = v.status.shards.iter().find(|s| s.phase != "verified");
    match worst {
        Some(s) => format!(
            "the vault of {region} is not ready: shard {} is {}; token: {}",
            s.shard, s.phase, v.status.token
        ),
        None => format!("the vault of {region} is not ready: token: {}", v.status.token),
    }
}

fn hand_over(f: &Facts, members: &[Slot]) -> Vec<Action> {
    let Some((from, _)) = f.vaults.iter().find(|(_, v)| v.status.root_held) else { return Vec::new() };
    let lacks =
        |region: &String| f.vaults.get(region).is_some_and(|v| !v.status.root_held && v.status.initialised);
    let needy = f.regions.iter().filter(|(slot, region)| members.contains(slot) && lacks(region));
    needy.map(|(slot, to)| Action::HandRootOver { from: from.clone(), to: to.clone(), slot: *slot }).collect()
}
