//! The same commands on S3 and WebDAV servers.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bkv_test_servers::{Fails, Relay, S3, Tls, WebDav};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, shown};

/// All commands on one destination, which `options` reach.
fn each_command(world: &World, at: &str, options: &[&str]) {
    let with = |args: &[&'static str]| -> Vec<&str> {
        args.iter().map(|arg| if *arg == "AT" { at } else { arg }).chain(options.iter().copied()).collect()
    };
    world.write("letters/june", "one");
    world.write("big", vec![7; 3 << 20]);
    let made = world.json(0, &with(&["backup", "source", "--to", "AT", "--name", "docs", "--dry-run"]));
    assert_eq!(made["dry_run"], true, "{made}");
    let made = world.json(0, &with(&["backup", "source", "--to", "AT", "--name", "docs"]));
    assert_eq!(made["generation"], 1, "{made}");
    assert!(made["destination"].as_str().unwrap().starts_with(at), "{made}");
    world.write("letters/june", "two");
    let again = world.json(0, &with(&["backup", "source", "--to", "AT", "--name", "docs"]));
    assert_eq!((&again["generation"], &again["writer"]), (&2.into(), &made["writer"]), "{again}");
    assert!(again["new_bytes"].as_u64().unwrap() < 1 << 20, "{again}");

    let list = world.json(0, &with(&["backups", "AT"]));
    assert!(list["destination"].as_str().unwrap().starts_with(at), "{list}");
    assert!(list.to_string().contains("\"docs\""), "{list}");
    assert!(world.ok(&with(&["ls", "AT", "letters"])).contains("june"));
    assert!(world.ok(&with(&["find", "AT", "big"])).contains("big"));
    assert!(world.ok(&with(&["diff", "AT", "1", "2"])).contains("june"));
    assert!(world.ok(&with(&["cat", "AT", "letters/june", "--generation", "1"])).contains("one"));
    world.ok(&with(&["verify", "AT"]));
    world.ok(&with(&["restore", "AT", "--to", "out"]));
    assert_eq!(fs::read(world.at("out/letters/june")).unwrap(), b"two");
    assert_eq!(fs::read(world.at("out/big")).unwrap(), vec![7; 3 << 20]);
    world.ok(&with(&["copy", "AT", "--to", "cloud"]));
    world.ok(&["restore", "cloud", "--to", "out-2"]);
    assert_eq!(fs::read(world.at("out-2/letters/june")).unwrap(), b"two");
    let pruned = world.json(0, &with(&["prune", "AT", "--keep-last", "1"]));
    assert_eq!(pruned["condemned"].as_array().unwrap().len(), 1, "{pruned}");
    world.ends(2, &with(&["backup", "source", "--to", "AT", "--form", "file"]));
}

/// A file with what S3 or WebDAV takes.
fn credentials(world: &World, name: &str, text: &str) {
    fs::write(world.at(name), text).unwrap();
}

fn aws(key: &str, secret: &str) -> String {
    format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
}

#[test]
fn each_command_works_on_s3() {
    let Some(server) = S3::start() else { return };
    let world = World::new();
    let (key, secret) = S3::CREDENTIALS;
    credentials(&world, "keys", &aws(key, secret));
    let at = format!("s3://{}/of anna", S3::BUCKET);
    each_command(&world, &at, &["--endpoint", &server.endpoint(), "--credentials", "keys"]);
    // The environment and the files of AWS's tools reach the same place.
    let variables = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
    let endpoint = server.endpoint();
    let mut command = world.command(&["backups", &at, "--json"]);
    let output = command.envs(variables).env("AWS_ENDPOINT_URL", &endpoint).output().unwrap();
    assert!(output.status.success() && shown(&output).contains("docs"), "{}", shown(&output));
    assert!(!shown(&output).contains(secret));
    fs::create_dir(world.at(".aws")).unwrap();
    credentials(&world, ".aws/credentials", &aws(key, secret));
    credentials(&world, ".aws/config", &format!("[default]\nendpoint_url = {endpoint}\n"));
    let output = world.command(&["ls", &at]).env("HOME", world.root()).output().unwrap();
    assert!(output.status.success() && shown(&output).contains("big"), "{}", shown(&output));
}

#[test]
fn each_command_works_on_webdav_with_a_certificate() {
    let (server, world) = (WebDav::start(Tls::On), World::new());
    let (user, password) = WebDav::LOGIN;
    credentials(&world, "logins", &format!("machine localhost login {user} password {password}\n"));
    let at = format!("webdavs://{user}@{}/backups/of anna", server.host());
    let authority = server.authority();
    each_command(&world, &at, &["--authority", authority.to_str().unwrap(), "--credentials", "logins"]);
}

#[test]
fn a_server_that_can_t_be_used_ends_a_command_with_its_code_and_remedy() {
    let Some(mut server) = S3::start() else { return };
    let world = World::new();
    world.write("file", "x");
    credentials(&world, "wrong", &aws("root-key-id", "WRONG-SECRET"));
    credentials(&world, "right", &aws(S3::CREDENTIALS.0, S3::CREDENTIALS.1));
    let endpoint = server.endpoint();
    let bucket = format!("s3://{}", S3::BUCKET);
    let backup = |to: &str, code: i32, options: &[&str]| {
        world.json(code, &[&["backup", "source", "--to", to, "--endpoint", &endpoint], options].concat())
    };
    let says = |answer: &serde_json::Value, words: &str| {
        let text = answer.to_string();
        assert!(text.contains(words) && !text.contains("WRONG-SECRET"), "{words}: {text}");
        assert!(answer["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{text}");
    };
    says(&backup(&bucket, 73, &["--credentials", "wrong"]), "does not accept the credentials");
    says(&backup("s3://none-of-it", 73, &["--credentials", "right"]), "no such bucket");
    says(&backup(&bucket, 66, &["--credentials", "absent"]), "absent");
    says(&backup("gs://bucket", 2, &[]), "gs://");
    says(&backup("webdavs://a:b@h/x", 2, &[]), "--credentials");
    says(&backup("webdav://192.0.2.1/x", 2, &[]), "--allow-http");
    let reading = ["restore", &bucket, "--to", "out", "--endpoint", &endpoint, "--credentials"];
    says(&world.json(66, &[&reading[..], &["wrong"]].concat()), "does not accept the credentials");
    says(&world.json(66, &[&reading[..], &["right"]].concat()), "no backups");
    assert!(!world.at("out").exists());
    server.stop();
    says(&backup(&bucket, 69, &["--credentials", "right"]), "Check the network");
}

/// Sends SIGINT to a command once `waits` is true, and returns how it ended.
fn interrupted(mut command: Command, waits: impl Fn() -> bool) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while !waits() {
        assert!(Instant::now() < until, "it does not come to that");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    child.wait_with_output().unwrap()
}

/// A server that accepts a connection, or an object, and says nothing must not keep a command that is to end.
#[test]
fn a_signal_ends_a_command_that_waits_for_a_server() {
    let Some(server) = S3::start() else { return };
    let world = World::new();
    world.write("file", "x");
    credentials(&world, "keys", &aws(S3::CREDENTIALS.0, S3::CREDENTIALS.1));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let held = std::cell::RefCell::new(None);
    let waits = || {
        held.replace_with(|held| held.take().or_else(|| listener.accept().ok()));
        held.borrow().is_some()
    };
    let first = ["backups", "s3://b", "--endpoint", &endpoint, "--credentials", "keys"];
    let ended = interrupted(world.command(&first), waits);
    assert_eq!(ended.status.code(), Some(130), "{}", shown(&ended));

    let relay = Relay::to(&server.endpoint().replace("http://", ""), Fails::HoldsWrites);
    let (at, endpoint) = (format!("s3://{}", S3::BUCKET), format!("http://{}", relay.address()));
    let backup = ["backup", "source", "--to", &at, "--endpoint", &endpoint, "--credentials", "keys"];
    let ended = interrupted(world.command(&backup), || relay.failed() > 0);
    assert_eq!(ended.status.code(), Some(130), "{}", shown(&ended));
    assert!(shown(&ended).contains("The last complete backup is whole"), "{}", shown(&ended));
    // The same command ends well without the relay. The endpoint is part of the place, so this is another writer.
    let endpoint = server.endpoint();
    world.ok(&["backup", "source", "--to", &at, "--endpoint", &endpoint, "--credentials", "keys"]);
}

/// A proxy would read the password and all objects. `http_proxy` is set in many offices.
#[test]
fn s37_a_server_without_tls_is_never_reached_through_a_proxy() {
    let (server, world) = (WebDav::start(Tls::Off), World::new());
    let (user, password) = WebDav::LOGIN;
    world.write("file", "x");
    credentials(&world, "logins", &format!("machine 127.0.0.1 login {user} password {password}\n"));
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let at = format!("webdav://{user}@{}/x", server.host());
    let mut backup = world.command(&["backup", "source", "--to", &at, "--credentials", "logins"]);
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        backup.env(name, &url);
    }
    let output = backup.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(proxy.accept().is_err());
}
