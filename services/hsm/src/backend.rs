//! The interface between the pool and PKCS#11: what one session can do. `pkcs11` is the real implementation. Tests use one that hangs or dies on
//! command.

use zeroize::Zeroizing;

use crate::capability::Capabilities;
use crate::ceremony::Ceremony;
use crate::error::TokenError;

/// Opens sessions to one token.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Opens a logged-in session whose keys belong to this vault. May block.
    fn open(&self) -> Result<Box<dyn Conn>, TokenError>;

    /// Starts the module again. The pool calls this when the token is lost and no thread is inside the module.
    fn restart(&self);
}

/// One session, used by one thread.
pub(crate) trait Conn: Send {
    fn check(&mut self) -> Result<(), TokenError>;
    /// DER signature over a SHA-256 digest.
    fn sign_identity(&mut self, digest: &[u8; 32]) -> Result<Vec<u8>, TokenError>;
    /// The uncompressed point.
    fn identity_point(&mut self) -> Result<[u8; 65], TokenError>;
    fn mask(&mut self, input: &[u8]) -> Result<Zeroizing<[u8; 64]>, TokenError>;
    fn epoch_mac(&mut self, epoch: u64, input: &[u8]) -> Result<Zeroizing<[u8; 32]>, TokenError>;
    fn provision(&mut self) -> Result<Ceremony, TokenError>;
    /// True if the key was made now.
    fn epoch_create(&mut self, epoch: u64) -> Result<bool, TokenError>;
    /// True if the key existed.
    fn epoch_destroy(&mut self, epoch: u64) -> Result<bool, TokenError>;
    /// Ascending.
    fn epochs(&mut self) -> Result<Vec<u64>, TokenError>;
    /// Stores the anchor in place of any other.
    fn anchor_put(&mut self, anchor: &[u8; 32]) -> Result<(), TokenError>;
    /// Reads the anchor and destroys it. None if there is none, or none that can be read.
    fn anchor_take(&mut self) -> Result<Option<[u8; 32]>, TokenError>;
    fn probe(&mut self) -> Result<Capabilities, TokenError>;
}
