//! Drafts of the two documents that the root signs: from wishes and the vaults' public parts to drafts, and from a signed document to whether it still
//! fits. The operator and `bkv dev` draft with the same functions. Pure.

use bkv_core::document::{Admission, JwksSource, Member, Policy};
use bkv_core::id::{Hash, NodeId, Slot, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_wire::documents::{
    Content, DocumentError, Kind, Root, show, unsigned, write_admission, write_policy,
};

use crate::VaultToken;

/// A document is valid from this long before it is drafted, because clocks differ. Milliseconds, as all below.
const BACK: u64 = 3_600_000;
/// A document is valid for this long after it is drafted.
const VALID: u64 = 365 * 24 * 3_600_000;
/// A document that expires sooner needs a successor.
const RENEW: u64 = 120 * 24 * 3_600_000;
/// The last try may stay open for a day, so that a client that lost its connection can still finish it.
const LAST_TRY_MS: u64 = 24 * 3_600_000;
/// Every other attempt may stay open for this long.
const ATTEMPT_MS: u64 = 10 * 60_000;
/// A stored registration waits for its confirmation for this long.
const STORE_MS: u64 = 10 * 60_000;
/// The least that OWASP recommends for Argon2id (19 MiB, 2 passes, 1 lane).
const KSF_FLOOR: KsfParams = KsfParams { memory_kib: 19 << 10, passes: 2, lanes: 1 };
/// The most that a phone can compute in acceptable time.
const KSF_CEILING: KsfParams = KsfParams { memory_kib: 1 << 20, passes: 10, lanes: 4 };

/// The policy that an administrator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWish {
    /// `iss`.
    pub issuer: String,
    /// `aud` of the vaults' token.
    pub vault_audience: String,
    /// `aud` of ChatD's token.
    pub chatd_audience: String,
    /// The issuer's keys.
    pub jwks: JwksSource,
    /// The enrolment claim.
    pub enrolment_claim: Option<String>,
    /// Tries between two successes.
    pub max: u32,
    /// Failures over a registration's life.
    pub lifetime_failures: u32,
    /// Waits, milliseconds.
    pub waits_ms: Vec<u64>,
    /// How long after `iat` the vaults accept a token, milliseconds.
    pub token_max_age_ms: u64,
    /// Vaults take only tokens that are bound to a key of the client.
    pub bound_tokens: bool,
    /// Raft groups.
    pub shards: u16,
    /// True if the fleet is for development: clients warn their users that it protects no key.
    pub development: bool,
}

impl PolicyWish {
    /// The policy with this number, valid from now on. The administrator may shorten its periods before it is signed.
    pub fn draft(&self, root: &Root, number: u64, now: Time) -> Policy {
        let (not_before, not_after) = validity(now);
        Policy {
            lineage: root.lineage(),
            era: root.era,
            number,
            not_before,
            not_after,
            issuer: self.issuer.clone(),
            vault_audience: self.vault_audience.clone(),
            chatd_audience: self.chatd_audience.clone(),
            jwks: self.jwks.clone(),
            enrolment_claim: self.enrolment_claim.clone(),
            attempts: AttemptPolicy {
                max: self.max,
                lifetime_failures: self.lifetime_failures,
                waits_ms: self.waits_ms.clone(),
                last_try_ms: LAST_TRY_MS,
                attempt_ms: ATTEMPT_MS,
            },
            store_ms: STORE_MS,
            ksf_floor: KSF_FLOOR,
            ksf_ceiling: KSF_CEILING,
            shards: self.shards,
            hash: Hash([0; 32]),
            development: self.development,
            token_max_age_ms: self.token_max_age_ms,
            bound_tokens: self.bound_tokens,
        }
    }

    /// True if a signed policy has this content and is valid for long enough.
    pub fn holds(&self, root: &Root, signed: &Policy, now: Time) -> bool {
        let wanted = self.draft(root, signed.number, now);
        let same = Policy {
            not_before: signed.not_before,
            not_after: signed.not_after,
            hash: signed.hash,
            ..wanted
        } == *signed;
        same && lasting(signed.not_after, now)
    }
}

/// The members of the admission list, in the order of the tokens.
pub fn members(tokens: &[(Slot, &VaultToken)]) -> Vec<Member> {
    let member = |(slot, token): &(Slot, &VaultToken)| Member {
        region: token.region.clone(),
        slot: *slot,
        node: NodeId(token.node),
        identity: token.identity.clone(),
        delivery: token.delivery.clone(),
    };
    tokens.iter().map(member).collect()
}

/// The admission list of these members, valid from now on.
pub fn admission(root: &Root, members: Vec<Member>, number: u64, now: Time) -> Admission {
    let (not_before, not_after) = validity(now);
    Admission {
        lineage: root.lineage(),
        era: root.era,
        number,
        not_before,
        not_after,
        threshold: u8::try_from(members.len() / 2 + 1).unwrap_or(u8::MAX),
        members,
        hash: Hash([0; 32]),
    }
}

/// True if a signed list admits exactly these members and is valid for long enough.
pub fn admits(signed: &Admission, members: &[Member], now: Time) -> bool {
    signed.members == members && lasting(signed.not_after, now)
}

/// True if a document that ends at `not_after` needs no successor yet.
pub fn lasting(not_after: Time, now: Time) -> bool {
    not_after.0 > now.0.saturating_add(RENEW)
}

/// The draft's bytes without a signature, for the holder of the root.
pub fn to_sign(draft: &Draft) -> Result<Vec<u8>, DocumentError> {
    Ok(match draft {
        Draft::Admission(list) => unsigned(Kind::Admission, write_admission(list)?),
        Draft::Policy(policy) => unsigned(Kind::Policy, write_policy(policy)?),
    })
}

/// One of the two documents, not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draft {
    /// Which vaults exist.
    Admission(Admission),
    /// What they enforce.
    Policy(Policy),
}

impl Draft {
    /// The kind of the document.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Admission(_) => Kind::Admission,
            Self::Policy(_) => Kind::Policy,
        }
    }

    /// True if the earlier draft `asked` has the same content and lasts long enough. The operator then leaves `asked` in place, because people may be
    /// about to sign it.
    pub fn does_as_well(&self, asked: &[u8]) -> bool {
        match (show(asked).map(|s| s.content), self) {
            (Ok(Content::Admission(old)), Self::Admission(new)) => {
                old.number == new.number
                    && old.members == new.members
                    && lasting(old.not_after, new.not_before)
            }
            (Ok(Content::Policy(old)), Self::Policy(new)) => {
                let (not_before, not_after, hash) = (old.not_before, old.not_after, old.hash);
                let dated = Policy { not_before, not_after, hash, ..new.clone() };
                dated == old && lasting(old.not_after, new.not_before)
            }
            _ => false,
        }
    }
}

fn validity(now: Time) -> (Time, Time) {
    (Time(now.0.saturating_sub(BACK)), Time(now.0.saturating_add(VALID)))
}

#[cfg(test)]
mod tests {
    use bkv_core::id::{Era, FleetId};
    use bkv_wire::documents::{RootKey, add_signature, policy};

    use super::*;

    const NOW: Time = Time(1_790_000_000_000);

    fn wish() -> PolicyWish {
        PolicyWish {
            issuer: "https://issuer.example".into(),
            vault_audience: "bkv-vault".into(),
            chatd_audience: "bkv-chatd".into(),
            jwks: JwksSource::Inline(r#"{"keys":[]}"#.into()),
            enrolment_claim: None,
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0, 0, 60_000],
            token_max_age_ms: 600_000,
            bound_tokens: false,
            shards: 4,
            development: false,
        }
    }

    fn key() -> RootKey {
        RootKey::from_seed(&zeroize::Zeroizing::new([7; 32]))
    }

    fn root() -> Root {
        Root {
            keys: vec![key().public()],
            threshold: 1,
            fleet: FleetId([9; 16]),
            era: Era(1),
            development: false,
        }
    }

    fn signed(wish: &PolicyWish, number: u64, at: Time) -> Policy {
        let bytes = to_sign(&Draft::Policy(wish.draft(&root(), number, at))).unwrap();
        let bytes = add_signature(Kind::Policy, &bytes, &key()).unwrap();
        policy(&root(), &bytes, Some(at)).unwrap()
    }

    #[test]
    fn a_signed_policy_holds_until_the_wish_changes_or_it_runs_out() {
        let good = signed(&wish(), 3, NOW);
        assert!(wish().holds(&root(), &good, NOW));
        for changed in [
            PolicyWish { max: 5, ..wish() },
            PolicyWish { token_max_age_ms: 60_000, ..wish() },
            PolicyWish { bound_tokens: true, ..wish() },
            PolicyWish { waits_ms: vec![0], ..wish() },
            PolicyWish { issuer: "https://other.example".into(), ..wish() },
            PolicyWish { jwks: JwksSource::Url("https://issuer.example/jwks".into()), ..wish() },
        ] {
            assert!(!changed.holds(&root(), &good, NOW), "{changed:?}");
        }
        let later = Time(NOW.0 + VALID - RENEW);
        assert!(wish().holds(&root(), &good, Time(later.0 - 1)) && !wish().holds(&root(), &good, later));
    }

    #[test]
    fn a_request_stays_while_it_asks_for_the_same_and_lasts() {
        let draft = |wish: &PolicyWish, number, at| Draft::Policy(wish.draft(&root(), number, at));
        let asked = to_sign(&draft(&wish(), 2, NOW)).unwrap();
        let later = Time(NOW.0 + 3_600_000);
        assert!(draft(&wish(), 2, later).does_as_well(&asked));
        assert!(!draft(&wish(), 3, later).does_as_well(&asked), "another number");
        assert!(!draft(&PolicyWish { max: 5, ..wish() }, 2, later).does_as_well(&asked), "another content");
        assert!(!draft(&wish(), 2, Time(NOW.0 + VALID)).does_as_well(&asked), "it has run out");
        assert!(!draft(&wish(), 2, later).does_as_well(b"\xff"));
    }

    #[test]
    fn members_keep_the_order_of_slots() {
        let token = |region: &str| VaultToken {
            region: region.into(),
            node: 5,
            identity: vec![1, 2, 3],
            delivery: vec![0, 0, 0],
            fingerprints: crate::Fingerprints::default(),
            capabilities: None,
        };
        let (a, b) = (token("a"), token("b"));
        let made = members(&[(Slot(1), &a), (Slot(2), &b)]);
        assert_eq!(
            made.iter().map(|m| (m.slot.0, m.region.as_str())).collect::<Vec<_>>(),
            [(1, "a"), (2, "b")]
        );
    }
}
