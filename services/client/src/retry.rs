//! Repeating the same until it works or time is up. What is repeated keeps its ids, so a repetition never costs a try.

use std::time::Duration;

use bkv_core::id::Time;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::{self as p};

use crate::client::Timing;
use crate::error::{Error, Whose, WrongAnswer};
use crate::runtime::Runtime;
use crate::transport::TransportError;

/// Why one go at an operation ended.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Worth repeating.
    Repeat(Cause),
    /// The vault said no.
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
    /// We hold a newer bundle now.
    NewerBundle,
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

impl Fault {
    /// What a refusal means if the operation has no better use for it.
    pub(crate) fn settle(self) -> Result<Cause, Error> {
        let refused = match self {
            Self::Repeat(cause) => return Ok(cause),
            Self::Final(e) => return Err(e),
            Self::Refused(r) => r,
        };
        let until = Time(refused.until_ms);
        let code = refused.code();
        Err(match code {
            Code::Token => Error::TokenRefused(Whose::Vault),
            Code::Unavailable | Code::Rate | Code::TooFewRegions | Code::Stale => {
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
            Code::OldManifest => Error::OlderManifest,
            Code::Unspecified
            | Code::Malformed
            | Code::Conflict
            | Code::Proof
            | Code::Expired
            | Code::Record
            | Code::Element => {
                Error::Refused { code: code.as_str_name(), detail: printable(&refused.detail) }
            }
        })
    }
}

/// A vault's words go to a terminal: nothing that steers one, and not too many.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Back-off with jitter until a deadline.
pub(crate) struct Retry<'a> {
    runtime: &'a Runtime,
    timing: &'a Timing,
    deadline: Duration,
    delay: Duration,
    bundles: u8,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(runtime: &'a Runtime, timing: &'a Timing) -> Self {
        let deadline = runtime.clock.elapsed().saturating_add(timing.deadline);
        Self { runtime, timing, deadline, delay: timing.first_pause, bundles: 0 }
    }

    /// Waits before the next go, or says why there is none.
    pub(crate) async fn pause(&mut self, fault: Fault) -> Result<(), Error> {
        let cause = fault.settle()?;
        if matches!(cause, Cause::NewerBundle) && self.bundles < 3 {
            self.bundles += 1;
            return Ok(());
        }
        let quarter = u32::from_le_bytes(self.runtime.bytes::<4>()) % 1024;
        let wait = self.delay / 2 + (self.delay / 2) * quarter / 1024;
        if self.runtime.clock.elapsed().saturating_add(wait) >= self.deadline {
            return Err(match cause {
                Cause::Chatd(why) => Error::ChatdUnreachable(why),
                Cause::Vault(why) => Error::VaultUnreachable(why),
                Cause::Wrong(w) => Error::RegionAnsweredWrongly(w),
                Cause::NewerBundle => Error::VaultUnreachable("the fleet's documents keep changing".into()),
            });
        }
        self.runtime.clock.sleep(wait).await;
        self.delay = (self.delay * 2).min(self.timing.longest_pause);
        Ok(())
    }
}
