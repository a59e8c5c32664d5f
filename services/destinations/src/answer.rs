//! What a server answered last, or why there was no answer. The transport notes it for the errors: OpenDAL's have it only as text, with whole headers.

use std::cell::RefCell;

/// Longest part of a server's text that is shown.
const SHOWN: usize = 200;

tokio::task_local! {
    static LAST: RefCell<Answer>;
    static LIMIT: usize;
}

/// Runs one operation that needs no more than so many bytes of an answer. OpenDAL takes a range that ends after its object for an error, so it asks for the rest.
pub(crate) async fn limited<T>(bytes: usize, work: impl Future<Output = T>) -> T {
    LIMIT.scope(bytes, work).await
}

/// How much of an answer the operation needs, if it says so.
pub(crate) fn limit() -> Option<usize> {
    LIMIT.try_with(|limit| *limit).ok()
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The certificate, or the handshake.
    Tls,
    /// Anything that may pass.
    Network,
    /// A list of something that nobody asked for.
    Foreign,
    /// The answer is larger than any answer of a sound server.
    TooLarge,
}

/// An answer that is no success, without anything from the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status. 0 if none came.
    pub(crate) status: u16,
    /// S3's name of the error.
    pub(crate) code: String,
    /// The server's sentence, or the network's.
    pub(crate) text: String,
    /// By how many seconds the server's clock is ahead of this device's.
    pub(crate) ahead: Option<i64>,
    /// Region that a bucket is in, if the server says it.
    pub(crate) region: Option<String>,
    /// Set if no answer came.
    pub(crate) broken: Option<Broken>,
}

impl Answer {
    /// Reads an answer's body, which S3 servers fill with `<Code>` and `<Message>`.
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let element = |name: &str| {
            let after = body.split_once(&format!("<{name}>"))?.1;
            Some(shown(after.split_once(&format!("</{name}>"))?.0))
        };
        Self {
            status,
            code: element("Code").unwrap_or_default(),
            text: element("Message").unwrap_or_default(),
            region: element("Region"),
            ..Self::default()
        }
    }

    pub(crate) fn broken(how: Broken, text: &str) -> Self {
        Self { broken: Some(how), text: shown(text), ..Self::default() }
    }

    /// Runs one operation and returns what the server answered last in it.
    pub(crate) async fn noted<T>(work: impl Future<Output = T>) -> (T, Self) {
        LAST.scope(RefCell::default(), async {
            let done = work.await;
            (done, LAST.with(RefCell::take))
        })
        .await
    }

    /// Notes it for the operation that runs.
    pub(crate) fn note(self) {
        // Without an operation nobody asks for it.
        let _ = LAST.try_with(|last| *last.borrow_mut() = self);
    }
}

/// The beginning of a text without control characters: a server must not write to the terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_and_a_servers_text_is_harmless() {
        let body =
            b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>no \x1b[31m\n</Message></Error>";
        let answer = Answer::new(404, body);
        assert_eq!((answer.code.as_str(), answer.text.as_str()), ("NoSuchBucket", "no [31m"));
        assert_eq!(Answer::new(500, b"\xff<Code>"), Answer { status: 500, ..Answer::default() });
        assert_eq!(Answer::broken(Broken::Network, &"x".repeat(1000)).text.len(), SHOWN);
    }

    #[tokio::test]
    async fn an_operation_sees_its_own_answer_only() {
        let one = Answer::noted(async {
            Answer::new(403, b"").note();
            tokio::task::yield_now().await;
        });
        let two = Answer::noted(async { Answer::new(404, b"").note() });
        let (((), one), ((), two)) = tokio::join!(one, two);
        assert_eq!((one.status, two.status), (403, 404));
        Answer::new(500, b"").note();
    }
}
