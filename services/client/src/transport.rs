//! The transport to ChatD: small GETs, and streams of outer frames. ChatD can't read the content of the streams.

use async_trait::async_trait;
use bkv_wire::proto::outer::Frame;
use bytes::Bytes;

/// Why ChatD could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection, no answer, or an unusable answer. Worth repeating.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke. Worth repeating.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// ChatD refused its token (401, 403). Not worth repeating with the same token.
    #[error("ChatD refused the token")]
    TokenRefused,
    /// ChatD's token has expired. The caller needs a fresh one.
    #[error("ChatD's token has expired")]
    TokenExpired,
    /// ChatD's web certificate is not trusted, or its address is invalid. Not worth repeating.
    #[error("{0}")]
    Misconfigured(String),
}

/// A transport to one ChatD for one account. One connection may carry many streams.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Opens a stream. Connects first if necessary.
    async fn open(&self) -> Result<Box<dyn Duplex>, TransportError>;
    /// Sends GET `path` (`/v1/fleet`, also with a query) and returns the body of a 200.
    async fn get(&self, path: &str) -> Result<Bytes, TransportError>;
    /// Reports that a stream got no answer in time. The next [`Transport::open`] should then not reuse the connection that carried it.
    fn suspect(&self) {}
    /// Ends the connection and awaits the transport's tasks. No stream can be opened afterwards.
    async fn close(&self) {}
}

/// One stream of frames in both directions, in order. The implementation adds and removes the stream number. Dropping it ends the stream.
#[async_trait]
pub trait Duplex: Send {
    /// Sends one frame.
    async fn send(&mut self, frame: Frame) -> Result<(), TransportError>;
    /// The next frame.
    async fn receive(&mut self) -> Result<Frame, TransportError>;
}
