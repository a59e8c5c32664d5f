//! One relayed stream as a state machine: frames in, actions out. Until a vault has answered, ChatD keeps the client's first bytes, so that a wrong choice
//! of the leader costs the client no round trip. After that only the client can start again.

use bkv_wire::proto::outer::reset::Reason;
use bytes::Bytes;

/// What is kept for another vault, at most.
pub const KEPT: usize = 16 << 10;
/// Vaults that are tried for one stream before the client is told.
pub const TRIES: u8 = 8;

/// What the edge has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to the vault.
    ToVault(Bytes),
    /// Send to the client.
    ToClient(Bytes),
    /// Open the stream at another vault and send these there.
    Elsewhere(Vec<Bytes>),
    /// Tell the client to start again; the stream is over.
    Reset(Reason),
    /// Nothing: a frame for a stream that is over.
    Ignore,
}

#[derive(Debug)]
enum State {
    /// No vault has answered yet. `whole` is false once the client has sent more than is kept.
    Asking {
        kept: Vec<Bytes>,
        size: usize,
        whole: bool,
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
        Self(State::Asking { kept: Vec::new(), size: 0, whole: true, tries: 1 })
    }
}

impl Stream {
    /// Bytes of the client.
    pub fn client_data(&mut self, data: Bytes) -> Action {
        match &mut self.0 {
            State::Over => return Action::Ignore,
            State::Relaying => {}
            State::Asking { kept, size, whole, .. } => {
                *size = size.saturating_add(data.len());
                if *size <= KEPT {
                    kept.push(data.clone());
                } else {
                    *whole = false;
                    kept.clear();
                }
            }
        }
        Action::ToVault(data)
    }

    /// Bytes of the vault. It leads, or it would have sent NotLeader.
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

    /// The link to the vault is gone. What the vault did with the first bytes is unknown; repeating them is harmless, because a new inner
    /// handshake at another vault is a new channel, and an attempt in it is not sent before that channel stands.
    pub fn vault_lost(&mut self) -> Action {
        self.moved(Reason::VaultLost)
    }

    fn moved(&mut self, reason: Reason) -> Action {
        match &mut self.0 {
            State::Over => return Action::Ignore,
            State::Asking { kept, whole: true, tries, .. } if *tries < TRIES => {
                *tries += 1;
                return Action::Elsewhere(kept.clone());
            }
            State::Asking { whole: true, .. } => {
                self.0 = State::Over;
                return Action::Reset(Reason::NoLeader);
            }
            State::Asking { .. } | State::Relaying => {}
        }
        self.reset(reason)
    }

    /// Ends it for another reason (drain, limit, idle).
    pub fn reset(&mut self, reason: Reason) -> Action {
        if matches!(self.0, State::Over) {
            return Action::Ignore;
        }
        self.0 = State::Over;
        Action::Reset(reason)
    }

    /// Either side closed it.
    pub fn close(&mut self) {
        self.0 = State::Over;
    }

    /// True once nothing more will happen.
    pub const fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }
}
