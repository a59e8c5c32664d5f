use bkv_wire::proto::outer::reset::Reason;
use bytes::Bytes;
use proptest::prelude::*;

use crate::stream::{Action, KEPT, Stream, TRIES};

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn the_first_bytes_follow_the_leader_until_something_came_back() {
    let mut s = Stream::default();
    assert_eq!(s.client_data(b("hello")), Action::ToVault(b("hello")));
    assert_eq!(s.not_leader(), Action::Elsewhere(vec![b("hello")]));
    assert_eq!(s.vault_lost(), Action::Elsewhere(vec![b("hello")]));
    assert_eq!(s.vault_data(b("x")), Action::ToClient(b("x")));
    assert_eq!(s.not_leader(), Action::Reset(Reason::LeaderMoved));
    assert!(s.is_over());
    assert_eq!(s.client_data(b("late")), Action::Ignore);
    assert_eq!(s.vault_lost(), Action::Ignore);
}

#[test]
fn s58_before_a_vault_answers_a_client_sends_a_handshake_and_no_more() {
    let first = Bytes::from(vec![0; KEPT]);
    let mut s = Stream::default();
    assert_eq!(s.client_data(first.clone()), Action::ToVault(first.clone()));
    assert_eq!(s.client_data(b("!")), Action::Reset(Reason::Overloaded));
    assert!(s.is_over());
    let mut s = Stream::default();
    let _ = s.client_data(first);
    let _ = s.vault_data(b("x"));
    assert_eq!(s.client_data(b("!")), Action::ToVault(b("!")));
}

#[test]
fn without_a_leader_the_client_gets_no_leader() {
    let mut s = Stream::default();
    for _ in 1..TRIES {
        assert_eq!(s.not_leader(), Action::Elsewhere(vec![]));
    }
    assert_eq!(s.not_leader(), Action::Reset(Reason::NoLeader));
}

proptest! {
    /// ChatD sends another vault exactly the client's bytes in their order. An ended stream has no more actions. Both hold for every sequence of events.
    #[test]
    fn no_order_of_events_loses_or_mixes_bytes(events in proptest::collection::vec((0u8..5, 0usize..9000), 0..60)) {
        let (mut s, mut sent, mut over) = (Stream::default(), Vec::new(), false);
        for (kind, len) in events {
            let data = Bytes::from(vec![kind; len]);
            let action = match kind {
                0 | 1 => { sent.extend_from_slice(&data); s.client_data(data) }
                2 => s.vault_data(data),
                3 => s.not_leader(),
                _ => s.vault_lost(),
            };
            if over { prop_assert_eq!(&action, &Action::Ignore); }
            if let Action::Elsewhere(kept) = &action { prop_assert_eq!(kept.concat(), sent.clone()); prop_assert!(sent.len() <= KEPT); }
            over = s.is_over();
        }
    }
}
