//! What both ends share: records in, records out, messages out of the plaintext.

use std::io::{Read, Write};

use rustls::{CertificateError, Connection, Error};

use super::{ChannelError, frame};

pub(super) struct Pipe {
    connection: Connection,
    waiting: Vec<u8>,
    failed: Option<ChannelError>,
    closed: bool,
}

impl Pipe {
    pub(super) fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(None); // our own limits hold: one frame a `send`
        Self { connection, waiting: Vec::new(), failed: None, closed: false }
    }

    /// Takes bytes from the other side. After an error, what `take_outgoing` still gives is the alert that tells the other side why.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ChannelError> {
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

    pub(super) fn take_outgoing(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            // Writing to a Vec can't fail; should rustls refuse, there is nothing more to send.
            if !matches!(self.connection.write_tls(&mut out), Ok(n) if n > 0) {
                break;
            }
        }
        out
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), ChannelError> {
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

    pub(super) fn next_message(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        self.usable()?;
        match frame::decode(&mut self.waiting) {
            Err(e) => self.fail(e),
            Ok(None) if self.closed => Err(ChannelError::Closed),
            Ok(message) => Ok(message),
        }
    }

    pub(super) fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], ChannelError> {
        self.usable()?;
        self.connection
            .export_keying_material([0; 32], label, Some(context))
            .map_err(|_| ChannelError::NotReady)
    }

    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
        self.closed = true;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.failed.is_none() && !self.connection.is_handshaking()
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed || self.failed.is_some()
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    fn usable(&self) -> Result<(), ChannelError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail<T>(&mut self, error: ChannelError) -> Result<T, ChannelError> {
        self.failed = Some(error.clone());
        Err(error)
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
