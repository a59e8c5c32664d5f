//! `bkv-operator`: see `--help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bkv_operator::settings::{Cli, Command, RunArgs};
use clap::Parser as _;
use thiserror_ext::AsReport as _;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli.command {
        Command::Crd => match bkv_operator::resource::crd_yaml() {
            Ok(yaml) => {
                print!("{yaml}");
                ExitCode::SUCCESS
            }
            Err(e) => ended(&e, 70),
        },
        Command::Check { url } => in_runtime(check(url)),
        Command::Run(args) => {
            // kube logs each retry of a watch, also of kinds that this cluster may lack. `api_server::watch` logs the failures that matter.
            let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
            let filter =
                tracing_subscriber::EnvFilter::try_new(format!("kube_runtime=off,kube_client=warn,{wanted}"))
                    .unwrap_or_else(|_| "info".into());
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_ansi(false)
                .with_writer(std::io::stderr)
                .init();
            in_runtime(serve(*args))
        }
    }
}

fn in_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    // One thread suffices, because the operator mostly waits. Each more thread would cost buffers of its own.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(e) => ended(&e, 70),
    }
}

async fn serve(args: RunArgs) -> ExitCode {
    let stop = CancellationToken::new();
    match bkv_net::until_signalled(&stop, bkv_operator::run(args, stop.clone())).await {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(e @ bkv_operator::RunError::Client(_))) => ended(&e, 69),
        Ok(Err(e)) => ended(&e, 70),
        Err(e) => ended(&e, 70),
    }
}

async fn check(url: String) -> ExitCode {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(5)).no_proxy().build();
    let asked = match client {
        Ok(client) => client.get(&url).send().await,
        Err(e) => return ended(&e, 70),
    };
    match asked {
        Ok(a) if a.status().is_success() => {
            println!("{url}: ready");
            ExitCode::SUCCESS
        }
        Ok(a) => {
            eprintln!("bkv-operator: {url} answers {}", a.status());
            ExitCode::from(69)
        }
        Err(e) => ended(&e, 69),
    }
}

fn ended(e: &(dyn std::error::Error + 'static), code: u8) -> ExitCode {
    eprintln!("bkv-operator: {}", e.as_report());
    ExitCode::from(code)
}
