//! Streams and several sources at one destination.

use std::fs;

use super::world::*;

#[test]
fn a_stream_disturbs_no_search_and_an_empty_one_is_refused() {
    let world = World::new();
    world.write("taxes-2026", "much");
    world.backup(&[]);
    world.fed_ok(&["backup", "--stdin-name", "db.sql", "--to", "cloud"], b"insert");
    assert!(world.ok(&["find", "cloud", "tax*"]).contains("taxes-2026"));
    // The program before the pipe has failed.
    let empty = world.ends(66, &["backup", "--stdin-name", "db.sql", "--to", "cloud"]);
    assert!(empty.contains("--allow-empty"), "{empty}");
    world.ok(&["backup", "--stdin-name", "db.sql", "--to", "cloud", "--allow-empty"]);
    world.ok(&["backup", "--stdin-name", "db.sql", "--to", "cloud"]);
}

#[test]
fn include_takes_the_paths_that_ls_shows_also_of_several_sources() {
    let world = World::new();
    for name in ["a", "z"] {
        fs::create_dir(world.at(name)).unwrap();
        fs::write(world.at(name).join("q"), name).unwrap();
    }
    world.ok(&["backup", "a", "z", "--to", "cloud", "--name", "two"]);
    assert!(world.ok(&["ls", "cloud"]).contains("z/q"));
    for (pattern, to) in [("z/q", "one"), ("z", "all"), ("/z/q", "top")] {
        world.ok(&["restore", "cloud", "--to", to, "--include", pattern]);
        assert_eq!(fs::read(world.at(to).join("z/q")).unwrap(), b"z", "{pattern}");
        assert!(!world.at(to).join("a/q").exists(), "{pattern}");
    }
}
