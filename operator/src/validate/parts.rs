//! The parts of a fleet that are small: root, attempts, tokens of clients, database, certificates, images, monitoring.

use super::fleet::{Attempts, ClientAuth, Images, JwksSource, Monitoring, Postgres, RootCustody, Tls};
use super::names;
use super::refusal::Findings;
use super::values;
use crate::conditions::Reason;
use crate::resource as spec;

/// A week: the shortest that all waits together may be.
const WEEK: u64 = 7 * 86_400_000;
const HOUR: u64 = 3_600;

pub(super) fn root(given: &spec::RootCustody, findings: &mut Findings) -> Option<RootCustody> {
    match (&given.in_fleet, &given.offline) {
        (Some(_), None) => Some(RootCustody::InFleet),
        (None, Some(offline)) => {
            let at = |field| format!("spec.fleet.root.offline.{field}");
            let root =
                values::key_of(&offline.root_config_map_ref, "root.bin", &at("rootConfigMapRef"), findings);
            let signed = offline.signed_config_map_ref.name.clone();
            values::object(&signed, &at("signedConfigMapRef.name"), findings);
            Some(RootCustody::Offline { root, signed })
        }
        _ => findings.refuse(
            "spec.fleet.root",
            Reason::ExactlyOne,
            "exactly one of inFleet, offline must be set",
        ),
    }
}

pub(super) fn attempts(given: &spec::Attempts, findings: &mut Findings) -> Attempts {
    findings.range("spec.attempts.max", given.max, (1, 20));
    findings.range(
        "spec.attempts.lifetimeFailures",
        given.lifetime_failures,
        (given.max.clamp(1, 20), 10_000),
    );
    findings.range("spec.attempts.waits", given.waits.len(), (1, 32));
    let waits = given.waits.iter().enumerate();
    let waits: Vec<u64> = waits
        .filter_map(|(i, wait)| values::milliseconds(wait, &format!("spec.attempts.waits[{i}]"), findings))
        .collect();
    let all_read = waits.len() == given.waits.len();
    findings.want(
        !all_read || given.allow_short_waits || waits.iter().sum::<u64>() >= WEEK,
        "spec.attempts.waits",
        Reason::OutOfRange,
        "must add up to at least 168h, or a stolen account token can destroy a key within minutes; allowShortWaits: true says that you mean it",
    );
    Attempts { max: given.max, lifetime_failures: given.lifetime_failures, waits }
}

pub(super) fn client_auth(given: &spec::ClientAuth, findings: &mut Findings) -> Option<ClientAuth> {
    let at = |field: &str| format!("spec.clientAuth.{field}");
    findings.want(
        given.issuer.len() <= 255 && values::https_port(&given.issuer).is_some(),
        &at("issuer"),
        Reason::InvalidValue,
        "must be an https URL, exactly as the tokens' iss, without user or password",
    );
    let audiences = &given.audiences;
    for (field, value) in [("chatd", &audiences.chatd), ("vault", &audiences.vault)] {
        let good = (1..=255).contains(&value.len()) && !value.contains(char::is_control);
        let at = at(&format!("audiences.{field}"));
        findings.want(good, &at, Reason::InvalidValue, "1 to 255 characters on one line");
    }
    findings.want(
        audiences.chatd != audiences.vault,
        &at("audiences"),
        Reason::Conflict,
        "the two audiences must differ: a token that ChatD sees must not spend attempts",
    );
    let claim = given.enrolment_claim.as_deref();
    findings.want(
        claim.is_none_or(|c| (1..=64).contains(&c.len())),
        &at("enrolmentClaim"),
        Reason::OutOfRange,
        "1 to 64 characters",
    );
    let jwks = match (&given.jwks.url, &given.jwks.config_map_ref) {
        (Some(url), None) => match values::https_port(url).filter(|_| url.len() <= 512) {
            Some(port) => Some(JwksSource::Url { url: url.clone(), port }),
            None => findings.refuse(
                at("jwks.url"),
                Reason::InvalidValue,
                "must be an https URL of at most 512 characters, without user or password",
            ),
        },
        (None, Some(reference)) => Some(JwksSource::ConfigMap(values::key_of(
            reference,
            "jwks.json",
            &at("jwks.configMapRef"),
            findings,
        ))),
        _ => findings.refuse(at("jwks"), Reason::ExactlyOne, "exactly one of url, configMapRef must be set"),
    };
    Some(ClientAuth {
        issuer: given.issuer.clone(),
        jwks: jwks?,
        chatd_audience: audiences.chatd.clone(),
        vault_audience: audiences.vault.clone(),
        enrolment_claim: given.enrolment_claim.clone(),
    })
}

pub(super) fn postgres(given: &spec::Postgres, findings: &mut Findings) -> Option<Postgres> {
    match (&given.managed, &given.external, &given.cloud_native_pg, &given.none) {
        (Some(managed), None, None, None) => {
            let storage = &managed.storage;
            let class = storage.class_name.as_deref();
            let field = "spec.postgres.managed.storage";
            values::volume(&storage.size, class, "256Mi", field, findings).map(Postgres::Managed)
        }
        (None, Some(external), None, None) => {
            let reference = &external.secret_ref;
            let field = "spec.postgres.external.secretRef";
            Some(Postgres::External(values::key(&reference.name, &reference.uri_key, field, findings)))
        }
        (None, None, Some(cnpg), None) => {
            let field = "spec.postgres.cloudNativePG.cluster";
            values::object(&cnpg.cluster, field, findings);
            findings.range(field, cnpg.cluster.len(), (1, 50));
            Some(Postgres::CloudNativePg { cluster: cnpg.cluster.clone() })
        }
        (None, None, None, Some(_)) => Some(Postgres::None),
        _ => findings.refuse(
            "spec.postgres",
            Reason::ExactlyOne,
            "exactly one of managed, external, cloudNativePG, none must be set",
        ),
    }
}

pub(super) fn tls(given: &spec::Tls, findings: &mut Findings) -> Option<Tls> {
    let mut leaf = |period, field: &str| {
        let validity = values::duration(period, field, findings)?;
        if (HOUR..=2_160 * HOUR).contains(&validity.as_secs()) {
            return Some(validity);
        }
        findings.refuse(field, Reason::OutOfRange, "must be between 1h and 2160h")
    };
    match (&given.builtin, &given.cert_manager) {
        (Some(builtin), None) => {
            let leaf_validity = leaf(&builtin.leaf_validity, "spec.tls.builtin.leafValidity");
            let field = "spec.tls.builtin.caValidity";
            let ca_validity = values::duration(&builtin.ca_validity, field, findings);
            let (leaf_validity, ca_validity) = (leaf_validity?, ca_validity?);
            let lasts = ca_validity >= leaf_validity;
            findings.want(lasts, field, Reason::Conflict, "must be at least leafValidity");
            Some(Tls::Builtin { ca_validity, leaf_validity })
        }
        (None, Some(manager)) => {
            let leaf_validity = leaf(&manager.leaf_validity, "spec.tls.certManager.leafValidity");
            let issuer = manager.issuer_ref.name.clone();
            values::object(&issuer, "spec.tls.certManager.issuerRef.name", findings);
            Some(Tls::CertManager { issuer, leaf_validity: leaf_validity? })
        }
        _ => {
            findings.refuse("spec.tls", Reason::ExactlyOne, "exactly one of builtin, certManager must be set")
        }
    }
}

pub(super) fn images(given: &spec::Images, findings: &mut Findings) -> Images {
    let mut image = |reference: Option<&String>, field: &str| {
        values::image(reference?, &format!("spec.images.{field}"), findings)
    };
    let (vault, chatd) = (image(given.vault.as_ref(), "vault"), image(given.chatd.as_ref(), "chatd"));
    let postgres = image(given.postgres.as_ref(), "postgres");
    findings.range("spec.images.pullSecrets", given.pull_secrets.len(), (0, 8));
    let pull_secrets: Vec<String> = given.pull_secrets.iter().map(|s| s.name.clone()).collect();
    for (i, name) in pull_secrets.iter().enumerate() {
        values::object(name, &format!("spec.images.pullSecrets[{i}].name"), findings);
    }
    Images { vault, chatd, postgres, pull_policy: given.pull_policy, pull_secrets }
}

pub(super) fn monitoring(given: &spec::Monitoring, findings: &mut Findings) -> Monitoring {
    let labels = values::labels(given.labels.as_ref(), "spec.monitoring.labels", findings);
    for key in labels.keys() {
        // Selectors of ours would lose what they select.
        let ours = key.starts_with("bkv.dev/") || key.starts_with("app.kubernetes.io/");
        findings.want(
            !ours && names::qualified(key),
            "spec.monitoring.labels",
            Reason::Conflict,
            "bkv.dev/… and app.kubernetes.io/… are set by the operator",
        );
    }
    Monitoring {
        pod_monitor: given.pod_monitor,
        prometheus_rule: given.prometheus_rule,
        dashboard: given.dashboard,
        labels,
    }
}
