//! The rates of a running vault's operations through the whole pool, with SoftHSM: `cargo bench -p bkv-hsm`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bkv_hsm::{Token, TokenConfig, VaultName, softhsm};

const LABEL: &str = "bkv-bench";
const PIN: &str = "83-user-pin-of-a-bench";
const SO_PIN: &str = "17-officer-pin-of-a-bench";
/// Set for the process that makes the token.
const INIT: &str = "BKV_HSM_BENCH_INIT";
/// The token's folder, for the process that measures. SoftHSM reads its configuration once per process.
const DIR: &str = "BKV_HSM_BENCH_DIR";

fn main() -> ExitCode {
    if std::env::var_os(INIT).is_some() {
        return softhsm::run_child();
    }
    if let Some(dir) = std::env::var_os(DIR) {
        measure(&PathBuf::from(dir));
        return ExitCode::SUCCESS;
    }
    if !Path::new(softhsm::DEBIAN_MODULE).is_file() {
        println!("skipped: apt-get install softhsm2");
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let pin =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(dir.path().join("pin"));
    pin.unwrap().write_all(PIN.as_bytes()).unwrap();
    let this = || Command::new(std::env::current_exe().unwrap());
    let mut init = this();
    init.env(INIT, "1");
    let made = softhsm::init_token_by(init, dir.path(), LABEL, PIN, SO_PIN).unwrap();
    let measured = this().env(DIR, dir.path()).env(softhsm::CONF_VARIABLE, made.conf).status().unwrap();
    assert!(measured.success());
    ExitCode::SUCCESS
}

fn measure(dir: &Path) {
    let mut config = TokenConfig::new(softhsm::DEBIAN_MODULE.into(), LABEL.into(), dir.join("pin"));
    (config.pool, config.call_deadline_ms) = (3, 10_000);
    let token = Token::connect(&config, &VaultName::new("bench/one").unwrap()).unwrap();
    token.provision_blocking().unwrap();
    token.epoch_create_blocking(1).unwrap();
    for callers in [1, 2, 8] {
        rate("mask_pad, HMAC-SHA-512", callers, &token, |t| {
            drop(t.mask_pad_blocking(&[7; 64], &[1; 16]).unwrap());
        });
        rate("epoch_mac, HMAC-SHA-256", callers, &token, |t| {
            drop(t.epoch_mac_blocking(1, &[7; 64]).unwrap());
        });
        rate("sign_ecdsa_p256", callers, &token, |t| drop(t.sign_ecdsa_p256_blocking(&[7; 64]).unwrap()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (start, mut done) = (Instant::now(), 0u32);
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let token = token.clone();
            tasks.spawn(async move {
                for _ in 0..500 {
                    token.mask_pad(&[7; 64], &[1; 16]).await.unwrap();
                }
            });
        }
        while tasks.join_next().await.is_some() {
            done += 500;
        }
    });
    println!(
        "{:28} 64 tasks   {:>8.0}/s",
        "mask_pad, async",
        f64::from(done) / start.elapsed().as_secs_f64()
    );
}

fn rate(what: &str, callers: u32, token: &Token, call: fn(&Token)) {
    let time = Duration::from_millis(700);
    let start = Instant::now();
    let done: u32 = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(move || {
                    let mut done = 0u32;
                    while start.elapsed() < time {
                        call(token);
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).sum()
    });
    println!("{what:28} {callers:>2} callers {:>8.0}/s", f64::from(done) / start.elapsed().as_secs_f64());
}
