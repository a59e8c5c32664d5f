use tokio::io::{DuplexStream, duplex};

use super::*;

async fn says(vault: &mut DuplexStream, body: Body) {
    let mut writer = frames::Writer::new(vault);
    writer.put(&o::Frame { stream: 0, body: Some(body) }).unwrap();
    writer.flush().await.unwrap();
}

/// A retired connection serves the streams that it has, and ends with the last of them. Time is paused.
#[tokio::test(start_paused = true)]
async fn s34_a_retired_connection_ends_with_its_last_stream() {
    let (near, far) = duplex(1 << 20);
    let (read, mut vault) = tokio::io::split(far);
    let connection = Connection::default();
    let (tx, mut stream) = mpsc::channel(1);
    connection.insert(1, tx);
    connection.retire();
    connection.replace();
    let answers = async {
        // The vault answers pings and sends data to the stream.
        let mut incoming = frames::reader::<_, o::Frame>(read, MAX_FRAME);
        let mut writer = frames::Writer::new(&mut vault);
        for _ in 0..3 {
            let ping = incoming.next().await.unwrap().unwrap();
            assert!(matches!(ping.body, Some(Body::Ping(_))), "{ping:?}");
            writer.put(&o::Frame { stream: 0, body: Some(Body::Pong(o::Pong { id: 1 })) }).unwrap();
            writer.flush().await.unwrap();
        }
        writer.put(&o::Frame { stream: 1, body: Some(Body::Data(b"late"[..].into())) }).unwrap();
        writer.flush().await.unwrap();
        assert_eq!(stream.recv().await, Some(Body::Data(b"late"[..].into())));
        assert!(connection.remove(1));
        std::future::pending::<()>().await;
    };
    let why = tokio::select! {
        why = connection.serve(near, |_| {}, "a") => why,
        () = answers => "",
    };
    assert_eq!(why, "renewed");
}

/// Without the limit an attacker with a stolen key could keep a connection alive by keeping one stream open.
#[tokio::test(start_paused = true)]
async fn s34_a_stream_does_not_keep_a_retired_connection() {
    let (near, mut vault) = duplex(1 << 20);
    let connection = Connection::default();
    let (tx, mut stream) = mpsc::channel(1);
    connection.insert(1, tx);
    connection.retire();
    connection.replace();
    let alive = async {
        loop {
            says(&mut vault, Body::Pong(o::Pong { id: 1 })).await;
            tokio::time::sleep(PING).await; // The test's clock is paused, so this takes no real time.
        }
    };
    let begun = Instant::now();
    let why = tokio::select! {
        why = connection.serve(near, |_| {}, "a") => why,
        () = alive => "",
    };
    assert_eq!(why, "renewed");
    assert!(begun.elapsed() >= GRACE);
    connection.end();
    assert_eq!(stream.recv().await, None);
    assert!(!connection.send(None, o::Frame::default(), None), "nothing is queued for an ended connection");
}

/// A link that carries no stream is renewed too. Until another connection has taken its place, new streams need the old one.
#[tokio::test(start_paused = true)]
async fn a_retired_connection_without_streams_serves_until_it_is_replaced() {
    let (near, mut vault) = duplex(1 << 20);
    let connection = Connection::default();
    connection.retire();
    let alive = async {
        for _ in 0..20 {
            says(&mut vault, Body::Pong(o::Pong { id: 1 })).await;
            tokio::time::sleep(PING).await; // The test's clock is paused, so this takes no real time.
        }
        let (tx, _stream) = mpsc::channel(1);
        connection.insert(1, tx);
        assert!(connection.send(None, o::Frame::default(), None), "it takes a stream");
        assert!(connection.remove(1));
        connection.replace();
        std::future::pending::<()>().await;
    };
    let begun = Instant::now();
    let why = tokio::select! {
        why = connection.serve(near, |_| {}, "a") => why,
        () = alive => "",
    };
    assert_eq!(why, "renewed");
    assert!(begun.elapsed() >= PING * 20 && begun.elapsed() < GRACE, "{:?}", begun.elapsed());
}
