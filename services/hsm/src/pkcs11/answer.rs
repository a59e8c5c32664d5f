//! Classifies a module's errors: the token is gone, or it refuses.

use cryptoki::error::{Error, RvError};

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

/// The module failed without a reason.
pub(super) fn is_general(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::GeneralError | RvError::FunctionFailed, _))
}
