//! bkv-client
