//! A region's token, checked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::names::Image;
use super::quantity::Quantity;
use super::references::KeyOf;
use crate::resource::LibraryDelivery;

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

/// A PKCS#11 module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs11 {
    /// Image with the module.
    pub library_image: Image,
    /// How it gets to the vault.
    pub delivery: LibraryDelivery,
    /// Its path in that image.
    pub module_path: String,
    /// Folders to copy; never empty.
    pub library_dirs: Vec<String>,
    /// The token's label.
    pub token_label: String,
    /// Secret with the PIN.
    pub pin: KeyOf,
    /// Configuration files of the module.
    pub files: Vec<ModuleFile>,
    /// Environment.
    pub env: BTreeMap<String, String>,
}

/// A configuration file of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// True for a Secret, false for a ConfigMap.
    pub secret: bool,
    /// Which key; also the file's name.
    pub from: KeyOf,
    /// Folder that it appears in.
    pub mount_path: String,
}
