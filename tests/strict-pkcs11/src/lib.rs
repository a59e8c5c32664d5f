//! A PKCS#11 module for tests: SoftHSM behind the rules of a cloud's module. It refuses what the vendor's texts say is refused ([`profile`] names each text), and lets
//! SoftHSM do the rest. It imitates only what a vault and an attacker on its host call. The vendors' own modules were never run: what their texts do not say, it does not
//! know.
//!
//! The process that loads it sets [`PROFILE`] to a name of [`profile`], [`NAMES`] to a file for the names that were ever used, and SoftHSM's own configuration.
// The types, names and numbers of arguments are those of PKCS#11.
#![allow(
    unsafe_code,
    non_snake_case,
    clippy::missing_safety_doc,
    clippy::wildcard_imports,
    clippy::too_many_arguments
)]

mod limits;
mod profile;
mod rules;
mod template;

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki_sys::*;

use limits::Limits;
use profile::{Keys, Login, Profile};
use template::Template;

/// Environment variable: `gcp`, `old-gcp`, `aws` or `old-aws`.
pub const PROFILE: &str = "BKV_STRICT_PKCS11_PROFILE";
/// Environment variable: a file with the names of all keys that were ever made. A CryptoKey keeps its name for good.
pub const NAMES: &str = "BKV_STRICT_PKCS11_NAMES";
/// The module behind this one.
const BEHIND: &str = "/usr/lib/softhsm/libsofthsm2.so";

struct Module {
    profile: &'static Profile,
    softhsm: CK_FUNCTION_LIST,
    /// What the caller gets: SoftHSM's functions, some of them replaced.
    strict: CK_FUNCTION_LIST,
    limits: Limits,
    /// Where [`Login::Ignored`] remembers a login.
    logged_in: AtomicBool,
    /// Keeps SoftHSM loaded.
    _library: Pkcs11,
}

static MODULE: OnceLock<Option<Module>> = OnceLock::new();

fn module() -> Option<&'static Module> {
    MODULE.get_or_init(load).as_ref()
}

fn load() -> Option<Module> {
    let profile = Profile::of(&std::env::var(PROFILE).ok()?)?;
    // SAFETY: SoftHSM's initialisers run here, as they do in any program that loads it.
    let library = unsafe { Pkcs11::new(BEHIND) }.ok()?;
    let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
    library.C_GetFunctionList.as_ref().ok()?;
    // SAFETY: the function exists, and `list` is a place for one pointer.
    let listed = unsafe { library.C_GetFunctionList(&raw mut list) };
    if listed != CKR_OK || list.is_null() {
        return None;
    }
    // SAFETY: SoftHSM returned a pointer to its static list.
    let softhsm = unsafe { *list };
    let mut strict = softhsm;
    strict.C_GetFunctionList = Some(C_GetFunctionList);
    strict.C_Finalize = Some(finalize);
    strict.C_GetInfo = Some(get_info);
    strict.C_GetMechanismList = Some(get_mechanism_list);
    strict.C_OpenSession = Some(open_session);
    strict.C_CloseSession = Some(close_session);
    strict.C_CloseAllSessions = Some(close_all_sessions);
    strict.C_Login = Some(login);
    strict.C_GenerateKey = Some(generate_key);
    strict.C_GenerateKeyPair = Some(generate_key_pair);
    strict.C_DestroyObject = Some(destroy_object);
    strict.C_Sign = Some(sign);
    strict.C_CopyObject = Some(copy_object);
    strict.C_GetObjectSize = Some(get_object_size);
    strict.C_InitToken = Some(init_token);
    strict.C_InitPIN = Some(init_pin);
    strict.C_SetPIN = Some(set_pin);
    strict.C_CreateObject = Some(create_object);
    if profile.login == Login::Ignored {
        strict.C_Logout = Some(logout);
        strict.C_GetSessionInfo = Some(get_session_info);
    }
    if profile.keys == Keys::ByAlgorithm {
        strict.C_SetAttributeValue = Some(set_attribute_value);
        strict.C_WrapKey = Some(wrap_key);
        strict.C_UnwrapKey = Some(unwrap_key);
        strict.C_DeriveKey = Some(derive_key);
    }
    let limits = Limits::new();
    Some(Module { profile, softhsm, strict, limits, logged_in: AtomicBool::new(false), _library: library })
}

/// The module's only exported function.
///
/// # Safety
/// As PKCS#11 requires: `list` is a place for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    // SAFETY: the caller vouches for the place. Callers only read the list, which lives as long as the process.
    unsafe { *list = std::ptr::from_ref(&module.strict).cast_mut() };
    CKR_OK
}

/// Calls a function of SoftHSM with the caller's own arguments.
macro_rules! softhsm {
    ($module:expr, $function:ident ( $($argument:expr),* )) => {
        match $module.softhsm.$function {
            // SAFETY: the arguments are those of the caller of the function of the same name here, who vouches for them as PKCS#11 requires, or live in the function
            // that uses this macro.
            Some(function) => unsafe { function($($argument),*) },
            None => CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}

/// Functions that no profile here supports.
macro_rules! unsupported {
    ($($name:ident($($argument:ty),*);)*) => {
        $(unsafe extern "C" fn $name($(_: $argument),*) -> CK_RV { CKR_FUNCTION_NOT_SUPPORTED })*
    };
}

unsupported! {
    copy_object(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR);
    get_object_size(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ULONG_PTR);
    set_attribute_value(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG);
    wrap_key(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR);
    unwrap_key(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR);
    derive_key(CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR);
    init_token(CK_SLOT_ID, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR);
    init_pin(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG);
    set_pin(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR, CK_ULONG);
}

unsafe extern "C" fn finalize(reserved: CK_VOID_PTR) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    module.limits.closed(None);
    module.logged_in.store(false, Ordering::Release);
    softhsm!(module, C_Finalize(reserved))
}

unsafe extern "C" fn get_info(info: *mut CK_INFO) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    let result = softhsm!(module, C_GetInfo(info));
    if result == CKR_OK {
        // SAFETY: SoftHSM has just filled it.
        let info = unsafe { &mut *info };
        info.libraryDescription = padded(module.profile.description);
        if let Some(manufacturer) = module.profile.manufacturer {
            info.manufacturerID = padded(manufacturer);
        }
    }
    result
}

/// Of the HMACs, those of the profile's algorithms only.
unsafe extern "C" fn get_mechanism_list(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: CK_ULONG_PTR,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    let result = softhsm!(module, C_GetMechanismList(slot, list, count));
    if result == CKR_OK && !list.is_null() && module.profile.keys == Keys::ByAlgorithm {
        let known = |m: CK_MECHANISM_TYPE| module.profile.algorithms.iter().any(|a| a.used_by == m);
        // SAFETY: SoftHSM has just filled so many.
        let listed = unsafe { std::slice::from_raw_parts_mut(list, usize::try_from(*count).unwrap_or(0)) };
        for mechanism in listed {
            if [CKM_SHA256_HMAC, CKM_SHA512_HMAC].contains(mechanism) && !known(*mechanism) {
                // Another one that is listed already, so that the list keeps its length.
                *mechanism = CKM_SHA_1_HMAC;
            }
        }
    }
    result
}

fn padded(text: &str) -> [CK_UTF8CHAR; 32] {
    let mut field = [b' '; 32];
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    field
}

unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: CK_VOID_PTR,
    notify: CK_NOTIFY,
    session: CK_SESSION_HANDLE_PTR,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    if !module.limits.room(module.profile) {
        return CKR_SESSION_COUNT;
    }
    let result = softhsm!(module, C_OpenSession(slot, flags, application, notify, session));
    if result == CKR_OK {
        // SAFETY: SoftHSM has just written it.
        module.limits.opened(unsafe { *session });
    }
    result
}

unsafe extern "C" fn close_session(session: CK_SESSION_HANDLE) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    module.limits.closed(Some(session));
    softhsm!(module, C_CloseSession(session))
}

unsafe extern "C" fn close_all_sessions(slot: CK_SLOT_ID) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    module.limits.closed(None);
    softhsm!(module, C_CloseAllSessions(slot))
}

unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    length: CK_ULONG,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    match module.profile.login {
        Login::Ignored if user != CKU_USER => CKR_USER_TYPE_INVALID,
        Login::Ignored if module.logged_in.swap(true, Ordering::AcqRel) => CKR_USER_ALREADY_LOGGED_IN,
        Login::Ignored => CKR_OK,
        Login::UserAndPassword => {
            let length_here = usize::try_from(length).unwrap_or(0);
            // SAFETY: the caller vouches for a PIN of this length.
            if !pin.is_null() && !unsafe { std::slice::from_raw_parts(pin, length_here) }.contains(&b':') {
                return CKR_PIN_INCORRECT;
            }
            softhsm!(module, C_Login(session, user, pin, length))
        }
    }
}

unsafe extern "C" fn logout(_session: CK_SESSION_HANDLE) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    if module.logged_in.swap(false, Ordering::AcqRel) { CKR_OK } else { CKR_USER_NOT_LOGGED_IN }
}

unsafe extern "C" fn get_session_info(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    let result = softhsm!(module, C_GetSessionInfo(session, info));
    if result == CKR_OK && module.logged_in.load(Ordering::Acquire) {
        // SAFETY: SoftHSM has just filled it.
        let info = unsafe { &mut *info };
        info.state = match info.state {
            CKS_RW_PUBLIC_SESSION => CKS_RW_USER_FUNCTIONS,
            CKS_RO_PUBLIC_SESSION => CKS_RO_USER_FUNCTIONS,
            other => other,
        };
    }
    result
}

unsafe extern "C" fn create_object(
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    object: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    if module.profile.keys == Keys::ByAlgorithm {
        return CKR_FUNCTION_NOT_SUPPORTED;
    }
    // SAFETY: the caller vouches for the template.
    let given = unsafe { Template::read(template, count) };
    if given.get(CKA_CLASS).and_then(template::number) == Some(CKO_DATA) {
        return CKR_ATTRIBUTE_VALUE_INVALID;
    }
    softhsm!(module, C_CreateObject(session, template, count, object))
}

unsafe extern "C" fn generate_key(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    // SAFETY: the caller vouches for the template and the mechanism.
    let (given, made_by) = unsafe { (Template::read(template, count), (*mechanism).mechanism) };
    let made = match module.profile.keys {
        Keys::ByAlgorithm => rules::cloud_key(module.profile, &given, made_by).map(|key| key.secret()),
        Keys::ByTemplate if given.get(CKA_VALUE_LEN).is_none() => Err(CKR_TEMPLATE_INCOMPLETE),
        Keys::ByTemplate => rules::by_table(module.profile, given, profile::secret),
    };
    let mut forwarded = match made {
        Ok(template) => template,
        Err(refused) => return refused,
    };
    if let Err(refused) = begin_key(module, &forwarded) {
        return refused;
    }
    let mut lent = forwarded.lend();
    softhsm!(module, C_GenerateKey(session, mechanism, lent.as_mut_ptr(), lent.len() as CK_ULONG, key))
}

unsafe extern "C" fn generate_key_pair(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public: CK_ATTRIBUTE_PTR,
    public_count: CK_ULONG,
    private: CK_ATTRIBUTE_PTR,
    private_count: CK_ULONG,
    public_key: CK_OBJECT_HANDLE_PTR,
    private_key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    // SAFETY: the caller vouches for both templates and the mechanism.
    let (given_public, given, made_by) = unsafe {
        (Template::read(public, public_count), Template::read(private, private_count), (*mechanism).mechanism)
    };
    let made = match module.profile.keys {
        Keys::ByAlgorithm if public_count > 0 => Err(CKR_TEMPLATE_INCONSISTENT),
        Keys::ByAlgorithm => rules::cloud_key(module.profile, &given, made_by).map(|key| key.pair()),
        Keys::ByTemplate if given_public.get(CKA_EC_PARAMS).is_none() => Err(CKR_TEMPLATE_INCOMPLETE),
        Keys::ByTemplate => rules::by_table(module.profile, given_public, profile::public_pair)
            .and_then(|public| Ok((public, rules::by_table(module.profile, given, profile::private_pair)?))),
    };
    let (mut public, mut private) = match made {
        Ok(templates) => templates,
        Err(refused) => return refused,
    };
    if let Err(refused) = begin_key(module, &private) {
        return refused;
    }
    let (mut public, mut private) = (public.lend(), private.lend());
    let (public_count, private_count) = (public.len() as CK_ULONG, private.len() as CK_ULONG);
    softhsm!(
        module,
        C_GenerateKeyPair(
            session,
            mechanism,
            public.as_mut_ptr(),
            public_count,
            private.as_mut_ptr(),
            private_count,
            public_key,
            private_key
        )
    )
}

/// The limits of an operation that makes a key. Notes the name of a CryptoKey, and refuses one that was used before, also if its key was destroyed.
fn begin_key(module: &Module, made: &Template) -> Result<(), CK_RV> {
    if !module.limits.operation(module.profile) {
        return Err(module.profile.throttled);
    }
    let (Keys::ByAlgorithm, Some(label)) = (module.profile.keys, made.get(CKA_LABEL)) else { return Ok(()) };
    let file = std::env::var_os(NAMES).ok_or(CKR_GENERAL_ERROR)?;
    let known = std::fs::read(&file).unwrap_or_default();
    if known.split(|b| *b == b'\n').any(|name| name == label) {
        return Err(CKR_ARGUMENTS_BAD);
    }
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(&file);
    let noted = opened.and_then(|mut file| file.write_all(&[label, b"\n"].concat()));
    noted.map_err(|_| CKR_DEVICE_ERROR)
}

unsafe extern "C" fn destroy_object(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    let mut pair = None;
    if module.profile.keys == Keys::ByAlgorithm {
        match attribute(module, session, object, CKA_CLASS).as_deref().and_then(template::number) {
            Some(CKO_PUBLIC_KEY) => return CKR_ACTION_PROHIBITED,
            Some(CKO_PRIVATE_KEY) => pair = public_part(module, session, object),
            _ => {}
        }
    }
    if !module.limits.operation(module.profile) {
        return module.profile.throttled;
    }
    let result = softhsm!(module, C_DestroyObject(session, object));
    // Both parts belong to one CryptoKeyVersion.
    match pair {
        Some(public) if result == CKR_OK => softhsm!(module, C_DestroyObject(session, public)),
        _ => result,
    }
}

/// The value of an attribute of at most 256 bytes.
fn attribute(
    module: &Module,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    attribute: CK_ATTRIBUTE_TYPE,
) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let mut asked = CK_ATTRIBUTE {
        type_: attribute,
        pValue: value.as_mut_ptr().cast(),
        ulValueLen: value.len() as CK_ULONG,
    };
    let result = softhsm!(module, C_GetAttributeValue(session, object, &raw mut asked, 1));
    value.truncate(usize::try_from(asked.ulValueLen).ok()?);
    (result == CKR_OK).then_some(value)
}

/// The public key with the label of a private one.
fn public_part(
    module: &Module,
    session: CK_SESSION_HANDLE,
    private: CK_OBJECT_HANDLE,
) -> Option<CK_OBJECT_HANDLE> {
    let label = attribute(module, session, private, CKA_LABEL)?;
    let mut searched = Template::default().number(CKA_CLASS, CKO_PUBLIC_KEY).with(CKA_LABEL, &label);
    let mut lent = searched.lend();
    let (mut found, mut count) = (0, 0);
    let begun = softhsm!(module, C_FindObjectsInit(session, lent.as_mut_ptr(), lent.len() as CK_ULONG));
    if begun != CKR_OK {
        return None;
    }
    let result = softhsm!(module, C_FindObjects(session, &raw mut found, 1, &raw mut count));
    let ended = softhsm!(module, C_FindObjectsFinal(session));
    (result == CKR_OK && ended == CKR_OK && count == 1).then_some(found)
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> CK_RV {
    let Some(module) = module() else { return CKR_GENERAL_ERROR };
    // The question for the length needs no call to the service.
    if !signature.is_null() && !module.limits.operation(module.profile) {
        // A refused C_Sign ends the operation, except for a buffer that is too small (PKCS#11 2.40, 5.11). So SoftHSM's operation must end too.
        let mut unused = [0; 512];
        let mut unused_length = unused.len() as CK_ULONG;
        softhsm!(module, C_Sign(session, data, data_length, unused.as_mut_ptr(), &raw mut unused_length));
        return module.profile.throttled;
    }
    softhsm!(module, C_Sign(session, data, data_length, signature, length))
}
