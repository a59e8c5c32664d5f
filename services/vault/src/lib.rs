//! bkv-vault
