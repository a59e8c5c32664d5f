//! Accounts as apps would have them: each its own tokens and its own WebSocket, all of one fleet.

use std::sync::Arc;
use std::time::SystemTime;

use bkv_client::{
    Client, Fleet, KsfParams, LastTry, OsRandom, RecoverOptions, Recovered, RegisterOptions, Registered,
    Runtime, TokioClock, Transport, VolatileMemory, WebSocketTransport, Zeroizing,
};
use bkv_tokens::dev::{CHATD_AUDIENCE, Claims, DevIssuer, VAULT_AUDIENCE};

use crate::error::BenchError;
use crate::profile::Profile;
use crate::stack::Stack;

/// The password of every account.
const PASSWORD: &str = "quiet otter paints the north window";
/// Of tokens, seconds: longer than any run.
const TOKEN_LIFETIME: u64 = 24 * 3600;
/// Stretching left out.
const NO_KSF: KsfParams = KsfParams { memory_kib: 0, passes: 0, lanes: 0 };

/// The fleet, known once.
pub(crate) struct World {
    pub stack: Stack,
    profile: Profile,
    issuer: DevIssuer,
    fleet: Arc<Fleet>,
    clock: Arc<TokioClock>,
}

impl World {
    pub(crate) fn new(stack: Stack) -> Result<Self, BenchError> {
        let profile = Profile::read(&stack.dir().join("fleet.toml"))?;
        let fleet = Arc::new(Fleet::new(profile.root.clone(), VolatileMemory::default()));
        let issuer = stack.issuer()?;
        Ok(Self { stack, profile, issuer, fleet, clock: Arc::default() })
    }

    /// Somebody with tokens and an open outer connection, not registered yet.
    pub(crate) async fn account(&self, subject: &str) -> Result<Account, BenchError> {
        // Signed here: `bkv dev token` would be a process for each of a hundred thousand.
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs());
        let token = |audience| {
            let claims = Claims { subject, audience, now, lifetime: TOKEN_LIFETIME, enrolment: None };
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

/// One person's client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Account(Client);

impl Account {
    pub(crate) async fn register(&self) -> Result<Registered, bkv_client::Error> {
        let options = RegisterOptions { ksf: Some(NO_KSF), ..RegisterOptions::default() };
        self.0.register(PASSWORD, options).await
    }

    /// As an app would: not before it knows that a try is left to spare.
    pub(crate) async fn recover(&self) -> Result<Recovered, bkv_client::Error> {
        self.0.recover(PASSWORD, RecoverOptions::default()).await
    }

    /// One round trip less: `Begin` goes out unseen.
    pub(crate) async fn recover_at_once(&self) -> Result<Recovered, bkv_client::Error> {
        self.0.recover(PASSWORD, RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() }).await
    }
}
