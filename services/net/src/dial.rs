//! Connects to a host by its name.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

/// The other address family is tried beside the first one after this long. RFC 8305 (Happy Eyeballs), section 8, recommends 250 ms.
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// A TCP connection without Nagle's delay to `host:port`. The name is resolved at each call, because a restarted peer may have another address. If the network drops
/// one address family's packets, the other family connects after [`OTHER_FAMILY`]. The caller sets the time limit.
pub async fn dial(address: &str) -> io::Result<TcpStream> {
    let uri = Uri::builder().scheme("http").authority(address).path_and_query("/").build();
    let uri = uri.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: {e}")))?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_happy_eyeballs_timeout(Some(OTHER_FAMILY));
    match connector.oneshot(uri).await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => {
            let kind = error.source().and_then(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
            Err(io::Error::new(kind.unwrap_or(io::ErrorKind::Other), error))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn names_and_addresses_of_both_families_connect() {
        let v4 = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = v4.local_addr().unwrap().port();
        // On most machines `localhost` is ::1 first, where nobody listens.
        for host in ["localhost", "127.0.0.1"] {
            let stream = dial(&format!("{host}:{port}")).await.unwrap();
            assert!(stream.nodelay().unwrap());
        }
        if let Ok(v6) = TcpListener::bind("[::1]:0").await {
            dial(&format!("[::1]:{}", v6.local_addr().unwrap().port())).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_refusal_and_a_bad_address_have_their_kinds() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(dial(&closed.to_string()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(dial("no address").await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
