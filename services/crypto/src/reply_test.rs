use super::*;

fn session(byte: u8) -> SessionKey {
    SessionKey::take(&mut [byte; 64]).unwrap()
}

#[test]
fn a_reply_opens_with_its_session_key_exporter_and_attempt_only() {
    let sealed = seal(&session(1), &[2; 32], b"attempt", b"body".to_vec()).unwrap();
    assert!(!sealed.windows(4).any(|w| w == b"body"));
    assert_eq!(open(&session(1), &[2; 32], b"attempt", &sealed).as_deref(), Some(b"body".as_slice()));
    assert_eq!(open(&session(9), &[2; 32], b"attempt", &sealed), None);
    assert_eq!(open(&session(1), &[9; 32], b"attempt", &sealed), None);
    assert_eq!(open(&session(1), &[2; 32], b"another", &sealed), None);
}

#[test]
fn a_changed_or_short_reply_does_not_open() {
    let sealed = seal(&session(1), &[2; 32], b"attempt", b"body".to_vec()).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(open(&session(1), &[2; 32], b"attempt", &changed), None, "byte {at}");
        assert_eq!(open(&session(1), &[2; 32], b"attempt", &sealed[..at]), None, "length {at}");
    }
}
