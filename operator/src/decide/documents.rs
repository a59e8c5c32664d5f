//! Which of the two documents must be drafted, and who signs it.

use bkv_core::document::{Admission, Member, Policy};
use bkv_core::id::Slot;
use bkv_wire::documents::{Kind, Root, admission, policy};

use super::decision::{Action, Decision, Verdict};
use super::facts::{Custody, Facts};
use super::silence::unanswered;
use crate::conditions::{Check, Trouble};
use crate::journal::{Journal, JournalStage};
use crate::vaults::{Vault, VaultStatus};
use bkv_admin_api::draft::{Draft, admission as draft_admission, admits, lasting, members};

/// How far a vault's document number may be ahead of ours before we ignore it.
const NUMBERS_AHEAD: u64 = 1_000;

/// The state of the two documents.
pub(super) enum Documents<'a> {
    /// A document is missing or not signed. This decision obtains it.
    Incomplete(Decision),
    /// Both are valid.
    Current {
        /// Number and bytes.
        admission: (u64, &'a Vec<u8>),
        /// Number and bytes.
        policy: (u64, &'a Vec<u8>),
        /// Regions whose vault has the keys that the list admits, with their slots.
        members: Vec<(Slot, String)>,
        /// Renewals, which run beside everything else.
        actions: Vec<Action>,
        waits: Vec<Trouble>,
    },
}

pub(super) fn documents<'a>(f: &'a Facts, journal: &Journal, root: &Root) -> Documents<'a> {
    // A document that does not verify counts as missing. Vaults check the dates; the operator only renews in time.
    let list = f.documents.admission.as_ref().and_then(|b| Some((admission(root, b, None).ok()?, b)));
    let rules = f.documents.policy.as_ref().and_then(|b| Some((policy(root, b, None).ok()?, b)));
    let begun = f.stage(journal) == JournalStage::Begun;
    let mut waits = Vec::new();
    if !begun {
        // Never draft a document of an initialised fleet again: an attacker who deletes our copy could get members of their choice signed.
        let missing = [(Kind::Admission, list.is_none()), (Kind::Policy, rules.is_none())];
        if let Some((kind, _)) = missing.into_iter().find(|(_, missing)| *missing) {
            return Documents::Incomplete(recover(f, journal, kind));
        }
    }
    let (found, complete) = gather(f, list.as_ref().map(|(l, _)| l).filter(|_| !begun));
    let mut drafts = Vec::new();
    // Ignore numbers more than NUMBERS_AHEAD above ours: a lying vault could report u64::MAX and leave no higher number.
    let above = |known: u64, of: fn(&VaultStatus) -> Option<u64>| {
        let reported = f.vaults.values().filter_map(|v| of(&v.status));
        reported
            .filter(|n| *n <= known.saturating_add(NUMBERS_AHEAD))
            .max()
            .unwrap_or(0)
            .max(known)
            .saturating_add(1)
    };
    match &list {
        Some((list, _)) if !begun => {
            // The fleet is made. Only people may add or replace a member now: an attacker could swap a volume and offer their own token.
            for m in changed(list, &found) {
                waits.push(Trouble {
                    check: Check::MemberChanged,
                    target: m.region.clone(),
                    message: format!(
                        "the vault of {} has other keys than the admission list: its token or volume is new. Give it its own token and volume back; this release can't replace a member",
                        m.region
                    ),
                });
            }
            if !lasting(list.not_after, f.now) {
                let number = list.number.saturating_add(1);
                drafts.push(Draft::Admission(draft_admission(root, list.members.clone(), number, f.now)));
            }
        }
        Some((list, _)) if complete && admits(list, &found, f.now) => {}
        _ if complete => {
            let number = above(list.as_ref().map_or(0, |(l, _)| l.number), |s| s.admission);
            drafts.push(Draft::Admission(draft_admission(root, found.clone(), number, f.now)));
        }
        _ => {
            let late = f.regions.iter().filter(|(_, r)| f.vaults.get(r).is_none_or(|v| v.token.is_none()));
            return Documents::Incomplete(waiting(late.map(|(_, r)| unanswered(f, r)).collect()));
        }
    }
    match (&f.wish, &rules) {
        (Some(wish), Some((rules, _))) if wish.holds(root, rules, f.now) => {}
        (Some(wish), _) => {
            let number = above(rules.as_ref().map_or(0, |(p, _)| p.number), |s| s.policy);
            drafts.push(Draft::Policy(wish.draft(root, number, f.now)));
        }
        (None, _) => {}
    }
    let (mut actions, verdict) = sign(f, journal, root, drafts, &mut waits);
    match (list, rules) {
        (Some((list, a)), Some((rules, p))) if verdict.is_none() || !begun => Documents::Current {
            admission: (list.number, a),
            policy: (rules.number, p),
            members: same(&list, &found),
            actions,
            waits,
        },
        (_, None) if f.wish.is_none() => {
            let target = "clientAuth.jwks".to_owned();
            let message =
                "the issuer's keys are missing: create the ConfigMap that clientAuth.jwks.configMapRef names"
                    .into();
            waits.push(Trouble { check: Check::IssuerKeys, target, message });
            Documents::Incomplete(Decision {
                actions: std::mem::take(&mut actions),
                waits,
                verdict: Verdict::Bootstrapping("Documents"),
            })
        }
        _ => {
            let verdict = verdict.unwrap_or(Verdict::Bootstrapping("Documents"));
            Documents::Incomplete(Decision { actions, waits, verdict })
        }
    }
}

fn waiting(waits: Vec<Trouble>) -> Decision {
    Decision { actions: Vec::new(), waits, verdict: Verdict::Bootstrapping("Documents") }
}

/// Gets a document in force from a vault, because the cluster has lost its copy. The root's signature is checked before the operator keeps it.
fn recover(f: &Facts, journal: &Journal, kind: Kind) -> Decision {
    let has = |v: &Vault| match kind {
        Kind::Admission => v.status.admission.is_some(),
        Kind::Policy => v.status.policy.is_some(),
    };
    let stranger = |v: &Vault| v.status.fleet.as_ref().is_some_and(|id| *id != journal.fleet);
    match f.vaults.iter().find(|(_, v)| has(v) && !stranger(v)) {
        Some((region, _)) => Decision {
            actions: vec![Action::Recover { region: region.clone(), kind }],
            waits: Vec::new(),
            verdict: Verdict::Bootstrapping("Documents"),
        },
        None => waiting(vec![Trouble {
            check: Check::DocumentsGone,
            target: kind.name().to_owned(),
            message: "the cluster has lost its copy of the signed document, and no vault that answers has one: bring a vault back, or restore the ConfigMap <name>-documents".into(),
        }]),
    }
}

/// The members by the tokens of the vaults that answer, and whether every region answers. A listed region keeps its slot, whatever its place in the spec.
fn gather(f: &Facts, list: Option<&Admission>) -> (Vec<Member>, bool) {
    let slot = |slot: Slot, region: &str| {
        let listed = list.and_then(|l| l.members.iter().find(|m| m.region == region));
        listed.map_or(slot, |m| m.slot)
    };
    let tokens: Vec<_> =
        f.regions.iter().filter_map(|(s, r)| Some((slot(*s, r), f.vaults.get(r)?.token.as_ref()?))).collect();
    let complete = tokens.len() == f.regions.len();
    (members(&tokens), complete)
}

fn changed<'m>(list: &Admission, found: &'m [Member]) -> Vec<&'m Member> {
    found.iter().filter(|m| !list.members.contains(m)).collect()
}

fn same(list: &Admission, found: &[Member]) -> Vec<(Slot, String)> {
    found.iter().filter(|m| list.members.contains(m)).map(|m| (m.slot, m.region.clone())).collect()
}

/// Has the drafts signed by the root's keeper. The verdict is Some while signatures are missing.
fn sign(
    f: &Facts,
    journal: &Journal,
    root: &Root,
    drafts: Vec<Draft>,
    waits: &mut Vec<Trouble>,
) -> (Vec<Action>, Option<Verdict>) {
    match f.custody {
        _ if drafts.is_empty() && f.requested => (vec![Action::WithdrawRequest], None),
        _ if drafts.is_empty() => (Vec::new(), None),
        Custody::InFleet => {
            let Some(region) = f.holder().cloned() else {
                waits.push(Trouble {
                    check: Check::RootHolderAway,
                    target: journal.seed.clone(),
                    message:
                        "no vault that keeps the root answers, so documents can't be signed: bring one back"
                            .into(),
                });
                return (Vec::new(), Some(Verdict::Bootstrapping("Documents")));
            };
            let sign = |d| Action::Sign { region: region.clone(), draft: Box::new(d) };
            (drafts.into_iter().map(sign).collect(), Some(Verdict::Bootstrapping("Documents")))
        }
        Custody::Offline => {
            let (mut actions, mut open) = (Vec::new(), Vec::new());
            for draft in drafts {
                match given(f, root, &draft) {
                    Some((kind, signed)) => actions.push(Action::KeepSigned { kind, signed }),
                    None => open.push(draft),
                }
            }
            for draft in &open {
                let (check, target) = match draft {
                    Draft::Admission(_) => (Check::AdmissionSignature, "admission"),
                    Draft::Policy(_) => (Check::PolicySignature, "policy"),
                };
                let message = "sign the document in the ConfigMap <name>-ceremony-request: it has the fingerprints and the command".into();
                waits.push(Trouble { check, target: target.to_owned(), message });
            }
            let verdict = if open.is_empty() {
                Verdict::Bootstrapping("Documents")
            } else {
                Verdict::AwaitingSignature
            };
            if !open.is_empty() {
                actions.push(Action::AskForSignatures(open));
            }
            (actions, Some(verdict))
        }
    }
}

/// The document that people signed, if its content is what we drafted. People may choose the number and the dates.
fn given(f: &Facts, root: &Root, draft: &Draft) -> Option<(Kind, Vec<u8>)> {
    match draft {
        Draft::Admission(wanted) => {
            let bytes = f.given.admission.as_ref()?;
            let list = admission(root, bytes, Some(f.now)).ok()?;
            (list.number >= wanted.number && admits(&list, &wanted.members, f.now))
                .then(|| (Kind::Admission, bytes.clone()))
        }
        Draft::Policy(wanted) => {
            let bytes = f.given.policy.as_ref()?;
            let rules: Policy = policy(root, bytes, Some(f.now)).ok()?;
            let good = rules.number >= wanted.number && f.wish.as_ref()?.holds(root, &rules, f.now);
            good.then(|| (Kind::Policy, bytes.clone()))
        }
    }
}
