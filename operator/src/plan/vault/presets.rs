//! Presets for known modules, as data. The two cloud presets follow the vendors' documents and were not tested on the real services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::token::{Library, Source, Token};
use crate::paths::{self, LIBRARY};
use crate::validate::{KeyOf, LibraryDelivery, Quantity, Region};

/// SoftHSM, in the vault's own image. Its tokens have a volume of their own, so that an old data volume meets a newer token.
pub(super) fn softhsm<'a>(region: &Region, storage: &'a Quantity) -> Token<'a> {
    let config = format!(
        "directories.tokendir = {}/tokens\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        paths::TOKEN
    );
    Token {
        path: "/usr/lib/softhsm/libsofthsm2.so".into(),
        label: region.name.to_string(),
        config: one(SOFTHSM_CONFIG, config),
        env: one("SOFTHSM2_CONF", paths::file(paths::CONFIG, SOFTHSM_CONFIG)),
        storage: Some(storage),
        library: None,
        folders: BTreeMap::new(),
    }
}

/// Google's kmsp11. It requires a file that only its owner can write, as in a ConfigMap volume. It ignores the PIN. It destroys keys with a delay.
pub(super) fn gcp_kms<'a>(key_ring: &str, image: &'a str) -> Token<'a> {
    // `validate` allows no character in a key ring that YAML interprets.
    let config = format!(
        "---\ntokens:\n- key_ring: \"{key_ring}\"\n  label: \"bkv\"\n# Keys that others made are seen after so long; those of this process at once.\nrefresh_interval_secs: 300\n"
    );
    let module = "/usr/lib/libkmsp11.so";
    Token {
        path: format!("{LIBRARY}{module}"),
        label: "bkv".into(),
        config: one(KMS_CONFIG, config),
        env: one("KMS_PKCS11_CONFIG", paths::file(paths::CONFIG, KMS_CONFIG)),
        storage: None,
        library: Some(Library { image, delivery: LibraryDelivery::Copy, copied: vec![module.into()] }),
        folders: BTreeMap::new(),
    }
}

/// AWS CloudHSM, client SDK 5. It needs no daemon and reads its configuration from a fixed path.
pub(super) fn aws_cloud_hsm<'a>(addresses: &[IpAddr], customer_ca: &KeyOf, image: &'a str) -> Token<'a> {
    let servers: Vec<_> = addresses
        .iter()
        .map(|a| json!({ "hostname": a.to_string(), "port": 2223, "enable": true }))
        .collect();
    let config = json!({
        "clusters": [{
            "type": "hsm1",
            "cluster": {
                "hsm_ca_file": paths::file(CLOUD_HSM_ETC, CLOUD_HSM_CA),
                "servers": servers,
                // With one HSM the library refuses to make keys unless this check is off, because they could be lost with that HSM.
                "options": { "disable_key_availability_check": addresses.len() < 2 },
            },
        }],
        "logging": { "log_type": "term", "log_level": "info" },
    });
    let folder = "/opt/cloudhsm/lib";
    Token {
        path: format!("{LIBRARY}{folder}/libcloudhsm_pkcs11.so"),
        label: "hsm1".into(),
        config: one(CLOUD_HSM_CONFIG, format!("{config:#}\n")),
        env: one("LD_LIBRARY_PATH", format!("{LIBRARY}{folder}")),
        storage: None,
        library: Some(Library { image, delivery: LibraryDelivery::Copy, copied: vec![folder.into()] }),
        folders: [(
            CLOUD_HSM_ETC,
            vec![
                Source { secret: false, from: customer_ca.clone(), file: CLOUD_HSM_CA.into() },
                Source {
                    secret: false,
                    // No name: the vault's own ConfigMap.
                    from: KeyOf { name: String::new(), key: CLOUD_HSM_CONFIG.into() },
                    file: CLOUD_HSM_CONFIG.into(),
                },
            ],
        )]
        .into(),
    }
}

const CLOUD_HSM_ETC: &str = "/opt/cloudhsm/etc";
const CLOUD_HSM_CONFIG: &str = "cloudhsm-pkcs11.cfg";
const CLOUD_HSM_CA: &str = "customerCA.crt";
const SOFTHSM_CONFIG: &str = "softhsm2.conf";
const KMS_CONFIG: &str = "kmsp11.yaml";

fn one(key: &str, value: String) -> BTreeMap<String, String> {
    [(key.to_owned(), value)].into()
}
