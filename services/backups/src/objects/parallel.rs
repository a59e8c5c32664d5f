//! The same work on many items, on several threads.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Calls `work` on `threads` threads. `done` gets each result on the calling thread, in no order. After it breaks, no item is begun.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(&T, R) -> ControlFlow<()>,
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel(threads);
        for _ in 0..threads.min(items.len()) {
            let (send, next, work) = (send.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The receiver is gone after a break.
                    if send.send((item, work(item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for (item, result) in receive {
            if done(item, result).is_break() {
                break;
            }
        }
    });
}
