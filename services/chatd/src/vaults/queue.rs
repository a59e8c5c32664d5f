//! The frames that wait to be written to one vault. Frames of the link itself go first: a ping behind data would make a busy vault look hung. Accounts take turns,
//! so an account that sends much delays only itself.

use std::collections::{HashMap, VecDeque};

use bkv_core::id::Route;
use bkv_wire::proto::outer as o;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::Notify;

use crate::underway::Charge;

/// Most bytes of accounts that wait for one vault.
const LINK: usize = 16 << 20;
/// Most frames of the link itself that wait: pings, feeds, requests for documents.
const OWN: usize = 8_192;

/// A waiting frame. It counts for its account until it is written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: o::Frame,
    _charge: Option<Charge>,
}

#[derive(Debug, Default)]
struct Frames {
    own: VecDeque<Waiting>,
    accounts: HashMap<Route, VecDeque<Waiting>>,
    /// The accounts with waiting frames, in the order in which they are served.
    turns: VecDeque<Route>,
    /// Bytes of the accounts' frames.
    size: usize,
}

/// The frames that wait for one vault.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: Mutex<Frames>,
    filled: Notify,
}

impl Queue {
    /// Adds a frame of the link itself. False if the vault reads none.
    pub(super) fn push_own(&self, frame: o::Frame) -> bool {
        let mut frames = self.frames.lock();
        let room = frames.own.len() < OWN;
        if room {
            frames.own.push_back(Waiting { frame, _charge: None });
            self.filled.notify_one();
        }
        room
    }

    /// Adds a frame of an account's stream, behind the account's other frames. False if the vault reads too slowly. `Close` has no size that matters and
    /// always fits: without it the vault would keep the session.
    pub(super) fn push(&self, account: Route, frame: o::Frame, charge: Option<Charge>) -> bool {
        let mut frames = self.frames.lock();
        let size = frame.encoded_len();
        let closes = matches!(frame.body, Some(o::frame::Body::Close(_)));
        if frames.size.saturating_add(size) > LINK && !closes {
            return false;
        }
        frames.size = frames.size.saturating_add(size);
        let Frames { accounts, turns, .. } = &mut *frames;
        let waiting = accounts.entry(account).or_insert_with(|| {
            turns.push_back(account);
            VecDeque::new()
        });
        waiting.push_back(Waiting { frame, _charge: charge });
        self.filled.notify_one();
        true
    }

    /// The next frame: of the link, or of the account whose turn it is.
    pub(super) fn pop(&self) -> Option<Waiting> {
        let mut frames = self.frames.lock();
        if let Some(own) = frames.own.pop_front() {
            return Some(own);
        }
        let account = frames.turns.pop_front()?;
        let waiting = frames.accounts.get_mut(&account)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            frames.accounts.remove(&account);
        } else {
            frames.turns.push_back(account);
        }
        let size = next.as_ref().map_or(0, |w| w.frame.encoded_len());
        frames.size = frames.size.saturating_sub(size);
        next
    }

    /// Waits until a frame may be there.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
