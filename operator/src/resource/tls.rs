//! Certificates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Period;

/// Who issues certificates: set exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.builtin), has(self.certManager)].exists_one(x, x)").message("exactly one of builtin, certManager must be set in tls"),
    validation = Rule::new("has(self.builtin) == has(oldSelf.builtin)").message("the kind of tls cannot change in place in v1alpha1").reason(Reason::FieldValueForbidden)
)]
pub struct Tls {
    /// The operator runs two CAs and renews them with an overlap. One signs roles and the database's certificate; its key is in the Secret `<name>-ca`. The other
    /// one signs ChatD's public certificate alone, and clients trust it; its key is in the Secret `<name>-chatd-web-ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinTls>,
    /// cert-manager issues all certificates, from the issuer that you name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManagerTls>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { builtin: Some(BuiltinTls::default()), cert_manager: None }
    }
}

/// The operator's own CAs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("duration(self.leafValidity) >= duration('1h') && duration(self.leafValidity) <= duration('2160h')").message("tls.builtin.leafValidity must be between 1h and 2160h"),
    validation = Rule::new("duration(self.caValidity) >= duration(self.leafValidity)").message("tls.builtin.caValidity must be at least leafValidity"),
    validation = Rule::new("duration(self.caValidity) <= duration('87600h')").message("tls.builtin.caValidity must be at most 87600h (ten years)")
)]
pub struct BuiltinTls {
    /// How long a CA is valid, at most 87600h. The operator renews it in time. Every part trusts the new CA before it signs anything.
    #[serde(default = "three_years")]
    pub ca_validity: Period,
    /// How long a certificate is valid, 1h to 2160h. The operator renews it after two thirds of that time.
    #[serde(default = "month")]
    pub leaf_validity: Period,
}

fn three_years() -> Period {
    "26280h".into()
}

fn month() -> Period {
    "720h".into()
}

impl Default for BuiltinTls {
    fn default() -> Self {
        Self { ca_validity: three_years(), leaf_validity: month() }
    }
}

/// cert-manager as the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("duration(self.leafValidity) >= duration('1h') && duration(self.leafValidity) <= duration('2160h')").message("tls.certManager.leafValidity must be between 1h and 2160h"))]
pub struct CertManagerTls {
    /// The issuer. It must copy URI names into certificates, because they carry the roles.
    pub issuer_ref: IssuerReference,
    /// The issuer of ChatD's public certificate. Default: the one of `issuerRef`. Name another one if clients trust the CA of this certificate, because they would
    /// otherwise trust the CA that signs the roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_issuer_ref: Option<WebIssuerReference>,
    /// How long a certificate is valid, 1h to 2160h. cert-manager renews it.
    #[serde(default = "month")]
    pub leaf_validity: Period,
}

/// A reference to cert-manager's issuer of ChatD's public certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebIssuerReference {
    /// Name of an Issuer in this namespace. It signs no role.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// A reference to cert-manager's issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerReference {
    /// Name of an Issuer in this namespace. Use it for this fleet alone: whoever can request a certificate from it can take any role in the fleet. A ClusterIssuer is
    /// not possible for that reason.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}
