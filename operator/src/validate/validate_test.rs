//! Each field wrong, one at a time; and what is not wrong.

use serde_json::{Value, json};

use super::{Hsm, Note, Refusal, validate};
use crate::conditions::Reason;
use crate::resource::BackupKeyVault;

fn good() -> Value {
    json!({
        "apiVersion": "bkv.dev/v1alpha1",
        "kind": "BackupKeyVault",
        "metadata": { "name": "main", "namespace": "vaults", "uid": "u", "generation": 3 },
        "spec": {
            "regions": [
                { "name": "a", "nodeSelector": { "topology.kubernetes.io/region": "a" } },
                { "name": "b" },
                { "name": "c" },
            ],
            "hsm": { "softhsm": {} },
            "clientAuth": { "issuer": "https://issuer.example", "jwks": { "url": "https://issuer.example/keys" } },
        },
    })
}

fn with(path: &str, value: Value) -> BackupKeyVault {
    let mut all = good();
    let (parent, last) = path.rsplit_once('/').unwrap();
    let place =
        parent.split('/').filter(|p| !p.is_empty()).fold(&mut all, |v, key| match key.parse::<usize>() {
            Ok(i) => &mut v[i],
            Err(_) => &mut v[key],
        });
    match last.parse::<usize>() {
        Ok(i) => place[i] = value,
        Err(_) => place[last] = value,
    }
    serde_json::from_value(all).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn refused(resource: &BackupKeyVault) -> Vec<Refusal> {
    validate(resource).expect_err("it should be refused")
}

#[test]
fn a_good_one_is_read() {
    let fleet = validate(&serde_json::from_value(good()).unwrap()).unwrap();
    assert_eq!(fleet.generation, 3);
    assert_eq!(
        fleet.regions.iter().map(|r| (r.slot, r.name.as_str())).collect::<Vec<_>>(),
        [(1, "a"), (2, "b"), (3, "c")]
    );
    assert_eq!(fleet.attempts.waits.iter().sum::<u64>(), (60 + 600 + 3_600 * (1 + 6 + 24 + 48 + 96)) * 1_000);
    assert_eq!(fleet.notes, [Note::SoftwareToken, Note::RootKeyInFleet]);
    assert!(fleet.regions.iter().all(|r| matches!(r.hsm, Hsm::SoftHsm { .. })));
}

#[test]
fn every_wrong_field_is_refused_by_its_name() {
    let pkcs11 = |field: &str, value: Value| {
        let mut module = json!({ "libraryImage": "i", "modulePath": "/opt/v/m.so", "tokenLabel": "t", "pinSecretRef": { "name": "p" } });
        module[field] = value;
        json!({ "pkcs11": module })
    };
    let cases = [
        ("/metadata/name", json!("Main"), "metadata.name", Reason::InvalidName),
        ("/metadata/name", json!("a23456789012345678901"), "metadata.name", Reason::InvalidName),
        ("/metadata/uid", json!(""), "metadata.uid", Reason::InvalidValue),
        ("/spec/regions", json!([{ "name": "a" }, { "name": "b" }]), "spec.regions", Reason::OutOfRange),
        ("/spec/regions", json!([]), "spec.regions", Reason::OutOfRange),
        ("/spec/regions/1/name", json!("a"), "spec.regions[1].name", Reason::NameCollision),
        ("/spec/regions/1/name", json!("a-relay"), "spec.regions[1].name", Reason::NameCollision),
        ("/spec/regions/1/name", json!("a-tls"), "spec.regions[1].name", Reason::NameCollision),
        ("/spec/regions/0/name", json!("b-pin"), "spec.regions[1].name", Reason::NameCollision),
        ("/spec/regions/2/name", json!("chatd"), "spec.regions[2].name", Reason::NameCollision),
        ("/spec/regions/2/name", json!("ceremony-request"), "spec.regions[2].name", Reason::NameCollision),
        ("/spec/regions/2/name", json!("eu_west"), "spec.regions[2].name", Reason::InvalidName),
        ("/spec/regions/2/name", json!("a2345678901234567"), "spec.regions[2].name", Reason::InvalidName),
        (
            "/spec/regions/1/storage",
            json!({ "size": "many" }),
            "spec.regions[1].storage.size",
            Reason::InvalidQuantity,
        ),
        (
            "/spec/regions/1/storage",
            json!({ "size": "1023Mi" }),
            "spec.regions[1].storage.size",
            Reason::InvalidQuantity,
        ),
        (
            "/spec/regions/1/storage",
            json!({ "className": "A B" }),
            "spec.regions[1].storage.className",
            Reason::InvalidName,
        ),
        (
            "/spec/regions/1/resources",
            json!({ "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } }),
            "spec.regions[1].resources.requests.memory",
            Reason::Conflict,
        ),
        (
            "/spec/regions/1/resources",
            json!({ "limits": { "cpu": "x" } }),
            "spec.regions[1].resources.limits.cpu",
            Reason::InvalidQuantity,
        ),
        (
            "/spec/regions/1/nodeSelector",
            json!({ "a b": "c" }),
            "spec.regions[1].nodeSelector",
            Reason::InvalidName,
        ),
        (
            "/spec/regions/1/tolerations",
            json!([{ "operator": "Near" }]),
            "spec.regions[1].tolerations[0].operator",
            Reason::InvalidValue,
        ),
        ("/spec/regions/1/hsm", json!({}), "spec.regions[1].hsm", Reason::ExactlyOne),
        ("/spec/hsm", json!({}), "spec.hsm", Reason::ExactlyOne),
        (
            "/spec/hsm/softhsm",
            json!({ "tokenStorage": "0" }),
            "spec.hsm.softhsm.tokenStorage",
            Reason::InvalidQuantity,
        ),
        (
            "/spec/hsm",
            pkcs11("modulePath", json!("/opt/../m.so")),
            "spec.hsm.pkcs11.modulePath",
            Reason::InvalidValue,
        ),
        (
            "/spec/hsm",
            pkcs11("modulePath", json!("/m.so")),
            "spec.hsm.pkcs11.modulePath",
            Reason::InvalidValue,
        ),
        (
            "/spec/hsm",
            pkcs11("libraryDirs", json!(["/opt/w"])),
            "spec.hsm.pkcs11.libraryDirs",
            Reason::Conflict,
        ),
        (
            "/spec/hsm",
            pkcs11("libraryDirs", json!(["/"])),
            "spec.hsm.pkcs11.libraryDirs[0]",
            Reason::InvalidValue,
        ),
        ("/spec/hsm", pkcs11("tokenLabel", json!("")), "spec.hsm.pkcs11.tokenLabel", Reason::OutOfRange),
        (
            "/spec/hsm",
            pkcs11("libraryImage", json!("a b")),
            "spec.hsm.pkcs11.libraryImage",
            Reason::InvalidValue,
        ),
        (
            "/spec/hsm",
            pkcs11("env", json!([{ "name": "PIN_FILE", "value": "1" }])),
            "spec.hsm.pkcs11.env[0].name",
            Reason::SecretInPlainSight,
        ),
        (
            "/spec/hsm",
            pkcs11("env", json!([{ "name": "DEBUG_CONF", "value": "9" }])),
            "spec.hsm.pkcs11.env[0].name",
            Reason::SecretInPlainSight,
        ),
        (
            "/spec/hsm",
            pkcs11("env", json!([{ "name": "MODULE_CHATTY", "value": "9" }])),
            "spec.hsm.pkcs11.env[0].name",
            Reason::NotSupported,
        ),
        (
            "/spec/hsm",
            pkcs11("env", json!([{ "name": "A_CONF", "value": "1" }, { "name": "A_CONF", "value": "2" }])),
            "spec.hsm.pkcs11.env[1].name",
            Reason::Conflict,
        ),
        (
            "/spec/hsm",
            pkcs11("configMapRef", json!({ "name": "m", "key": "k", "mountPath": "/etc/bkv-tls/x" })),
            "spec.hsm.pkcs11.configMapRef.mountPath",
            Reason::Conflict,
        ),
        (
            "/spec/hsm",
            pkcs11("configSecretRef", json!({ "name": "m", "key": "k", "mountPath": "/etc" })),
            "spec.hsm.pkcs11.configSecretRef.mountPath",
            Reason::Conflict,
        ),
        (
            "/spec/hsm",
            json!({ "gcpKms": { "keyRing": "mine", "libraryImage": "i" } }),
            "spec.hsm.gcpKms.keyRing",
            Reason::InvalidValue,
        ),
        (
            "/spec/hsm",
            json!({ "awsCloudHsm": { "clusterId": "cluster-1", "hsmAddresses": ["hsm.example"], "customerCaConfigMapRef": { "name": "m" }, "pinSecretRef": { "name": "p" }, "libraryImage": "i" } }),
            "spec.hsm.awsCloudHsm.hsmAddresses[0]",
            Reason::InvalidValue,
        ),
        ("/spec/fleet", json!({ "root": {} }), "spec.fleet.root", Reason::ExactlyOne),
        ("/spec/attempts", json!({ "max": 21 }), "spec.attempts.max", Reason::OutOfRange),
        (
            "/spec/attempts",
            json!({ "lifetimeFailures": 9 }),
            "spec.attempts.lifetimeFailures",
            Reason::OutOfRange,
        ),
        ("/spec/attempts", json!({ "waits": ["1h"] }), "spec.attempts.waits", Reason::OutOfRange),
        (
            "/spec/attempts",
            json!({ "waits": ["168h", "1d"] }),
            "spec.attempts.waits[1]",
            Reason::InvalidPeriod,
        ),
        (
            "/spec/attempts",
            json!({ "waits": [], "allowShortWaits": true }),
            "spec.attempts.waits",
            Reason::OutOfRange,
        ),
        (
            "/spec/clientAuth/issuer",
            json!("http://issuer.example"),
            "spec.clientAuth.issuer",
            Reason::InvalidValue,
        ),
        ("/spec/clientAuth/jwks", json!({}), "spec.clientAuth.jwks", Reason::ExactlyOne),
        ("/spec/clientAuth/jwks/url", json!("http://a"), "spec.clientAuth.jwks.url", Reason::InvalidValue),
        (
            "/spec/clientAuth/audiences",
            json!({ "chatd": "x", "vault": "x" }),
            "spec.clientAuth.audiences",
            Reason::Conflict,
        ),
        (
            "/spec/clientAuth/audiences/vault",
            json!("va\u{1b}ult"),
            "spec.clientAuth.audiences.vault",
            Reason::InvalidValue,
        ),
        ("/spec/clientAuth/tokenMaxAge", json!("59s"), "spec.clientAuth.tokenMaxAge", Reason::OutOfRange),
        ("/spec/clientAuth/tokenMaxAge", json!("1d"), "spec.clientAuth.tokenMaxAge", Reason::InvalidPeriod),
        ("/spec/clientAuth/enrolmentClaim", json!(""), "spec.clientAuth.enrolmentClaim", Reason::OutOfRange),
        ("/spec/shards", json!(0), "spec.shards", Reason::OutOfRange),
        ("/spec/network/maxRoundTrip", json!("2s"), "spec.network.maxRoundTrip", Reason::OutOfRange),
        (
            "/spec/chatd",
            json!({ "replicas": 2, "autoscaling": { "maxReplicas": 3 } }),
            "spec.chatd.replicas",
            Reason::Conflict,
        ),
        ("/spec/chatd", json!({ "replicas": -1 }), "spec.chatd.replicas", Reason::OutOfRange),
        (
            "/spec/chatd",
            json!({ "autoscaling": { "minReplicas": 4, "maxReplicas": 3 } }),
            "spec.chatd.autoscaling.maxReplicas",
            Reason::OutOfRange,
        ),
        ("/spec/chatd", json!({ "expose": {} }), "spec.chatd.expose", Reason::ExactlyOne),
        (
            "/spec/chatd",
            json!({ "expose": { "service": { "nodePort": 30443 } } }),
            "spec.chatd.expose.service.nodePort",
            Reason::Conflict,
        ),
        (
            "/spec/chatd",
            json!({ "expose": { "service": { "hostNames": ["ok.example", "10.0.0.1"] } } }),
            "spec.chatd.expose.service.hostNames[1]",
            Reason::InvalidName,
        ),
        (
            "/spec/chatd",
            json!({ "expose": { "ingress": { "host": "https://a", "tlsSecretName": "t" } }, "trustedProxies": ["10.0.0.0/8"] }),
            "spec.chatd.expose.ingress.host",
            Reason::InvalidName,
        ),
        (
            "/spec/chatd",
            json!({ "expose": { "ingress": { "host": "a.example", "tlsSecretName": "t" } } }),
            "spec.chatd.trustedProxies",
            Reason::Conflict,
        ),
        (
            "/spec/chatd",
            json!({ "expose": { "gateway": { "hostnames": ["a.example"], "parentRefs": [{ "name": "g" }] } } }),
            "spec.chatd.trustedProxies",
            Reason::Conflict,
        ),
        (
            "/spec/chatd",
            json!({ "trustedProxies": ["10.0.0.0/8", "10.0.0.1"] }),
            "spec.chatd.trustedProxies[1]",
            Reason::InvalidValue,
        ),
        (
            "/spec/chatd",
            json!({ "trustedProxies": ["0.0.0.0/0"] }),
            "spec.chatd.trustedProxies[0]",
            Reason::InvalidValue,
        ),
        ("/spec/chatd", json!({ "proxyProtocol": true }), "spec.chatd.proxyProtocol", Reason::Conflict),
        (
            "/spec/chatd",
            json!({ "limits": { "framesPerSecond": 0 } }),
            "spec.chatd.limits.framesPerSecond",
            Reason::OutOfRange,
        ),
        ("/spec/postgres", json!({}), "spec.postgres", Reason::ExactlyOne),
        (
            "/spec/postgres",
            json!({ "external": { "secretRef": { "name": "a b" } } }),
            "spec.postgres.external.secretRef.name",
            Reason::InvalidName,
        ),
        ("/spec/tls", json!({}), "spec.tls", Reason::ExactlyOne),
        (
            "/spec/tls",
            json!({ "builtin": { "leafValidity": "30m" } }),
            "spec.tls.builtin.leafValidity",
            Reason::OutOfRange,
        ),
        (
            "/spec/tls",
            json!({ "builtin": { "caValidity": "1h" } }),
            "spec.tls.builtin.caValidity",
            Reason::Conflict,
        ),
        (
            "/spec/tls",
            json!({ "certManager": { "issuerRef": { "name": "i" }, "leafValidity": "soon" } }),
            "spec.tls.certManager.leafValidity",
            Reason::InvalidPeriod,
        ),
        ("/spec/images", json!({ "chatd": "" }), "spec.images.chatd", Reason::InvalidValue),
        (
            "/spec/monitoring",
            json!({ "labels": { "app.kubernetes.io/name": "x" } }),
            "spec.monitoring.labels",
            Reason::Conflict,
        ),
        ("/spec/deletionPolicy", json!("Destroy"), "spec.deletionPolicy", Reason::NotSupported),
    ];
    for (path, value, field, reason) in cases {
        let refusals = refused(&with(path, value.clone()));
        let found = refusals.iter().any(|r| r.field == field && r.reason == reason && !r.message.is_empty());
        assert!(found, "{path} = {value}: {field} {reason:?} is not among {refusals:#?}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut bad = with("/spec/shards", json!(0));
    bad.spec.chatd.replicas = Some(1_000);
    bad.spec.postgres.managed = None;
    let fields: Vec<_> = refused(&bad).into_iter().map(|r| r.field).collect();
    assert_eq!(fields, ["spec.shards", "spec.chatd.replicas", "spec.postgres"]);
}

#[test]
fn notes_say_why_it_is_not_for_production() {
    let notes = |r: &BackupKeyVault| validate(r).unwrap().notes;
    assert_eq!(
        notes(&with("/spec/regions", json!([{ "name": "a" }]))),
        [Note::SoftwareToken, Note::RootKeyInFleet, Note::SingleRegion]
    );
    assert_eq!(
        notes(&with("/spec/regions", json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }]))),
        [Note::SoftwareToken, Note::RootKeyInFleet, Note::RegionsShareNodes]
    );
    let mut real = with(
        "/spec/hsm",
        json!({ "gcpKms": { "keyRing": "projects/p/locations/l/keyRings/k", "libraryImage": "i" } }),
    );
    real.spec.fleet.root = serde_json::from_value(
        json!({ "offline": { "rootConfigMapRef": { "name": "r" }, "signedConfigMapRef": { "name": "s" } } }),
    )
    .unwrap();
    assert_eq!(notes(&real), []);
}

#[test]
fn a_regions_own_token_goes_before_the_fleets() {
    let fleet = validate(&with(
        "/spec/regions/1/hsm",
        json!({ "gcpKms": { "keyRing": "projects/p/locations/l/keyRings/k", "libraryImage": "i" } }),
    ))
    .unwrap();
    assert_eq!(
        fleet.regions.iter().map(|r| r.hsm.kind()).collect::<Vec<_>>(),
        ["softhsm", "gcpKms", "softhsm"]
    );
}
