//! The most bytes that a request inside the channel may have, for each kind. The vault refuses a longer one before it does anything with it. Without these
//! bounds a request of any kind could have as many bytes as a message of the channel, and most of them would go into the log of every region.

use bkv_core::bounds::{
    CERTIFICATE, KE1, KE2, KE3, Oversized, RECORD, REGIONS, REGISTRATION_REQUEST, REGISTRATION_RESPONSE,
    SHARE_KEY, SHARE_TEXT, bytes,
};

use crate::proto::inner::request::Operation;

/// The most bytes of an access token that a vault takes.
pub const TOKEN: usize = 4 << 10;
/// Room for the request's own fields, for tags and lengths, and for fields of later versions.
const ROOM: usize = 512;
/// Tag and length of a field or an element, and small numbers in it.
const FIELD: usize = 12;
const ID: usize = 16 + FIELD;
const HASH: usize = 32 + FIELD;
const SIGNATURE: usize = 64 + FIELD;
/// A key and a signature with their tags and lengths, see [`crate::possession`].
const PROOF: usize = 65 + 64 + 8;
const OWNER: usize = ID + FIELD + SIGNATURE;
const SHARE: usize = SHARE_KEY + SHARE_TEXT + 4 * FIELD;
const ACKNOWLEDGEMENT: usize = CERTIFICATE + SIGNATURE + 3 * FIELD;

/// The name of a request's kind and the most bytes that it may have, encoded.
pub const fn of(operation: &Operation) -> (&'static str, usize) {
    let (kind, most) = match operation {
        Operation::Open(_) => ("open", TOKEN + HASH + PROOF),
        Operation::RegisterStart(_) => ("register_start", REGISTRATION_REQUEST),
        Operation::Store(_) => {
            ("store", REGISTRATION_REQUEST + REGISTRATION_RESPONSE + RECORD + REGIONS * SHARE + OWNER + PROOF)
        }
        Operation::Confirm(_) => ("confirm", ID + 2 * HASH + REGIONS * ACKNOWLEDGEMENT + SIGNATURE),
        Operation::Begin(_) => ("begin", ID + 2 * HASH + PROOF),
        Operation::MoreEvaluations(_) => ("more_evaluations", ID),
        Operation::KeyExchange(_) => ("key_exchange", ID + KE1),
        Operation::GiveUp(_) => ("give_up", ID + HASH),
        Operation::Finish(_) => ("finish", ID + KE1 + KE2 + KE3),
        Operation::SetLedger(_) => ("set_ledger", ID + 3 * HASH + OWNER),
        Operation::ForgetWriter(_) => ("forget_writer", ID + HASH + OWNER),
        Operation::ReadLedgers(_) => ("read_ledgers", SIGNATURE),
        Operation::Delete(_) => ("delete", OWNER),
        Operation::Attest(_) => ("attest", HASH),
    };
    (kind, most + ROOM)
}

/// Refuses a request of `len` bytes that is longer than its kind can be.
pub const fn check(operation: &Operation, len: usize) -> Result<(), Oversized> {
    let (kind, most) = of(operation);
    bytes(kind, len, most)
}

#[cfg(test)]
#[path = "bounds_test.rs"]
mod bounds_test;
