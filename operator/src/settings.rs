//! The operator's configuration: command line and environment. It contains no secret.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::resource::PullPolicy;

/// Turns `BackupKeyVault` resources into fleets of vaults with ChatD in front.
#[derive(Parser, Debug)]
#[command(
    version,
    max_term_width = 110,
    after_help = "Exit codes: 0 stopped in order · 64 bad arguments · 69 the API server can't be reached · 70 an internal task failed"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Watch BackupKeyVault resources and run their fleets.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinition as YAML.
    Crd,
    /// Ask an operator whether it is ready; for `helm test`. Exits with 0 if it is.
    Check {
        /// URL of its readiness probe.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/readyz")]
        url: String,
    },
}

/// Options of `run`.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// Watch this namespace; may be repeated. Default: all namespaces.
    #[arg(long = "namespace", value_name = "NAMESPACE", env = "BKV_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// The vault's image for new fleets.
    #[arg(long, value_name = "IMAGE", env = "BKV_VAULT_IMAGE")]
    pub vault_image: String,
    /// ChatD's image.
    #[arg(long, value_name = "IMAGE", env = "BKV_CHATD_IMAGE")]
    pub chatd_image: String,
    /// The managed Postgres' image.
    #[arg(long, value_name = "IMAGE", env = "BKV_POSTGRES_IMAGE")]
    pub postgres_image: String,
    /// Image of the program that copies PKCS#11 modules out of their images.
    #[arg(long, value_name = "IMAGE", env = "BKV_COPIER_IMAGE")]
    pub copier_image: String,
    /// When images are pulled.
    #[arg(long, value_name = "POLICY", env = "BKV_PULL_POLICY", default_value = "IfNotPresent", value_parser = pull_policy)]
    pub pull_policy: PullPolicy,
    /// URL of the published book of `make docs`, without a slash at the end. Alerts then link to its runbooks. Default: their paths in the sources.
    #[arg(long, value_name = "URL", env = "BKV_RUNBOOK_BASE", value_parser = runbook_base)]
    pub runbook_base: Option<String>,
    /// Address of `/livez`, `/readyz` and `/metrics`, without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    pub health: SocketAddr,
    /// Name of the Lease. The replica that holds it does the work.
    #[arg(long, value_name = "NAME", default_value = "bkv-operator")]
    pub lease_name: String,
    /// Namespace of the Lease and of the operator.
    #[arg(long, value_name = "NAMESPACE", env = "BKV_OPERATOR_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,
    /// This replica's name in the Lease. Default: the host's name and the process id.
    #[arg(long, value_name = "NAME", env = "BKV_POD_NAME")]
    pub identity: Option<String>,
    /// Seconds between two passes over a resource without changes.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub resync: u64,
}

/// Clap refuses the command line with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum SettingsError {
    /// `--pull-policy` or `BKV_PULL_POLICY`.
    #[error(
        "Kubernetes has no pull policy `{0}`; set --pull-policy or BKV_PULL_POLICY to Always, IfNotPresent or Never"
    )]
    PullPolicy(String),
    /// `--runbook-base` or `BKV_RUNBOOK_BASE`.
    #[error(
        "`{0}` is no address of a book; set --runbook-base or BKV_RUNBOOK_BASE to an http or https URL without query, fragment and slash at the end"
    )]
    RunbookBase(String),
}

fn pull_policy(name: &str) -> Result<PullPolicy, SettingsError> {
    PullPolicy::named(name).ok_or_else(|| SettingsError::PullPolicy(name.to_owned()))
}

fn runbook_base(text: &str) -> Result<String, SettingsError> {
    let web = |url: &Url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
    };
    let good = !text.ends_with('/') && Url::parse(text).is_ok_and(|url| web(&url));
    if good { Ok(text.to_owned()) } else { Err(SettingsError::RunbookBase(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pull_policy_is_refused_with_the_setting_and_the_remedy() {
        assert_eq!(pull_policy("Never"), Ok(PullPolicy::Never));
        let refusal = pull_policy("never").unwrap_err().to_string();
        for part in ["`never`", "--pull-policy", "BKV_PULL_POLICY", "IfNotPresent"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }

    #[test]
    fn a_runbook_base_is_the_address_of_a_book() {
        assert_eq!(runbook_base("https://docs.example/bkv").unwrap(), "https://docs.example/bkv");
        for bad in
            ["", "docs.example", "file:///book", "https://a/", "https://a/?q=1", "https://a/b#c", "https://"]
        {
            let refusal = runbook_base(bad).unwrap_err().to_string();
            assert!(refusal.contains("BKV_RUNBOOK_BASE"), "{refusal}");
        }
    }
}
