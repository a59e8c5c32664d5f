//! One end of the channel, client or vault. It turns TLS records into messages and messages into TLS records.

use std::fmt;
use std::io::{Read, Write};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, Connection, Error, ServerConnection};

use super::{ChannelError, ClientSettings, ServerSettings, frame};

/// One end of a session between a client and a vault.
pub struct Channel {
    connection: Connection,
    waiting: Vec<u8>,
    failed: Option<ChannelError>,
    closed: bool,
}

impl Channel {
    /// The client's end. Begins a handshake: [`Self::take_outgoing`] has its first bytes.
    pub fn client(settings: &ClientSettings) -> Result<Self, ChannelError> {
        // rustls needs a name. It is neither sent (there is no SNI) nor checked: the vault is identified by its key.
        let name = ServerName::try_from("vault").map_err(|e| ChannelError::Settings(e.to_string()))?;
        let connection = ClientConnection::new(settings.0.clone(), name);
        Ok(Self::new(connection.map_err(|e| ChannelError::Settings(e.to_string()))?.into()))
    }

    /// The vault's end. Waits for the client's first bytes. The client does not authenticate in TLS. The token in its first message names the
    /// account.
    pub fn server(settings: &ServerSettings) -> Result<Self, ChannelError> {
        let connection = ServerConnection::new(settings.0.clone());
        Ok(Self::new(connection.map_err(|e| ChannelError::Settings(e.to_string()))?.into()))
    }

    fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(None); // MAX_MESSAGE and MAX_WAITING are the limits
        Self { connection, waiting: Vec::new(), failed: None, closed: false }
    }

    /// Takes bytes from the other side. After an error, send what [`Self::take_outgoing`] still returns (the TLS alert), and end.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ChannelError> {
        self.usable()?;
        while !bytes.is_empty() && !self.closed {
            if let Err(e) = self.connection.read_tls(&mut bytes) {
                return self.fail(ChannelError::Broken(e.to_string()));
            }
            if let Err(e) = self.connection.process_new_packets() {
                let handshaking = self.connection.is_handshaking();
                return self.fail(classify(e, handshaking));
            }
            self.drain()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), ChannelError> {
        let mut chunk = [0; 8192];
        loop {
            match self.connection.reader().read(&mut chunk) {
                Ok(0) => {
                    self.closed = true; // close_notify
                    return Ok(());
                }
                Ok(n) => self.waiting.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return self.fail(ChannelError::Broken(e.to_string())),
            }
            if self.waiting.len() > frame::MAX_WAITING {
                return self.fail(ChannelError::Flooded);
            }
        }
    }

    /// The bytes to send to the other side now, empty if there are none.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            // Writing to a Vec can't fail. If rustls itself returns an error, there is nothing more to send.
            if !matches!(self.connection.write_tls(&mut out), Ok(n) if n > 0) {
                break;
            }
        }
        out
    }

    /// Queues one message, at most [`super::MAX_MESSAGE`] bytes. Before the handshake is complete it waits.
    pub fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
        self.usable()?;
        if self.closed {
            return Err(ChannelError::Closed);
        }
        let frame = frame::encode(message)?;
        match self.connection.writer().write_all(&frame) {
            Ok(()) => Ok(()),
            Err(e) => self.fail(ChannelError::Broken(e.to_string())),
        }
    }

    /// The next whole message. None if more bytes are needed, [`ChannelError::Closed`] if no more will come.
    pub fn next_message(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        self.usable()?;
        match frame::decode(&mut self.waiting) {
            Err(e) => self.fail(e),
            Ok(None) if self.closed => Err(ChannelError::Closed),
            Ok(message) => Ok(message),
        }
    }

    /// The TLS exporter (RFC 8446 §7.5): a key that only the two ends of this channel know.
    pub fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], ChannelError> {
        self.usable()?;
        self.connection
            .export_keying_material([0; 32], label, Some(context))
            .map_err(|_| ChannelError::NotReady)
    }

    /// Sends close_notify, the last record from this end.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
        self.closed = true;
    }

    /// True once the handshake is complete.
    pub fn is_ready(&self) -> bool {
        self.failed.is_none() && !self.connection.is_handshaking()
    }

    /// True if either side has closed the channel, or it has failed.
    pub const fn is_closed(&self) -> bool {
        self.closed || self.failed.is_some()
    }

    /// The vault's identity, as SubjectPublicKeyInfo (DER). It is one of the accepted keys. None at the vault's end and before the handshake is
    /// complete.
    pub fn peer_spki(&self) -> Option<&[u8]> {
        let key = self.connection.peer_certificates()?.first()?;
        self.is_ready().then_some(key.as_ref())
    }

    /// The negotiated key exchange, for metrics. None before it is negotiated.
    pub fn key_exchange(&self) -> Option<String> {
        self.connection.negotiated_key_exchange_group().map(|g| format!("{:?}", g.name()))
    }

    fn usable(&self) -> Result<(), ChannelError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail<T>(&mut self, error: ChannelError) -> Result<T, ChannelError> {
        self.failed = Some(error.clone());
        Err(error)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

fn classify(error: Error, handshaking: bool) -> ChannelError {
    match error {
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            ChannelError::NotAdmitted
        }
        Error::AlertReceived(alert) => ChannelError::Alert(format!("{alert:?}")),
        other if handshaking => ChannelError::Handshake(other.to_string()),
        other => ChannelError::Broken(other.to_string()),
    }
}
