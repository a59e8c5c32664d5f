//! Every object of every case as a file: a change of what is planned is seen in review, and a new release can't change a vault's pod unnoticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::samples_test::{CASES, World};

const RENEW: &str = "UPDATE_GOLDEN=1 cargo test --workspace --lib golden";

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(case)
}

fn planned(spec: &str) -> BTreeMap<String, String> {
    let files: Vec<_> = World::case(spec)
        .objects()
        .iter()
        .map(|o| {
            let file = format!("{}-{}.yaml", o.kind.name().to_lowercase(), o.name);
            (file, serde_norway::to_string(&o.body).unwrap())
        })
        .collect();
    let map: BTreeMap<_, _> = files.iter().cloned().collect();
    assert_eq!(map.len(), files.len(), "two objects have one file");
    map
}

fn kept(folder: &Path) -> BTreeMap<String, String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}; make it: {RENEW}", folder.display()));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// Lines that are in one only, each with its sign; enough to see what changed.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], sign: &str| {
        let lines = lines[same..lines.len() - tail].iter().take(40);
        lines.map(|line| [sign, " ", line, "\n"].concat()).collect::<String>()
    };
    format!("from line {}:\n{}{}", same + 1, part(&old, "-"), part(&new, "+"))
}

#[test]
fn plans_are_as_kept() {
    let renew = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1");
    let mut wrong: Vec<String> = Vec::new();
    for (case, spec) in CASES {
        let (folder, planned) = (folder(case), planned(spec));
        if renew {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            for (file, text) in &planned {
                fs::write(folder.join(file), text).unwrap();
            }
            continue;
        }
        let kept = kept(&folder);
        for (file, text) in &planned {
            match kept.get(file) {
                None => wrong.push(format!("{case}/{file} is new")),
                Some(old) if old != text => wrong.push(format!("{case}/{file} {}", difference(old, text))),
                Some(_) => {}
            }
        }
        for gone in kept.keys().filter(|f| !planned.contains_key(*f)) {
            wrong.push(format!("{case}/{gone} is planned no more"));
        }
    }
    assert!(wrong.is_empty(), "{}\nif that is meant: {RENEW}", wrong.join("\n"));
}

#[test]
fn a_difference_is_shown_as_lines() {
    let shown = difference("a\nb\nc\n", "a\nx\nc\n");
    assert_eq!(shown, "from line 2:\n- b\n+ x\n");
    assert_eq!(difference("a\n", "a\nb\n"), "from line 2:\n+ b\n");
}
