//! The client's end.

use std::fmt;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::pipe::Pipe;
use super::{ChannelError, ClientSettings};

/// One session with a vault.
pub struct ClientChannel(Pipe);

impl ClientChannel {
    /// Begins a handshake: [`Self::take_outgoing`] has its first bytes.
    pub fn new(settings: &ClientSettings) -> Result<Self, ChannelError> {
        // Never sent (no SNI) and never checked: the key is the name.
        let name = ServerName::try_from("vault").map_err(|e| ChannelError::Settings(e.to_string()))?;
        let connection = ClientConnection::new(settings.0.clone(), name);
        Ok(Self(Pipe::new(connection.map_err(|e| ChannelError::Settings(e.to_string()))?.into())))
    }

    /// The vault's identity, as SubjectPublicKeyInfo (DER): one of the accepted. None before the handshake is complete.
    pub fn peer_spki(&self) -> Option<&[u8]> {
        let key = self.0.connection().peer_certificates()?.first()?;
        self.0.is_ready().then_some(key.as_ref())
    }

    /// Takes bytes from the other side. On an error send what [`Self::take_outgoing`] still gives, and end.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ChannelError> {
        self.0.feed(bytes)
    }

    /// What must go to the other side now; empty if nothing.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        self.0.take_outgoing()
    }

    /// Queues one message, at most [`super::MAX_MESSAGE`] bytes. Before the handshake is complete it waits.
    pub fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.0.send(message)
    }

    /// The next whole message, None if more bytes are needed, [`ChannelError::Closed`] if none will come.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        self.0.next_message()
    }

    /// RFC 8446 §7.5: a key that only the two ends of this very channel know.
    pub fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], ChannelError> {
        self.0.exporter(label, context)
    }

    /// The handshake is complete.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// Closed by either side, or failed.
    pub const fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Says goodbye: nothing more is sent.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// The key exchange that was negotiated, for metrics; None before that.
    pub fn key_exchange(&self) -> Option<String> {
        self.0.connection().negotiated_key_exchange_group().map(|g| format!("{:?}", g.name()))
    }
}

impl fmt::Debug for ClientChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientChannel").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
