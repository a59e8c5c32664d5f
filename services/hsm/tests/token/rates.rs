//! Measures the rates of a running vault's operations through the whole pool. It asserts nothing. Run it with
//! `cargo test --release -p bkv-hsm --test token rates -- --ignored --nocapture`

use std::time::{Duration, Instant};

use bkv_hsm::Token;

use crate::Stand;
use crate::stand::{Kind, run};

#[test]
#[ignore = "a measurement"]
fn softhsm() {
    run(Kind::SoftHsm, "rates::softhsm", measure);
}

#[test]
#[ignore = "a measurement"]
fn kryoptic() {
    run(Kind::Kryoptic, "rates::kryoptic", measure);
}

fn measure(stand: &Stand) {
    let token = stand.connect().unwrap();
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
