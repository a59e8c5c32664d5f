//! Another region's answer to a request about this session's account.

use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::missing_region::Reason;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bytes::Bytes;
use prost::Message;

use super::reply::no;
use crate::peer::{Body, PeerError};

/// What a region contributes, or why it does not.
pub(super) type Contribution<T> = Result<T, p::MissingRegion>;

/// Reads a region's answer. `take` gives (contribution, why it is missing) of an answer of the right kind. The slot comes from the admission list, not
/// from the answer.
pub(super) fn contribution<T: Message + Default>(
    slot: u8,
    answer: Result<Body, PeerError>,
    take: impl Fn(Body) -> Option<(Bytes, Bytes)>,
) -> Contribution<T> {
    let slot = u32::from(slot);
    let missing = |reason: Reason, detail: String| p::MissingRegion { slot, detail, reason: reason.into() };
    match answer.map(take) {
        Ok(Some((contribution, _))) if !contribution.is_empty() => T::decode(contribution)
            .map_err(|e| missing(Reason::Unspecified, format!("its contribution can't be decoded: {e}"))),
        Ok(Some((_, why))) => Err(match p::MissingRegion::decode(why) {
            Ok(m) => p::MissingRegion { slot, ..m },
            Err(e) => missing(Reason::Unspecified, format!("its answer can't be decoded: {e}")),
        }),
        Ok(None) => Err(missing(Reason::Unspecified, "its answer is of another kind".into())),
        Err(e @ (PeerError::Unreachable { .. } | PeerError::Late(_))) => {
            Err(missing(Reason::Unreachable, e.to_string()))
        }
        Err(e @ (PeerError::NotAdmitted(_) | PeerError::NoAddress(_) | PeerError::Refused { .. })) => {
            Err(missing(Reason::Unavailable, e.to_string()))
        }
    }
}

/// A proof as calls between vaults carry it.
pub(super) fn encoded(proof: Option<&p::Proof>) -> Bytes {
    proof.map(|proof| proof.encode_to_vec().into()).unwrap_or_default()
}

/// The refusal if fewer than `want` regions contribute. If a token that all accept would have been enough, the client must get a fresh one.
pub(super) fn too_few(good: usize, want: usize, missing: &[p::MissingRegion]) -> Answer {
    let of_token = missing.iter().filter(|m| m.reason() == Reason::Token).count();
    let code = if of_token > 0 && good + of_token >= want { Code::FreshToken } else { Code::TooFewRegions };
    let details: Vec<String> = missing.iter().map(|m| format!("slot {}: {}", m.slot, m.detail)).collect();
    no(code, &details.join("; "))
}

#[cfg(test)]
mod tests {
    use bkv_wire::proto::peer::Evaluated;

    use super::*;
    use crate::service::RegionError;

    fn evaluated(slot: u8, answer: Result<Body, PeerError>) -> Contribution<p::Evaluation> {
        contribution(slot, answer, |body| match body {
            Body::Evaluated(e) => Some((e.evaluation, e.missing)),
            _ => None,
        })
    }

    #[test]
    fn a_region_without_its_share_is_reported_with_the_slot_of_the_list() {
        let lie = RegionError::NoShare.missing(9).encode_to_vec().into();
        let answer = Body::Evaluated(Evaluated { missing: lie, ..Default::default() });
        let missing = evaluated(2, Ok(answer)).unwrap_err();
        assert_eq!((missing.slot, missing.reason()), (2, Reason::ShareMissing));
        assert_eq!(missing.detail, RegionError::NoShare.to_string());
    }

    #[test]
    fn a_region_that_does_not_answer_is_unreachable() {
        let missing = evaluated(3, Err(PeerError::Late("eu".into()))).unwrap_err();
        assert_eq!((missing.slot, missing.reason()), (3, Reason::Unreachable));
    }

    /// A vault of an earlier version sends neither an evaluation nor a reason that this one knows.
    #[test]
    fn an_answer_without_a_reason_is_unspecified() {
        let missing = evaluated(1, Ok(Body::Evaluated(Evaluated::default()))).unwrap_err();
        assert_eq!((missing.slot, missing.reason()), (1, Reason::Unspecified));
    }

    /// The client gets a fresh token only if that helps: a region that is away stays away with any token.
    #[test]
    fn a_fresh_token_is_asked_for_if_the_regions_that_refuse_this_one_would_be_enough() {
        let refuses = RegionError::Token(bkv_tokens::TokenError::Expired).missing(2);
        let away = RegionError::Unverified.missing(3);
        let code = |good, missing: &[p::MissingRegion]| match too_few(good, 2, missing) {
            Answer::Refused(r) => r.code(),
            other => panic!("{other:?}"),
        };
        assert_eq!(code(1, &[refuses.clone(), away.clone()]), Code::FreshToken);
        assert_eq!(code(0, &[refuses, away.clone()]), Code::TooFewRegions);
        assert_eq!(code(1, &[away]), Code::TooFewRegions);
    }
}
