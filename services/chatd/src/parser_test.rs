//! Parsers of bytes from clients and vaults.

proptest::proptest! {
    /// A newer vault may encode frames, and the events in them, in another way. ChatD must not panic.
    #[test]
    fn s38_arbitrary_frames_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        use prost::Message as _;
        let _ = bkv_wire::proto::outer::Frame::decode(&bytes[..]);
        let _ = minicbor::decode::<bkv_core::event::Event>(&bytes);
    }
}
