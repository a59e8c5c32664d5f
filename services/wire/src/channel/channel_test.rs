//! Both ends against each other, and against a faulty network or a wrong server.

use bkv_fixtures::SoftwareIdentity;
use proptest::prelude::*;

use super::frame::MAX_WAITING;
use super::{Channel, ChannelError, ClientSettings, MAX_MESSAGE, ServerSettings, padded_len};

fn identity() -> (ServerSettings, Vec<u8>) {
    let vault = SoftwareIdentity::generate();
    (ServerSettings::new(vault.tls).unwrap(), vault.spki)
}

fn ends() -> (Channel, Channel, Vec<u8>) {
    let (server, spki) = identity();
    let client = ClientSettings::new(vec![vec![1, 2, 3], spki.clone()]).unwrap();
    (Channel::client(&client).unwrap(), Channel::server(&server).unwrap(), spki)
}

/// Carries bytes in both directions, `cut` at a time, until neither end has bytes to send.
fn carry(c: &mut Channel, s: &mut Channel, cut: usize) -> Result<(), ChannelError> {
    loop {
        let (up, down) = (c.take_outgoing(), s.take_outgoing());
        if up.is_empty() && down.is_empty() {
            return Ok(());
        }
        up.chunks(cut).try_for_each(|piece| s.feed(piece))?;
        down.chunks(cut).try_for_each(|piece| c.feed(piece))?;
    }
}

fn ready() -> (Channel, Channel) {
    let (mut c, mut s, _) = ends();
    carry(&mut c, &mut s, usize::MAX).unwrap();
    (c, s)
}

#[test]
fn messages_pass_both_ways() {
    let (mut c, mut s, spki) = ends();
    assert!(!c.is_ready() && c.peer_spki().is_none());
    assert_eq!(c.exporter(b"EXPORTER-bkv", b"").unwrap_err(), ChannelError::NotReady);
    c.send(b"queued before the handshake").unwrap();
    carry(&mut c, &mut s, 7).unwrap();
    assert!(c.is_ready() && s.is_ready());
    assert_eq!(c.peer_spki(), Some(spki.as_slice()));
    assert_eq!(s.next_message().unwrap().as_deref(), Some(b"queued before the handshake".as_slice()));
    assert_eq!(s.next_message().unwrap(), None);
    let big = vec![0xab; MAX_MESSAGE];
    s.send(&big).unwrap();
    s.send(b"").unwrap();
    carry(&mut c, &mut s, 10_000).unwrap();
    assert_eq!(c.next_message().unwrap(), Some(big));
    assert_eq!(c.next_message().unwrap(), Some(vec![]));
    s.close();
    carry(&mut c, &mut s, usize::MAX).unwrap();
    assert!(c.is_closed());
    assert_eq!(c.next_message().unwrap_err(), ChannelError::Closed);
    assert_eq!(s.send(b"after the goodbye").unwrap_err(), ChannelError::Closed);
}

#[test]
fn post_quantum_first_and_nothing_to_resume() {
    let (mut c, mut s, _) = ends();
    carry(&mut c, &mut s, usize::MAX).unwrap();
    assert_eq!(c.key_exchange().as_deref(), Some("X25519MLKEM768"));
    assert_eq!(s.key_exchange(), c.key_exchange());
    // A second session with the same settings makes a full handshake, so the client sees the server's key again.
    assert!(s.take_outgoing().is_empty(), "no ticket follows");
}

#[test]
fn the_exporter_is_the_channels_own() {
    let ((c, s), (other, _)) = (ready(), ready());
    let key = c.exporter(b"EXPORTER-bkv", b"context").unwrap();
    assert_eq!(s.exporter(b"EXPORTER-bkv", b"context").unwrap(), key);
    for different in [
        c.exporter(b"EXPORTER-bkv", b"other"),
        c.exporter(b"EXPORTER-b", b"context"),
        other.exporter(b"EXPORTER-bkv", b"context"),
    ] {
        assert_ne!(different.unwrap(), key);
    }
}

/// S06, S26: a server whose key is not on the list gets only a ClientHello.
#[test]
fn s26_a_key_that_is_not_admitted_is_refused() {
    let ((server, _), (_, expected)) = (identity(), identity());
    let mut c = Channel::client(&ClientSettings::new(vec![expected]).unwrap()).unwrap();
    let mut s = Channel::server(&server).unwrap();
    c.send(b"secret of the client").unwrap();
    s.feed(&c.take_outgoing()).unwrap();
    assert_eq!(c.feed(&s.take_outgoing()).unwrap_err(), ChannelError::NotAdmitted);
    assert!(c.is_closed() && !c.is_ready() && c.peer_spki().is_none());
    assert_eq!(c.send(b"more").unwrap_err(), ChannelError::NotAdmitted, "it stays so");
    let refused = s.feed(&c.take_outgoing()).unwrap_err();
    assert!(matches!(refused, ChannelError::Alert(_)), "{refused}");
    assert!(s.next_message().is_err());
    assert!(matches!(ClientSettings::new(vec![]), Err(ChannelError::Settings(_))));
}

/// S26: an attacker has the public key but not the private key.
#[test]
fn s26_a_stolen_public_key_is_of_no_use() {
    let (_, spki) = identity();
    let attacker = SoftwareIdentity::generate().pretending(&spki);
    let mut s = Channel::server(&ServerSettings::new(attacker).unwrap()).unwrap();
    let mut c = Channel::client(&ClientSettings::new(vec![spki]).unwrap()).unwrap();
    let refused = carry(&mut c, &mut s, usize::MAX).unwrap_err();
    assert!(matches!(refused, ChannelError::Handshake(_)), "{refused}");
}

#[test]
fn a_changed_dropped_or_repeated_record_ends_the_channel() {
    let (mut c, mut s) = ready();
    c.send(b"hello").unwrap();
    let good = c.take_outgoing();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    let refused = s.feed(&bad).unwrap_err();
    assert!(matches!(refused, ChannelError::Broken(_)), "{refused}");
    assert_eq!(s.feed(&good).unwrap_err(), refused, "and stays ended");
    assert!(matches!(c.feed(&s.take_outgoing()).unwrap_err(), ChannelError::Alert(_)));

    let (mut c, mut s) = ready();
    c.send(b"one").unwrap();
    let one = c.take_outgoing();
    s.feed(&one).unwrap();
    assert!(matches!(s.feed(&one).unwrap_err(), ChannelError::Broken(_)), "replay");

    let (mut c, mut s) = ready();
    c.send(b"one").unwrap();
    c.take_outgoing();
    c.send(b"two").unwrap();
    assert!(matches!(s.feed(&c.take_outgoing()).unwrap_err(), ChannelError::Broken(_)), "a gap");
}

#[test]
fn what_waits_is_bounded() {
    let (mut c, mut s) = ready();
    let message = vec![0; MAX_MESSAGE];
    let mut sent = 0;
    let refused = loop {
        c.send(&message).unwrap();
        sent += padded_len(MAX_MESSAGE);
        if let Err(e) = s.feed(&c.take_outgoing()) {
            break e;
        }
        assert!(sent <= 2 * MAX_WAITING);
    };
    assert_eq!(refused, ChannelError::Flooded);
    assert_eq!(c.send(&vec![0; MAX_MESSAGE + 1]).unwrap_err(), ChannelError::Oversized(MAX_MESSAGE + 1));
    c.send(b"a refused message does not end the sender's channel").unwrap();
}

/// S05: messages in equal buckets look equal to ChatD.
#[test]
fn lengths_tell_only_the_bucket() {
    let (mut c, _) = ready();
    let mut seen = |body: &[u8]| {
        c.send(body).unwrap();
        c.take_outgoing().len()
    };
    assert_eq!(seen(b""), seen(&[0; 252]));
    assert_ne!(seen(&[0; 252]), seen(&[0; 253]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000), handshake: bool) {
        let (mut c, mut s) = if handshake { let (c, s, _) = ends(); (c, s) } else { ready() };
        let _ = (s.feed(&bytes), c.feed(&bytes));
        prop_assert!(!matches!(s.next_message(), Ok(Some(_))) && !matches!(c.next_message(), Ok(Some(_))));
        let _ = (s.take_outgoing(), c.take_outgoing());
    }

    /// One byte of either flight changed: no channel is established, or it carries exactly the sent messages.
    #[test]
    fn a_mutated_handshake_never_delivers_anything_else(at: prop::sample::Index, by in 1u8.., which: bool) {
        let (mut c, mut s, _) = ends();
        c.send(b"message").unwrap();
        let mut up = c.take_outgoing();
        if which {
            let i = at.index(up.len());
            up[i] ^= by;
        }
        if s.feed(&up).is_ok() {
            let mut down = s.take_outgoing();
            if !which && !down.is_empty() {
                let i = at.index(down.len());
                down[i] ^= by;
            }
            if c.feed(&down).is_ok() {
                let _ = carry(&mut c, &mut s, usize::MAX);
            }
        }
        if let Ok(Some(m)) = s.next_message() {
            prop_assert_eq!(m, b"message".to_vec());
        }
    }
}
