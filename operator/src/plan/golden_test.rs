//! Every planned object of every case as a file. Reviewers see each change of a plan, and a new release can't change a vault's pod unnoticed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bkv_golden::{RENEW, difference, renewing};

use super::samples_test::{CASES, World};

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
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}; {RENEW}", folder.display()));
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn plans_are_as_kept() {
    let mut wrong: Vec<String> = Vec::new();
    for (case, spec) in CASES {
        let (folder, planned) = (folder(case), planned(spec));
        if renewing() {
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
    assert!(wrong.is_empty(), "{}\n{RENEW}", wrong.join("\n"));
}
