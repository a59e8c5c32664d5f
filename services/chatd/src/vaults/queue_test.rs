use bkv_wire::proto::outer::frame::Body;

use super::*;

fn data(stream: u64, size: usize) -> o::Frame {
    o::Frame { stream, body: Some(Body::Data(vec![0; size].into())) }
}

fn ping() -> o::Frame {
    o::Frame { stream: 0, body: Some(Body::Ping(o::Ping { id: 1 })) }
}

const LOUD: Route = Route([1; 32]);
const QUIET: Route = Route([2; 32]);

/// Returns the streams of the frames in the order in which ChatD writes them.
fn written(queue: &Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.pop()).map(|w| w.frame.stream).collect()
}

#[test]
fn s58_one_accounts_bytes_delay_no_ping() {
    let queue = Queue::default();
    while queue.push(LOUD, data(1, 64 << 10), None) {}
    assert!(queue.push_own(ping()), "a full queue takes the link's own frames");
    assert_eq!(queue.pop().unwrap().frame, ping());
}

#[test]
fn s58_accounts_take_turns_and_each_keeps_its_order() {
    let queue = Queue::default();
    for stream in 10..15 {
        assert!(queue.push(LOUD, data(stream, 64 << 10), None));
    }
    for stream in 20..22 {
        assert!(queue.push(QUIET, data(stream, 1), None));
    }
    assert_eq!(written(&queue), [10, 20, 11, 21, 12, 13, 14]);
}

#[test]
fn bytes_are_bounded_and_room_comes_back() {
    let queue = Queue::default();
    let mut pushed = 0;
    while queue.push(LOUD, data(1, 64 << 10), None) {
        pushed += 1;
    }
    assert!(pushed * (64 << 10) <= LINK);
    let close = o::Frame { stream: 1, body: Some(Body::Close(o::Close {})) };
    assert!(queue.push(LOUD, close.clone(), None), "a close always fits");
    assert!(queue.pop().is_some() && queue.push(QUIET, data(2, 60 << 10), None));
    assert_eq!(written(&queue).len(), pushed + 1);
    assert_eq!(queue.frames.lock().size, 0);
}
