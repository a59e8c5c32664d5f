//! A token by a PKCS#11 module of the owner's choice: the checked type, and the checks.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Image;
use super::references::{self, KeyOf};
use super::refusal::Refusals;
use crate::conditions::Reason;
use crate::paths;
use crate::resource::{self as spec, LibraryDelivery, MountedKey};

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
/// In the names of variables that turn a module's debug output on, as `OPENSC_DEBUG`, `YKCS11_DBG` and `PKCS11SPY` do. That output contains the PIN.
const DEBUG_NAMES: [&str; 6] = ["DBG", "DEBUG", "LOG", "SPY", "TRACE", "VERBOSE"];
/// The last words of the names that are accepted: the variable names a file, a folder or a place. A list of bad names alone would miss the next module's switch.
const PLACE_NAMES: [&str; 20] = [
    "ADDRESS",
    "BACKEND",
    "CA",
    "CERT",
    "CFG",
    "CONF",
    "CONFIG",
    "DIR",
    "ENDPOINT",
    "FILE",
    "HOME",
    "HOST",
    "LOADSHARING",
    "PATH",
    "PORT",
    "REGION",
    "SERVER",
    "SLOT",
    "STORE",
    "TCTI",
];

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

pub(super) fn pkcs11(given: &spec::Pkcs11, field: &str, refusals: &mut Refusals) -> Option<Pkcs11> {
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
    Some(Pkcs11 {
        library_image: library_image?,
        delivery: given.library_delivery,
        module_path: given.module_path.clone(),
        library_dirs,
        token_label: given.token_label.clone(),
        pin,
        files,
        env,
    })
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
        let last = name.rsplit_once('_').map_or(name, |(_, last)| last);
        refusals.want(
            PLACE_NAMES.contains(&last),
            &at,
            Reason::NotSupported,
            "the last word of the name must be one of ADDRESS, BACKEND, CA, CERT, CFG, CONF, CONFIG, DIR, ENDPOINT, FILE, HOME, HOST, LOADSHARING, PATH, PORT, REGION, SERVER, SLOT, STORE, TCTI: put other settings into the module's configuration file",
        );
        refusals.want(
            !DEBUG_NAMES.iter().any(|s| name.contains(s)),
            &at,
            Reason::SecretInPlainSight,
            "a module's debug output contains the PIN, and the vault's log would show it: remove the variable",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ModuleEnv;

    fn refused(name: &str) -> Vec<String> {
        let mut refusals = Refusals::default();
        let variable = ModuleEnv { name: name.to_owned(), value: "/x".to_owned() };
        let given: spec::Pkcs11 = serde_json::from_value(serde_json::json!({
            "libraryImage": "i", "modulePath": "/opt/m.so", "tokenLabel": "t", "pinSecretRef": { "name": "pin" },
        }))
        .unwrap();
        env(&spec::Pkcs11 { env: vec![variable], ..given }, "f", &mut refusals);
        refusals.into_list().iter().map(ToString::to_string).collect()
    }

    /// Every variable that is known to make a module log the PIN, and one of a module that nobody knows.
    #[test]
    fn s37_no_variable_makes_a_module_log_its_pin() {
        for name in bkv_config::module_env::revealing_names().chain(["NEWHSM_CHATTY", "NEWHSM_LEVEL"]) {
            assert!(!refused(name.trim_end_matches('_')).is_empty(), "{name}");
        }
        for name in
            ["SOFTHSM2_CONF", "KMS_PKCS11_CONFIG", "CS_PKCS11_R3_CFG", "LD_LIBRARY_PATH", "TPM2_PKCS11_STORE"]
        {
            assert_eq!(refused(name), Vec::<String>::new(), "{name}");
        }
    }
}
