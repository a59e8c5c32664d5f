//! `bkv-chatd --config chatd.toml`: the front end that can read nothing.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use bkv_chatd::config::Config;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// ChatD: authenticates clients, relays their messages to the vaults, and can read none of them.
#[derive(Parser)]
#[command(
    version,
    after_help = "The configuration names [listen] public and health, [web] cert and key, [tls] cert, key and ca (role chatd), [tokens] issuer, \
                  audience and keys, [vaults] region = \"host:port\", and optionally [postgres] url_file and [limits].\n\n\
                  GET /v1/relay (WebSocket), /v1/fleet, /v1/account; /livez, /readyz, /metrics on the health address.\n\n\
                  Exit codes: 0 drained and stopped · 64 bad configuration · 70 can't start"
)]
struct Args {
    /// Its configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only read and check the configuration.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let config = match Config::read(&args.config) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("bkv-chatd: {e}");
            return ExitCode::from(64);
        }
    };
    if args.check {
        println!("{}: good", args.config.display());
        return ExitCode::SUCCESS;
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())
        .and_then(|runtime| runtime.block_on(serve(config)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bkv-chatd: {e}");
            ExitCode::from(70)
        }
    }
}

async fn serve(config: Config) -> Result<(), String> {
    let stop = CancellationToken::new();
    let signals = stop.clone();
    let mut term = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut int = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        signals.cancel();
    });
    bkv_chatd::run::run(config, stop).await.map_err(|e| e.to_string())
}
