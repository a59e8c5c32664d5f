//! `bkv-chatd --config chatd.toml`: the front end. It can't read the messages that it relays.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use bkv_chatd::run::RunError;
use bkv_config::chatd::Config;
use clap::Parser;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use thiserror_ext::AsReport as _;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// ChatD authenticates clients and relays their encrypted messages to the vaults. It can't read the messages.
#[derive(Parser)]
#[command(
    version,
    after_help = "The configuration names [listen] public and health, and optionally trusted_proxies and proxy_protocol, [web] cert and key, [tls] cert, key and ca (role chatd), [tokens] issuer, \
                  audience and keys, [vaults] region = \"host:port\", and optionally [postgres] url_file and [limits].\n\n\
                  GET /v1/relay (WebSocket), /v1/fleet, /v1/account; /livez, /readyz, /metrics on the health address. Certificates, tokens.keys by file and \
                  postgres.url_file are read again within 10 s of a change.\n\n\
                  SIGTERM drains: /readyz answers 503, clients are asked to reconnect, and ChatD ends within 10 s.\n\n\
                  Exit codes: 0 drained and stopped · 64 bad configuration · 70 can't start"
)]
struct Args {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Read and check the configuration, then exit.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    // ChatD holds TLS keys and clients' access tokens, though no account secret. No core file may contain them, and no other process of this user may
    // read them.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
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
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("bkv-chatd: the async runtime can't start: {e}");
            return ExitCode::from(70);
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bkv-chatd: {}", e.as_report());
            ExitCode::from(70)
        }
    }
}

async fn serve(config: Config) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let chatd = bkv_chatd::run::run(config, stop.clone());
    bkv_net::until_signalled(&stop, chatd).await.map_err(RunError::Signals)?
}
