use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::{progress::Cancel, segment::StreamKey};

const SEGMENT: usize = 64;
const FIRST: usize = SEGMENT - 40 - 16;
const LATER: usize = SEGMENT - 16;

fn manifest() -> Manifest {
    Manifest { segment: u32::try_from(SEGMENT).unwrap(), ..Manifest::new([1; 32], [2; 16], 7, 0) }
}

fn key() -> BackupKey {
    BackupKey::from_bytes(&[3; 32])
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

fn written(content: &[u8], workers: usize) -> Vec<u8> {
    let mut writer = BackupWriter::new(Vec::new(), &key(), manifest(), workers).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().0
}

/// The plaintext that a reader returned, and the error if there was one.
fn read(file: &[u8], workers: usize) -> (Vec<u8>, Result<()>) {
    let mut out = Vec::new();
    let mut reader = match BackupReader::new(Cursor::new(file), &key(), &Expect::default(), workers) {
        Ok(reader) => reader,
        Err(error) => return (out, Err(error)),
    };
    loop {
        match reader.next_segment() {
            Ok(Some(text)) => out.extend_from_slice(text),
            Ok(None) => return (out, Ok(())),
            Err(error) => {
                assert!(reader.next_segment().is_err(), "nothing may come after an error");
                return (out, Err(error));
            }
        }
    }
}

fn head_len() -> usize {
    Header::new(manifest()).unwrap().to_bytes().len()
}

/// S28: a read that fails has returned a genuine prefix of whole segments, and never the whole content.
fn assert_refused(file: &[u8], text: &[u8], what: &str) -> Error {
    let (out, result) = read(file, 1);
    let error = result.expect_err(what);
    assert!(text.starts_with(&out), "{what}: released bytes that are not the content");
    assert!(
        out.is_empty() || out.len() == text.len() || (out.len() - FIRST).is_multiple_of(LATER),
        "{what}: part of a segment"
    );
    error
}

#[test]
fn every_length_round_trips_with_one_and_many_workers() {
    for len in (0..FIRST + 4 * LATER + 3).chain([5000]) {
        for workers in [1, 2, 5] {
            let text = content(len);
            let (out, result) = read(&written(&text, workers), workers);
            result.unwrap();
            assert_eq!(out, text, "{len} bytes, {workers} workers");
        }
    }
}

#[test]
fn reader_and_writer_agree_in_odd_pieces() {
    let text = content(3000);
    for piece in [1, 7, 47, 48, 49, 1000] {
        let mut writer = BackupWriter::new(Vec::new(), &key(), manifest(), 2).unwrap();
        for part in text.chunks(piece) {
            writer.write_all(part).unwrap();
        }
        let file = writer.finish().unwrap().0;
        let mut reader = BackupReader::new(Cursor::new(file), &key(), &Expect::default(), 2).unwrap();
        let mut out = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            let n = reader.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..n]);
        }
        assert_eq!(out, text);
    }
}

/// A source that returns one byte at a time uses the slow path of the end mark and all short reads.
#[test]
fn slow_sources_change_nothing() {
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let most = out.len().min(1);
            self.0.read(&mut out[..most])
        }
    }
    let text = content(500);
    let mut writer = BackupWriter::new(Vec::new(), &key(), manifest(), 1).unwrap();
    let cancel = Cancel::default();
    writer.read_from(&mut Drip(&text), Control { progress: &(), cancel: &cancel }).unwrap();
    let file = writer.finish().unwrap().0;
    let mut reader = BackupReader::new(Drip(&file), &key(), &Expect::default(), 1).unwrap();
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    assert_eq!(out, text);
}

#[test]
fn s28_every_bit_flip_fails() {
    for len in [0, 1, FIRST, FIRST + LATER, FIRST + 2 * LATER + 5] {
        let text = content(len);
        let file = written(&text, 1);
        for place in 0..file.len() {
            for bit in 0..8 {
                let mut bad = file.clone();
                bad[place] ^= 1 << bit;
                assert_refused(&bad, &text, &format!("byte {place} bit {bit}"));
            }
        }
    }
}

#[test]
fn s28_s30_every_truncation_fails_as_truncated() {
    for len in [0, 1, FIRST, FIRST + LATER, FIRST + 2 * LATER + 5] {
        let text = content(len);
        let file = written(&text, 1);
        for cut in 4..file.len() {
            let error = assert_refused(&file[..cut], &text, &format!("cut at {cut}"));
            assert!(matches!(error, Error::Truncated), "cut at {cut} of {}: {error:?}", file.len());
        }
    }
}

#[test]
fn s28_extension_fails() {
    let text = content(FIRST + LATER + 5);
    let file = written(&text, 1);
    for extra in 1..200 {
        let mut bad = file.clone();
        bad.extend(std::iter::repeat_n(0, extra));
        assert_refused(&bad, &text, &format!("{extra} more"));
    }
    let mut twice = file.clone();
    twice.extend_from_slice(&file);
    assert_refused(&twice, &text, "two files in one");
}

#[test]
fn s28_swapped_dropped_and_duplicated_segments_fail() {
    let text = content(FIRST + 4 * LATER + 5);
    let file = written(&text, 1);
    let (head, stream) = file.split_at(head_len());
    let (stream, mark) = stream.split_at(stream.len() - END_MARK_LEN);
    let segments: Vec<&[u8]> = stream.chunks(SEGMENT).collect();
    let build = |order: &[usize]| {
        let body: Vec<u8> = order.iter().flat_map(|&i| segments[i].to_vec()).collect();
        let mut mark = mark.to_vec();
        // An attacker who knows the format adds a matching end mark.
        mark[4..].copy_from_slice(&(body.len() as u64).to_be_bytes());
        [head, &body, &mark].concat()
    };
    let whole: Vec<usize> = (0..segments.len()).collect();
    assert_eq!(build(&whole), file);
    for a in 0..segments.len() {
        let mut dropped = whole.clone();
        dropped.remove(a);
        assert_refused(&build(&dropped), &text, &format!("without {a}"));
        let mut doubled = whole.clone();
        doubled.insert(a, a);
        assert_refused(&build(&doubled), &text, &format!("{a} twice"));
        for b in 0..a {
            let mut swapped = whole.clone();
            swapped.swap(a, b);
            assert_refused(&build(&swapped), &text, &format!("{a} for {b}"));
        }
    }
}

#[test]
fn s28_a_segment_of_another_stream_under_the_same_key_fails() {
    let text = content(FIRST + 2 * LATER);
    let (one, two) = (written(&text, 1), written(&text, 1));
    let start = head_len() + SEGMENT;
    let mut mixed = one.clone();
    mixed[start..start + SEGMENT].copy_from_slice(&two[start..start + SEGMENT]);
    let error = assert_refused(&mixed, &text, "mixed");
    assert!(matches!(error, Error::Corrupt { segment: 1 }), "{error:?}");
}

#[test]
fn s28_an_unfinished_stream_fails() {
    let mut sink = Vec::new();
    let mut writer = BackupWriter::new(&mut sink, &key(), manifest(), 1).unwrap();
    writer.write_all(&content(500)).unwrap();
    drop(writer);
    assert!(matches!(assert_refused(&sink, &content(500), "unfinished"), Error::Truncated));
}

#[test]
fn s29_a_header_of_another_file_does_not_open_the_stream() {
    let text = content(200);
    let file = written(&text, 1);
    let mut other = manifest();
    other.sequence = 8;
    other.key_check = key().key_check(&other.backup).unwrap();
    let mut forged = Header::new(other).unwrap().to_bytes();
    forged.extend_from_slice(&file[head_len()..]);
    assert!(matches!(assert_refused(&forged, &text, "forged"), Error::Corrupt { segment: 0 }));
}

#[test]
fn s30_wrong_key_corruption_and_truncation_are_three_errors() {
    let text = content(500);
    let file = written(&text, 1);
    let wrong = BackupKey::from_bytes(&[4; 32]);
    let error = BackupReader::new(Cursor::new(&file), &wrong, &Expect::default(), 1).unwrap_err();
    assert!(matches!(error, Error::WrongKey));
    let mut bad = file.clone();
    bad[head_len() + 3 * SEGMENT + 9] ^= 1;
    assert!(matches!(assert_refused(&bad, &text, "bad"), Error::Corrupt { segment: 3 }));
    let last = file.len() - END_MARK_LEN - 1;
    let mut bad = file.clone();
    bad[last] ^= 1;
    assert!(matches!(assert_refused(&bad, &text, "bad end"), Error::Corrupt { .. }));
    assert!(matches!(assert_refused(&file[..last], &text, "cut"), Error::Truncated));
}

#[test]
fn the_segment_number_never_wraps() {
    let key = StreamKey::from_bytes(&[5; 32]);
    let mut stream = Encryptor::new(io::sink(), &key, b"", Options { segment: SEGMENT, workers: 1 }).unwrap();
    stream.start_at(u32::MAX - 1);
    let error = stream.write_all(&content(10 * SEGMENT)).unwrap_err();
    assert!(matches!(Error::from_io(error), Error::TooLong));
    assert!(matches!(stream.finish(), Err(Error::FailedBefore)));
}

#[test]
fn a_raised_flag_stops_it() {
    let cancel = Cancel::default();
    cancel.cancel();
    let mut writer = BackupWriter::new(Vec::new(), &key(), manifest(), 1).unwrap();
    let control = Control { progress: &(), cancel: &cancel };
    assert!(matches!(writer.read_from(&mut io::repeat(0), control), Err(Error::Cancelled)));
}

proptest! {
    #[test]
    fn s38_arbitrary_streams_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), workers in 1usize..4) {
        let mut file = written(b"", 1)[..head_len()].to_vec();
        file.extend_from_slice(&bytes);
        let (out, result) = read(&file, workers);
        prop_assert!(result.is_err());
        prop_assert!(out.is_empty());
    }

    #[test]
    fn s28_mutated_files_are_refused(
        len in 0usize..600, place: prop::sample::Index, value: u8, kind in 0u8..3, workers in 1usize..4,
    ) {
        let text = content(len);
        let file = written(&text, workers);
        let mut bad = file.clone();
        let place = place.index(file.len());
        match kind {
            0 => bad[place] = value,
            1 => bad.insert(place, value),
            _ => { bad.remove(place); }
        }
        prop_assume!(bad != file);
        let (out, result) = read(&bad, workers);
        prop_assert!(result.is_err());
        prop_assert!(text.starts_with(&out));
    }
}
