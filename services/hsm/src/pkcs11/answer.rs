//! Classifies a module's errors: the token is gone, or it refuses.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use cryptoki::error::{Error, RvError};

use super::objects::NoKey;
use crate::error::{GoneReason, TokenError};

/// The error of the operation `what`. It is [`TokenError::Gone`] if the session or the token is lost.
pub(super) fn refused(token: &str, what: &'static str, error: &Error) -> TokenError {
    match gone_reason(error) {
        Some(reason) => TokenError::Gone {
            token: token.to_owned(),
            reason,
            detail: Some(format!("{what}: {}", brief(error))),
        },
        None => TokenError::Refused { token: token.to_owned(), what, why: brief(error) },
    }
}

/// The error if the module makes no key. It names the attribute that the module refuses, if a trial has found it.
pub(super) fn no_key(token: &str, what: &'static str, failed: &NoKey) -> TokenError {
    match (refused(token, what, &failed.error), failed.refused) {
        (TokenError::Refused { token, what, why }, Some(attribute)) => {
            let why = format!("{why}; it makes the key without {attribute}, which a vault's key must have");
            TokenError::Refused { token, what, why }
        }
        (error, _) => error,
    }
}

/// The error without the paragraph of the standard that `cryptoki` adds.
pub(super) fn brief(error: &Error) -> String {
    match error {
        Error::Pkcs11(rv, function) => format!("C_{function:?} returned {rv:?}"),
        other => other.to_string(),
    }
}

fn gone_reason(error: &Error) -> Option<GoneReason> {
    let Error::Pkcs11(rv, _) = error else { return None };
    Some(match rv {
        RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid => GoneReason::Removed,
        RvError::SessionHandleInvalid | RvError::SessionClosed | RvError::CryptokiNotInitialized => {
            GoneReason::SessionLost
        }
        RvError::UserNotLoggedIn => GoneReason::LoggedOut,
        RvError::DeviceError | RvError::DeviceMemory => GoneReason::DeviceError,
        RvError::GeneralError
        | RvError::FunctionFailed
        | RvError::FunctionCanceled
        | RvError::HostMemory
        | RvError::OperationActive
        | RvError::MutexBad
        | RvError::CantLock => GoneReason::ModuleFailed,
        _ => return None,
    })
}

/// The handle that was used no longer names an object.
pub(super) fn is_stale_handle(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid, _))
}

/// kmsp11's answer to a name that is taken.
pub(super) fn is_bad_argument(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::ArgumentsBad, _))
}

/// The module can't take an attribute of the template.
pub(super) fn is_template(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::TemplateInconsistent
                | RvError::AttributeTypeInvalid
                | RvError::AttributeValueInvalid
                | RvError::AttributeReadOnly,
            _
        )
    )
}

/// The service behind the module may have had too many requests. kmsp11 returns CKR_DEVICE_ERROR if a quota of Cloud KMS is used up, CloudHSM returns CKR_FUNCTION_FAILED
/// (troubleshoot-hsm-throttling.html). Both also stand for lasting faults.
pub(super) fn may_be_throttled(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::DeviceError | RvError::FunctionFailed, _))
}

/// The pauses before an operation is tried again. Together they stay below the default deadline of a call. They differ from thread to thread, so that not all come
/// back at once.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_factor(2.0)
        .with_max_times(3)
        .with_jitter()
        .build()
}

/// The module failed without a reason, or the service behind it may have had too many requests.
pub(super) fn may_pass(error: &Error) -> bool {
    may_be_throttled(error) || matches!(error, Error::Pkcs11(RvError::GeneralError, _))
}
