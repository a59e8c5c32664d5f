//! Refusals as replies.

use bkv_core::outcome::Refusal;
use bkv_wire::proto::inner::Refused;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;

/// Bytes of padding in the one refusal for every fault of a token.
const TOKEN_PADDING: usize = 64;

pub(super) fn no(code: Code, detail: &str) -> Answer {
    Answer::Refused(Refused {
        code: code.into(),
        until_ms: 0,
        detail: detail.into(),
        padding: bytes::Bytes::new(),
    })
}

/// The outcome as metrics count it: `unavailable` is the vaults' own fault, `refused` follows from the rules.
pub(super) fn outcome(answer: &Answer) -> &'static str {
    let ours = [Code::Unavailable, Code::TooFewRegions, Code::FreshToken, Code::Full].map(i32::from);
    match answer {
        Answer::Refused(r) if ours.contains(&r.code) => "unavailable",
        Answer::Refused(_) => "refused",
        _ => "ok",
    }
}

/// The one refusal for every fault of a token, always with the same content and size.
pub(super) fn token_refused() -> Answer {
    let padding = vec![0; TOKEN_PADDING].into();
    Answer::Refused(Refused { code: Code::Token.into(), until_ms: 0, detail: String::new(), padding })
}

/// The state machine's refusal as a reply.
pub(super) fn refused(why: Refusal) -> Answer {
    Answer::Refused(why.into())
}
