//! The outgoing queue of a link.

use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use tokio::sync::mpsc;

/// The queue of frames for a link's writer.
pub(super) type Out = mpsc::Sender<o::Frame>;

/// A frame of a stream; stream 0 is the link itself.
pub(super) fn frame_of(stream: u64, body: Body) -> o::Frame {
    o::Frame { stream, body: Some(body) }
}
