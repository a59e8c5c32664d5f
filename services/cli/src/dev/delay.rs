//! Delays the bytes of one connection. Order is kept, and memory is bounded: who sends faster than the other end takes it has to wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The most bytes that are read at once.
const CHUNK: usize = 16 << 10;
/// The most bytes on the way in one direction.
const ON_THE_WAY: usize = 4 << 20;

/// How long bytes are on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay {
    shortest: Duration,
    longest: Duration,
}

impl Delay {
    /// Half of the round trip, give or take a share of it.
    pub(crate) fn of_round_trip(round_trip: Duration, jitter_percent: u8) -> Self {
        let one_way = round_trip / 2;
        let jitter = one_way * u32::from(jitter_percent) / 100;
        Self { shortest: one_way.saturating_sub(jitter), longest: one_way + jitter }
    }

    fn draw(self) -> Duration {
        rand::thread_rng().gen_range(self.shortest..=self.longest)
    }
}

/// Bytes, when they arrive, and their place among those on the way.
struct Chunk {
    at: Instant,
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

/// Carries bytes in both directions until one of them ends. A new delay holds for the bytes that are read after it.
pub(crate) async fn carry<A, B>(near: A, far: B, delay: watch::Receiver<Delay>) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (near_read, near_write) = split(near);
    let (far_read, far_write) = split(far);
    tokio::select! {
        end = one_way(near_read, far_write, delay.clone()) => end,
        end = one_way(far_read, near_write, delay.clone()) => end,
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: watch::Receiver<Delay>,
) -> io::Result<()> {
    let (sender, mut on_the_way) = mpsc::unbounded_channel::<Chunk>();
    let room = Arc::new(Semaphore::new(ON_THE_WAY));
    let reading = async move {
        let mut buffer = vec![0; CHUNK];
        let mut at = Instant::now();
        loop {
            let read = from.read(&mut buffer).await?;
            // A later byte never overtakes an earlier one.
            let delay = delay.borrow().draw();
            at = at.max(Instant::now() + delay);
            let permits = u32::try_from(read.max(64)).map_err(io::Error::other)?;
            let place = room.clone().acquire_many_owned(permits).await.map_err(io::Error::other)?;
            let bytes = buffer.get(..read).unwrap_or_default().to_vec();
            // The end of the stream is on the way as long as its bytes.
            if sender.send(Chunk { at, bytes, _place: place }).is_err() || read == 0 {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some(chunk) = on_the_way.recv().await {
            sleep_until(chunk.at).await;
            to.write_all(&chunk.bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|_: ((), ())| ())
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// A connection that is delayed, with the ends that programs hold.
    fn line(delay: Delay) -> (tokio::io::DuplexStream, tokio::io::DuplexStream) {
        let ((near, a), (b, far)) = (duplex(CHUNK), duplex(CHUNK));
        tokio::spawn(carry(a, b, watch::channel(delay).1));
        (near, far)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_take_half_of_the_round_trip_each_way_and_keep_their_order() {
        let (mut near, mut far) = line(Delay::of_round_trip(Duration::from_millis(250), 30));
        let start = Instant::now();
        let sent: Vec<u8> = (0..=255).cycle().take(5 * CHUNK).collect();
        let expected = sent.clone();
        let sending = async {
            for part in sent.chunks(100) {
                near.write_all(part).await.unwrap();
            }
            near.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let receiving = async {
            let mut first = [0];
            far.read_exact(&mut first).await.unwrap();
            let first_at = start.elapsed();
            received.extend(first);
            far.read_to_end(&mut received).await.unwrap();
            first_at
        };
        let ((), first_at) = tokio::join!(sending, receiving);
        assert_eq!(received, expected);
        assert!(first_at >= Duration::from_micros(87_500), "{first_at:?}");
    }

    /// A receiver that reads nothing stops the sender.
    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let (mut near, far) = line(Delay::of_round_trip(Duration::from_millis(10), 0));
        let mut sent = 0;
        let piece = vec![0; CHUNK];
        while tokio::time::timeout(Duration::from_secs(1), near.write_all(&piece)).await.is_ok() {
            sent += CHUNK;
            assert!(sent < 2 * ON_THE_WAY, "{sent}");
        }
        drop(far);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_delay_holds_for_later_bytes_of_the_same_connection() {
        let of = |ms| Delay::of_round_trip(Duration::from_millis(ms), 0);
        let ((mut near, a), (b, mut far)) = (duplex(CHUNK), duplex(CHUNK));
        let (set, delay) = watch::channel(of(20));
        tokio::spawn(carry(a, b, delay));
        let start = Instant::now();
        near.write_all(&[1]).await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        assert!((10..100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        set.send(of(400)).unwrap();
        let start = Instant::now();
        near.write_all(&[2]).await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn one_end_ends_the_other() {
        let (near, mut far) = line(Delay::of_round_trip(Duration::from_millis(250), 0));
        let start = Instant::now();
        drop(near);
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        assert!(start.elapsed() >= Duration::from_millis(125));
    }
}
