//! The text of the two other files that the root's holders handle: the root itself, and the statement that lifts a stop.

use bkv_wire::documents::{Lift, Root, fingerprint};

use super::{Field, Fields};

// As in `fields`, the patterns have no `..`.

/// All fields of a root file.
pub fn root_fields(root: &Root) -> Vec<Field> {
    let Root { keys, threshold, fleet, era, development } = root;
    let mut fields = Fields(Vec::new());
    fields.put("lineage", root.lineage().to_string());
    fields.put("fleet", fleet.to_string());
    fields.put("era", era.to_string());
    fields.put("threshold", format!("{threshold} of {}", keys.len()));
    for (n, key) in keys.iter().enumerate() {
        fields.put(format!("key {}", n + 1), fingerprint("root key", &key.0));
    }
    fields.put("development", if *development { "YES, it protects nobody" } else { "no" });
    fields.0
}

/// All fields of a lift.
pub fn lift_fields(lift: &Lift) -> Vec<Field> {
    let Lift { lineage, era, node, shard, stop } = lift;
    let mut fields = Fields(Vec::new());
    fields.put("lineage", lineage.to_string());
    fields.put("era", era.to_string());
    fields.put("node", node.to_string());
    fields.put("shard", shard.to_string());
    fields.put("stop", format!("{:032x}", u128::from_be_bytes(*stop)));
    fields.0
}
