//! A region's token: the checked type, and the checks of all but a PKCS#11 module of the owner's choice.

use std::net::IpAddr;

use super::names::Image;
use super::pkcs11::{Pkcs11, pkcs11};
use super::quantity::Quantity;
use super::references::KeyOf;
use super::refusal::Refusals;
use super::{references, resources};
use crate::conditions::Reason;
use crate::resource as spec;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hsm {
    /// SoftHSM 2.
    SoftHsm {
        /// Its PIN.
        pin: Pin,
        /// Size of its volume.
        token_storage: Quantity,
    },
    /// A PKCS#11 module.
    Pkcs11(Pkcs11),
    /// Google Cloud KMS.
    GcpKms {
        /// The key ring.
        key_ring: String,
        /// Image with the module.
        library_image: Image,
    },
    /// AWS CloudHSM.
    AwsCloudHsm {
        /// The cluster's id.
        cluster_id: String,
        /// Addresses of its HSMs.
        hsm_addresses: Vec<IpAddr>,
        /// ConfigMap with the cluster's own CA.
        customer_ca: KeyOf,
        /// Secret with `user:password`.
        pin: KeyOf,
        /// Image with the module.
        library_image: Image,
    },
}

impl Hsm {
    /// As in the status.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SoftHsm { .. } => "softhsm",
            Self::Pkcs11(_) => "pkcs11",
            Self::GcpKms { .. } => "gcpKms",
            Self::AwsCloudHsm { .. } => "awsCloudHsm",
        }
    }
}

/// Where a PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The operator makes it.
    Made,
    /// A Secret.
    Given(KeyOf),
}

pub(super) fn hsm(given: &spec::Hsm, field: &str, refusals: &mut Refusals) -> Option<Hsm> {
    match (&given.softhsm, &given.pkcs11, &given.gcp_kms, &given.aws_cloud_hsm) {
        (Some(soft), None, None, None) => softhsm(soft, &format!("{field}.softhsm"), refusals),
        (None, Some(module), None, None) => {
            pkcs11(module, &format!("{field}.pkcs11"), refusals).map(Hsm::Pkcs11)
        }
        (None, None, Some(kms), None) => gcp(kms, &format!("{field}.gcpKms"), refusals),
        (None, None, None, Some(aws)) => cloud_hsm(aws, &format!("{field}.awsCloudHsm"), refusals),
        _ => refusals.refuse(
            field,
            Reason::ExactlyOne,
            "exactly one of softhsm, pkcs11, gcpKms, awsCloudHsm must be set",
        ),
    }
}

fn softhsm(given: &spec::SoftHsm, field: &str, refusals: &mut Refusals) -> Option<Hsm> {
    let pin = given.pin_secret_ref.as_ref().map_or(Pin::Made, |r| {
        Pin::Given(references::key_of(r, "pin", &format!("{field}.pinSecretRef"), refusals))
    });
    let token_storage =
        resources::size(&given.token_storage, "1Mi", &format!("{field}.tokenStorage"), refusals)?;
    Some(Hsm::SoftHsm { pin, token_storage })
}

fn gcp(given: &spec::GcpKms, field: &str, refusals: &mut Refusals) -> Option<Hsm> {
    let parts: Vec<&str> = given.key_ring.split('/').collect();
    let good = matches!(parts.as_slice(), ["projects", p, "locations", l, "keyRings", k]
        if [p, l, k].iter().all(|x| !x.is_empty() && x.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))));
    refusals.want(
        good && given.key_ring.len() <= 255,
        &format!("{field}.keyRing"),
        Reason::InvalidValue,
        "must be projects/<project>/locations/<location>/keyRings/<name>",
    );
    let library_image = references::image(&given.library_image, &format!("{field}.libraryImage"), refusals)?;
    Some(Hsm::GcpKms { key_ring: given.key_ring.clone(), library_image })
}

fn cloud_hsm(given: &spec::AwsCloudHsm, field: &str, refusals: &mut Refusals) -> Option<Hsm> {
    let id = given.cluster_id.strip_prefix("cluster-").unwrap_or_default();
    refusals.want(
        (1..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
        &format!("{field}.clusterId"),
        Reason::InvalidValue,
        "must be the cluster's id, as cluster-abc123",
    );
    let at = format!("{field}.hsmAddresses");
    refusals.range(&at, given.hsm_addresses.len(), (1, 8));
    let addresses = given.hsm_addresses.iter().enumerate();
    let hsm_addresses: Vec<IpAddr> = addresses
        .filter_map(|(i, text)| {
            text.parse().ok().or_else(|| {
                refusals.refuse(
                    format!("{at}[{i}]"),
                    Reason::InvalidValue,
                    format!("{text:?} is not an IP address"),
                )
            })
        })
        .collect();
    let customer_ca: KeyOf = references::key_of(
        &given.customer_ca_config_map_ref,
        "customerCA.crt",
        &format!("{field}.customerCaConfigMapRef"),
        refusals,
    );
    let pin = references::key_of(&given.pin_secret_ref, "pin", &format!("{field}.pinSecretRef"), refusals);
    let library_image = references::image(&given.library_image, &format!("{field}.libraryImage"), refusals)?;
    Some(Hsm::AwsCloudHsm {
        cluster_id: given.cluster_id.clone(),
        hsm_addresses,
        customer_ca,
        pin,
        library_image,
    })
}
