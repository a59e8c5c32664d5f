//! Secrets that no program may leak, in the encodings in which programs leak them, and the search for them in files and memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes read at a time.
const CHUNK: usize = 4 << 20;

/// One secret in many forms.
pub struct Canary {
    /// Its name in messages, which never show the value.
    pub name: &'static str,
    forms: Vec<(&'static str, Vec<u8>)>,
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Base64 without the characters at both ends that depend on the neighbours, for each of the three positions in a group where the value may begin.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<Vec<u8>> {
    (0..3)
        .map(|shift| {
            let padded: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
            let mut text = Vec::new();
            for group in padded.chunks(3) {
                let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
                let word = at(0) << 16 | at(1) << 8 | at(2);
                let letter = |n: u32| alphabet.get((word >> n & 63) as usize).copied().unwrap_or(b'=');
                text.extend([letter(18), letter(12), letter(6), letter(0)]);
            }
            // First group may hold the padding's bits, the last one is not full.
            let end = text.len().saturating_sub(4);
            text.get(4..end).unwrap_or_default().to_vec()
        })
        .collect()
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Canary {
    /// Makes the forms of a value.
    pub fn new(name: &'static str, value: &[u8]) -> Self {
        assert!(value.len() >= 12, "too short: it would be found by chance");
        let lower = hex(value);
        let mut forms = vec![
            ("raw", value.to_vec()),
            ("hexadecimal", lower.clone().into_bytes()),
            ("upper-case hexadecimal", lower.to_uppercase().into_bytes()),
        ];
        forms.extend(base64(value, STANDARD).into_iter().map(|f| ("base64", f)));
        forms.extend(base64(value, URL).into_iter().map(|f| ("base64url", f)));
        for text in [std::str::from_utf8(value).ok(), Some(lower.as_str())].into_iter().flatten() {
            let units: Vec<u16> = text.encode_utf16().collect();
            forms.push(("UTF-16LE", units.iter().flat_map(|u| u.to_le_bytes()).collect()));
            forms.push(("UTF-16BE", units.iter().flat_map(|u| u.to_be_bytes()).collect()));
        }
        Self { name, forms }
    }

    /// Adds another form.
    #[must_use]
    pub fn or(mut self, form: &'static str, value: &[u8]) -> Self {
        self.forms.push((form, value.to_vec()));
        self
    }

    /// The form in which the bytes contain the secret, if they do.
    pub fn found_in(&self, hay: &[u8]) -> Option<&'static str> {
        let one = std::slice::from_ref(self);
        Index::new(one).find(hay).first().map(|(_, form)| *form)
    }
}

/// All forms of all canaries, indexed by their first two bytes, so that one pass over gigabytes finds every form.
struct Index<'a> {
    begins: Vec<bool>,
    forms: HashMap<u16, Vec<(&'static str, &'static str, &'a [u8])>>,
    longest: usize,
}

impl<'a> Index<'a> {
    fn new(canaries: &'a [Canary]) -> Self {
        let mut index = Self { begins: vec![false; 1 << 16], forms: HashMap::new(), longest: 0 };
        for (canary, (form, bytes)) in canaries.iter().flat_map(|c| c.forms.iter().map(move |f| (c, f))) {
            let begin = u16::from_be_bytes(*bytes.first_chunk().expect("a form of two bytes or more"));
            index.begins[usize::from(begin)] = true;
            index.forms.entry(begin).or_default().push((canary.name, form, bytes));
            index.longest = index.longest.max(bytes.len());
        }
        index
    }

    /// Name and form of each secret that the bytes contain.
    fn find(&self, hay: &[u8]) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        for (at, pair) in hay.windows(2).enumerate() {
            let begin = u16::from_be_bytes([pair[0], pair[1]]);
            if !self.begins[usize::from(begin)] {
                continue;
            }
            for (name, form, bytes) in self.forms.get(&begin).into_iter().flatten() {
                if hay[at..].starts_with(bytes) && !found.contains(&(*name, *form)) {
                    found.push((*name, *form));
                }
            }
        }
        found
    }
}

/// Searches a reader piece by piece. Each piece includes the end of the one before.
fn search(
    mut read: impl FnMut(&mut [u8]) -> usize,
    index: &Index<'_>,
    place: &str,
    found: &mut Vec<String>,
) -> u64 {
    let (mut window, mut total): (Vec<u8>, u64) = (Vec::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = read(&mut chunk);
        if n == 0 {
            return total;
        }
        total += n as u64;
        window.extend_from_slice(&chunk[..n]);
        found.extend(index.find(&window).iter().map(|(name, form)| format!("{name} ({form}) in {place}")));
        let keep = window.len().saturating_sub(index.longest);
        window.drain(..keep);
    }
}

/// Searches all files below a folder and returns the number of bytes searched.
pub fn search_files(folder: &Path, canaries: &[Canary], found: &mut Vec<String>) -> u64 {
    let (mut total, index) = (0, Index::new(canaries));
    for path in crate::files(folder) {
        // A running fleet may delete a file meanwhile. Skip it.
        let Ok(mut file) = File::open(&path) else { continue };
        total += search(|b| file.read(b).unwrap_or(0), &index, &path.display().to_string(), found);
    }
    total
}

/// Searches all memory of a running process, which needs root. Returns the number of bytes searched, 0 without the right to read.
pub fn search_memory(pid: u32, canaries: &[Canary], found: &mut Vec<String>) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(mut memory) = File::open(format!("/proc/{pid}/mem")) else { return 0 };
    let (mut total, index) = (0, Index::new(canaries));
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(mode)) = (fields.next(), fields.next()) else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else {
            continue;
        };
        if !mode.starts_with('r') || line.ends_with("[vvar]") || memory.seek(SeekFrom::Start(from)).is_err() {
            continue;
        }
        let mut left = to - from;
        total += search(
            |b| {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(b.len());
                let n = b.get_mut(..most).map_or(0, |b| memory.read(b).unwrap_or(0));
                left -= n as u64;
                n
            },
            &index,
            &format!("memory of process {pid} at {range}"),
            found,
        );
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &[u8] = b"a canary's long value, 7?>~";

    #[test]
    fn every_form_is_found_wherever_it_begins_and_over_the_seam_of_two_pieces() {
        let c = Canary::new("test", VALUE);
        assert_eq!(c.found_in(b"nothing of the kind"), None);
        assert_eq!(c.found_in(&[b"xx".as_slice(), VALUE, b"yy"].concat()), Some("raw"));
        for shift in 0..3 {
            let text = [vec![0xfe; shift], VALUE.to_vec(), vec![0xfb; 5]].concat();
            let whole = base64_of(&text);
            assert_eq!(c.found_in(whole.as_bytes()), Some("base64"), "{shift}");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let mut text = vec![b'a'; CHUNK - 9];
        text.extend_from_slice(VALUE);
        fs::write(dir.path().join("seam"), text).expect("write");
        let mut found = Vec::new();
        search_files(dir.path(), &[c], &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    /// A plain encoder, written apart from the one under test.
    fn base64_of(bytes: &[u8]) -> String {
        let mut bits: Vec<bool> =
            bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1 == 1)).collect();
        while !bits.len().is_multiple_of(6) {
            bits.push(false);
        }
        bits.chunks(6)
            .map(|six| STANDARD[six.iter().fold(0usize, |n, b| n * 2 + usize::from(*b))] as char)
            .collect()
    }

    #[test]
    fn a_value_in_this_process_is_found_in_its_memory() {
        let value = hex(&std::process::id().to_be_bytes()).repeat(4);
        let mut found = Vec::new();
        if search_memory(std::process::id(), &[Canary::new("own", value.as_bytes())], &mut found) > 0 {
            assert!(!found.is_empty());
        }
    }
}
