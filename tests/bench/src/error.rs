//! The reason why a run failed. A goal that does not hold is not an error.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("--only {0}: no such part. The parts are stream, register, recover, idle, gap, records")]
    Part(String),
    #[error(
        "this build lacks the feature identity-ksf and would measure Argon2id instead of the vault: run scripts/bench.sh, or use --only stream"
    )]
    Stretching,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is missing: build it with `cargo build --release -p bkv-cli -p bkv-vault -p bkv-chatd`", .0.display())]
    NotBuilt(PathBuf),
    #[error("`bkv {command}` ended with {code}: {output}")]
    Command { command: String, code: i32, output: String },
    #[error("{}: {why}", path.display())]
    Profile { path: PathBuf, why: String },
    #[error("the SDK: {0}")]
    Client(#[from] bkv_client::Error),
    #[error("the connection to ChatD: {0}")]
    Transport(#[from] bkv_client::TransportError),
    #[error("waited {seconds} s for {what}")]
    Waited { what: String, seconds: u64 },
    #[error("the stream: {0}")]
    Stream(String),
    #[error("a task of the benchmark ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    pub(crate) const fn exit(&self) -> u8 {
        match self {
            Self::Part(_) | Self::Stretching | Self::Profile { .. } => 64,
            Self::NotBuilt(_) => 66,
            Self::Interrupted => 130,
            _ => 1,
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
