//! Random specs.

use proptest::prelude::*;

use super::samples_test::resource;
use crate::resource::BackupKeyVault;

/// Specs of any shape that the schema accepts, and some that it refuses.
pub(super) fn specs() -> impl Strategy<Value = BackupKeyVault> {
    let hsm = prop_oneof![
        Just("{softhsm: {}}"),
        Just("{softhsm: {pinSecretRef: {name: a-pin}, tokenStorage: 1Gi}}"),
        Just("{gcpKms: {keyRing: projects/p/locations/l/keyRings/k, libraryImage: i}}"),
        Just(
            "{awsCloudHsm: {clusterId: cluster-1, hsmAddresses: ['10.0.0.1', 'fd00::1'], customerCaConfigMapRef: {name: ca-map}, pinSecretRef: {name: a-pin}, libraryImage: i}}"
        ),
        Just(
            "{pkcs11: {libraryImage: i, modulePath: /usr/lib/m.so, tokenLabel: t, pinSecretRef: {name: a-pin}}}"
        ),
        Just(
            "{pkcs11: {libraryImage: i, modulePath: /opt/v/m.so, libraryDirs: [/opt/v, /opt/w], tokenLabel: 'ü \"#', pinSecretRef: {name: a-pin, key: k}, configMapRef: {name: some-map, key: a}, configSecretRef: {name: some-secret, key: b, mountPath: /etc/other}, env: [{name: LD_LIBRARY_PATH, value: /x}]}}"
        ),
    ];
    let region = ("[a-z][a-z0-9-]{0,14}[a-z0-9]", proptest::option::of(hsm.clone()), 0u8..30).prop_map(
        |(name, own, size)| {
            let own = own.map_or(String::new(), |h| format!(", hsm: {h}"));
            format!("{{name: '{name}', storage: {{size: {size}Gi}}{own}}}")
        },
    );
    let chatd = prop_oneof![
        Just("{}"),
        Just("{replicas: 0}"),
        Just("{autoscaling: {maxReplicas: 4}}"),
        Just("{expose: {ingress: {host: a.example, tlsSecretName: t}}, trustedProxies: [10.0.0.0/8]}"),
        Just(
            "{expose: {service: {type: LoadBalancer, annotations: {a.example/b: 'x: y'}}}, trustedProxies: ['fd00::/8'], proxyProtocol: true}"
        ),
        Just(
            "{expose: {gateway: {parentRefs: [{name: g}], hostnames: ['*.a.example']}}, trustedProxies: [10.0.0.0/8]}"
        ),
    ];
    let postgres = prop_oneof![
        Just("{managed: {}}"),
        Just("{external: {secretRef: {name: a-database}}}"),
        Just("{cloudNativePG: {cluster: pg}}"),
        Just("{none: {}}"),
    ];
    let tls = prop_oneof![
        Just("{builtin: {}}"),
        Just("{certManager: {issuerRef: {name: i}, leafValidity: 100h}}"),
        Just("{certManager: {issuerRef: {name: i}, webIssuerRef: {name: w}}}"),
    ];
    let jwks = prop_oneof![Just("{url: 'https://i.example/k'}"), Just("{configMapRef: {name: keys-map}}")];
    let text = "[ -~]{1,40}";
    (
        ("[a-z]([a-z0-9-]{0,18}[a-z0-9])?", proptest::collection::vec(region, 1..8), hsm),
        (chatd, postgres, tls, jwks),
        (text, 1u16..300, any::<bool>(), "[a-z0-9./?=&#-]{1,30}"),
    )
        // Mostly odd numbers of regions, because even ones are refused at once.
        .prop_map(|((name, mut regions, hsm), (chatd, postgres, tls, jwks), (audience, shards, monitored, path))| {
            if regions.len() % 2 == 0 && shards % 8 != 0 {
                regions.pop();
            }
            let mut all: BackupKeyVault = resource(
                &name,
                &format!(
                    "\n  regions: [{}]\n  hsm: {hsm}\n  chatd: {chatd}\n  postgres: {postgres}\n  tls: {tls}\n  shards: {shards}\n  monitoring: {{podMonitor: {monitored}, prometheusRule: {monitored}, dashboard: {monitored}}}\n  clientAuth: {{issuer: 'https://i.example/{path}', jwks: {jwks}}}\n",
                    regions.join(", ")
                ),
            );
            all.spec.client_auth.audiences.chatd = audience;
            all
        })
}
