//! Accounts as apps have them: each has its own tokens and its own WebSocket to the one fleet.

use std::sync::Arc;
use std::time::SystemTime;

use bkv_client::{
    Client, Fleet, KsfParams, OsRandom, RecoverOptions, Recovered, RegisterOptions, Registered, Runtime,
    TokioClock, Transport, VolatileMemory, WebSocketTransport, Zeroizing,
};
use bkv_tokens::dev::{CHATD_AUDIENCE, DevClaims, DevIssuer, VAULT_AUDIENCE};

use crate::error::BenchError;
use crate::profile::Profile;
use crate::stack::Stack;

/// The password of every account.
const PASSWORD: &str = "quiet otter paints the north window";
/// Lifetime of a token in seconds, longer than any run.
const TOKEN_LIFETIME: u64 = 24 * 3600;
/// No password stretching.
const NO_KSF: KsfParams = KsfParams { memory_kib: 0, passes: 0, lanes: 0 };

/// The fleet under measurement, and what every client of it shares.
pub(crate) struct Bench {
    pub stack: Stack,
    profile: Profile,
    issuer: DevIssuer,
    fleet: Arc<Fleet>,
    clock: Arc<TokioClock>,
}

impl Bench {
    pub(crate) fn new(stack: Stack) -> Result<Self, BenchError> {
        let profile = Profile::read(&stack.dir().join("fleet.toml"))?;
        let fleet = Arc::new(Fleet::new(profile.root.clone(), VolatileMemory::default()));
        let issuer = stack.issuer()?;
        Ok(Self { stack, profile, issuer, fleet, clock: Arc::default() })
    }

    /// An account with tokens and an open outer connection, not registered yet.
    pub(crate) async fn account(&self, subject: &str) -> Result<Account, BenchError> {
        // The bench signs the tokens itself: `bkv dev token` would be one process for each of up to a hundred thousand accounts.
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs());
        let token = |audience| {
            let claims = DevClaims { subject, audience, now, lifetime: TOKEN_LIFETIME, enrolment: None };
            Zeroizing::new(self.issuer.sign(&claims))
        };
        let transport =
            WebSocketTransport::new(&self.profile.chatd, &self.profile.trust, &token(CHATD_AUDIENCE))?;
        drop(transport.open().await?); // the outer connection stays
        let runtime =
            Runtime { transport: Arc::new(transport), clock: self.clock.clone(), random: Arc::new(OsRandom) };
        Ok(Account(Client::new(self.fleet.clone(), runtime, token(VAULT_AUDIENCE))))
    }
}

/// One account's client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Account(Client);

impl Account {
    pub(crate) async fn register(&self) -> Result<Registered, bkv_client::Error> {
        let options = RegisterOptions { ksf: Some(NO_KSF), ..RegisterOptions::default() };
        self.0.register(PASSWORD, options).await
    }

    /// Recovers with the default options.
    pub(crate) async fn recover(&self) -> Result<Recovered, bkv_client::Error> {
        self.0.recover(PASSWORD, RecoverOptions::default()).await
    }
}
