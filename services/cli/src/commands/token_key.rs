//! `bkv token-key`: the public half of the key to which this device's vault tokens are bound.

use bkv_client::TokenKey as _;
use clap::Args;

use crate::args::Device;
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};

#[derive(Debug, Args)]
pub(crate) struct ShowTokenKey {
    #[command(flatten)]
    pub device: Device,
    /// Only the thumbprint, in one line.
    #[arg(long)]
    pub plain: bool,
}

pub(crate) fn run(out: Output, a: &ShowTokenKey) -> Outcome {
    let public = DeviceState::open_for_writing(&a.device)?.token_key_or_new()?.public();
    let (jkt, jwk) = (public.jkt(), public.jwk());
    let text = if a.plain {
        jkt.clone()
    } else {
        format!("Thumbprint (cnf.jkt)  {jkt}\nPublic key (JWK)      {jwk}")
    };
    let jwk: serde_json::Value =
        serde_json::from_str(&jwk).map_err(|e| Failure::new(Exit::Unexpected, e.to_string()))?;
    out.shown(&text, facts([("jkt", jkt.into()), ("jwk", jwk)]))
}
