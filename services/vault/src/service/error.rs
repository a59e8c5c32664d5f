//! Why a region does not attest, acknowledge or evaluate.

use bkv_crypto::toprf::ToprfError;
use bkv_tokens::TokenError;
use bkv_wire::proto::inner::MissingRegion;
use bkv_wire::proto::inner::missing_region::Reason;

use crate::keeper::KeeperError;
use crate::replica::ProposeError;
use crate::server_keys::OtherZ;
use crate::store::StoreError;

/// Why this region does not attest, acknowledge or evaluate.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The replica did not reach the index in time.
    #[error(transparent)]
    Replica(#[from] ProposeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secrets can't be unmasked.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The commitments or the blinded element are invalid.
    #[error(transparent)]
    Toprf(#[from] ToprfError),
    /// The person's token is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is bound to a key, and the proof by it is missing or of another request.
    #[error(transparent)]
    Proof(#[from] bkv_wire::possession::ProofError),
    /// There is no policy yet that names the tokens' issuer.
    #[error("this vault has no policy yet, so it can verify no token")]
    NoVerifier,
    /// The token is another account's.
    #[error("the token is another account's")]
    OtherAccount,
    /// The account lies in another shard.
    #[error("the account lies in another shard")]
    OtherShard,
    /// The shard is halted or quarantined until the root lifts that.
    #[error("stopped: {0}")]
    Halted(String),
    /// The replica is joining or catching up.
    #[error("this replica has not shown yet that its disk is not an old one")]
    Unverified,
    /// The shard has no fleet yet.
    #[error("this shard has no fleet yet")]
    NotInitialised,
    /// This vault is not on the admission list.
    #[error("this vault is not on the admission list")]
    NotAdmitted,
    /// The boot key is not certified yet.
    #[error("this vault has no certified boot key")]
    NoBootKey,
    /// This replica has no such account.
    #[error("no such account")]
    NoAccount,
    /// The account has no live key.
    #[error("the account has no live key")]
    NoKey,
    /// The account has no such registration.
    #[error("no such registration")]
    NoRegistration,
    /// This region holds no share of the registration that it can use.
    #[error("this region holds no share of the registration")]
    NoShare,
    /// The server secret z that this region holds does not give the record's server key.
    #[error(transparent)]
    OtherZ(#[from] OtherZ),
    /// The attempt is not the pending one.
    #[error("this attempt is not pending")]
    NotPending,
    /// The floor belongs to another attempt, or came with a snapshot.
    #[error("the floor of this region belongs to another attempt")]
    OtherFloor,
    /// By this region's state the attempt would not be the account's last try.
    #[error("by this region's state this is not the account's last try")]
    NotLast,
    /// The wait is not over by this region's own clock.
    #[error("{passed} ms of a wait of {wait} ms have passed by this region's clock")]
    Wait {
        /// Milliseconds since this region applied the previous attempt.
        passed: u64,
        /// The wait in milliseconds.
        wait: u64,
    },
}

impl RegionError {
    /// The reason as clients and other vaults get it.
    const fn reason(&self) -> Reason {
        match self {
            Self::NoShare | Self::OtherZ(_) => Reason::ShareMissing,
            Self::NotPending | Self::OtherFloor => Reason::OtherAttempt,
            Self::Wait { .. } => Reason::Wait,
            // These say nothing of the issuer's key, which the leader would otherwise keep as refused.
            Self::Proof(_) | Self::Token(TokenError::Unbound | TokenError::Confirmation) => {
                Reason::Possession
            }
            Self::Token(_) | Self::NoVerifier => Reason::Token,
            Self::OtherAccount => Reason::OtherAccount,
            Self::NotLast => Reason::NotLast,
            Self::Replica(_)
            | Self::Store(_)
            | Self::Keeper(_)
            | Self::Toprf(_)
            | Self::Halted(_)
            | Self::Unverified
            | Self::OtherShard
            | Self::NotInitialised
            | Self::NotAdmitted
            | Self::NoBootKey
            | Self::NoAccount
            | Self::NoKey
            | Self::NoRegistration => Reason::Unavailable,
        }
    }

    /// The message that a client gets in place of this region's evaluation.
    pub(crate) fn missing(&self, slot: u8) -> MissingRegion {
        MissingRegion { slot: u32::from(slot), detail: self.to_string(), reason: self.reason().into() }
    }
}
