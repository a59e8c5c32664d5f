//! The handle that the rest of the vault holds: every operation on the token, async and, where synchronous code needs it, blocking.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::backend::Backend;
use crate::capability::Capabilities;
use crate::ceremony::Ceremony;
use crate::counters::{Op, OpCount};
use crate::encoding;
use crate::error::TokenError;
use crate::health::Health;
use crate::keys::VaultName;
use crate::pkcs11::Pkcs11Backend;
use crate::pool::{Pool, PoolConfig};
use bkv_config::TokenConfig;

/// Domain tag of the masks of records (docs/protocol.md, 'State of an account').
const MASK_TAG: &[u8] = b"bkv/mask/1";
/// Domain tag of data keys.
const DATA_TAG: &[u8] = b"bkv/data/1";

/// One vault's token. It is cheap to clone. Dropping the last clone closes the sessions and waits for running calls, at most one call's deadline.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    label: String,
    vault: VaultName,
    pool: Pool,
    spki: OnceLock<Vec<u8>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("label", &self.0.label)
            .field("vault", &self.0.vault)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// Connects and logs in. Refuses a token with another vault's keys. Blocks at most for the ceremony's deadline. A token that can't be reached now
    /// is an error, so that the operator notices a wrong configuration at the start. If the token is lost later, the pool reconnects in the
    /// background.
    pub fn connect(config: &TokenConfig, vault: &VaultName) -> Result<Self, TokenError> {
        config.validate()?;
        let backend = Pkcs11Backend::new(config, vault.clone());
        let pool = PoolConfig {
            token: config.token_label.clone(),
            size: config.pool,
            queue: config.queue,
            call: config.call_deadline(),
            ceremony: config.ceremony_deadline(),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        };
        Self::over(Box::new(backend), pool, vault.clone())
    }

    pub(crate) fn over(
        backend: Box<dyn Backend>,
        config: PoolConfig,
        vault: VaultName,
    ) -> Result<Self, TokenError> {
        let label = config.token.clone();
        let pool = Pool::start(backend, config)?;
        Ok(Self(Arc::new(Inner { label, vault, pool, spki: OnceLock::new() })))
    }

    /// The token's label.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The vault that owns the keys.
    pub fn vault(&self) -> &VaultName {
        &self.0.vault
    }

    /// Whether the token works, from the results of the last operations. Never waits for the token.
    pub fn health(&self) -> Health {
        self.0.pool.health()
    }

    /// Counts and times of operations since the handle was made.
    pub fn counters(&self) -> Vec<OpCount> {
        self.0.pool.counters().snapshot()
    }

    /// Checks that the token works, so that the vault notices a dead token before a client needs it.
    pub async fn check(&self) -> Result<(), TokenError> {
        self.0.pool.call_async(Op::Check, |conn| conn.check()).await
    }

    /// As [`Token::check`], blocking.
    pub fn check_blocking(&self) -> Result<(), TokenError> {
        self.0.pool.call(Op::Check, |conn| conn.check())
    }

    /// Makes `identity` and `mask` if they are missing. The caller may repeat it, also after a crash in the middle of it.
    pub async fn provision(&self) -> Result<Ceremony, TokenError> {
        self.0.pool.call_async(Op::Provision, |conn| conn.provision()).await
    }

    /// As [`Token::provision`], blocking.
    pub fn provision_blocking(&self) -> Result<Ceremony, TokenError> {
        self.0.pool.call(Op::Provision, |conn| conn.provision())
    }

    /// ECDSA P-256 with SHA-256 by `identity` over `message`, as DER `ECDSA-Sig-Value`.
    pub async fn sign_ecdsa_p256(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let hash = sha256(message);
        self.0.pool.call_async(Op::SignIdentity, move |conn| conn.sign_identity(&hash)).await
    }

    /// As [`Token::sign_ecdsa_p256`], blocking, because rustls signs synchronously.
    pub fn sign_ecdsa_p256_blocking(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let hash = sha256(message);
        self.0.pool.call(Op::SignIdentity, move |conn| conn.sign_identity(&hash))
    }

    /// The public part of `identity` as `SubjectPublicKeyInfo` DER (91 bytes). Read once, then remembered.
    pub async fn identity_spki(&self) -> Result<Vec<u8>, TokenError> {
        if let Some(known) = self.0.spki.get() {
            return Ok(known.clone());
        }
        let point = self.0.pool.call_async(Op::ReadIdentity, |conn| conn.identity_point()).await?;
        Ok(self.0.spki.get_or_init(|| encoding::spki(&point)).clone())
    }

    /// As [`Token::identity_spki`], blocking.
    pub fn identity_spki_blocking(&self) -> Result<Vec<u8>, TokenError> {
        if let Some(known) = self.0.spki.get() {
            return Ok(known.clone());
        }
        let point = self.0.pool.call(Op::ReadIdentity, |conn| conn.identity_point())?;
        Ok(self.0.spki.get_or_init(|| encoding::spki(&point)).clone())
    }

    /// HMAC-SHA-512(`mask`, "bkv/mask/1" ‖ salt ‖ place): a pad for the secrets at `place`. Each change of the secrets needs a new `salt`. Otherwise
    /// two secrets would have the same pad, and an attacker with the disk would learn their XOR.
    pub async fn mask_pad(&self, place: &[u8], salt: &[u8; 16]) -> Result<Zeroizing<[u8; 64]>, TokenError> {
        let input = [MASK_TAG, salt.as_slice(), place].concat();
        self.0.pool.call_async(Op::MaskPad, move |conn| conn.mask(&input)).await
    }

    /// As [`Token::mask_pad`], blocking.
    pub fn mask_pad_blocking(
        &self,
        place: &[u8],
        salt: &[u8; 16],
    ) -> Result<Zeroizing<[u8; 64]>, TokenError> {
        let input = [MASK_TAG, salt.as_slice(), place].concat();
        self.0.pool.call(Op::MaskPad, move |conn| conn.mask(&input))
    }

    /// HMAC-SHA-256(`epoch-<n>`, "bkv/data/1" ‖ info): a data key. `info` must name the key's use, with prefixed lengths.
    pub async fn epoch_mac(&self, epoch: u64, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let input = [DATA_TAG, info].concat();
        self.0.pool.call_async(Op::EpochMac, move |conn| conn.epoch_mac(epoch, &input)).await
    }

    /// As [`Token::epoch_mac`], blocking.
    pub fn epoch_mac_blocking(&self, epoch: u64, info: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError> {
        let input = [DATA_TAG, info].concat();
        self.0.pool.call(Op::EpochMac, move |conn| conn.epoch_mac(epoch, &input))
    }

    /// Makes the key of this epoch. Returns false if the key existed.
    pub async fn epoch_create(&self, epoch: u64) -> Result<bool, TokenError> {
        self.0.pool.call_async(Op::EpochCreate, move |conn| conn.epoch_create(epoch)).await
    }

    /// As [`Token::epoch_create`], blocking.
    pub fn epoch_create_blocking(&self, epoch: u64) -> Result<bool, TokenError> {
        self.0.pool.call(Op::EpochCreate, move |conn| conn.epoch_create(epoch))
    }

    /// Destroys the key of this epoch and searches for it again. Returns false if there was no key. Everything encrypted under it is lost for good.
    pub async fn epoch_destroy(&self, epoch: u64) -> Result<bool, TokenError> {
        self.0.pool.call_async(Op::EpochDestroy, move |conn| conn.epoch_destroy(epoch)).await
    }

    /// As [`Token::epoch_destroy`], blocking.
    pub fn epoch_destroy_blocking(&self, epoch: u64) -> Result<bool, TokenError> {
        self.0.pool.call(Op::EpochDestroy, move |conn| conn.epoch_destroy(epoch))
    }

    /// The epochs that have a key, ascending.
    pub async fn epochs(&self) -> Result<Vec<u64>, TokenError> {
        self.0.pool.call_async(Op::EpochList, |conn| conn.epochs()).await
    }

    /// As [`Token::epochs`], blocking.
    pub fn epochs_blocking(&self) -> Result<Vec<u64>, TokenError> {
        self.0.pool.call(Op::EpochList, |conn| conn.epochs())
    }

    /// Stores the anchor of an orderly stop in place of any other. Fails if the module stores no data objects.
    pub async fn anchor_put(&self, anchor: [u8; 32]) -> Result<(), TokenError> {
        self.0.pool.call_async(Op::AnchorPut, move |conn| conn.anchor_put(&anchor)).await
    }

    /// As [`Token::anchor_put`], blocking.
    pub fn anchor_put_blocking(&self, anchor: [u8; 32]) -> Result<(), TokenError> {
        self.0.pool.call(Op::AnchorPut, move |conn| conn.anchor_put(&anchor))
    }

    /// Reads the anchor and destroys it, so that it proves one start only. None if there is none. An error means that it may still be there.
    pub async fn anchor_take(&self) -> Result<Option<[u8; 32]>, TokenError> {
        self.0.pool.call_async(Op::AnchorTake, |conn| conn.anchor_take()).await
    }

    /// As [`Token::anchor_take`], blocking.
    pub fn anchor_take_blocking(&self) -> Result<Option<[u8; 32]>, TokenError> {
        self.0.pool.call(Op::AnchorTake, |conn| conn.anchor_take())
    }

    /// Tries with short-lived objects what the module can do.
    pub async fn probe(&self) -> Result<Capabilities, TokenError> {
        self.0.pool.call_async(Op::Probe, |conn| conn.probe()).await
    }

    /// As [`Token::probe`], blocking.
    pub fn probe_blocking(&self) -> Result<Capabilities, TokenError> {
        self.0.pool.call(Op::Probe, |conn| conn.probe())
    }

    /// Closes the sessions and waits for their threads, at most one call's deadline. Returns true if all threads ended. Other clones get
    /// [`TokenError::Closed`] from then on.
    pub fn close(self) -> bool {
        self.0.pool.close()
    }
}

fn sha256(message: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, message).as_ref());
    hash
}
