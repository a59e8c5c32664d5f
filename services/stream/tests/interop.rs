//! S31: stock Tink (PyPI) opens our streams and we open its, at every boundary.

// Helpers of a test stop at the first error as the test does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bkv_stream::{Cancel, Control, DEFAULT_SEGMENT, Options, StreamKey, copy_decrypt, copy_encrypt};

/// Names Tink and what it needs, each with the hashes of its files.
fn requirements() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tink/requirements.txt")
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A Python with Tink, kept in the cache folder between runs, one for each list of requirements. Never below /tmp: another user could lay programs there that
/// the test would run.
fn python() -> Result<PathBuf, String> {
    let cache = match (std::env::var_os("BKV_CACHE"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache/bkv"),
        (None, None) => return Err("neither BKV_CACHE nor HOME is set".into()),
    };
    let list = fs::read(requirements()).map_err(|error| error.to_string())?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &list);
    let short = digest.as_ref().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let venv = cache.join(format!("tink-venv-{short:08x}"));
    let python = venv.join("bin/python");
    let ready = |python: &Path| run(Command::new(python).args(["-c", "import tink.streaming_aead"]));
    if ready(&python).is_err() {
        fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        let strict = ["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r"];
        run(Command::new(&python).args(strict).arg(requirements()))?;
        ready(&python)?;
    }
    Ok(python)
}

#[test]
fn s31_stock_tink_reads_ours_and_we_read_its() {
    let python = match python() {
        Ok(python) => python,
        Err(why) if std::env::var("CI").as_deref() == Ok("true") => panic!("cannot install Tink: {why}"),
        Err(why) => return eprintln!("skipped: cannot install Tink: {why}"),
    };
    for segment in [256, 4096, DEFAULT_SEGMENT] {
        check(&python, segment);
    }
}

fn check(python: &Path, segment: usize) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (key_bytes, aad) = ([0x42; 32], b"hash of a header".as_slice());
    let key = StreamKey::from_bytes(&key_bytes);
    fs::write(at("key"), key_bytes).unwrap();
    fs::write(at("aad"), aad).unwrap();
    fs::write(at("segment"), segment.to_string()).unwrap();
    let (first, later) = (segment - 56, segment - 16);
    let sizes = [
        0,
        1,
        first - 1,
        first,
        first + 1,
        first + later - 1,
        first + later,
        first + later + 1,
        5 * segment + 17,
    ];
    let cancel = Cancel::default();
    let control = Control { progress: &(), cancel: &cancel };
    for size in sizes {
        let plain: Vec<u8> = (0..size).map(|i| u8::try_from(i * 31 % 253).unwrap()).collect();
        let mut ours = Vec::new();
        copy_encrypt(&mut plain.as_slice(), &mut ours, &key, aad, Options { segment, workers: 2 }, control)
            .unwrap();
        fs::write(at(&format!("{size}.plain")), plain).unwrap();
        fs::write(at(&format!("{size}.ours")), ours).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tink/interop.py");
    let said =
        run(Command::new(python).arg(script).arg(folder.path())).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said.trim(), format!("{} cases", sizes.len()));
    for size in sizes {
        let theirs = fs::read(at(&format!("{size}.tink"))).unwrap();
        for workers in [1, 2] {
            let mut plain = Vec::new();
            copy_decrypt(
                &mut theirs.as_slice(),
                &mut plain,
                &key,
                aad,
                Options { segment, workers },
                control,
            )
            .unwrap();
            assert_eq!(
                plain,
                fs::read(at(&format!("{size}.plain"))).unwrap(),
                "{size} bytes, segment {segment}"
            );
        }
        let wrong = copy_decrypt(
            &mut theirs.as_slice(),
            std::io::sink(),
            &key,
            b"another",
            Options { segment, workers: 1 },
            control,
        );
        assert!(wrong.is_err());
    }
}
