//! `bkv-vault --config vault.toml` runs one vault of the Backup Key Vault. `bkv-vault init-token` makes its software token before the first start.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use bkv_config::vault::Config;
use bkv_hsm::softhsm::{self, Ensured, SetupError, Wanted};
use bkv_vault::run::RunError;
use clap::{Parser, Subcommand};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use thiserror_ext::AsReport as _;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One vault of the Backup Key Vault: replicates records over the regions and evaluates its share of each key.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "The configuration has region, data, root, [token], [listen], [peers] and [tls]. It contains paths of secrets, never secrets. SoftHSM \
                  reads SOFTHSM2_CONF from the environment.\n\nExit codes: 0 stopped in order · 64 bad configuration · 70 can't start or go on. \
                  init-token also has 65 the token refuses the PIN · 66 no usable PIN file"
)]
struct Args {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// Read and check the configuration, then exit.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make the SoftHSM token of [token] unless it exists. The file in SOFTHSM2_CONF names the token's directory.
    InitToken {
        /// The vault's configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    if let Some(code) = softhsm::run_child_if_asked() {
        return code;
    }
    // Before any secret is in memory: no core file may hold one.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let args = Args::parse();
    let (path, init) = match (args.command, args.config) {
        (Some(Command::InitToken { config }), _) => (config, true),
        (None, Some(config)) => (config, false),
        // Unreachable: clap demands one of the two.
        (None, None) => return ExitCode::from(64),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // openraft logs each call that a missing peer did not answer. `replica` logs why a Raft core stopped.
        .unwrap_or_else(|_| "info,openraft=off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let config = match Config::read(&path) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("bkv-vault: {e}");
            return ExitCode::from(64);
        }
    };
    if args.check {
        println!("{}: good", path.display());
        return ExitCode::SUCCESS;
    }
    if init {
        return init_token(config);
    }
    // Ignore errors: without a software token there is nothing to heal, and opening the token reports what is wrong with the file.
    if let Some(conf) = std::env::var_os(softhsm::CONF_VARIABLE)
        && let Ok(healed) = softhsm::heal(conf.as_ref())
    {
        for token in healed {
            tracing::warn!(token = %token.display(), "restored SoftHSM's token.object from its copy: a killed login had torn it");
        }
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("bkv-vault: the async runtime can't start: {e}");
            return ExitCode::from(70);
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bkv-vault: {}", e.as_report());
            ExitCode::from(70)
        }
    }
}

fn init_token(config: Config) -> ExitCode {
    let Some(conf) = std::env::var_os(softhsm::CONF_VARIABLE).map(PathBuf::from) else {
        eprintln!("bkv-vault: set {} to the file that names the token's directory", softhsm::CONF_VARIABLE);
        return ExitCode::from(64);
    };
    let label = config.token.token_label;
    let (module, pin_file) = (config.token.module, config.token.pin_file);
    match softhsm::ensure_token(&Wanted { module, label: label.clone(), pin_file, conf }) {
        Ok(Ensured::Made) => println!("token {label:?} made"),
        Ok(Ensured::Found) => println!("token {label:?} exists and accepts the PIN"),
        Err(e) => {
            eprintln!("bkv-vault: {}", e.as_report());
            return ExitCode::from(match e {
                SetupError::NoDirectory(_) => 64,
                SetupError::PinRefused { .. } => 65,
                SetupError::Pin(_) => 66,
                _ => 70,
            });
        }
    }
    ExitCode::SUCCESS
}

async fn serve(config: Config) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let vault = bkv_vault::run::run(config, stop.clone());
    bkv_net::until_signalled(&stop, vault).await.map_err(RunError::Signals)?
}
