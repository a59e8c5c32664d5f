//! The conditions of a fleet that was accepted.

use super::conditions as c;
use super::conditions::Finding;
use super::regions::quorum;
use super::waits::Trouble;
use super::write::Pass;
use crate::bootstrap::Verdict;
use crate::validate::Postgres;

/// A certificate that ends sooner than this is a fault: renewal should have happened long before.
const CERTIFICATE_MARGIN: i64 = 3 * 86_400;

/// All of them but Accepted.
pub fn findings(p: &Pass<'_>, troubles: &[Trouble]) -> Vec<Finding> {
    let q = quorum(p.fleet, p.observed);
    let made = p.decision.verdict == Verdict::Made;
    let chatd = chatd(p);
    let healthy = q.in_sync >= q.required;
    let answering = &p.observed.vaults;
    let no_keys = !answering.is_empty() && answering.values().all(|v| v.status.issuer_keys_read == Some(0));
    let serving = made && healthy && chatd.status == "True" && !no_keys;
    let mut all = vec![
        ready(p, serving, healthy, &chatd, troubles),
        reconciling(p, serving, troubles),
        stalled(p, troubles),
        initialized(p),
    ];
    if made {
        let message = format!("{} of {} regions are in sync, {} are needed", q.in_sync, q.voters, q.required);
        all.push(match (healthy, q.in_sync == q.voters) {
            (true, true) => Finding::yes(c::QUORUM_HEALTHY, "AllInSync", message),
            (true, false) => Finding::yes(c::QUORUM_HEALTHY, "Degraded", message),
            (false, _) => Finding::no(c::QUORUM_HEALTHY, "NoMajority", message),
        });
    } else {
        all.push(Finding::unknown(c::QUORUM_HEALTHY, "NotMade", "the fleet is not made yet"));
    }
    all.push(hsm(p, troubles));
    all.push(certificates(p, troubles));
    all.push(storage(troubles));
    if !matches!(p.fleet.postgres, Postgres::None) {
        all.push(postgres(p));
    }
    all.push(chatd);
    all.push(production(p));
    all
}

fn first<'t>(troubles: &'t [Trouble], checks: &[&str]) -> Option<&'t Trouble> {
    // In the order of the checks: a PIN that is missing also ends a container, and is the better word.
    checks.iter().find_map(|check| troubles.iter().find(|t| t.wait.check == *check))
}

fn words(t: &Trouble) -> String {
    format!("{}: {}", t.wait.target, t.wait.message)
}

fn ready(p: &Pass<'_>, serving: bool, healthy: bool, chatd: &Finding, troubles: &[Trouble]) -> Finding {
    if serving {
        return Finding::yes(c::READY, "Serving", "people can register and recover");
    }
    match p.decision.verdict {
        Verdict::Lost => {
            Finding::no(c::READY, "FleetLost", "the fleet was made and no vault knows it any more")
        }
        Verdict::Contradiction => {
            Finding::no(c::READY, "Contradiction", troubles.first().map(words).unwrap_or_default())
        }
        Verdict::AwaitingSignature => {
            Finding::no(c::READY, "AwaitingSignature", "people must sign before the fleet can be made")
        }
        Verdict::Bootstrapping(step) => {
            Finding::no(c::READY, "Bootstrapping", format!("the fleet is being made, at step {step}"))
        }
        Verdict::Made if !healthy => {
            Finding::no(c::READY, "NoMajority", "fewer than a majority of the regions are in sync")
        }
        Verdict::Made if chatd.status != "True" => {
            Finding::no(c::READY, "ChatdNotReady", chatd.message.clone())
        }
        Verdict::Made => Finding::no(
            c::READY,
            "IssuerKeysAway",
            "no vault could ever read the issuer's keys: every token is refused",
        ),
    }
}

fn reconciling(p: &Pass<'_>, serving: bool, troubles: &[Trouble]) -> Finding {
    if p.fleet.paused {
        return Finding::no(c::RECONCILING, "Paused", "spec.paused is true: nothing is changed");
    }
    let open = troubles.iter().map(|t| t.wait.check).next();
    match (p.decision.verdict, open) {
        (Verdict::Made, None) if serving => {
            Finding::no(c::RECONCILING, "Settled", "everything is as it was asked for")
        }
        (Verdict::Bootstrapping(step), None) => {
            Finding::yes(c::RECONCILING, "Bootstrapping", format!("at step {step}"))
        }
        (_, Some(check)) => Finding::yes(c::RECONCILING, "Waiting", format!("for {check}; see status.waits")),
        _ => Finding::yes(c::RECONCILING, "Working", "objects are being made"),
    }
}

fn stalled(p: &Pass<'_>, troubles: &[Trouble]) -> Finding {
    let late = |t: &&Trouble| t.hard || p.overdue.contains(&(t.wait.check.to_owned(), t.wait.target.clone()));
    match troubles.iter().find(late) {
        Some(t) => Finding::yes(c::STALLED, t.wait.check, words(t)),
        None => Finding::no(c::STALLED, "Moving", "nothing is waited for that does not come by itself"),
    }
}

fn initialized(p: &Pass<'_>) -> Finding {
    match p.decision.verdict {
        Verdict::Made => Finding::yes(c::FLEET_INITIALIZED, "Made", "every shard knows the fleet"),
        Verdict::Lost => {
            Finding::no(c::FLEET_INITIALIZED, "FleetLost", "no vault knows the fleet that the journal names")
        }
        Verdict::Contradiction => Finding::unknown(
            c::FLEET_INITIALIZED,
            "Contradiction",
            "what lies in the cluster contradicts itself",
        ),
        Verdict::AwaitingSignature => {
            Finding::no(c::FLEET_INITIALIZED, "AwaitingSignature", "people must sign first")
        }
        Verdict::Bootstrapping(step) => {
            Finding::no(c::FLEET_INITIALIZED, "Bootstrapping", format!("at step {step}"))
        }
    }
}

fn hsm(p: &Pass<'_>, troubles: &[Trouble]) -> Finding {
    // Of vaults: a ChatD that can't start says nothing about tokens.
    let vault = |t: &&Trouble| {
        matches!(t.wait.check, "PinSecret" | "MemberChanged")
            || p.observed.pods.values().any(|pod| pod.name == t.wait.target)
    };
    let of_vaults: Vec<Trouble> = troubles.iter().filter(vault).cloned().collect();
    if let Some(t) = first(
        &of_vaults,
        &["PinSecret", "ContainerEnds", "ContainerNotMade", "ImageUnavailable", "MemberChanged"],
    ) {
        return Finding::no(c::HSM_READY, t.wait.check, words(t));
    }
    let bad = p.observed.vaults.iter().find(|(_, v)| v.status.token != "Up");
    match bad {
        Some((region, v)) => Finding::no(c::HSM_READY, "TokenDown", format!("{region}: {}", v.status.token)),
        None if p.observed.vaults.len() == p.fleet.regions.len() => {
            Finding::yes(c::HSM_READY, "AllUp", "every region's token answers")
        }
        None => Finding::unknown(c::HSM_READY, "VaultSilent", "not every region's vault answers"),
    }
}

fn certificates(p: &Pass<'_>, troubles: &[Trouble]) -> Finding {
    if let Some(t) = first(troubles, &["Certificate"]) {
        return Finding::no(c::CERTIFICATES_VALID, "Missing", words(t));
    }
    match p.certificates.iter().min_by_key(|x| x.not_after.0) {
        Some(x)
            if x.not_after.0.as_second() < p.now.0.as_second().saturating_add(CERTIFICATE_MARGIN)
                && p.renewal_is_late(x) =>
        {
            Finding::no(c::CERTIFICATES_VALID, "Expiring", format!("{} ends at {}", x.name, x.not_after.0))
        }
        Some(_) => Finding::yes(c::CERTIFICATES_VALID, "Valid", "every link of every chain is valid"),
        None => Finding::unknown(c::CERTIFICATES_VALID, "NotMade", "there are none yet"),
    }
}

fn storage(troubles: &[Trouble]) -> Finding {
    match first(troubles, &["VolumeGoing", "VolumePending", "FleetLost"]) {
        Some(t) => Finding::no(c::STORAGE_READY, t.wait.check, words(t)),
        None => Finding::yes(c::STORAGE_READY, "Bound", "every volume claim has its volume"),
    }
}

fn postgres(p: &Pass<'_>) -> Finding {
    match (&p.fleet.postgres, &p.observed.postgres) {
        (Postgres::Managed(_), Some(s)) if s.ready > 0 => {
            Finding::yes(c::POSTGRES_READY, "Ready", "the managed database answers")
        }
        (Postgres::Managed(_), _) => Finding::no(
            c::POSTGRES_READY,
            "Unavailable",
            "the managed database does not answer: ChatD serves, its answers about keys are stale",
        ),
        _ => match p.database {
            Some(true) => Finding::yes(c::POSTGRES_READY, "Ready", "ChatD reaches the database"),
            Some(false) => Finding::no(
                c::POSTGRES_READY,
                "Unavailable",
                "ChatD does not reach the database: look at its address, user, password and certificate; answers about keys are stale",
            ),
            None => Finding::unknown(c::POSTGRES_READY, "NotAsked", "no ChatD pod answers yet"),
        },
    }
}

fn chatd(p: &Pass<'_>) -> Finding {
    match &p.observed.chatd {
        Some(d) if d.ready > 0 => Finding::yes(c::CHATD_READY, "Serving", "ChatD answers"),
        Some(d) if d.replicas == 0 => Finding::no(c::CHATD_READY, "NoReplicas", "chatd.replicas is 0"),
        Some(_) => Finding::no(c::CHATD_READY, "Starting", "no pod of ChatD is ready"),
        None => Finding::no(c::CHATD_READY, "NotMade", "ChatD is made when the fleet is"),
    }
}

fn production(p: &Pass<'_>) -> Finding {
    let notes = &p.fleet.notes;
    match notes.first() {
        None => Finding::yes(c::PRODUCTION_READY, "Good", "nothing about it is for tests only"),
        Some(worst) => {
            let words: Vec<String> =
                notes.iter().map(|n| format!("{}: {}", n.reason(), n.message())).collect();
            Finding::no(c::PRODUCTION_READY, worst.reason(), words.join("; "))
        }
    }
}
