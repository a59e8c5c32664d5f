//! Why one run of an operation ended, and whether to repeat it.

use bkv_core::id::Time;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::{self as p};

use crate::error::{Error, TokenKeyError, Whose, WrongAnswer};
use crate::transport::TransportError;

/// Why one run of an operation ended.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Worth repeating.
    Repeat(Cause),
    /// The vault refused the request.
    Refused(p::Refused),
    /// Not worth repeating.
    Final(Error),
}

/// Why it is worth repeating.
#[derive(Debug)]
pub(crate) enum Cause {
    Chatd(String),
    Vault(String),
    Wrong(WrongAnswer),
    /// Enough regions answer, and too few of them sign what is asked for.
    Disagree(String),
    /// The next try is the last, and the user has not agreed to use it. Ask how many are left, and then the user.
    LastTry,
    /// The client has a newer bundle now.
    NewerBundle,
    /// The leader refuses the token.
    TokenRefused,
    /// Too few regions accept the token, or it ends too soon. A fresh one may help, or the same one a little later.
    FreshToken,
    /// The token does not fit this device's key. A fresh one may.
    TokenKey(TokenKeyError),
    /// A vault whose key is not on the newest admission list.
    NotAdmitted,
    /// The same, in this region. The next stream goes to another one.
    Elsewhere(String),
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        Self::Final(e)
    }
}

impl From<WrongAnswer> for Fault {
    fn from(w: WrongAnswer) -> Self {
        Self::Repeat(Cause::Wrong(w))
    }
}

impl From<TransportError> for Fault {
    fn from(e: TransportError) -> Self {
        match e {
            TransportError::Unreachable(_) | TransportError::Lost(_) => {
                Self::Repeat(Cause::Chatd(e.to_string()))
            }
            TransportError::TokenRefused => Self::Final(Error::TokenRefused(Whose::Chatd)),
            TransportError::TokenExpired => Self::Final(Error::TokenExpired),
            TransportError::Misconfigured(why) => Self::Final(Error::ChatdUnreachable(why)),
        }
    }
}

/// True for refusals that say something about the account's state. A rooted leader can claim them for no reason.
pub(crate) const fn is_about_account(code: Code) -> bool {
    matches!(
        code,
        Code::NoKey
            | Code::Destroyed
            | Code::Exhausted
            | Code::Deleted
            | Code::Locked
            | Code::Wait
            | Code::LastTry
            | Code::LastTryOpen
            | Code::NoAttempt
            | Code::Owner
            | Code::OtherLedger
            | Code::OldLedger
            | Code::TooManyWriters
            | Code::VTooSoon
    )
}

impl Fault {
    /// A fault of a request whose answer does not depend on the account's state, or whose state t regions sign. A refusal that says something about
    /// the account is then one region's claim, and the next run may meet another leader. Otherwise a rooted leader could end the user's key for this device (S54).
    pub(crate) fn without_claims(self) -> Self {
        match self {
            Self::Refused(refused) if is_about_account(refused.code()) => {
                let code = refused.code().as_str_name();
                Self::Repeat(Cause::Vault(format!(
                    "the leading region claims {code}, which one region alone does not prove"
                )))
            }
            other => other,
        }
    }

    /// The meaning of a refusal that the operation does not handle itself.
    pub(crate) fn settle(self) -> Result<Cause, Error> {
        let refused = match self {
            Self::Repeat(cause) => return Ok(cause),
            Self::Final(e) => return Err(e),
            Self::Refused(r) => r,
        };
        let until = Time(refused.until_ms);
        let code = refused.code();
        Err(match code {
            Code::Token => return Ok(Cause::TokenRefused),
            Code::FreshToken => return Ok(Cause::FreshToken),
            Code::LastTry => return Ok(Cause::LastTry),
            Code::Unavailable | Code::Rate | Code::TooFewRegions | Code::Stale | Code::Busy | Code::Full => {
                let why = match code {
                    Code::TooFewRegions => "too few regions answered: ",
                    _ => "",
                };
                return Ok(Cause::Vault(format!("{why}{}", printable(&refused.detail))));
            }
            Code::NoKey => Error::NoKey,
            Code::Destroyed | Code::Exhausted => Error::Destroyed,
            Code::Deleted => Error::Deleted,
            Code::Locked => Error::Locked,
            Code::Wait => Error::Wait { until },
            Code::LastTryOpen => Error::LastTryOpen { until },
            Code::NoAttempt => Error::Superseded,
            Code::Owner => Error::NotOwner,
            Code::VTooSoon => Error::VTooSoon { until },
            Code::Unspecified
            | Code::Malformed
            | Code::Conflict
            | Code::Proof
            | Code::Expired
            | Code::Record
            | Code::Element
            // The operation asks t regions what they sign of the map.
            | Code::OtherLedger
            | Code::OldLedger
            | Code::TooManyWriters => {
                Error::Refused { code: code.as_str_name(), detail: printable(&refused.detail) }
            }
        })
    }
}

/// The vault sent an unexpected reply.
pub(crate) fn unexpected() -> Fault {
    Fault::Repeat(Cause::Vault("an answer that does not belong there".into()))
}

/// Removes control characters, and all text after 200 characters. The vault's text is shown in a terminal, which control characters could manipulate.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
