//! Turns a region's token of any kind into one type: the module, its image and its files.

use std::collections::BTreeMap;

use super::presets;
use super::token::{Library, Source, Token};
use crate::paths::LIBRARY;
use crate::validate::{Hsm, Pkcs11, Region};

pub(super) fn token(region: &Region) -> Token<'_> {
    match &region.hsm {
        Hsm::SoftHsm { token_storage, .. } => presets::softhsm(region, token_storage),
        Hsm::Pkcs11(module) => pkcs11(module),
        Hsm::GcpKms { key_ring, library_image } => presets::gcp_kms(key_ring, library_image.as_str()),
        Hsm::AwsCloudHsm { hsm_addresses, customer_ca, library_image, .. } => {
            presets::aws_cloud_hsm(hsm_addresses, customer_ca, library_image.as_str())
        }
    }
}

fn pkcs11(module: &Pkcs11) -> Token<'_> {
    let mut env = module.env.clone();
    // Folders of libraries beside the module. Never a system folder: the vault would load the C library of another system and fail to start. The
    // spec's own value takes precedence.
    let folders: Vec<String> = module
        .library_dirs
        .iter()
        .filter(|dir| !of_the_system(dir))
        .map(|dir| format!("{LIBRARY}{dir}"))
        .collect();
    if !folders.is_empty() {
        env.entry("LD_LIBRARY_PATH".into()).or_insert_with(|| folders.join(":"));
    }
    let mut files: BTreeMap<&str, Vec<Source>> = BTreeMap::new();
    for file in &module.files {
        files.entry(&file.mount_path).or_default().push(file.into());
    }
    Token {
        path: format!("{LIBRARY}{}", module.module_path),
        label: module.token_label.clone(),
        config: BTreeMap::new(),
        env,
        storage: None,
        library: Some(Library {
            image: module.library_image.as_str(),
            delivery: module.delivery,
            copied: module.library_dirs.clone(),
        }),
        folders: files,
    }
}

/// `/lib`, `/usr/lib`, `/usr/lib64`, and what is right below them for an architecture.
fn of_the_system(folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    let folder = folder.strip_prefix("/usr").unwrap_or(folder);
    let below = folder.strip_prefix("/lib/").or_else(|| folder.strip_prefix("/lib64/"));
    matches!(folder, "/lib" | "/lib64") || below.is_some_and(|b| b.contains("-linux-") && !b.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::of_the_system;

    #[test]
    fn folders_of_the_system_are_known() {
        for folder in ["/lib", "/usr/lib/", "/usr/lib64", "/lib64", "/usr/lib/x86_64-linux-gnu"] {
            assert!(of_the_system(folder), "{folder}");
        }
        for folder in
            ["/opt/vendor/lib", "/usr/lib/vendor", "/usr/lib/x86_64-linux-gnu/vendor", "/usr/local/lib"]
        {
            assert!(!of_the_system(folder), "{folder}");
        }
    }
}
