//! bkv-stream
