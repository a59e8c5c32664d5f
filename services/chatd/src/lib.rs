//! bkv-chatd
