//! S44 on real stores: what the clients sealed, tried with every region's key for every record and slot.

use bkv_core::command::Command;
use bkv_core::statement::share_info;
use bkv_crypto::delivery::DeliveryKey;

use crate::seized::vaults;

/// S44: only the key of its own region, for its own record and its own slot; account and generation are in the record.
pub(crate) fn s44_a_sealed_share_opens_for_its_record_and_region_only() {
    let all = vaults();
    let keys: Vec<(u8, DeliveryKey)> =
        all.iter().map(|v| (v.slot().unwrap().0, v.delivery_key().unwrap())).collect();
    let commands = (0..4).flat_map(|shard| all[0].log(shard).unwrap()).flat_map(|b| b.commands);
    let stores: Vec<_> =
        commands.filter_map(|c| if let Command::Store(s) = c { Some(s) } else { None }).collect();
    assert_eq!(stores.len(), 4, "four registrations");
    let (mut opened, mut tried) = (0, 0);
    for (n, store) in stores.iter().enumerate() {
        for sealed in &store.shares {
            for (m, of) in stores.iter().enumerate() {
                for slot in 1..=3 {
                    let info = share_info(&of.record.hash(), bkv_core::id::Slot(slot));
                    for (region, key) in &keys {
                        let right = n == m && slot == sealed.slot.0 && *region == slot;
                        let open = key.open(sealed, &info, b"").is_ok();
                        assert_eq!(
                            open, right,
                            "share {n}/{} for record {m}, slot {slot}, region {region}",
                            sealed.slot
                        );
                        (opened, tried) = (opened + usize::from(open), tried + 1);
                    }
                }
            }
            // Another generation of the same account is another record.
            let mut record = store.record.clone();
            record.generation.0 += 1;
            let info = share_info(&record.hash(), sealed.slot);
            assert!(keys.iter().all(|(_, key)| key.open(sealed, &info, b"").is_err()));
        }
    }
    assert_eq!((opened, tried), (4 * 3, 4 * 3 * 4 * 3 * 3));
}
