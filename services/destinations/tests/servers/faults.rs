//! Servers that refuse, stop, are full, or lose an answer.

use std::fs;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::process::Command;
use std::thread;

use bkv_backups::destination::{Destination, Fault, Listed};
use bkv_backups::{Error, Which};
use bkv_destinations::{Cloud, Settings};
use bkv_test_servers::{Fails, Relay, S3, SmallDisk, Tls, WebDav};

use crate::backups::{back_up, restores};
use crate::common::{Bench, assert_same, fill, noise};
use crate::places::{cloud, s3, s3_with, webdav, webdav_with};

/// The text of the fault with which the first call of a command ends.
fn refusal(place: &Cloud) -> String {
    let fault = place.exists().unwrap_err();
    let text = fault.to_string();
    assert!(text.contains(place.place()) && text.contains("; "), "no place or no remedy: {text}");
    text
}

#[test]
fn an_s3_server_that_refuses_is_reported_with_the_remedy() {
    let Some(server) = S3::start() else { return };
    let bucket = format!("s3://{}", S3::BUCKET);
    let (key, secret) = S3::CREDENTIALS;
    for (address, key, secret, words) in [
        (bucket.as_str(), key, "wrong", "does not accept the credentials: SignatureDoesNotMatch"),
        (bucket.as_str(), "wrong", secret, "does not accept the credentials: InvalidAccessKeyId"),
        ("s3://no-such-bucket", key, secret, "there is no such bucket"),
    ] {
        let text = refusal(&s3_with(&server, address, key, secret));
        assert!(text.contains(words), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
    // Credentials that end while they are used.
    server.admin(&["create-user", "--access", "for-a-while", "--secret", "while-1234567", "--role", "admin"]);
    let place = s3_with(&server, &bucket, "for-a-while", "while-1234567");
    place.write("x/1", b"x").unwrap();
    server.admin(&["delete-user", "--access", "for-a-while"]);
    let fault = place.write("x/2", b"x").unwrap_err();
    assert!(matches!(fault, Fault::Denied(_)), "{fault:?}");
}

#[test]
fn a_webdav_server_that_refuses_is_reported_with_the_remedy() {
    let server = WebDav::start(Tls::Off);
    let text = refusal(&webdav_with(&server, "", "wrong", None));
    assert!(text.contains("does not accept the credentials: 401") && !text.contains("wrong"), "{text}");
    // A password that is changed while it is used.
    let place = webdav(&server, "of anna");
    place.write("x/1", b"x").unwrap();
    server.let_in("another");
    let fault = place.write("x/2", b"x").unwrap_err();
    assert!(matches!(fault, Fault::Denied(_)), "{fault:?}");
}

#[test]
fn a_server_that_does_not_prove_who_it_is_gets_no_password() {
    let server = WebDav::start(Tls::On);
    let other = WebDav::start(Tls::On);
    let text = refusal(&webdav_with(&server, "", WebDav::LOGIN.1, Some(other.authority())));
    assert!(text.contains("does not prove who it is") && text.contains("--authority"), "{text}");
    let system =
        cloud(&format!("webdavs://{}/", server.host()), &Settings::default(), "default login a password b");
    assert!(refusal(&system).contains("does not prove who it is"));
    // HTTP at a port of TLS, and the other way round.
    let settings = Settings { allow_http: true, ..Settings::default() };
    assert!(
        cloud(&format!("webdav://{}/", server.host()), &settings, "default login a password b")
            .exists()
            .is_err()
    );
    let plain = WebDav::start(Tls::Off);
    let text =
        refusal(&cloud(&format!("webdavs://{}/", plain.host()), &settings, "default login a password b"));
    assert!(text.contains("does not prove who it is"), "{text}");
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    let Some(mut server) = S3::start() else { return };
    let place = s3(&server, "");
    server.stop();
    let fault = place.exists().unwrap_err();
    assert!(matches!(&fault, Fault::Unavailable(text) if text.contains(&server.endpoint())), "{fault:?}");
}

/// Accepts one connection at the port of a server that is stopped, so it is known that a call was tried in vain.
fn one_call_in_vain(host: &str) {
    let listener = TcpListener::bind(host).unwrap();
    drop(listener.accept().unwrap());
}

/// A write and a backup go on after the server was away.
fn comes_back(place: &Cloud, host: &str, stop: &mut dyn FnMut(), go_on: &mut dyn FnMut()) {
    place.write("x/before", b"before").unwrap();
    let bytes = noise(3, 5 << 20);
    stop();
    thread::scope(|scope| {
        let write = scope.spawn(|| place.write("x/meanwhile", &bytes));
        one_call_in_vain(host);
        go_on();
        write.join().unwrap().unwrap();
    });
    assert!(place.read("x/meanwhile", 0, 0..u64::MAX).unwrap() == bytes);
    let bench = Bench::default();
    fill(&bench.source());
    fs::write(bench.source().join("big"), noise(8, 20 << 20)).unwrap();
    stop();
    thread::scope(|scope| {
        let backup = scope.spawn(|| back_up(&bench, place));
        one_call_in_vain(host);
        go_on();
        backup.join().unwrap().unwrap();
    });
    assert_same(&bench.source(), &restores(&bench, place, Which::Latest));
}

#[test]
fn work_goes_on_when_an_s3_server_comes_back() {
    let Some(server) = S3::start() else { return };
    let server = std::cell::RefCell::new(server);
    let (place, host) = (s3(&server.borrow(), "x"), server.borrow().endpoint().replace("http://", ""));
    let (mut stop, mut go_on) = (|| server.borrow_mut().stop(), || server.borrow_mut().go_on());
    comes_back(&place, &host, &mut stop, &mut go_on);
}

#[test]
fn work_goes_on_when_a_webdav_server_comes_back() {
    let server = std::cell::RefCell::new(WebDav::start(Tls::Off));
    let (place, host) = (webdav(&server.borrow(), "x"), server.borrow().host());
    let (mut stop, mut go_on) = (|| server.borrow_mut().stop(), || server.borrow_mut().go_on());
    comes_back(&place, &host, &mut stop, &mut go_on);
}

/// A backup to a full disk says so. With more room the same command ends well.
fn fills(place: &Cloud, disk: &std::path::Path) {
    let bench = Bench::default();
    fill(&bench.source());
    for n in 0..4 {
        fs::write(bench.source().join(format!("big-{n}")), noise(n, 8 << 20)).unwrap();
    }
    let error = back_up(&bench, place).unwrap_err();
    assert!(matches!(error, Error::Destination { fault: Fault::Full, .. }), "{error:?}");
    let larger = Command::new("mount").args(["-o", "remount,size=200m"]).arg(disk).status().unwrap();
    assert!(larger.success());
    back_up(&bench, place).unwrap();
    assert_same(&bench.source(), &restores(&bench, place, Which::Latest));
}

#[test]
fn an_s3_server_whose_disk_is_full_says_so() {
    let Some(mut server) = S3::prepared() else { return };
    let Some(_disk) = SmallDisk::mount(&server.root(), "20m") else {
        return eprintln!("skipped: cannot mount a tmpfs here");
    };
    fs::create_dir(server.root().join(S3::BUCKET)).unwrap();
    server.go_on();
    fills(&s3(&server, ""), &server.root());
}

#[test]
fn a_webdav_server_whose_disk_is_full_says_so() {
    let mut server = WebDav::prepared(Tls::Off);
    let Some(_disk) = SmallDisk::mount(&server.root(), "20m") else {
        return eprintln!("skipped: cannot mount a tmpfs here");
    };
    server.go_on();
    fills(&webdav(&server, ""), &server.root());
}

/// No real server loses an answer on demand, so a relay between does.
#[test]
fn a_write_whose_answer_is_lost_is_no_failure() {
    let server = WebDav::start(Tls::Off);
    let relay = Relay::to(&server.host(), Fails::LosesAnswers(1));
    let address = relay.address();
    let (user, password) = WebDav::LOGIN;
    let login = format!("default login {user} password {password}");
    let place = cloud(&format!("webdav://{address}/x"), &Settings::default(), &login);
    place.write("a/1", b"one").unwrap();
    assert_eq!(relay.failed(), 1);
    assert_eq!(fs::read(server.root().join("x/a/1")).unwrap(), b"one");

    let Some(server) = S3::start() else { return };
    let relay = Relay::to(&server.endpoint().replace("http://", ""), Fails::LosesAnswers(1));
    let address = relay.address();
    let settings = Settings { endpoint: Some(format!("http://{address}")), ..Settings::default() };
    let (key, secret) = S3::CREDENTIALS;
    let login = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}");
    let place = cloud(&format!("s3://{}", S3::BUCKET), &settings, &login);
    place.write("a/1", b"one").unwrap();
    assert_eq!(relay.failed(), 1);
    assert_eq!(place.read("a/1", 0, 0..9).unwrap(), b"one");
    assert_eq!(place.write("a/1", b"one"), Err(Fault::Exists));
}

/// An upload that breaks off leaves nothing under the object's name, and the next try writes it whole.
#[test]
fn an_upload_that_breaks_off_is_made_again() {
    let bytes = noise(5, 8 << 20);
    let server = WebDav::start(Tls::Off);
    let relay = Relay::to(&server.host(), Fails::CutsBodies(2));
    let (user, password) = WebDav::LOGIN;
    let login = format!("default login {user} password {password}");
    let place = cloud(&format!("webdav://{}/x", relay.address()), &Settings::default(), &login);
    place.write("a/1", &bytes).unwrap();
    assert_eq!(relay.failed(), 2);
    assert!(fs::read(server.root().join("x/a/1")).unwrap() == bytes);

    // What another program has left under that name is neither replaced nor deleted, also when the server stumbles in between.
    fs::write(server.root().join("x/a/2"), "of somebody else").unwrap();
    assert_eq!(place.write("a/2", &bytes), Err(Fault::Exists));
    assert_eq!(fs::read(server.root().join("x/a/2")).unwrap(), b"of somebody else");
    // The part of a killed upload is no object.
    fs::write(server.root().join("x/a/3.part-0123456789abcdef"), "cut").unwrap();
    let mut names = Vec::new();
    let mut each = |listed: Listed| {
        names.push(listed.name);
        ControlFlow::Continue(())
    };
    place.list("a", &mut each).unwrap();
    names.sort();
    assert_eq!(names, ["a/1", "a/2"]);

    let Some(server) = S3::start() else { return };
    let relay = Relay::to(&server.endpoint().replace("http://", ""), Fails::CutsBodies(2));
    let settings = Settings { endpoint: Some(format!("http://{}", relay.address())), ..Settings::default() };
    let (key, secret) = S3::CREDENTIALS;
    let login = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}");
    let place = cloud(&format!("s3://{}", S3::BUCKET), &settings, &login);
    place.write("a/1", &bytes).unwrap();
    assert_eq!(relay.failed(), 2);
    assert!(place.read("a/1", 0, 0..u64::MAX).unwrap() == bytes);
}

/// A server that is no S3 server has no empty bucket: a backup must not begin anew because of a wrong endpoint.
#[test]
fn a_server_of_another_kind_is_not_taken_for_an_empty_place() {
    let server = WebDav::start(Tls::Off);
    let settings = Settings { endpoint: Some(format!("http://{}", server.host())), ..Settings::default() };
    let place =
        cloud("s3://nothing/x", &settings, "[default]\naws_access_key_id = a\naws_secret_access_key = b");
    assert!(place.exists().is_err());
    assert!(place.folders("").is_err());
    assert!(place.list("x", &mut |_| ControlFlow::Continue(())).is_err());
    let Some(server) = S3::start() else { return };
    let host = server.endpoint().replace("http://", "");
    let place =
        cloud(&format!("webdav://{host}/{}", S3::BUCKET), &Settings::default(), "default login a password b");
    assert!(place.exists().is_err() || !place.exists().unwrap());
    assert!(place.write("a/1", b"x").is_err());
}

/// Answers that versitygw never gives: S3 servers that do not know the condition of a write, that are busy, that send clients elsewhere, and whose clock is another one.
#[test]
fn answers_of_other_s3_servers_are_understood() {
    let Some(server) = S3::start() else { return };
    let host = server.endpoint().replace("http://", "");
    let (key, secret) = S3::CREDENTIALS;
    let login = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}");
    let through = |fails: Fails| {
        let relay = Relay::to(&host, fails);
        let settings =
            Settings { endpoint: Some(format!("http://{}", relay.address())), ..Settings::default() };
        (cloud(&format!("s3://{}", S3::BUCKET), &settings, &login), relay)
    };
    let end = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    for (name, status) in [("a/501", "501 Not Implemented"), ("a/503", "503 Slow Down")] {
        let answer = format!("HTTP/1.1 {status}\r\n{end}").leak();
        let (place, relay) = through(Fails::Answers(1, answer));
        place.write(name, b"one").unwrap();
        assert_eq!(relay.failed(), 1);
        assert_eq!(place.write(name, b"two"), Err(Fault::Exists));
        assert_eq!(place.read(name, 0, 0..9).unwrap(), b"one");
    }
    let refused = |answer: String, words: &str| {
        let (place, relay) = through(Fails::Answers(100, answer.leak()));
        let text = place.write("a/refused", b"one").unwrap_err().to_string();
        assert!(text.contains(words) && !text.contains(secret), "{text}");
        assert_eq!(relay.failed(), 1, "repeated: {text}");
    };
    let location = "Location: http://192.0.2.1/x\r\n";
    refused(format!("HTTP/1.1 307 Temporary Redirect\r\n{location}{end}"), "192.0.2.1");
    let date = "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n";
    refused(format!("HTTP/1.1 403 Forbidden\r\n{date}{end}"), "the clock of this device is");
    let body = "<Error><Code>ExpiredToken</Code></Error>";
    let head = format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    refused(format!("HTTP/1.1 400 Bad Request\r\n{head}{body}"), "the credentials have expired");
    assert_eq!(s3(&server, "").stat("a/refused").unwrap(), []);
}
