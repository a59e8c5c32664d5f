//! A target: the replicas that are attacked, and the attacker's messages.

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};

use crate::process;

/// The replicas under attack. An input is a sequence of messages.
pub trait Target: Sized {
    /// One message of the attacker.
    type Message: for<'a> Arbitrary<'a> + Debug;
    /// Whether its vaults have tokens.
    const TOKENS: bool;

    /// Starts the replicas. After `share` inputs, the target takes another person or shard.
    fn begin(share: u32) -> impl Future<Output = Self>;

    /// Sends the messages, then checks the replicas. False once all shards are used up.
    fn input(&mut self, messages: &[Self::Message]) -> impl Future<Output = bool>;

    /// Stops the replicas. Otherwise their threads could call a token while the process ends.
    fn end(self) -> impl Future<Output = ()>;

    /// Sends the messages that the bytes choose, and starts the replicas before if there are none.
    fn feed(live: &mut Option<Self>, share: u32, bytes: &[u8]) -> impl Future<Output = ()> {
        async move {
            // None if the bytes are too few.
            let Ok(messages) = Vec::<Self::Message>::arbitrary_take_rest(Unstructured::new(bytes)) else {
                return;
            };
            process::show(&messages);
            let mut target = match live.take() {
                Some(target) => target,
                None => Self::begin(share).await,
            };
            process::remember(bytes);
            if target.input(&messages).await {
                *live = Some(target);
            }
        }
    }
}
