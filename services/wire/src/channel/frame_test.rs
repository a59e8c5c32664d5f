use proptest::prelude::*;

use super::ChannelError;
use super::frame::{MAX_MESSAGE, decode, encode, padded_len};

#[test]
fn lengths_fall_into_buckets() {
    for (body, total) in [
        (0, 256),
        (252, 256),
        (253, 512),
        (508, 512),
        (509, 1024),
        (1020, 1024),
        (1021, 2048),
        (2044, 2048),
        (2045, 4096),
        (4092, 4096),
        (4093, 8192),
        (8188, 8192),
        (8189, 12_288),
        (MAX_MESSAGE, 65 * 4096),
    ] {
        assert_eq!(padded_len(body), total, "{body}");
        if body <= MAX_MESSAGE {
            assert_eq!(encode(&vec![7; body]).unwrap().len(), total);
        }
    }
    assert!(padded_len(usize::MAX) >= usize::MAX - 4096, "no overflow");
}

#[test]
fn too_long_is_refused_on_both_sides() {
    assert_eq!(encode(&vec![0; MAX_MESSAGE + 1]).unwrap_err(), ChannelError::Oversized(MAX_MESSAGE + 1));
    for len in [u32::try_from(MAX_MESSAGE).unwrap() + 1, u32::MAX] {
        let mut waiting = len.to_be_bytes().to_vec(); // refused at the header, before memory is allocated for it
        assert_eq!(decode(&mut waiting).unwrap_err(), ChannelError::Oversized(len as usize));
    }
}

proptest! {
    #[test]
    fn messages_round_trip_however_they_are_cut(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..6),
        cut in 1usize..700)
    {
        let stream: Vec<u8> = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
        let (mut waiting, mut out) = (Vec::new(), Vec::new());
        for piece in stream.chunks(cut) {
            waiting.extend_from_slice(piece);
            while let Some(m) = decode(&mut waiting).unwrap() {
                out.push(m);
            }
        }
        prop_assert_eq!(out, messages);
        prop_assert!(waiting.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), small: bool) {
        let mut waiting = bytes;
        if small && waiting.len() > 4 {
            waiting[..3].fill(0);
        }
        while let Ok(Some(m)) = decode(&mut waiting) {
            prop_assert!(m.len() <= MAX_MESSAGE);
        }
    }

    #[test]
    fn one_bit_in_the_padding_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0u8..8) {
        let mut waiting = encode(&body).unwrap();
        let padding = 4 + body.len()..waiting.len();
        let at = padding.start + at.index(padding.len());
        waiting[at] ^= 1 << bit;
        prop_assert_eq!(decode(&mut waiting).unwrap_err(), ChannelError::Padding);
    }
}
