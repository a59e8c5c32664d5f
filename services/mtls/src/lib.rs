//! bkv-mtls
