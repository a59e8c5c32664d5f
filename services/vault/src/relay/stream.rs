//! One client's stream on a link: carries the client's bytes to the session and the session's answers back.

use std::time::Duration;

use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::out::{Out, frame_of};
use crate::session::{End, Session};

/// A stream on which the client sends nothing for this long is closed.
const IDLE: Duration = Duration::from_mins(2);

/// Runs until the client, the session or the link ends. A request that the session has begun is finished even if the link has ended meanwhile.
pub(super) async fn run(
    mut session: Session,
    id: u64,
    mut data: mpsc::Receiver<Bytes>,
    out: Out,
    link: CancellationToken,
) {
    loop {
        // The link's end also ends `data`. ChatD must see the lost link and not a Close, which its client would take for an orderly end.
        let bytes = tokio::select! {
            biased;
            () = link.cancelled() => return,
            b = timeout(IDLE, data.recv()) => b,
        };
        let Ok(Some(bytes)) = bytes else {
            let _ = out.try_send(frame_of(id, Body::Close(o::Close {})));
            return;
        };
        let (answer, end) = session.data(&bytes).await;
        if !answer.is_empty() {
            let sent = tokio::select! {
                () = link.cancelled() => false,
                sent = out.send(frame_of(id, Body::Data(answer.into()))) => sent.is_ok(),
            };
            if !sent {
                return;
            }
        }
        let last = match end {
            End::Open => continue,
            End::NotLeader(region) => Body::NotLeader(o::NotLeader { region }),
            End::Close => Body::Close(o::Close {}),
        };
        let _ = out.send(frame_of(id, last)).await;
        return;
    }
}
