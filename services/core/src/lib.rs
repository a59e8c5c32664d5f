//! bkv-core
