//! The conditions of a fleet whose spec is valid.

use super::finding::Finding;
use super::outcome::Outcome;
use super::regions::quorum;
use super::waits::overdue;
use crate::certificates::requests;
use crate::conditions::{Check, Condition, Reason, Status, Trouble};
use crate::decide::Verdict;
use crate::resource::BackupKeyVaultStatus;
use crate::validate::{Fleet, Postgres};
use crate::vaults::TokenHealth;

/// A certificate that ends within this many seconds is a fault: it should have been renewed long before.
const CERTIFICATE_MARGIN: i64 = 3 * 86_400;

/// All conditions but Accepted.
pub(super) fn findings(
    before: &BackupKeyVaultStatus,
    p: &Outcome<'_>,
    troubles: &[Trouble],
    database: Option<bool>,
) -> Vec<Finding> {
    let q = quorum(p.fleet, p.answers);
    let made = p.decision.verdict == Verdict::Made;
    let chatd = chatd(p);
    let healthy = q.in_sync >= q.required;
    let answering = &p.answers.vaults;
    let no_keys = !answering.is_empty() && answering.values().all(|v| v.status.refuses_tokens());
    let serving = made && healthy && chatd.status == Status::True && !no_keys;
    let mut all = vec![
        ready(p, serving, healthy, &chatd, troubles),
        reconciling(p, serving, troubles),
        stalled(before, p, troubles),
        initialized(p),
    ];
    if made {
        let message = format!("{} of {} regions are in sync, {} are needed", q.in_sync, q.voters, q.required);
        all.push(match (healthy, q.in_sync == q.voters) {
            (true, true) => Finding::of(Reason::AllInSync, message),
            (true, false) => Finding::of(Reason::Degraded, message),
            (false, _) => Finding::of(Reason::QuorumNoMajority, message),
        });
    } else {
        all.push(Finding::of(Reason::QuorumNotMade, "there is no fleet yet"));
    }
    all.push(hsm(p, troubles));
    all.push(certificates(p, troubles));
    all.push(storage(troubles));
    if !matches!(p.fleet.postgres, Postgres::None) {
        all.push(postgres(p, database));
    }
    all.push(chatd);
    all.push(production(p));
    all
}

fn first<'t>(troubles: &'t [Trouble], checks: &[Check]) -> Option<&'t Trouble> {
    // In the order of the checks: a missing PIN also ends a container, and explains more.
    checks.iter().find_map(|check| troubles.iter().find(|t| t.check == *check))
}

fn message(t: &Trouble) -> String {
    format!("{}: {}", t.target, t.message)
}

fn ready(p: &Outcome<'_>, serving: bool, healthy: bool, chatd: &Finding, troubles: &[Trouble]) -> Finding {
    if serving {
        return Finding::of(Reason::Serving, "people can register and recover");
    }
    match p.decision.verdict {
        Verdict::Lost => Finding::of(Reason::FleetLost, "the fleet was made, and no vault knows it any more"),
        Verdict::Contradiction => {
            Finding::of(Reason::Contradiction, troubles.first().map(message).unwrap_or_default())
        }
        Verdict::AwaitingSignature => {
            Finding::of(Reason::AwaitingSignature, "people must sign before the operator can make the fleet")
        }
        Verdict::Bootstrapping(step) => {
            Finding::of(Reason::Bootstrapping, format!("the operator is making the fleet, at step {step}"))
        }
        Verdict::Made if !healthy => {
            Finding::of(Reason::NoMajority, "fewer than a majority of the regions are in sync")
        }
        Verdict::Made if chatd.status != Status::True => {
            Finding::of(Reason::ChatdNotReady, chatd.message.clone())
        }
        Verdict::Made => Finding::of(
            Reason::IssuerKeysAway,
            "no vault could ever fetch the issuer's keys, so every token is refused",
        ),
    }
}

fn reconciling(p: &Outcome<'_>, serving: bool, troubles: &[Trouble]) -> Finding {
    if p.fleet.paused {
        return Finding::of(Reason::Paused, "spec.paused is true, so the operator changes nothing");
    }
    let open = troubles.first().map(|t| t.check);
    match (p.decision.verdict, open) {
        (Verdict::Made, None) if serving => Finding::of(Reason::Settled, "everything is as the spec asks"),
        (Verdict::Bootstrapping(step), None) => {
            Finding::of(Reason::ReconcilingBootstrapping, format!("at step {step}"))
        }
        (_, Some(check)) => Finding::of(Reason::Waiting, format!("for {}; see status.waits", check.name())),
        _ => Finding::of(Reason::Working, "the operator is making objects"),
    }
}

fn stalled(before: &BackupKeyVaultStatus, p: &Outcome<'_>, troubles: &[Trouble]) -> Finding {
    let late = |t: &&Trouble| t.hard() || overdue(before, t, &p.now);
    match troubles.iter().find(late) {
        Some(t) => Finding::because_of(t.check, Condition::Stalled, Status::True, message(t)),
        None => Finding::of(Reason::Moving, "every wait can still end by itself"),
    }
}

fn initialized(p: &Outcome<'_>) -> Finding {
    match p.decision.verdict {
        Verdict::Made => Finding::of(Reason::FleetMade, "every shard knows the fleet"),
        Verdict::Lost => Finding::of(Reason::FleetGone, "no vault knows the fleet that the journal names"),
        Verdict::Contradiction => {
            Finding::of(Reason::FleetContradiction, "the objects in the cluster contradict each other")
        }
        Verdict::AwaitingSignature => Finding::of(Reason::FleetAwaitingSignature, "people must sign first"),
        Verdict::Bootstrapping(step) => Finding::of(Reason::FleetBootstrapping, format!("at step {step}")),
    }
}

fn hsm(p: &Outcome<'_>, troubles: &[Trouble]) -> Finding {
    // Only troubles of vaults count: a ChatD that can't start is no sign of a faulty token.
    let vault = |t: &&Trouble| {
        matches!(t.check, Check::PinSecret | Check::MemberChanged)
            || p.observed.pods.values().any(|pod| pod.name == t.target)
    };
    let of_vaults: Vec<Trouble> = troubles.iter().filter(vault).cloned().collect();
    if let Some(t) = first(
        &of_vaults,
        &[
            Check::PinSecret,
            Check::ContainerKeepsEnding,
            Check::ContainerEnds,
            Check::ContainerNotMade,
            Check::ImageUnavailable,
            Check::MemberChanged,
        ],
    ) {
        return Finding::because_of(t.check, Condition::HsmReady, Status::False, message(t));
    }
    let bad = p.answers.vaults.iter().find(|(_, v)| v.status.token != TokenHealth::Up);
    match bad {
        Some((region, v)) => Finding::of(Reason::TokenDown, format!("{region}: {}", v.status.token_words())),
        None if p.answers.vaults.len() == p.fleet.regions.len() => {
            Finding::of(Reason::AllUp, "every region's token answers")
        }
        None => Finding::of(Reason::VaultSilent, "not every region's vault answers"),
    }
}

fn certificates(p: &Outcome<'_>, troubles: &[Trouble]) -> Finding {
    // Also a foreign object in the place of a certificate, and a Secret that the server refuses.
    let names = secrets(p.fleet);
    let of_secret = |t: &&Trouble| names.iter().any(|name| t.target == format!("Secret {name}"));
    let checks = [Check::CertificateRefused, Check::Certificate];
    if let Some(t) = first(troubles, &checks).or_else(|| troubles.iter().find(of_secret)) {
        return Finding::of(Reason::Missing, message(t));
    }
    match p.certificates.iter().min_by_key(|x| x.not_after.0) {
        Some(x)
            if x.not_after.0.as_second() < p.now.0.as_second().saturating_add(CERTIFICATE_MARGIN)
                && p.renewal_is_late(x) =>
        {
            Finding::of(Reason::Expiring, format!("{} ends at {}", x.name, x.not_after.0))
        }
        Some(_) => match p.web_change {
            Some(at) => {
                let secret = p.fleet.names().chatd_web();
                Finding::of(
                    Reason::WebAuthorityChanges,
                    format!(
                        "give every client the `ca.crt` of the Secret {secret} before {at}: it contains the present web CA and the next one. At that time the next one begins to sign ChatD's certificate, and clients that trust only the present one refuse ChatD"
                    ),
                )
            }
            None => Finding::of(Reason::Valid, "every link of every chain is valid"),
        },
        None => Finding::of(Reason::CertificatesNotMade, "there are no certificates yet"),
    }
}

/// The names of the Secrets with certificates and authorities.
fn secrets(fleet: &Fleet) -> Vec<String> {
    let mut all: Vec<String> = requests(fleet).into_iter().map(|r| r.secret).collect();
    all.extend([fleet.names().role_authority(), fleet.names().web_authority()]);
    all
}

fn storage(troubles: &[Trouble]) -> Finding {
    match first(troubles, &[Check::VolumeGoing, Check::VolumePending, Check::FleetLost]) {
        Some(t) => Finding::because_of(t.check, Condition::StorageReady, Status::False, message(t)),
        None => Finding::of(Reason::Bound, "every volume claim has its volume"),
    }
}

fn postgres(p: &Outcome<'_>, database: Option<bool>) -> Finding {
    match (&p.fleet.postgres, &p.observed.postgres) {
        (Postgres::Managed(_), Some(s)) if s.ready > 0 => {
            Finding::of(Reason::DatabaseReady, "the managed database answers")
        }
        (Postgres::Managed(_), _) => Finding::of(
            Reason::DatabaseUnavailable,
            "the managed database does not answer: ChatD serves, but its answers about keys are stale",
        ),
        _ => match database {
            Some(true) => Finding::of(Reason::DatabaseReady, "ChatD reaches the database"),
            Some(false) => Finding::of(
                Reason::DatabaseUnavailable,
                "ChatD does not reach the database: check its address, user, password and certificate. Until then ChatD's answers about keys are stale",
            ),
            None => Finding::of(Reason::DatabaseNotAsked, "no ChatD pod answers yet"),
        },
    }
}

fn chatd(p: &Outcome<'_>) -> Finding {
    match &p.observed.chatd {
        Some(d) if d.ready > 0 => Finding::of(Reason::ChatdServing, "ChatD answers"),
        Some(d) if d.replicas == 0 => Finding::of(Reason::NoReplicas, "chatd.replicas is 0"),
        Some(_) => Finding::of(Reason::ChatdStarting, "no pod of ChatD is ready"),
        None => Finding::of(Reason::ChatdNotMade, "the operator makes ChatD once the fleet is made"),
    }
}

fn production(p: &Outcome<'_>) -> Finding {
    let notes = &p.fleet.notes;
    match notes.first() {
        None => Finding::of(Reason::Good, "nothing is for tests only"),
        Some(worst) => {
            let notes: Vec<String> =
                notes.iter().map(|n| format!("{}: {}", n.reason().name(), n.message())).collect();
            Finding::of(worst.reason(), notes.join("; "))
        }
    }
}
