//! The shape of an encoding: its structure without the values. Two runs of one program make other values, and the same shapes.

use std::fmt::Write as _;

/// The shape of one CBOR item, indented. None if the bytes are not exactly one item.
pub(crate) fn of_cbor(bytes: &[u8]) -> Option<String> {
    let mut shape = String::new();
    let rest = item(bytes, 0, &mut shape)?;
    rest.is_empty().then_some(shape)
}

/// (major type, argument, the bytes behind both).
fn head(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let width = match first & 31 {
        small @ 0..=23 => return Some((first >> 5, small.into(), rest)),
        more @ 24..=27 => 1 << (more - 24),
        _ => return None, // an indefinite length: no program of ours writes one
    };
    let (argument, rest) = rest.split_at_checked(width)?;
    Some((first >> 5, argument.iter().fold(0, |n, b| n << 8 | u64::from(*b)), rest))
}

fn item<'a>(bytes: &'a [u8], depth: usize, shape: &mut String) -> Option<&'a [u8]> {
    let (major, argument, mut rest) = head(bytes)?;
    let indent = "  ".repeat(depth);
    let name = match major {
        0 => "uint",
        1 => "negative",
        2 => "bytes",
        3 => "text",
        4 => "array",
        5 => "map",
        6 => "tag",
        _ => ["false or true", "false or true", "null"]
            .get(usize::try_from(argument).ok()?.checked_sub(20)?)?,
    };
    writeln!(shape, "{indent}{name}").ok()?;
    match major {
        2 | 3 => rest = rest.get(usize::try_from(argument).ok()?..)?,
        4 => {
            for _ in 0..argument {
                rest = item(rest, depth + 1, shape)?;
            }
        }
        5 => {
            for _ in 0..argument {
                // The keys are the numbers of fields.
                let (0, number, value) = head(rest)? else { return None };
                writeln!(shape, "{indent}  {number}:").ok()?;
                rest = item(value, depth + 2, shape)?;
            }
        }
        6 => rest = item(rest, depth + 1, shape)?,
        _ => {}
    }
    Some(rest)
}

#[test]
fn a_shape_has_every_field_and_no_value() {
    let of = |value: &(u64, Option<u8>, Vec<&str>)| of_cbor(&minicbor::to_vec(value).unwrap()).unwrap();
    assert_eq!(of(&(1, None, vec!["a"])), "array\n  uint\n  null\n  array\n    text\n");
    assert_eq!(of(&(1 << 40, None, vec!["another"])), of(&(1, None, vec!["a"])));
    assert_ne!(of(&(1, Some(1), vec!["a"])), of(&(1, None, vec!["a"])));
    assert_eq!(of_cbor(&[0, 0]), None, "two items");
    assert_eq!(of_cbor(&[0x58, 200, 1]), None, "cut");
}
