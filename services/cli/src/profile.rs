//! The fleet's profile and the account's tokens: the files that a person needs to use a fleet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bkv_client::{
    Client, Fleet, Memory as _, OsRandom, Root, Runtime, Timing, TokioClock, Trust, WebSocketTransport,
    Zeroizing,
};
use bkv_config::located;
use serde::{Deserialize, Serialize};

use crate::args::Online;
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::secret_input::file_name;

/// A fleet's profile. Paths are relative to it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// `https://host:port`
    pub chatd: String,
    /// The pinned root, a file from `bkv ceremony root`.
    pub root: PathBuf,
    /// A private authority of ChatD's certificate, PEM; the system's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chatd_ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    chatd: String,
    vault: String,
}

/// What a profile needs.
const HOLDS: &str = "A profile holds `chatd` (an https address), `root` (a file) and perhaps `chatd_ca` (a file of certificates).";

fn config(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Config, format!("{}: {why}", path.display()))
}

fn read(path: &Path, what: &str) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        Failure::new(Exit::NoInput, format!("can't read {what} {}: {e}", path.display()))
            .remedy("Check the path and that you may read it.")
    })
}

/// The message shows nothing of the file's content.
fn no_tokens(path: &Path) -> Failure {
    Failure::new(Exit::NoInput, format!("{}: not the account's tokens", path.display()))
        .remedy("The file holds {\"chatd\": \"…\", \"vault\": \"…\"} from your identity provider.")
}

fn tokens(path: &Path) -> Outcome<Tokens> {
    let text = std::fs::read(path).map(Zeroizing::new).map_err(|e| {
        Failure::new(Exit::NoInput, format!("can't read the tokens from {}: {e}", file_name(path, &e)))
            .remedy("Check the path and that you may read it.")
    })?;
    let tokens: Tokens = serde_json::from_slice(&text).map_err(|_| no_tokens(path))?;
    let fine = [&tokens.chatd, &tokens.vault].into_iter().all(|t| looks_like_a_token(t));
    if fine { Ok(tokens) } else { Err(no_tokens(path)) }
}

/// One of the two tokens in the file of tokens. When a fresh one is wanted, another program may have renewed the file.
struct TokenFile {
    path: PathBuf,
    first: Zeroizing<String>,
    which: fn(Tokens) -> String,
}

#[async_trait]
impl bkv_client::Tokens for TokenFile {
    async fn token(&self, refused: Option<&str>) -> Result<Zeroizing<String>, bkv_client::Error> {
        let Some(refused) = refused else { return Ok(self.first.clone()) };
        // If the file can't be read there is no newer token. The error then names the refused token.
        Ok(Zeroizing::new(tokens(&self.path).map_or_else(|_| refused.to_owned(), self.which)))
    }
}

/// Checks only the form. ChatD and the vault verify the token.
fn looks_like_a_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
}

/// A client for this account on this device.
pub(crate) fn client(online: &Online, device: &DeviceState) -> Outcome<(Client, Runtime)> {
    let text = read(&online.fleet, "the fleet's profile")?;
    let text = String::from_utf8(text).map_err(|_| config(&online.fleet, "not UTF-8").remedy(HOLDS))?;
    let profile: Profile = located::toml(&text).map_err(|why| config(&online.fleet, why).remedy(HOLDS))?;
    let folder = online.fleet.parent().unwrap_or(Path::new("."));
    let root_path = folder.join(&profile.root);
    let root = Root::decode(&read(&root_path, "the pinned root")?).map_err(|e| {
        config(&root_path, e).remedy("Take the root file that the fleet's operator gave you.")
    })?;
    let trust = match &profile.chatd_ca {
        Some(ca) => Trust::Pem(read(&folder.join(ca), "ChatD's authority")?),
        None => Trust::System,
    };
    let tokens = tokens(&online.token)?;
    let memory = device.memory();
    // Report a broken memory file now, before an attempt begins.
    memory.load().map_err(bkv_client::Error::from)?;
    let fleet = Arc::new(Fleet::new(root, memory));
    let file = |first: String, which| {
        Arc::new(TokenFile { path: online.token.clone(), first: Zeroizing::new(first), which })
    };
    let chatd = file(tokens.chatd, |t| t.chatd);
    let transport = WebSocketTransport::with_tokens(&profile.chatd, &trust, chatd)
        .map_err(|e| config(&online.fleet, format!("chatd: {e}")).remedy(HOLDS))?;
    let runtime = Runtime {
        transport: Arc::new(transport),
        clock: Arc::new(TokioClock::default()),
        random: Arc::new(OsRandom),
    };
    let timing = Timing { deadline: Duration::from_secs(online.timeout), ..Timing::default() };
    let source = file(tokens.vault, |t| t.vault);
    let client = Client::with_tokens(fleet, runtime.clone(), source).with_timing(timing);
    let client = match device.token_key()? {
        Some(key) => client.with_token_key(Arc::new(key)),
        None => client,
    };
    Ok((client, runtime))
}
