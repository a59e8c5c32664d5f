//! Hardware tokens: which PKCS#11 module a vault loads, and how the module gets into the pod.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::KeyReference;

/// The kind of token: set exactly one. Keys never leave a token, so the kind can't change in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.softhsm), has(self.pkcs11), has(self.gcpKms), has(self.awsCloudHsm)].exists_one(x, x)")
        .message("exactly one of softhsm, pkcs11, gcpKms, awsCloudHsm must be set"),
    validation = Rule::new("has(self.softhsm) == has(oldSelf.softhsm) && has(self.pkcs11) == has(oldSelf.pkcs11) && has(self.gcpKms) == has(oldSelf.gcpKms) && has(self.awsCloudHsm) == has(oldSelf.awsCloudHsm)")
        .message("the kind of HSM cannot change in place: its keys stay in the token that they were made in")
        .reason(Reason::FieldValueForbidden)
)]
pub struct Hsm {
    /// Software token, for tests: whoever has its volume and its PIN has its keys. `ProductionReady` stays False.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub softhsm: Option<SoftHsm>,
    /// Any PKCS#11 module with ECDSA P-256 and HMAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkcs11: Option<Pkcs11>,
    /// Google Cloud KMS through kmsp11: a preset of pkcs11. Not yet tested on the real service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp_kms: Option<GcpKms>,
    /// AWS CloudHSM through its PKCS#11 library: a preset of pkcs11. Not yet tested on the real service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_cloud_hsm: Option<AwsCloudHsm>,
}

/// SoftHSM 2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SoftHsm {
    /// Secret with the PIN, 4 to 255 characters. Default key: `pin`. Without this field the operator makes a PIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_secret_ref: Option<KeyReference>,
    /// Size of the token's volume, at least 16Mi. The token has its own volume, so that a restored data volume is older than the token and the vault notices. Cannot
    /// change yet.
    #[serde(default = "token_storage")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+)(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    #[x_kube(
        validation = Rule::new("quantity(self).compareTo(quantity('16Mi')) >= 0").message("softhsm.tokenStorage must be at least 16Mi"),
        validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) == 0").message("softhsm.tokenStorage cannot change yet: growing volumes comes with a later release").reason(Reason::FieldValueForbidden)
    )]
    pub token_storage: String,
}

fn token_storage() -> String {
    "128Mi".into()
}

/// A PKCS#11 module from an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pkcs11 {
    /// Image that contains the module. Pin it by digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$"))]
    pub library_image: String,
    /// How the module gets into the vault's pod. Copy: an init container copies it into an emptyDir; works everywhere. ImageVolume: the image is mounted as a volume;
    /// needs containerd 2.1 or later.
    #[serde(default)]
    pub library_delivery: LibraryDelivery,
    /// The module's path in that image: `/usr/lib/vendor/pkcs11.so`.
    #[schemars(length(min = 2, max = 255), regex(pattern = r"^/[-._a-zA-Z0-9/]+$"))]
    pub module_path: String,
    /// Folders to copy from the image. Default: the folder of modulePath.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 255), regex(pattern = r"^/[-._a-zA-Z0-9/]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub library_dirs: Vec<String>,
    /// Label of the token to use. Immutable: the keys are in that token.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("tokenLabel is immutable").reason(Reason::FieldValueForbidden))]
    pub token_label: String,
    /// Secret with the user PIN. Default key: `pin`. The operator mounts it as a file and never puts it into the environment.
    pub pin_secret_ref: KeyReference,
    /// A public configuration file of the module, from a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<MountedKey>,
    /// A secret configuration file of the module, from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_secret_ref: Option<MountedKey>,
    /// Environment variables for the module: those that name a file, a folder or a place. Put no secrets here. Put other settings into the module's configuration file, and turn
    /// no debug output on there: it contains the PIN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(e, !e.name.contains('PIN') && !e.name.contains('PASSWORD') && !e.name.contains('SECRET') && !e.name.contains('TOKEN_'))")
            .message("env is for paths and switches of the module; secrets come from pinSecretRef or configSecretRef"),
        validation = Rule::new("self.all(e, !e.name.matches('DBG|DEBUG|LOG|SPY|TRACE|VERBOSE'))")
            .message("a module's debug output contains the PIN, and the vault's log would show it: remove the variable"),
        validation = Rule::new("self.all(e, e.name.matches('(^|_)(ADDRESS|BACKEND|CA|CERT|CFG|CONF|CONFIG|DIR|ENDPOINT|FILE|HOME|HOST|LOADSHARING|PATH|PORT|REGION|SERVER|SLOT|STORE|TCTI)$'))")
            .message("the last word of the name must be one of ADDRESS, BACKEND, CA, CERT, CFG, CONF, CONFIG, DIR, ENDPOINT, FILE, HOME, HOST, LOADSHARING, PATH, PORT, REGION, SERVER, SLOT, STORE, TCTI: put other settings into the module's configuration file")
    )]
    pub env: Vec<ModuleEnv>,
}

/// How a module gets to the vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LibraryDelivery {
    /// An init container copies it into an emptyDir. Works everywhere.
    #[default]
    Copy,
    /// The image is mounted as a volume. Needs containerd 2.1 or later.
    ImageVolume,
}

/// A file from a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountedKey {
    /// Name of the object, in the namespace of this resource.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in the object. It is also the name of the file.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// Folder where the file is mounted.
    #[serde(default = "module_config")]
    #[schemars(length(max = 255), regex(pattern = r"^/[-._a-zA-Z0-9/]+$"))]
    pub mount_path: String,
}

fn module_config() -> String {
    "/etc/bkv-module".into()
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleEnv {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Z0-9_]*$"))]
    pub name: String,
    /// Value of the variable. Everybody who can read this resource can read it: put no secrets here.
    #[schemars(length(max = 512))]
    pub value: String,
}

/// Google Cloud KMS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcpKms {
    /// The key ring for the vault's keys: `projects/…/locations/…/keyRings/…`. Immutable.
    #[schemars(
        length(max = 255),
        regex(pattern = r"^projects/[-.:a-zA-Z0-9]+/locations/[-a-z0-9]+/keyRings/[-_a-zA-Z0-9]+$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("keyRing is immutable").reason(Reason::FieldValueForbidden))]
    pub key_ring: String,
    /// Image with kmsp11 at `/usr/lib/libkmsp11.so`. Pin it by digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$"))]
    pub library_image: String,
}

/// AWS CloudHSM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AwsCloudHsm {
    /// The cluster for the vault's keys: `cluster-…`. Immutable.
    #[schemars(regex(pattern = r"^cluster-[a-z0-9]{1,40}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterId is immutable").reason(Reason::FieldValueForbidden))]
    pub cluster_id: String,
    /// IP addresses of the cluster's HSMs, as the vault's pods reach them.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 64), regex(pattern = r"^[-.:a-zA-Z0-9]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hsm_addresses: Vec<String>,
    /// ConfigMap with the cluster's own CA. Default key: `customerCA.crt`.
    pub customer_ca_config_map_ref: KeyReference,
    /// Secret with `user:password` of a crypto user. Default key: `pin`.
    pub pin_secret_ref: KeyReference,
    /// Image with the PKCS#11 library at `/opt/cloudhsm/lib/libcloudhsm_pkcs11.so`. Pin it by digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$"))]
    pub library_image: String,
}
