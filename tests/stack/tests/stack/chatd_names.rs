//! ChatD knows its vaults by DNS name, as in a cluster: names that resolve late, and names whose address changes.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use bkv_stack_tests::chatd::{free_port, http, section};
use bkv_stack_tests::pods::{may_have_names, program_in_hosts};
use bkv_stack_tests::program::{Program, skipped};
use bkv_stack_tests::{Fleet, bin_dir, wait};
use toml::Table;

#[test]
fn chatd_waits_for_its_vaults_names_and_follows_them() {
    if !may_have_names() {
        return skipped("names of vaults", "this machine does not let the test have a mount namespace");
    }
    let fleet = Fleet::with(&["--no-postgres"]);
    let folder = fleet.dir().join("chatd");
    let mut table: Table = fs::read_to_string(folder.join("chatd.toml")).unwrap().parse().unwrap();
    let health = free_port();
    section(&mut table, "listen").insert("public".into(), format!("127.0.0.1:{}", free_port()).into());
    section(&mut table, "listen").insert("health".into(), format!("127.0.0.1:{health}").into());
    for region in fleet.regions() {
        let name = format!("{region}.bkv.test:{}", fleet.port(&region, "relay"));
        section(&mut table, "vaults").insert(region, name.into());
    }
    let config = folder.join("named.toml");
    fs::write(&config, table.to_string()).unwrap();
    let hosts = fleet.path("hosts");
    // Written in place, because the file is mounted.
    let resolve = |address: &str| {
        let lines: Vec<String> =
            fleet.regions().iter().map(|r| format!("{address} {r}.bkv.test\n")).collect();
        fs::write(&hosts, format!("127.0.0.1 localhost\n{}", lines.concat())).unwrap();
    };
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let mut command = program_in_hosts(&hosts);
    command.arg(bin_dir().join("bkv-chatd")).arg("--config").arg(&config);
    let mut chatd = Program::start(command);
    let soon = Duration::from_secs(20);
    let up = |n: usize| {
        let answer = http(health, "/readyz");
        let code = if n > 0 { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
        answer.starts_with(code) && answer.contains(&format!("\"vaults\":{n}"))
    };
    wait("ChatD without vaults", soon, || up(0));
    // First an address where another program listens, then the vaults' address.
    let elsewhere = TcpListener::bind(("127.0.0.9", fleet.port("eu-west", "relay"))).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    resolve("127.0.0.9");
    wait("a call at the first address", soon, || elsewhere.accept().is_ok());
    assert!(up(0) && chatd.runs());
    resolve("127.0.0.1");
    wait("all vaults", soon, || up(3));
}
