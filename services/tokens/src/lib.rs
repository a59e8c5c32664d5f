//! bkv-tokens
