//! How the keys of a vault are named and made in each kind of module, as data.
//!
//! Most modules take a template of the standard. [`answer::is_template`](super::answer::is_template) and [`super::objects`] find out by trial which of its optional attributes a
//! module refuses, so they need no kind of their own. A module has a kind of its own here only if it takes another template altogether.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};

use crate::encoding::P256_PARAMS;
use crate::keys::{KeyName, VaultName};

/// The kind of module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// Templates of PKCS#11.
    Standard,
    /// Google's kmsp11 (<https://github.com/GoogleCloudPlatform/kms-integrations>, kmsp11/docs/user_guide.md, *Functions*): a key is a CryptoKey of Cloud KMS. It is made
    /// from a name and an algorithm, and the service sets all other attributes. A name is used once, also after its key was destroyed.
    CloudKms,
}

/// The longest id of a CryptoKey.
const LONGEST_CRYPTO_KEY: usize = 63;

/// `CKA_KMS_ALGORITHM` and its values (kmsp11.h).
const KMS_ALGORITHM: u64 = 0x8001_E101;
const EC_SIGN_P256_SHA256: u64 = 12;
const HMAC_SHA256: u64 = 32;
const HMAC_SHA512: u64 = 35;

/// A template. The module must take what is `required`. `optional` makes a key stricter where the module knows it.
pub(super) struct Template {
    pub(super) required: Vec<Attribute>,
    pub(super) optional: Vec<Attribute>,
}

/// The templates of a key pair.
pub(super) struct PairTemplate {
    pub(super) public: Vec<Attribute>,
    pub(super) private: Template,
}

/// How long a key exists. The probe makes `session_only` keys, which the token destroys at the end of the session.
#[derive(Clone, Copy)]
pub(super) struct KeyLifetime {
    pub(super) session_only: bool,
}

/// A size of secret that a vault uses. Each has one mechanism.
#[derive(Clone, Copy)]
pub(super) enum Secret {
    /// 32 bytes for HMAC-SHA-256.
    Sha256,
    /// 64 bytes for HMAC-SHA-512.
    Sha512,
}

impl Secret {
    pub(super) const fn bytes(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl Dialect {
    /// The kind of a module, from `CK_INFO.manufacturerID`. kmsp11 takes no template that another module would take, so its name must decide.
    pub(super) fn of(manufacturer: &str) -> Self {
        if manufacturer.trim_end_matches([' ', '\0']) == "Google" { Self::CloudKms } else { Self::Standard }
    }

    /// Whether `CKA_PRIVATE` is true on keys that can't be used without a login. kmsp11 has no login: the pod's service account may use the keys (object.cc).
    pub(super) const fn has_private_keys(self) -> bool {
        matches!(self, Self::Standard)
    }

    /// Whether the name of a destroyed key can't be used again. Such a module keeps no short-lived keys either, so the probe makes none.
    pub(super) const fn uses_names_once(self) -> bool {
        matches!(self, Self::CloudKms)
    }
}

/// The names of one vault's keys in one kind of module.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) vault: &'a VaultName,
    pub(super) dialect: Dialect,
}

impl Names<'_> {
    /// The object's `CKA_LABEL`.
    pub(super) fn label(self, key: KeyName) -> String {
        let label = key.label(self.vault);
        match self.dialect {
            Dialect::Standard => label,
            Dialect::CloudKms => escape(&label),
        }
    }

    /// The vault and the key of a label, or None if it has not our form.
    pub(super) fn parse(self, label: &str) -> Option<(VaultName, KeyName)> {
        match self.dialect {
            Dialect::Standard => KeyName::parse_label(label),
            Dialect::CloudKms => KeyName::parse_label(&unescape(label)?),
        }
    }

    /// Why the module can't have a key of this name, or None if it can.
    pub(super) fn unfit(self, key: KeyName) -> Option<String> {
        let label = self.label(key);
        (self.dialect == Dialect::CloudKms && label.len() > LONGEST_CRYPTO_KEY).then(|| {
            let length = label.len();
            format!(
                "the id of a CryptoKey has {LONGEST_CRYPTO_KEY} characters at most and {label:?} has {length}; use a shorter region name"
            )
        })
    }

    pub(super) fn pair(self, key: KeyName, lifetime: KeyLifetime) -> PairTemplate {
        match self.dialect {
            Dialect::Standard => PairTemplate {
                // Without CKA_PRIVATE: the default of CloudHSM is true, and it takes no other value.
                public: [
                    vec![
                        Attribute::Token(!lifetime.session_only),
                        Attribute::EcParams(P256_PARAMS.to_vec()),
                        Attribute::Verify(true),
                    ],
                    self.named(key),
                ]
                .concat(),
                private: Template {
                    required: [key_attributes(lifetime), self.named(key)].concat(),
                    optional: optional_attributes(),
                },
            },
            Dialect::CloudKms => {
                PairTemplate { public: Vec::new(), private: self.by_algorithm(key, EC_SIGN_P256_SHA256) }
            }
        }
    }

    pub(super) fn secret(self, key: KeyName, secret: Secret, lifetime: KeyLifetime) -> Template {
        match (self.dialect, secret) {
            (Dialect::Standard, _) => Template {
                required: [
                    vec![
                        Attribute::Class(ObjectClass::SECRET_KEY),
                        Attribute::KeyType(KeyType::GENERIC_SECRET),
                        Attribute::ValueLen(u64::from(secret.bytes()).into()),
                    ],
                    key_attributes(lifetime),
                    self.named(key),
                ]
                .concat(),
                optional: optional_attributes(),
            },
            (Dialect::CloudKms, Secret::Sha256) => self.by_algorithm(key, HMAC_SHA256),
            (Dialect::CloudKms, Secret::Sha512) => self.by_algorithm(key, HMAC_SHA512),
        }
    }

    fn named(self, key: KeyName) -> Vec<Attribute> {
        vec![Attribute::Label(self.label(key).into_bytes()), Attribute::Id(key.id(self.vault))]
    }

    fn by_algorithm(self, key: KeyName, algorithm: u64) -> Template {
        Template {
            required: vec![
                Attribute::Label(self.label(key).into_bytes()),
                Attribute::VendorDefined((
                    AttributeType::VendorDefined(KMS_ALGORITHM),
                    algorithm.to_ne_bytes().to_vec(),
                )),
            ],
            optional: Vec::new(),
        }
    }
}

/// Attributes of every key that this crate makes. They keep the key inside the token.
fn key_attributes(lifetime: KeyLifetime) -> Vec<Attribute> {
    vec![
        Attribute::Token(!lifetime.session_only),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        // CKA_DERIVE must be false. With CKM_EXTRACT_KEY_FROM_KEY an attacker could derive a one-byte key from each byte of this secret
        // and brute-force it byte by byte.
        Attribute::Derive(false),
    ]
}

/// Some modules refuse one of these. CloudHSM has no CKA_COPYABLE (pkcs11-attributes-interpreting.html).
fn optional_attributes() -> Vec<Attribute> {
    vec![Attribute::Modifiable(false), Attribute::Copyable(false)]
}

/// A label as the id of a CryptoKey, which is of `[a-zA-Z0-9_-]`: `/` becomes `__`, and `_` and `.` become `_5f` and `_2e`.
fn escape(label: &str) -> String {
    label.chars().fold(String::new(), |mut id, c| {
        match c {
            '/' => id.push_str("__"),
            '_' => id.push_str("_5f"),
            '.' => id.push_str("_2e"),
            other => id.push(other),
        }
        id
    })
}

/// None if `escape` never returns this id.
fn unescape(id: &str) -> Option<String> {
    let mut parts = id.split('_');
    let mut label = parts.next()?.to_owned();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            label.push('/');
            label.push_str(parts.next()?);
        } else if let Some(rest) = part.strip_prefix("5f") {
            label.push('_');
            label.push_str(rest);
        } else {
            label.push('.');
            label.push_str(part.strip_prefix("2e")?);
        }
    }
    (escape(&label) == id).then_some(label)
}

#[cfg(test)]
#[path = "dialect_test.rs"]
mod tests;
