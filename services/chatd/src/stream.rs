//! One relayed stream as a state machine: frames in, actions out. Until a vault has answered, ChatD keeps the client's first bytes and sends them to the
//! next vault if the first did not lead. After the first answer, only the client can start again.

use bkv_wire::proto::outer::reset::Reason;
use bytes::Bytes;

/// Most bytes that a client may send before a vault has answered. They are kept for another vault. A client needs them for its first handshake message, and an
/// attacker without a token for the vault gets no further.
pub const KEPT: usize = 16 << 10;
/// Most vaults tried for one stream. After that the client gets a reset.
pub const TRIES: u8 = 8;

/// What the caller must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to the vault.
    ToVault(Bytes),
    /// Send to the client.
    ToClient(Bytes),
    /// Open the stream at another vault and send these bytes.
    Elsewhere(Vec<Bytes>),
    /// Send the client a reset. The stream is over.
    Reset(Reason),
    /// Do nothing: the stream is over.
    Ignore,
}

#[derive(Debug)]
enum State {
    /// No vault has answered yet.
    Asking {
        kept: Vec<Bytes>,
        size: usize,
        tries: u8,
    },
    Relaying,
    Over,
}

/// One stream.
#[derive(Debug)]
pub struct Stream(State);

impl Default for Stream {
    fn default() -> Self {
        Self(State::Asking { kept: Vec::new(), size: 0, tries: 1 })
    }
}

impl Stream {
    /// The client sent bytes.
    pub fn client_data(&mut self, data: Bytes) -> Action {
        match &mut self.0 {
            State::Over => return Action::Ignore,
            State::Relaying => {}
            State::Asking { kept, size, .. } => {
                *size = size.saturating_add(data.len());
                if *size > KEPT {
                    return self.reset(Reason::Overloaded);
                }
                kept.push(data.clone());
            }
        }
        Action::ToVault(data)
    }

    /// The vault sent bytes, so it leads: otherwise it would have sent NotLeader.
    pub fn vault_data(&mut self, data: Bytes) -> Action {
        if matches!(self.0, State::Over) {
            return Action::Ignore;
        }
        self.0 = State::Relaying;
        Action::ToClient(data)
    }

    /// The vault does not lead.
    pub fn not_leader(&mut self) -> Action {
        self.moved(Reason::LeaderMoved)
    }

    /// The link to the vault is lost. The vault may have received the first bytes. Sending them to another vault is harmless: they only begin a new inner
    /// handshake, and the client sends no attempt before the handshake has ended.
    pub fn vault_lost(&mut self) -> Action {
        self.moved(Reason::VaultLost)
    }

    fn moved(&mut self, reason: Reason) -> Action {
        match &mut self.0 {
            State::Over => return Action::Ignore,
            State::Asking { kept, tries, .. } if *tries < TRIES => {
                *tries += 1;
                return Action::Elsewhere(kept.clone());
            }
            State::Asking { .. } => {
                self.0 = State::Over;
                return Action::Reset(Reason::NoLeader);
            }
            State::Relaying => {}
        }
        self.reset(reason)
    }

    /// Ends the stream for another reason (drain, limit, idle).
    pub fn reset(&mut self, reason: Reason) -> Action {
        if matches!(self.0, State::Over) {
            return Action::Ignore;
        }
        self.0 = State::Over;
        Action::Reset(reason)
    }

    /// The client or the vault closed the stream.
    pub fn close(&mut self) {
        self.0 = State::Over;
    }

    /// True once the stream has ended.
    pub const fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }
}
