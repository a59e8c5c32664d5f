//! Changes to a valid message's bytes.

use arbitrary::Arbitrary;

use crate::numbers::EDGES;

/// Longest message that changes may make. Larger ones only test the frame's length.
const LONGEST: usize = 1 << 20;

/// One change. Positions count modulo the length.
#[derive(Arbitrary, Clone, Debug)]
pub enum Change {
    Set {
        at: u16,
        to: u8,
    },
    Flip {
        at: u16,
        bit: u8,
    },
    Cut {
        at: u16,
    },
    Remove {
        at: u16,
        length: u8,
    },
    Insert {
        at: u16,
        bytes: [u8; 4],
    },
    Repeat {
        at: u16,
        length: u8,
        times: u16,
    },
    /// Eight bytes become a number at the edge of a type.
    Number {
        at: u16,
        edge: u8,
    },
    /// Bytes from elsewhere in the same message.
    Copy {
        from: u16,
        to: u16,
        length: u8,
    },
}

/// Applies at most four changes.
pub fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes.iter().take(4) {
        apply(&mut bytes, change);
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let length = bytes.len();
    if length == 0 {
        return;
    }
    let place = |at: &u16| usize::from(*at) % length;
    match change {
        Change::Set { at, to } => bytes[place(at)] = *to,
        Change::Flip { at, bit } => bytes[place(at)] ^= 1 << (bit % 8),
        Change::Cut { at } => bytes.truncate(place(at)),
        Change::Remove { at, length: n } => {
            let at = place(at);
            bytes.drain(at..length.min(at + usize::from(*n)));
        }
        Change::Insert { at, bytes: new } => {
            let at = place(at);
            bytes.splice(at..at, *new);
        }
        Change::Repeat { at, length: n, times } => {
            let at = place(at);
            let part = bytes[at..length.min(at + usize::from(*n))].to_vec();
            let times = usize::from(*times).min(LONGEST / part.len().max(1));
            bytes.splice(at..at, part.repeat(times));
        }
        Change::Number { at, edge } => {
            let at = place(at);
            let number = EDGES[usize::from(*edge) % EDGES.len()].to_be_bytes();
            let end = length.min(at + 8);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        Change::Copy { from, to, length: n } => {
            let (from, to) = (place(from), place(to));
            let n = usize::from(*n).min(length - from).min(length - to);
            bytes.copy_within(from..from + n, to);
        }
    }
}
