//! bkv-wire
