//! `docs/security-lines.md` lists the tests that cover each line. Each line is there once, and each listed test exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bkv_stack_tests::files;

#[test]
fn every_line_is_listed_and_every_test_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/security-lines.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| S")).collect();
    let ids: BTreeSet<&str> = rows.iter().map(|r| r.split('|').nth(1).unwrap().trim()).collect();
    let wanted: Vec<String> = (1..=58).map(|n| format!("S{n:02}")).collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), wanted);
    assert_eq!(rows.len(), wanted.len());
    let sources: String = ["services", "tests", "operator"]
        .iter()
        .flat_map(|folder| files(&root.join(folder)))
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .map(|p| fs::read_to_string(p).unwrap())
        .collect();
    let mut named = 0;
    for row in rows {
        let mut here = 0;
        for word in row.split('`').skip(1).step_by(2) {
            let function = word.starts_with('s') && word.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
            if function {
                let exists =
                    sources.contains(&format!("fn {word}(")) || sources.contains(&format!("    {word}\n"));
                assert!(exists, "no test is called {word}: {row}");
                here += 1;
            } else if Path::new(word).extension().is_some_and(|e| e == "rs") {
                assert!(root.join(word).exists(), "{word}: {row}");
                here += 1;
            }
        }
        assert!(
            here > 0 || row.contains("Later") || row.contains("| S38 |"),
            "no test covers the line, and it gives no reason: {row}"
        );
        named += here;
    }
    assert!(named > 100, "too few test names were found, so the format of the table has changed: {named}");
}
