//! Folders and files in the containers of a fleet.
//!
//! The plan mounts volumes at these folders and writes the same paths into the configuration files. Validation refuses a module's file that would hide
//! one of them. The file names are also the keys of the operator's Secrets and ConfigMaps, because a volume shows each key as a file of that name.
//!
//! The paths are part of the vaults' pod template: changing one makes every vault `PodOutdated`.

/// Folder with the configuration file of a vault or of ChatD.
pub const CONFIG: &str = "/etc/bkv";
/// Folder with the role certificate of a vault or of ChatD.
pub const TLS: &str = "/etc/bkv-tls";
/// Folder with the certificate of ChatD's public listener.
pub const WEB: &str = "/etc/bkv-web";
/// Folder with the user PIN of a vault's token.
pub const PIN: &str = "/etc/bkv-pin";
/// Folder with the published root that a vault pins.
pub const ROOT: &str = "/etc/bkv-root";
/// Folder with the database's URL and authority in ChatD, and with the password in the managed database.
pub const POSTGRES: &str = "/etc/bkv-postgres";
/// Folder with the certificate of the managed database.
pub const POSTGRES_TLS: &str = "/etc/bkv-postgres-tls";
/// Volume of the managed database.
pub const POSTGRES_DATA: &str = "/var/lib/postgresql/data";
/// Folder of the managed database's socket.
pub const POSTGRES_RUN: &str = "/run/postgresql";
/// Volume of a vault's store.
pub const DATA: &str = "/var/lib/bkv";
/// Volume of a software token.
pub const TOKEN: &str = "/var/lib/bkv-token";
/// The path in the vault's container where a library image's `/` appears, for every way of delivery.
pub const LIBRARY: &str = "/opt/bkv-module";
/// Folder of the program that copies a module out of its image.
pub const COPIER: &str = "/opt/bkv-copier";
/// Folder for temporary files.
pub const TEMPORARY: &str = "/tmp";

/// The file in a container whose content the kubelet puts into the pod's status when the container ends. Kubernetes' default.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// A certificate chain, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The certificate's key, PEM.
pub const KEY_FILE: &str = "tls.key";
/// The authorities that the certificate's owner trusts, PEM.
pub const AUTHORITY_FILE: &str = "ca.crt";
/// The public root.
pub const ROOT_FILE: &str = "root.bin";
/// The token's user PIN.
pub const PIN_FILE: &str = "pin";
/// The issuer's keys.
pub const JWKS_FILE: &str = "jwks.json";
/// The database's URL.
pub const URL_FILE: &str = "url";
/// The managed database's password.
pub const PASSWORD_FILE: &str = "password";

/// The path of a file in one of the folders.
pub fn file(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}
