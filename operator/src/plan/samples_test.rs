//! Resources that tests plan: one for each folder of `operator/golden`.

use super::{Content, Embedded, Input, Object, Settings, objects};
use crate::journal::{Journal, JournalStage, Pinned};
use crate::kinds::{Kind, Kinds};
use crate::resource::{BackupKeyVault, PullPolicy};
use crate::validate::{Fleet, validate};

pub(super) const CASES: [(&str, &str); 5] = [
    (
        "default",
        r"
  regions:
  - {name: eu-west, nodeSelector: {topology.kubernetes.io/region: eu-west}}
  - {name: eu-north, nodeSelector: {topology.kubernetes.io/region: eu-north}}
  - {name: us-east, nodeSelector: {topology.kubernetes.io/region: us-east}}
  hsm: {softhsm: {}}
  clientAuth: {issuer: 'https://issuer.example.org', jwks: {configMapRef: {name: issuer-keys}}}
",
    ),
    (
        "single-region",
        r"
  regions: [{name: here, storage: {size: 1Gi, className: fast}}]
  hsm: {softhsm: {pinSecretRef: {name: my-pin, key: token}}}
  chatd: {replicas: 1}
  clientAuth: {issuer: 'https://issuer.example.org', jwks: {url: 'https://issuer.example.org:8443/keys'}}
",
    ),
    (
        "pkcs11-external-ingress",
        r#"
  regions:
  - name: eu-west
    tolerations: [{key: hsm, operator: Exists, effect: NoSchedule}]
    serviceAccountAnnotations: {example.org/identity: vault-eu-west}
    resources: {requests: {cpu: "1", memory: 1Gi}, limits: {cpu: "2", memory: 2Gi}}
  - name: eu-north
    hsm:
      pkcs11: {libraryImage: 'registry.example.org/vendor@sha256:11', libraryDelivery: ImageVolume, modulePath: /usr/lib/x86_64-linux-gnu/libvendor.so, tokenLabel: north, pinSecretRef: {name: north-pin}}
  - name: us-east
    hsm:
      awsCloudHsm: {clusterId: cluster-abc123, hsmAddresses: [10.0.1.5], customerCaConfigMapRef: {name: cloudhsm-ca}, pinSecretRef: {name: cloudhsm-user}, libraryImage: 'registry.example.org/cloudhsm:5'}
  hsm:
    pkcs11:
      libraryImage: registry.example.org/vendor:1
      modulePath: /opt/vendor/lib/libvendor.so
      tokenLabel: backup keys
      pinSecretRef: {name: west-pin}
      configMapRef: {name: vendor-config, key: vendor.conf}
      configSecretRef: {name: vendor-client, key: client.pem}
      env: [{name: VENDOR_CONFIG, value: /etc/bkv-module/vendor.conf}]
  chatd: {expose: {ingress: {className: nginx, host: chat.example.org, tlsSecretName: chat-tls, annotations: {example.org/backend-protocol: HTTPS}}}, trustedProxies: [10.0.8.0/24]}
  postgres: {external: {secretRef: {name: my-database}}}
  images: {pullSecrets: [{name: registry}], pullPolicy: Always}
  clientAuth: {issuer: 'https://issuer.example.org', jwks: {url: 'https://issuer.example.org/keys'}}
"#,
    ),
    (
        "gcp-autoscaling-gateway-cert-manager",
        r"
  regions:
  - {name: eu-west}
  - {name: eu-north}
  - {name: us-east}
  hsm: {gcpKms: {keyRing: projects/p/locations/europe/keyRings/bkv, libraryImage: 'registry.example.org/kmsp11:1'}}
  chatd:
    autoscaling: {minReplicas: 3, maxReplicas: 12}
    expose: {gateway: {parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [chat.example.org]}}
    trustedProxies: [10.0.8.0/24, 'fd00:8::/64']
  postgres: {cloudNativePG: {cluster: metadata}}
  tls: {certManager: {issuerRef: {name: internal}, webIssuerRef: {name: public}}}
  clientAuth: {issuer: 'https://issuer.example.org', jwks: {url: 'https://issuer.example.org/keys'}}
",
    ),
    (
        "offline-root-monitoring",
        r"
  fleet: {root: {offline: {rootConfigMapRef: {name: our-root}, signedConfigMapRef: {name: our-signed}}}}
  regions:
  - {name: eu-west}
  - {name: eu-north}
  - {name: us-east}
  hsm: {softhsm: {}}
  chatd: {expose: {service: {type: NodePort, nodePort: 30443, hostNames: [chat.example.org]}}}
  postgres: {none: {}}
  networkPolicy: None
  monitoring: {podMonitor: true, prometheusRule: true, dashboard: true, labels: {release: prometheus}}
  clientAuth: {issuer: 'https://issuer.example.org', jwks: {configMapRef: {name: issuer-keys, key: keys}}}
",
    ),
];

/// A resource of this name and spec.
pub(super) fn resource(name: &str, spec: &str) -> BackupKeyVault {
    serde_norway::from_str(&format!(
        "apiVersion: bkv.dev/v1alpha1\nkind: BackupKeyVault\nmetadata: {{name: {name}, namespace: vaults, uid: 5f0c5a0e-0000-4000-8000-000000000001, generation: 1}}\nspec:{spec}"
    ))
    .unwrap()
}

pub(super) fn fleet(resource: &BackupKeyVault) -> Fleet {
    validate(resource).unwrap_or_else(|refusals| panic!("{refusals:#?}"))
}

/// The owned input of a plan.
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) settings: Settings,
    pub(super) journal: Journal,
    pub(super) initialised: bool,
    pub(super) content: Content,
    pub(super) embedded: Embedded,
    pub(super) kinds: Kinds,
}

impl World {
    pub(super) fn of(fleet: Fleet) -> Self {
        Self {
            journal: Journal {
                fleet: "00112233445566778899aabbccddeeff".into(),
                seed: fleet.regions[0].name.to_string(),
                pinned: Pinned {
                    vault_image: "registry.example.org/bkv-vault:0.1.0".into(),
                    copier_image: "registry.example.org/bkv-copier:0.1.0".into(),
                    pull_policy: PullPolicy::IfNotPresent,
                },
                stage: JournalStage::Initialised,
            },
            initialised: true,
            fleet,
            settings: Settings {
                vault_image: "registry.example.org/bkv-vault:0.2.0".into(),
                chatd_image: "registry.example.org/bkv-chatd:0.2.0".into(),
                postgres_image: "registry.example.org/bkv-postgres:0.2.0".into(),
                copier_image: "registry.example.org/bkv-copier:0.2.0".into(),
                pull_policy: PullPolicy::IfNotPresent,
                version: "0.2.0".into(),
                operator_namespace: "bkv-system".into(),
            },
            content: Content {
                root: Some(b"a public root".to_vec()),
                jwks: Some(r#"{"keys":[]}"#.into()),
                external_uri_ca: true,
                external_port: Some(6432),
                web_authority: Some("-----BEGIN CERTIFICATE-----\n".into()),
            },
            embedded: Embedded::parse(
                "groups:\n- name: bkv\n  rules:\n  - {alert: BkvHsmDown, expr: 'min by (namespace, bkv, region) (bkv_vault_hsm_up) == 0', for: 1m}\n",
                r#"{"title": "Backup Key Vault"}"#,
            )
            .unwrap(),
            kinds: Kind::known(|_| true),
        }
    }

    pub(super) fn case(spec: &str) -> Self {
        Self::of(fleet(&resource("main", spec)))
    }

    pub(super) fn input(&self) -> Input<'_> {
        Input {
            fleet: &self.fleet,
            settings: &self.settings,
            journal: &self.journal,
            initialised: self.initialised,
            content: &self.content,
            embedded: &self.embedded,
            kinds: &self.kinds,
        }
    }

    pub(super) fn objects(&self) -> Vec<Object> {
        objects(&self.input())
    }
}
