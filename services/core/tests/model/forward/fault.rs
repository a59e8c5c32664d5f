//! Faults that a test puts back: each turns off one rule, in this thread only. Rules of bkv-core are turned off there, those of the edge here.

use std::cell::Cell;

use bkv_core::put_back::{Off, Rule};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// An account lies in any shard.
    OtherShard,
    /// A snapshot needs no certificate.
    NoCertificate,
    /// Z is not compared with the record.
    OtherZ,
    /// A replica speaks before its disk has shown to be no old one.
    Unverified,
    /// The rows of a snapshot are not compared with the certificate's digest.
    OtherRows,
    /// A snapshot may lack secrets.
    NoSecrets,
}

thread_local! {
    static BACK: Cell<Option<Fault>> = const { Cell::new(None) };
}

pub(super) fn is_back(fault: Fault) -> bool {
    BACK.get() == Some(fault)
}

/// The fault is back until this is dropped.
pub(super) struct PutBack {
    _rule: Option<Off>,
}

pub(super) fn put_back(fault: Option<Fault>) -> PutBack {
    BACK.set(fault);
    let rule = match fault {
        Some(Fault::OtherShard) => Some(Rule::Shard),
        Some(Fault::NoCertificate) => Some(Rule::Certificate),
        _ => None,
    };
    PutBack { _rule: rule.map(Off::new) }
}

impl Drop for PutBack {
    fn drop(&mut self) {
        BACK.set(None);
    }
}
