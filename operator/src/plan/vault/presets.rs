//! Tokens whose module we know: data, no code of their own. The two clouds' are written after their makers' documents and not seen on the real service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::token::{LIBRARY, Library, Source, Token};
use crate::validate::{KeyOf, LibraryDelivery, Quantity, Region};

/// SoftHSM: in the vault's own image, its tokens on a volume of their own, so that an old data volume meets a newer token.
pub(super) fn softhsm<'a>(region: &Region, storage: &'a Quantity) -> Token<'a> {
    let config = "directories.tokendir = /var/lib/bkv-token/tokens\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n";
    Token {
        path: "/usr/lib/softhsm/libsofthsm2.so".into(),
        label: region.name.to_string(),
        config: one("softhsm2.conf", config.into()),
        env: one("SOFTHSM2_CONF", "/etc/bkv/softhsm2.conf".into()),
        storage: Some(storage),
        library: None,
        folders: BTreeMap::new(),
    }
}

/// Google's kmsp11. It wants a file that only its owner can write, which a ConfigMap's is; it ignores the PIN; keys are destroyed with a delay.
pub(super) fn gcp_kms<'a>(key_ring: &str, image: &'a str) -> Token<'a> {
    // The key ring holds no character that YAML knows: it was checked.
    let config = format!(
        "---\ntokens:\n- key_ring: \"{key_ring}\"\n  label: \"bkv\"\n# Keys that others made are seen after so long; those of this process at once.\nrefresh_interval_secs: 300\n"
    );
    let module = "/usr/lib/libkmsp11.so";
    Token {
        path: format!("{LIBRARY}{module}"),
        label: "bkv".into(),
        config: one("kmsp11.yaml", config),
        env: one("KMS_PKCS11_CONFIG", "/etc/bkv/kmsp11.yaml".into()),
        storage: None,
        library: Some(Library { image, delivery: LibraryDelivery::Copy, copied: vec![module.into()] }),
        folders: BTreeMap::new(),
    }
}

/// AWS CloudHSM, client SDK 5: no daemon; it reads its configuration from a fixed place.
pub(super) fn aws_cloud_hsm<'a>(addresses: &[IpAddr], customer_ca: &KeyOf, image: &'a str) -> Token<'a> {
    let servers: Vec<_> = addresses
        .iter()
        .map(|a| json!({ "hostname": a.to_string(), "port": 2223, "enable": true }))
        .collect();
    let config = json!({
        "clusters": [{
            "type": "hsm1",
            "cluster": {
                "hsm_ca_file": format!("{CLOUD_HSM_ETC}/customerCA.crt"),
                "servers": servers,
                // With one HSM its library refuses to make keys, which could be lost with it, unless told so.
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
                Source { secret: false, from: customer_ca.clone(), file: "customerCA.crt".into() },
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

fn one(key: &str, value: String) -> BTreeMap<String, String> {
    [(key.to_owned(), value)].into()
}
