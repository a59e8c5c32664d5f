//! The person whose token this region itself has verified. A region attests, acknowledges and evaluates only for a [`Person`], so a rooted leader gets none
//! of these for a person unless it has seen a valid token of that person (S46). Tokens and names stay in memory.

use std::time::Duration;

use bkv_core::id::{AccountId, Hash, Route};
use bkv_core::possession::{Use, token_hash};
use bkv_core::shard::Fleet;
use bkv_core::statement;
use bkv_tokens::{Claims, Subject};
use bkv_wire::possession::{self, ProofError};
use bkv_wire::proto::inner::Proof;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Vault;
use super::documents::LEEWAY;
use super::error::RegionError;

// A session refuses a request with a longer token, before the verifier does.
const _: () = assert!(bkv_wire::bounds::TOKEN == bkv_tokens::verifier::MAX_TOKEN);

/// How long a request waits for a new key of the token's issuer.
const KEYS: Duration = Duration::from_millis(500);

/// The person that a verified token names. Only [`Vault::person`] makes one.
#[derive(Clone)]
pub struct Person {
    subject: Subject,
    /// The key to which the token is bound, and what identifies the token.
    key: Option<([u8; 32], Hash)>,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(..)")
    }
}

/// What a client shows in `Open`, as the leader sends it to the other regions.
#[derive(Clone)]
pub(crate) struct Shown {
    /// The vault token.
    pub(crate) token: Zeroizing<String>,
    /// The nonce of the client's session.
    pub(crate) nonce: [u8; 32],
    /// Keying material of the client's channel.
    pub(crate) channel: [u8; 32],
    /// By the token's key, over the session.
    pub(crate) proof: Option<Proof>,
}

/// Who asks a region for something: the person, in which session, and the proof by the token's key for this one request.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The person of the token.
    pub person: &'a Person,
    /// The nonce of the client's session.
    pub nonce: &'a [u8; 32],
    /// See [`bkv_core::possession`].
    pub proof: Option<&'a Proof>,
}

impl Asker<'_> {
    /// The tag that this region signs.
    pub(super) fn tag(&self) -> Hash {
        self.person.tag(self.nonce)
    }

    /// Fails if the token is bound to a key and the proof is not by that key for exactly this use. The account follows from the token.
    pub(super) fn proves(&self, fleet: &Fleet, what: &Use<'_>) -> Result<(), RegionError> {
        Ok(self.person.proves(fleet, self.nonce, what, self.proof)?)
    }
}

impl Person {
    /// The person's account in this fleet.
    pub(crate) fn account(&self, fleet: &Fleet) -> AccountId {
        Vault::account_id(fleet, &self.subject)
    }

    /// The route that ChatD must have chosen.
    pub(crate) fn route(&self) -> Route {
        statement::route(&self.subject.issuer, &self.subject.subject)
    }

    /// True if the token is bound to a key. It is of no use without proofs by the key then.
    pub(crate) const fn is_bound(&self) -> bool {
        self.key.is_some()
    }

    /// Fails if the token is bound to a key and the proof is not by that key for exactly this use. A token that is bound needs the proof under every policy: whoever
    /// had it made expects that it is of no use to a thief (RFC 7800, section 3).
    pub(crate) fn proves(
        &self,
        fleet: &Fleet,
        nonce: &[u8; 32],
        what: &Use<'_>,
        proof: Option<&Proof>,
    ) -> Result<(), ProofError> {
        let Some((key, token)) = &self.key else { return Ok(()) };
        possession::verify(proof, key, &what.statement(&fleet.lineage, fleet.era, &self.tag(nonce), token))
    }

    /// The tag that this region signs: the client compares it with the claims of its own token.
    pub(crate) fn tag(&self, nonce: &[u8; 32]) -> Hash {
        let Subject { issuer, subject, enrolment } = &self.subject;
        statement::subject(nonce, issuer, subject, enrolment.unwrap_or(0))
    }
}

impl Vault {
    /// Verifies a person's token with this region's own keys and clock.
    pub async fn person(&self, token: &str) -> Result<Person, RegionError> {
        let verifier = self.tokens().ok_or(RegionError::NoVerifier)?;
        let Claims { subject, key, .. } =
            verifier.verify_or_refresh(token, self.now_ms() / 1000, KEYS).await?;
        Ok(Person { subject, key: key.map(|key| (key, token_hash(token))) })
    }

    /// True if a token is valid here for `life` more seconds, without the leeway for clocks that differ. 0 asks whether it is valid now, with it.
    pub(crate) fn lives(&self, token: &str, life: u64) -> bool {
        let margin = if life == 0 { 0 } else { LEEWAY.saturating_add(life) };
        let later = (self.now_ms() / 1000).saturating_add(margin);
        self.tokens().is_some_and(|verifier| verifier.verify(token, later).is_ok())
    }

    /// Verifies a token that another region sent for an account.
    pub(super) async fn person_of(
        &self,
        fleet: &Fleet,
        id: &AccountId,
        token: &str,
    ) -> Result<Person, RegionError> {
        let person = self.person(token).await?;
        if person.account(fleet) == *id { Ok(person) } else { Err(RegionError::OtherAccount) }
    }

    /// The account id of a subject. Only vaults can compute it.
    pub fn account_id(fleet: &Fleet, subject: &Subject) -> AccountId {
        let input =
            statement::account_input(&subject.issuer, &subject.subject, subject.enrolment.unwrap_or(0));
        // A key of 32 bytes is always accepted.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(fleet.index.expose()) else {
            return AccountId([0xff; 32]); // lies in no bucket
        };
        mac.update(&input);
        let route = statement::route(&subject.issuer, &subject.subject);
        AccountId::new(route.bucket(), &mac.finalize().into_bytes().into())
    }
}
