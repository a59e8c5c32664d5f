use proptest::prelude::*;

use super::*;

fn manifest() -> Manifest {
    let mut manifest = Manifest::new([1; 32], [2; 16], 7, 1_700_000_000_000);
    manifest.file_name = "photos".into();
    manifest
}

#[test]
fn reads_back_what_it_wrote_and_leaves_the_stream_untouched() {
    let header = Header::new(manifest()).unwrap();
    let mut bytes = header.to_bytes();
    bytes.extend_from_slice(b"stream");
    let mut source = bytes.as_slice();
    assert_eq!(inspect(&mut source).unwrap(), header);
    assert_eq!(source, b"stream");
}

#[test]
fn s29_each_field_is_compared_and_named() {
    let header = Header::new(manifest()).unwrap();
    let foreign = |expect: Expect| match expect.check(&header) {
        Err(Error::ForeignStream { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(foreign(Expect { lineage: Some([9; 32]), ..Expect::default() }), "lineage");
    assert_eq!(foreign(Expect { account: Some([9; 32]), ..Expect::default() }), "account");
    // The error shows all digits of two accounts that agree in the first sixteen.
    let mut close = [1; 32];
    close[31] = 2;
    match (
        Expect { account: Some(close), ..Expect::default() }.check(&header),
        Expect { account: Some([9; 32]), ..Expect::default() }.check(&header),
    ) {
        (
            Err(Error::ForeignStream { found, expected, .. }),
            Err(Error::ForeignStream { found: short, .. }),
        ) => {
            assert_ne!(found, expected);
            assert_eq!((found.len(), short.len()), (64, 16));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(foreign(Expect { backup: Some([9; 16]), ..Expect::default() }), "backup id");
    assert_eq!(foreign(Expect { sequence: Some(8), ..Expect::default() }), "sequence");
    assert_eq!(foreign(Expect { file_name: Some("other".into()), ..Expect::default() }), "file name");
    assert_eq!(foreign(Expect { file_index: Some(1), ..Expect::default() }), "file number");
    Expect { account: Some([1; 32]), sequence: Some(7), ..Expect::default() }.check(&header).unwrap();
}

#[test]
fn s29_an_older_sequence_is_a_rollback_and_a_twin_is_foreign() {
    let header = Header::new(manifest()).unwrap();
    let known = |sequence, hash| Expect { known: Some(Known { sequence, hash }), ..Expect::default() };
    assert!(matches!(known(8, [0; 32]).check(&header), Err(Error::Rollback { found: 7, known: 8 })));
    assert!(matches!(known(7, [0; 32]).check(&header), Err(Error::ForeignStream { field: "hash", .. })));
    known(7, *header.hash()).check(&header).unwrap();
    known(6, [0; 32]).check(&header).unwrap();
}

#[test]
fn refuses_what_is_no_header() {
    let good = Header::new(manifest()).unwrap().to_bytes();
    assert!(matches!(Header::read(&mut b"PK\x03\x04....".as_slice()), Err(Error::NotABackup)));
    let mut newer = good.clone();
    newer[4] = 2;
    assert!(matches!(Header::read(&mut newer.as_slice()), Err(Error::UnknownVersion(2))));
    let mut huge = good.clone();
    huge[5] = 0xff;
    assert!(matches!(Header::read(&mut huge.as_slice()), Err(Error::BadHeader(_))));
    for cut in 4..good.len() {
        assert!(matches!(Header::read(&mut &good[..cut]), Err(Error::Truncated)), "cut at {cut}");
    }
    let long = Manifest { file_name: "x".repeat(MAX_NAME + 1), ..manifest() };
    assert!(Header::new(long).is_err());
    assert!(Header::new(Manifest { segment: 0, ..manifest() }).is_err());
    assert!(Header::new(Manifest { segment: u32::MAX, ..manifest() }).is_err());
}

proptest! {
    /// S38: the parser returns a value or an error for any bytes, and for any bytes after a valid beginning.
    #[test]
    fn s38_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Header::read(&mut bytes.as_slice());
        let mut framed = b"BKVB\x01".to_vec();
        framed.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&bytes);
        let _ = Header::read(&mut framed.as_slice());
    }

    #[test]
    fn any_manifest_round_trips(
        lineage: [u8; 32], account: [u8; 32], backup: [u8; 16], sequence: u64, index: u32, created: u64, name in "\\PC{0,60}",
    ) {
        let manifest = Manifest { lineage, file_index: index, file_name: name, compression: Compression::Zstd, content: Content::Tar,
            ..Manifest::new(account, backup, sequence, created) };
        let header = Header::new(manifest.clone()).unwrap();
        let read = Header::read(&mut header.to_bytes().as_slice()).unwrap();
        prop_assert_eq!(read.manifest(), &manifest);
        prop_assert_eq!(read.hash(), header.hash());
    }

    /// A changed header either fails to parse or has another hash, so its stream never opens.
    #[test]
    fn s28_a_changed_header_has_another_hash(place in 9usize..150, bit in 0u8..8) {
        let header = Header::new(manifest()).unwrap();
        let mut bytes = header.to_bytes();
        let place = place.min(bytes.len() - 1);
        bytes[place] ^= 1 << bit;
        if let Ok(read) = Header::read(&mut bytes.as_slice()) {
            prop_assert_ne!(read.hash(), header.hash());
        }
    }
}
