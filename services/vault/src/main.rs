//! `bkv-vault --config vault.toml` runs one vault of the Backup Key Vault. `bkv-vault init-token` makes its software token before the first start.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bkv_config::module_env::reveals;
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
    #[command(flatten)]
    report: FailureReport,
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
        #[command(flatten)]
        report: FailureReport,
    },
}

// Where the program reports why it ends. No doc comment: clap would show it as the program's description.
#[derive(clap::Args)]
struct FailureReport {
    /// Also write the error that ends the program to this file, which must exist. Kubernetes shows it in the pod's status. The end of the log must not be
    /// shown there: a PKCS#11 module writes to the same log, and with its debug output on, it writes the PIN.
    #[arg(long, value_name = "FILE")]
    termination_log: Option<PathBuf>,
}

impl FailureReport {
    /// Reports the error, and returns the exit code.
    fn failed(&self, code: u8, error: &str) -> ExitCode {
        let text = format!("bkv-vault: {error}");
        eprintln!("{text}");
        if let Some(file) = &self.termination_log {
            let written = OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(file)
                .and_then(|mut log| log.write_all(text.as_bytes()));
            if let Err(e) = written {
                eprintln!("bkv-vault: {}: cannot be written: {e}", file.display());
            }
        }
        ExitCode::from(code)
    }
}

fn main() -> ExitCode {
    if let Some(code) = softhsm::run_child_if_asked() {
        return code;
    }
    // Before any secret is in memory: no core file may hold one.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let args = Args::parse();
    let (path, report, init) = match (args.command, args.config) {
        (Some(Command::InitToken { config, report }), _) => (config, report, true),
        (None, Some(config)) => (config, args.report, false),
        // Unreachable: clap demands one of the two.
        (None, None) => return ExitCode::from(64),
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // openraft logs each call that a missing peer did not answer. `replica` logs why a Raft core stopped.
        .unwrap_or_else(|_| "info,openraft=off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let config = match Config::read(&path) {
        Ok(config) => config,
        Err(e) => return report.failed(64, &e.to_string()),
    };
    // A module reads its variables when it is loaded. What it then logs contains the PIN.
    let mut variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Some((name, program)) = variables.find_map(|name| reveals(&name).map(|program| (name, program))) {
        let error = format!(
            "environment variable {name}: it makes a PKCS#11 module log the PIN ({program}): remove the variable"
        );
        return report.failed(64, &error);
    }
    if args.check {
        println!("{}: good", path.display());
        return ExitCode::SUCCESS;
    }
    if init {
        return init_token(config, &report);
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
        Err(e) => return report.failed(70, &format!("the async runtime can't start: {e}")),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => report.failed(70, &e.as_report().to_string()),
    }
}

fn init_token(config: Config, report: &FailureReport) -> ExitCode {
    let Some(conf) = std::env::var_os(softhsm::CONF_VARIABLE).map(PathBuf::from) else {
        let remedy = format!("set {} to the file that names the token's directory", softhsm::CONF_VARIABLE);
        return report.failed(64, &remedy);
    };
    let label = config.token.token_label;
    let (module, pin_file) = (config.token.module, config.token.pin_file);
    match softhsm::ensure_token(&Wanted { module, label: label.clone(), pin_file, conf }) {
        Ok(Ensured::Made) => println!("token {label:?} made"),
        Ok(Ensured::Found) => println!("token {label:?} exists and accepts the PIN"),
        Err(e) => {
            let code = match e {
                SetupError::NoDirectory(_) => 64,
                SetupError::PinRefused { .. } => 65,
                SetupError::Pin(_) => 66,
                _ => 70,
            };
            return report.failed(code, &e.as_report().to_string());
        }
    }
    ExitCode::SUCCESS
}

async fn serve(config: Config) -> Result<(), RunError> {
    let stop = CancellationToken::new();
    let vault = bkv_vault::run::run(config, stop.clone());
    bkv_net::until_signalled(&stop, vault).await.map_err(RunError::Signals)?
}
