//! Environment variables that make a PKCS#11 module, or a library below it, log what it is given. That contains the PIN, and the vault's log would show it.
//!
//! The vault refuses to start with one of these. Its environment also has variables that have nothing to do with a module, so only a list of known names can decide there. The
//! operator takes a variable only if its name ends as the name of a file, a folder or a place does, and never one of these.

/// A variable, or with `*` all whose names begin so, and the program that reads it.
const REVEALING: [(&str, &str); 23] = [
    ("AWS_KMS_PKCS11_DEBUG", "aws-kms-pkcs11"),
    ("CKNFAST_DEBUG*", "Entrust nShield: CKNFAST_DEBUG, CKNFAST_DEBUGFILE, CKNFAST_DEBUGDIR"),
    ("GRPC_TRACE", "gRPC, in Google's kmsp11"),
    ("GRPC_VERBOSITY", "gRPC, in Google's kmsp11"),
    ("LOGLEVEL", "modules that take the level of their log from the environment"),
    ("LOG_LEVEL", "modules that take the level of their log from the environment"),
    ("NFAST_DEBUG*", "Entrust nShield"),
    ("NFLOG_*", "Entrust nShield: NFLOG_SEVERITY, NFLOG_DETAIL, NFLOG_FILE"),
    ("NSPR_LOG_*", "NSS: NSPR_LOG_MODULES, NSPR_LOG_FILE"),
    ("NSS_DEBUG_PKCS11_MODULE", "NSS: logs each call of a module"),
    ("OPENCRYPTOKI_TRACE_LEVEL", "opencryptoki"),
    ("OPENSC_DEBUG", "OpenSC"),
    ("P11_KIT_DEBUG", "p11-kit"),
    ("PKCS11SPY*", "OpenSC's pkcs11-spy: PKCS11SPY, PKCS11SPY_OUTPUT"),
    ("PKCS11_LOGGER_*", "pkcs11-logger: PKCS11_LOGGER_FLAGS, PKCS11_LOGGER_LOG_FILE_PATH"),
    ("SSLKEYLOGFILE", "TLS libraries of modules that reach their HSM over the network"),
    ("TPM2_PKCS11_LOG_LEVEL", "tpm2-pkcs11"),
    ("TSS2_LOG*", "tpm2-tss, below tpm2-pkcs11: TSS2_LOG, TSS2_LOGFILE"),
    ("YKCS11_DBG", "yubico-piv-tool's ykcs11"),
    ("YKCS11_DINOUT", "yubico-piv-tool's ykcs11"),
    ("YUBIHSM_LIB_DBG", "yubihsm-shell's yubihsm_pkcs11"),
    ("YUBIHSM_PKCS11_DBG", "yubihsm-shell's yubihsm_pkcs11"),
    ("YUBIHSM_PKCS11_DINOUT", "yubihsm-shell's yubihsm_pkcs11"),
];

/// The names of the list. A name that stands for all that begin so is that beginning.
pub fn revealing_names() -> impl Iterator<Item = &'static str> {
    REVEALING.iter().map(|(name, _)| name.trim_end_matches('*'))
}

/// The program that this variable makes log secrets.
pub fn reveals(variable: &str) -> Option<&'static str> {
    let reads = |name: &str| match name.strip_suffix('*') {
        Some(beginning) => variable.starts_with(beginning),
        None => variable == name,
    };
    REVEALING.iter().find(|(name, _)| reads(name)).map(|(_, program)| *program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_known_by_its_name_or_its_beginning() {
        for name in ["YKCS11_DBG", "LOGLEVEL", "PKCS11SPY", "PKCS11SPY_OUTPUT", "CKNFAST_DEBUGFILE"] {
            assert!(reveals(name).is_some(), "{name}");
        }
        for name in ["RUST_LOG", "SOFTHSM2_CONF", "KMS_PKCS11_CONFIG", "YKCS11_DBGS", "PATH", ""] {
            assert_eq!(reveals(name), None, "{name}");
        }
        assert!(REVEALING.is_sorted());
    }
}
