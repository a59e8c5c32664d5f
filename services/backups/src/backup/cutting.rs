//! Where packs end: by an HMAC of the path, weighted by the size of the file, never by content. So an attacker who chooses content learns nothing from the cuts,
//! and the packs of unchanged files begin and end where they did before.

use bkv_stream::BackupKey;

use super::Sizes;
use crate::error::Result;
use crate::format::Id;
use crate::format::secret::MacKey;
use crate::format::tree::TreePath;

/// Files in one pack.
pub(super) const MAX_MEMBERS: usize = 8192;
/// Entries that wait for a pack to end.
pub(super) const MAX_WAITING: usize = 16_384;
/// A file counts as at least this long, so that many tiny files end a pack too.
const LEAST: u64 = 512;

pub(super) struct Cutting {
    key: MacKey,
    pub(super) sizes: Sizes,
}

impl Cutting {
    pub(super) fn new(key: &BackupKey, writer: &Id, sizes: Sizes) -> Result<Self> {
        Ok(Self { key: MacKey::derive(key, b"bkv/cuts/1", writer)?, sizes })
    }

    /// True if the pack ends behind this file. `length` is the pack's length with it.
    pub(super) fn ends_behind(&self, path: &TreePath, size: u64, length: u64) -> bool {
        if length < self.sizes.pack_least {
            return false;
        }
        let mac = self.key.mac(&[&path.root.to_be_bytes(), &path.joined()]);
        let number = mac.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
        // number / 2⁶⁴ < size / mean
        let weight = u128::from(size.max(LEAST)) << 64;
        u128::from(number).saturating_mul(u128::from(self.sizes.pack_mean.max(1))) < weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(files: &[(String, u64)]) -> Vec<Vec<String>> {
        let cutting = Cutting::new(&BackupKey::from_bytes(&[1; 32]), &[2; 16], Sizes::default()).unwrap();
        let (mut packs, mut pack, mut length) = (Vec::new(), Vec::new(), 0);
        for (name, size) in files {
            length += size;
            pack.push(name.clone());
            let path = TreePath { root: 0, steps: vec![name.clone().into_bytes()] };
            if cutting.ends_behind(&path, *size, length) || length > 7 << 20 {
                packs.push(std::mem::take(&mut pack));
                length = 0;
            }
        }
        packs
    }

    /// A file that is added or grows changes the packs around it only.
    #[test]
    fn packs_of_unchanged_files_begin_and_end_where_they_did() {
        let files: Vec<_> = (0..20_000_u64).map(|n| (format!("{n:08}"), 3000 + n * 7919 % 9000)).collect();
        let before = cuts(&files);
        let mean = files.len() / before.len();
        assert!((200..2000).contains(&mean), "{mean} files in a pack");
        let mut changed = files.clone();
        changed[5000].1 += 500_000;
        changed.insert(12_000, ("00011999-new".into(), 9));
        let after = cuts(&changed);
        let again = before.iter().filter(|pack| after.contains(pack)).count();
        assert!(before.len() - again <= 6, "{again} of {} packs are the same", before.len());
    }
}
