//! What each vendor's module takes and refuses, as data. Each rule names the public text that it follows. A rule without a text is marked *ours*.

use std::time::Duration;

use cryptoki_sys::*;

/// The rules of one vendor.
pub(crate) struct Profile {
    /// `CK_INFO.manufacturerID`, if it is documented.
    pub(crate) manufacturer: Option<&'static str>,
    /// `CK_INFO.libraryDescription`.
    pub(crate) description: &'static str,
    pub(crate) keys: Keys,
    /// Of [`Keys::ByAlgorithm`].
    pub(crate) algorithms: &'static [Algorithm],
    /// Of [`Keys::ByTemplate`]: an attribute that its tables have and this version has not.
    pub(crate) lacks: Option<CK_ATTRIBUTE_TYPE>,
    /// Whether `C_Login` checks the PIN. If not, any PIN is taken, and keys can be used without a login.
    pub(crate) login: Login,
    /// *Ours*: open sessions. No vendor's text names a number for its module.
    pub(crate) sessions: usize,
    /// *Ours*: how long an operation with a key takes, as over a network.
    pub(crate) takes: Duration,
    /// Operations with keys in any second.
    pub(crate) rate: usize,
    /// The error beyond that rate.
    pub(crate) throttled: CK_RV,
}

/// How keys are made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// By a label and an algorithm. All else is the service's.
    ByAlgorithm,
    /// By a template, of which the table allows some attributes.
    ByTemplate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Ignored,
    UserAndPassword,
}

/// Google's kmsp11 1.4. Its texts are at <https://github.com/GoogleCloudPlatform/kms-integrations>, below `kmsp11/`:
///
/// - `docs/user_guide.md`, *Functions*: C_GenerateKey and C_GenerateKeyPair take CKA_LABEL and CKA_KMS_ALGORITHM and nothing else, and no public template. C_CreateObject,
///   C_CopyObject, C_SetAttributeValue, C_WrapKey, C_UnwrapKey, C_DeriveKey, C_GetObjectSize, C_InitToken, C_InitPIN and C_SetPIN are not supported. Any PIN is ignored, and
///   a login is not required.
/// - `session.cc`: the label matches `[a-zA-Z0-9_-]{1,63}`, else CKR_ATTRIBUTE_VALUE_INVALID. Another attribute is CKR_TEMPLATE_INCONSISTENT, a missing one
///   CKR_TEMPLATE_INCOMPLETE, an existing CryptoKey CKR_ARGUMENTS_BAD. An object whose CKA_DESTROYABLE is false can't be destroyed: CKR_ACTION_PROHIBITED.
/// - `object.cc`: CKA_PRIVATE is false on every object, CKA_DESTROYABLE is false on public keys, CKA_ID is the name of the CryptoKeyVersion.
/// - `provider.cc`: manufacturer and description.
/// - The quota of 3,000 operations a minute with asymmetric HSM keys, enforced by the second: <https://cloud.google.com/kms/quotas>. Calls to the service that fail are
///   CKR_DEVICE_ERROR (`util/kms_client.cc`).
const GCP: Profile = Profile {
    manufacturer: Some("Google"),
    description: "Cryptoki Library for Cloud KMS",
    keys: Keys::ByAlgorithm,
    algorithms: &[EC_SIGN_P256_SHA256, HMAC_SHA256, HMAC_SHA512],
    lacks: None,
    login: Login::Ignored,
    sessions: 8,
    takes: Duration::from_millis(30),
    rate: 50,
    throttled: CKR_DEVICE_ERROR,
};

/// The PKCS#11 library of AWS CloudHSM, client SDK 5. Its texts are at <https://docs.aws.amazon.com/cloudhsm/latest/userguide/>:
///
/// - `pkcs11-attributes-interpreting.html`: the attributes of each kind of key, [`public_pair`] and the two beside it. CKA_COPYABLE is in none. CKA_PRIVATE may only be true,
///   also on a public key.
/// - `attr-errors.html`: an attribute that is not supported is CKR_TEMPLATE_INCONSISTENT, a read-only one CKR_ATTRIBUTE_READ_ONLY.
/// - `pkcs11-apis.html`: the functions. C_CopyObject, C_GetObjectSize, C_InitToken, C_InitPIN and C_SetPIN are not among them.
/// - `pkcs11-key-types.html`: objects are keys (and certificates, in a storage of their own). There are no data objects. The error code is not documented.
/// - `pkcs11-pin.html`: the PIN is `<user>:<password>`.
/// - `troubleshoot-hsm-throttling.html`: a busy HSM is CKR_FUNCTION_FAILED. The rate is *ours*: that of the other profile, a tenth of what `performance.html` gives for the
///   smallest cluster.
const AWS: Profile = Profile {
    manufacturer: None,
    description: "Rules of AWS CloudHSM, SDK 5",
    keys: Keys::ByTemplate,
    algorithms: &[],
    lacks: None,
    login: Login::UserAndPassword,
    sessions: 8,
    takes: Duration::from_millis(30),
    rate: 50,
    throttled: CKR_FUNCTION_FAILED,
};

/// kmsp11 before 1.3, which had HMAC only as an experiment that a configuration turned on (CHANGELOG.md).
const OLD_GCP: Profile = Profile { algorithms: &[EC_SIGN_P256_SHA256], ..GCP };

/// CloudHSM before client 1.1.1, which did not know CKA_DERIVE (`ki-pkcs11-sdk.html`, *The CKA_DERIVE attribute was not supported and was not handled*).
const OLD_AWS: Profile = Profile { lacks: Some(CKA_DERIVE), ..AWS };

impl Profile {
    /// The profile of this name.
    pub(crate) fn of(name: &str) -> Option<&'static Self> {
        match name {
            "gcp" => Some(&GCP),
            "old-gcp" => Some(&OLD_GCP),
            "aws" => Some(&AWS),
            "old-aws" => Some(&OLD_AWS),
            _ => None,
        }
    }
}

/// `CKA_KMS_ALGORITHM` (kmsp11.h).
pub(crate) const CKA_KMS_ALGORITHM: CK_ATTRIBUTE_TYPE = 0x8001_E101;

/// An algorithm of Cloud KMS that these tests use (kmsp11.h, algorithm_details.cc).
pub(crate) struct Algorithm {
    pub(crate) number: CK_ULONG,
    pub(crate) made_by: CK_MECHANISM_TYPE,
    /// The only mechanism of its keys.
    pub(crate) used_by: CK_MECHANISM_TYPE,
    /// Of a secret, in bytes.
    pub(crate) size: CK_ULONG,
}

const EC_SIGN_P256_SHA256: Algorithm =
    Algorithm { number: 12, made_by: CKM_EC_KEY_PAIR_GEN, used_by: CKM_ECDSA, size: 0 };
const HMAC_SHA256: Algorithm =
    Algorithm { number: 32, made_by: CKM_GENERIC_SECRET_KEY_GEN, used_by: CKM_SHA256_HMAC, size: 32 };
const HMAC_SHA512: Algorithm =
    Algorithm { number: 35, made_by: CKM_GENERIC_SECRET_KEY_GEN, used_by: CKM_SHA512_HMAC, size: 64 };

/// What CloudHSM says of an attribute in a template.
pub(crate) enum Rule {
    Any,
    /// Partially supported: only the default, true.
    OnlyTrue,
    ReadOnly,
    Unsupported,
}

/// Of an EC public key, in GenerateKeyPair's table.
pub(crate) fn public_pair(attribute: CK_ATTRIBUTE_TYPE) -> Rule {
    match attribute {
        CKA_PRIVATE => Rule::OnlyTrue,
        CKA_CLASS | CKA_KEY_TYPE | CKA_LABEL | CKA_ID | CKA_TOKEN | CKA_ENCRYPT | CKA_DERIVE
        | CKA_MODIFIABLE | CKA_DESTROYABLE | CKA_VERIFY | CKA_WRAP | CKA_WRAP_TEMPLATE | CKA_TRUSTED
        | CKA_EC_PARAMS => Rule::Any,
        CKA_LOCAL | CKA_CHECK_VALUE => Rule::ReadOnly,
        _ => Rule::Unsupported,
    }
}

/// Of an EC private key, in GenerateKeyPair's table.
pub(crate) fn private_pair(attribute: CK_ATTRIBUTE_TYPE) -> Rule {
    match attribute {
        CKA_PRIVATE | CKA_SENSITIVE => Rule::OnlyTrue,
        CKA_CLASS
        | CKA_KEY_TYPE
        | CKA_LABEL
        | CKA_ID
        | CKA_TOKEN
        | CKA_DECRYPT
        | CKA_DERIVE
        | CKA_MODIFIABLE
        | CKA_DESTROYABLE
        | CKA_SIGN
        | CKA_WRAP_WITH_TRUSTED
        | CKA_UNWRAP
        | CKA_UNWRAP_TEMPLATE
        | CKA_EXTRACTABLE => Rule::Any,
        CKA_LOCAL | CKA_CHECK_VALUE | CKA_ALWAYS_SENSITIVE | CKA_NEVER_EXTRACTABLE => Rule::ReadOnly,
        _ => Rule::Unsupported,
    }
}

/// Of a secret, in GenerateKey's table: what a generic secret and an AES key have.
pub(crate) fn secret(attribute: CK_ATTRIBUTE_TYPE) -> Rule {
    match attribute {
        CKA_PRIVATE => Rule::OnlyTrue,
        CKA_CLASS
        | CKA_KEY_TYPE
        | CKA_LABEL
        | CKA_ID
        | CKA_TOKEN
        | CKA_ENCRYPT
        | CKA_DECRYPT
        | CKA_DERIVE
        | CKA_MODIFIABLE
        | CKA_DESTROYABLE
        | CKA_SIGN
        | CKA_VERIFY
        | CKA_WRAP
        | CKA_UNWRAP
        | CKA_WRAP_WITH_TRUSTED
        | CKA_SENSITIVE
        | CKA_EXTRACTABLE
        | CKA_VALUE_LEN => Rule::Any,
        CKA_LOCAL | CKA_CHECK_VALUE | CKA_NEVER_EXTRACTABLE => Rule::ReadOnly,
        _ => Rule::Unsupported,
    }
}
