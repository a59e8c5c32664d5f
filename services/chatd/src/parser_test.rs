//! Bytes that ChatD did not write itself.

proptest::proptest! {
        /// What clients and vaults send, and events of a newer vault.
        #[test]
        fn s38_arbitrary_frames_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            use prost::Message as _;
            let _ = bkv_wire::proto::outer::Frame::decode(&bytes[..]);
            let _ = minicbor::decode::<bkv_core::effect::Event>(&bytes);
        }
}
