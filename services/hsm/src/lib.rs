//! bkv-hsm
