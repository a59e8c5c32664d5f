//! Checks a region's token.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::references::KeyOf;
use super::refusal::Refusals;
use super::token::{Hsm, ModuleFile, Pin, Pkcs11};
use super::{references, resources};
use crate::conditions::Reason;
use crate::paths;
use crate::resource::{self as spec, MountedKey};

/// Folders of the vault's container that a module's file must not hide.
const OURS: [&str; 15] = [
    "/bin",
    "/dev",
    paths::CONFIG,
    paths::PIN,
    paths::ROOT,
    paths::TLS,
    "/etc/ssl",
    "/lib",
    "/lib64",
    paths::LIBRARY,
    "/proc",
    "/sys",
    paths::TEMPORARY,
    "/usr",
    "/var/lib",
];

/// Parts of a variable's name that suggest a secret value.
const SECRET_NAMES: [&str; 4] = ["PIN", "PASSWORD", "SECRET", "TOKEN_"];

pub(super) fn hsm(given: &spec::Hsm, field: &str, refusals: &mut Refusals) -> Option<Hsm> {
    match (&given.softhsm, &given.pkcs11, &given.gcp_kms, &given.aws_cloud_hsm) {
        (Some(soft), None, None, None) => softhsm(soft, &format!("{field}.softhsm"), refusals),
        (None, Some(module), None, None) => pkcs11(module, &format!("{field}.pkcs11"), refusals),
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

fn pkcs11(given: &spec::Pkcs11, field: &str, refusals: &mut Refusals) -> Option<Hsm> {
    let library_image = references::image(&given.library_image, &format!("{field}.libraryImage"), refusals);
    let module_at = format!("{field}.modulePath");
    path(&given.module_path, &module_at, refusals);
    let folder = given.module_path.rsplit_once('/').map_or("", |(f, _)| f);
    refusals.want(
        !folder.is_empty() && !given.module_path.ends_with('/'),
        &module_at,
        Reason::InvalidValue,
        "must be a file in a folder of its image, as /usr/lib/vendor/libmodule.so",
    );
    let dirs_at = format!("{field}.libraryDirs");
    refusals.range(&dirs_at, given.library_dirs.len(), (0, 8));
    for (i, dir) in given.library_dirs.iter().enumerate() {
        path(dir, &format!("{dirs_at}[{i}]"), refusals);
        // Refuse a copy of the whole image, with its programs, devices and secrets.
        let whole = dir.trim_end_matches('/').is_empty();
        refusals.want(!whole, &format!("{dirs_at}[{i}]"), Reason::InvalidValue, "must be a folder below /");
    }
    let mut library_dirs: Vec<String> = given.library_dirs.clone();
    if library_dirs.is_empty() {
        library_dirs.push(folder.to_owned());
    }
    let inside =
        library_dirs.iter().any(|d| given.module_path.starts_with(&format!("{}/", d.trim_end_matches('/'))));
    refusals.want(
        inside,
        &dirs_at,
        Reason::Conflict,
        "add the folder of modulePath: none of these holds it, so the module would not be copied",
    );
    let label_at = format!("{field}.tokenLabel");
    refusals.range(&label_at, given.token_label.len(), (1, 32));
    let pin = references::key_of(&given.pin_secret_ref, "pin", &format!("{field}.pinSecretRef"), refusals);
    let files = files(given, field, refusals);
    let env = env(given, field, refusals);
    Some(Hsm::Pkcs11(Pkcs11 {
        library_image: library_image?,
        delivery: given.library_delivery,
        module_path: given.module_path.clone(),
        library_dirs,
        token_label: given.token_label.clone(),
        pin,
        files,
        env,
    }))
}

fn files(given: &spec::Pkcs11, field: &str, refusals: &mut Refusals) -> Vec<ModuleFile> {
    let mut file = |from: &MountedKey, secret: bool, at: &str| {
        let at = format!("{field}.{at}");
        let mount_at = format!("{at}.mountPath");
        path(&from.mount_path, &mount_at, refusals);
        let place = from.mount_path.trim_end_matches('/');
        let within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        let hidden = OURS.into_iter().find(|ours| within(place, ours) || within(ours, place));
        if let Some(ours) = hidden {
            refusals.refuse::<()>(
                mount_at,
                Reason::Conflict,
                format!("choose a folder below /etc or /opt, as /etc/bkv-module: {place}/ would hide the vault's own {ours}"),
            );
        }
        ModuleFile {
            secret,
            from: references::key(&from.name, &from.key, &at, refusals),
            mount_path: place.to_owned(),
        }
    };
    let open = given.config_map_ref.as_ref().map(|f| file(f, false, "configMapRef"));
    let hidden = given.config_secret_ref.as_ref().map(|f| file(f, true, "configSecretRef"));
    if let (Some(a), Some(b)) = (&open, &hidden)
        && (a.mount_path == b.mount_path && a.from.key == b.from.key)
    {
        let message = "names the same file as configMapRef: give one of them another key or mountPath";
        refusals.refuse::<()>(format!("{field}.configSecretRef"), Reason::Conflict, message);
    }
    open.into_iter().chain(hidden).collect()
}

fn env(given: &spec::Pkcs11, field: &str, refusals: &mut Refusals) -> BTreeMap<String, String> {
    let at = format!("{field}.env");
    refusals.range(&at, given.env.len(), (0, 16));
    let mut seen = BTreeSet::new();
    for (i, variable) in given.env.iter().enumerate() {
        let at = format!("{at}[{i}].name");
        let name = variable.name.as_str();
        let good = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        refusals.want(good, &at, Reason::InvalidName, "must be of A to Z, 0 to 9 and '_', as KMS_CONFIG");
        refusals.want(seen.insert(name), &at, Reason::Conflict, "appears twice: remove one of them");
        // `kubectl describe` and /proc show the environment.
        let secret = SECRET_NAMES.iter().any(|s| name.contains(s));
        refusals.want(
            !secret,
            &at,
            Reason::SecretInPlainSight,
            "env is for paths and switches of the module; secrets come from pinSecretRef or configSecretRef",
        );
        let plain = variable.value.len() <= 512 && !variable.value.contains('\0');
        refusals.want(
            plain,
            &format!("{field}.env[{i}].value"),
            Reason::InvalidValue,
            "must be at most 512 characters",
        );
    }
    given.env.iter().map(|v| (v.name.clone(), v.value.clone())).collect()
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

/// An absolute path without `..`, symbols or doubled slashes.
fn path(text: &str, field: &str, refusals: &mut Refusals) {
    let good = text.len() <= 255
        && text.starts_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
        && !text.split('/').any(|part| part == "." || part == "..")
        && !text.contains("//");
    refusals.want(
        good,
        field,
        Reason::InvalidValue,
        "must be an absolute path of letters, digits, '.', '-', '_' and '/', without '..'",
    );
}
