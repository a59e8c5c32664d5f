//! Ends a program in order on SIGTERM or SIGINT.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `program` and cancels `stop` at the first SIGTERM or SIGINT. Then `program` itself decides when to return.
pub async fn until_signalled<T>(stop: &CancellationToken, program: impl Future<Output = T>) -> io::Result<T> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let signalled = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    tokio::pin!(program);
    tokio::select! {
        done = &mut program => return Ok(done),
        () = signalled => stop.cancel(),
    }
    Ok(program.await)
}
