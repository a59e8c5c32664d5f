//! Messages on a byte stream: a big-endian u32 length, then a protobuf message of that length.

use std::io;
use std::marker::PhantomData;

use bytes::{BufMut as _, BytesMut};
use futures_util::SinkExt;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite, LengthDelimitedCodec};

/// A reader starts with a buffer of this size.
const BUFFER: usize = 16 << 10;
/// A writer gathers messages up to this size before it writes.
const GATHERED: usize = 1 << 20;

/// Decodes messages. An oversized length is refused before any memory is reserved for it.
#[derive(Debug)]
pub struct Reading<M> {
    lengths: LengthDelimitedCodec,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Decoder for Reading<M> {
    type Item = M;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<M>> {
        let Some(frame) = self.lengths.decode(buffer)? else { return Ok(None) };
        M::decode(frame.freeze()).map(Some).map_err(io::Error::other)
    }
}

/// Encodes messages directly into the writer's buffer. `LengthDelimitedCodec` would copy each message once more.
#[derive(Debug)]
pub struct Writing;

impl<M: Message> Encoder<&M> for Writing {
    type Error = io::Error;

    fn encode(&mut self, message: &M, buffer: &mut BytesMut) -> io::Result<()> {
        put(buffer, message)
    }
}

/// Appends `message` behind its length.
pub fn put<M: Message>(buffer: &mut BytesMut, message: &M) -> io::Result<()> {
    let length = message.encoded_len();
    buffer.reserve(4 + length);
    buffer.put_u32(u32::try_from(length).map_err(io::Error::other)?);
    message.encode(buffer).map_err(io::Error::other)
}

/// Reads messages.
pub type Reader<R, M> = FramedRead<R, Reading<M>>;

/// A reader of messages of at most `most` bytes.
pub fn reader<R: AsyncRead, M>(stream: R, most: usize) -> Reader<R, M> {
    let lengths = LengthDelimitedCodec::builder().length_field_length(4).max_frame_length(most).new_codec();
    FramedRead::with_capacity(stream, Reading { lengths, message: PhantomData }, BUFFER)
}

/// Writes many messages in one system call. They wait in the buffer until [`Writer::flush`].
#[derive(Debug)]
pub struct Writer<W>(FramedWrite<W, Writing>);

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// A writer to `stream`.
    pub fn new(stream: W) -> Self {
        Self(FramedWrite::new(stream, Writing))
    }

    /// Adds a message to the buffer.
    pub fn put<M: Message>(&mut self, message: &M) -> io::Result<()> {
        put(self.0.write_buffer_mut(), message)
    }

    /// True once the buffer is full enough to flush. More messages would only delay the first one.
    pub fn is_full(&self) -> bool {
        self.0.write_buffer().len() >= GATHERED
    }

    /// Writes the buffer to the stream.
    pub async fn flush(&mut self) -> io::Result<()> {
        // Any item type will do, because a flush encodes nothing.
        SinkExt::<&()>::flush(&mut self.0).await
    }

    /// Writes `first` and all messages that wait in `queue`.
    pub async fn write_waiting<M: Message>(
        &mut self,
        first: M,
        queue: &mut mpsc::Receiver<M>,
    ) -> io::Result<()> {
        self.put(&first)?;
        while !self.is_full()
            && let Ok(next) = queue.try_recv()
        {
            self.put(&next)?;
        }
        self.flush().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_frame_is_its_length_in_four_bytes_then_the_message() {
        let (near, mut far) = duplex(64);
        let mut writer = Writer::new(near);
        writer.put(&String::from("abc")).unwrap();
        writer.flush().await.unwrap();
        let mut bytes = [0; 9];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [0, 0, 0, 5, 0x0a, 3, b'a', b'b', b'c']);
    }

    #[tokio::test]
    async fn what_waits_is_written_at_once_and_read_message_by_message() {
        let (near, far) = duplex(1 << 16);
        let (send, mut queue) = mpsc::channel(8);
        for text in ["two", "three"] {
            send.try_send(String::from(text)).unwrap();
        }
        let mut writer = Writer::new(near);
        writer.write_waiting(String::from("one"), &mut queue).await.unwrap();
        drop(writer);
        let read: Vec<String> = reader(far, GATHERED).map(Result::unwrap).collect().await;
        assert_eq!(read, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_frame_that_arrives_byte_by_byte_is_read() {
        let (mut near, far) = duplex(1);
        let mut frames = reader::<_, String>(far, GATHERED);
        let (_, read) = tokio::join!(near.write_all(&[0, 0, 0, 5, 0x0a, 3, b'a', b'b', b'c']), frames.next());
        assert_eq!(read.unwrap().unwrap(), "abc");
    }

    #[tokio::test]
    async fn s38_an_oversized_length_and_bytes_that_are_no_message_are_errors() {
        for bytes in [&[0, 0, 0, 17][..], &[0, 0, 0, 2, 0x0a, 9], &[0xff; 8]] {
            let (mut near, far) = duplex(64);
            near.write_all(bytes).await.unwrap();
            assert!(reader::<_, String>(far, 16).next().await.unwrap().is_err());
        }
        // A stream that ends within a frame is an error. An end between two frames is none.
        let (mut near, far) = duplex(64);
        near.write_all(&[0, 0, 0, 5, 0x0a]).await.unwrap();
        drop(near);
        assert!(reader::<_, String>(far, 16).next().await.unwrap().is_err());
        let (near, far) = duplex(64);
        drop(near);
        assert!(reader::<_, String>(far, 16).next().await.is_none());
    }
}
