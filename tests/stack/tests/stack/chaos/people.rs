//! People who register, recover and guess, each with accounts of their own, and write down every answer that can't be right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bkv_client::{
    BackupKey, Client, Error, Fleet, KsfParams, OsRandom, RecoverOptions, RegisterOptions, Root, Runtime,
    TokioClock, Trust, VolatileMemory, WebSocketTransport, Zeroizing,
};
use bkv_stack_tests::RIGHT;
use bkv_stack_tests::issuer::{CHATD, Issuer, VAULT};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::belief::Belief;

const WRONG: &str = "a wrong password of some length";
/// The tries of the policy of `bkv dev`.
const TRIES: u32 = 10;
/// Nobody guesses beyond this many failures, so that no account comes to its last try.
const ENOUGH: u32 = 6;
/// As little stretching as Argon2 can do. The vaults' work is the same.
const KSF: KsfParams = KsfParams { memory_kib: 8, passes: 1, lanes: 1 };

/// What everybody needs to reach the fleet.
pub(super) struct Access {
    pub(super) chatd: String,
    pub(super) chatd_ca: Vec<u8>,
    pub(super) root: Root,
    pub(super) issuer: Issuer,
    pub(super) seed: u64,
}

/// How often something happened, and what must not have.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) faults: Vec<String>,
}

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// A failure that the vaults' faults explain.
    fn excused(&mut self, operation: &str, e: &Error) {
        let kind = match e.cause() {
            Error::VaultUnreachable(_) => "vault unreachable",
            Error::RegionsDisagree(_) => "regions disagree",
            Error::ChatdUnreachable(_) => "ChatD unreachable",
            Error::Superseded => "superseded",
            Error::Refused { .. } => "refused",
            other => {
                self.faults.push(format!("{operation}: {other}"));
                "fault"
            }
        };
        self.count(format!("{operation}: {kind}"));
    }

    pub(super) fn add(&mut self, other: Self) {
        for (what, n) in other.counts {
            *self.counts.entry(what).or_default() += n;
        }
        self.faults.extend(other.faults);
    }
}

/// An account whose registration the vaults acknowledged.
struct Account {
    subject: String,
    client: Client,
    key: BackupKey,
    belief: Belief,
}

/// One person. A person does one thing at a time.
pub(super) struct Person {
    access: Arc<Access>,
    fleet: Arc<Fleet>,
    name: String,
    rng: StdRng,
    accounts: Vec<Account>,
    registrations: u64,
    tally: Tally,
}

impl Person {
    pub(super) fn new(access: Arc<Access>, number: u64) -> Self {
        Self {
            fleet: Arc::new(Fleet::new(access.root.clone(), VolatileMemory::default())),
            name: format!("person-{number}"),
            rng: StdRng::seed_from_u64(access.seed ^ (number + 1)),
            access,
            accounts: Vec::new(),
            registrations: 0,
            tally: Tally::default(),
        }
    }

    /// Registers, recovers and guesses until `stop`.
    pub(super) async fn live(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let what = self.rng.gen_range(0..10);
            if what == 0 || self.accounts.is_empty() {
                self.register().await;
            } else {
                let i = self.rng.gen_range(0..self.accounts.len());
                let mut account = self.accounts.swap_remove(i);
                if what <= 3 && account.belief.most() < ENOUGH {
                    guess(&mut account, &mut self.tally).await;
                } else {
                    recover(&mut account, &mut self.tally).await;
                }
                self.accounts.push(account);
            }
            let pause = self.rng.gen_range(0..100);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self
    }

    async fn register(&mut self) {
        self.registrations += 1;
        let subject = format!("{}-{}", self.name, self.registrations);
        let client = self.client(&subject);
        let options = RegisterOptions { ksf: Some(KSF), ..RegisterOptions::default() };
        match client.register(RIGHT, options).await {
            Ok(registered) => {
                self.tally.count("registered");
                let (key, belief) = (registered.key, Belief::default());
                self.accounts.push(Account { subject, client, key, belief });
            }
            // Nobody was told that this account has a key.
            Err(e) => self.tally.excused("register", &e),
        }
    }

    fn client(&self, subject: &str) -> Client {
        let token = |audience| Zeroizing::new(self.access.issuer.good(subject, audience));
        let trust = Trust::Pem(self.access.chatd_ca.clone());
        let transport =
            WebSocketTransport::new(&self.access.chatd, &trust, &token(CHATD)).expect("a transport");
        let runtime = Runtime {
            transport: Arc::new(transport),
            clock: Arc::new(TokioClock::default()),
            random: Arc::new(OsRandom),
        };
        Client::new(self.fleet.clone(), runtime, token(VAULT))
    }

    /// On the healed fleet: the tries of each account are what its person knows, and its key is there.
    pub(super) async fn audit(mut self) -> Tally {
        for mut account in std::mem::take(&mut self.accounts) {
            let status = account.client.status().await;
            match status.map(|status| account.belief.observed(TRIES - status.tries_left)) {
                Ok(Ok(())) => self.tally.count("audited"),
                Ok(Err(e)) => self.tally.faults.push(format!("{}: {e}", account.subject)),
                Err(e) => self.tally.faults.push(format!("{}: no status: {e}", account.subject)),
            }
            let before = self.tally.counts.get(RECOVERED).copied();
            recover(&mut account, &mut self.tally).await;
            if self.tally.counts.get(RECOVERED).copied() == before {
                self.tally.faults.push(format!("{}: its key can't be recovered", account.subject));
            }
        }
        self.tally
    }
}

const RECOVERED: &str = "recovered";

async fn recover(account: &mut Account, tally: &mut Tally) {
    match account.client.recover(RIGHT, RecoverOptions::default()).await {
        Ok(recovered) if recovered.key == account.key => {
            account.belief.succeeded();
            tally.count(RECOVERED);
        }
        Ok(_) => tally.faults.push(format!("{}: another key", account.subject)),
        Err(e) => {
            if matches!(e, Error::Unfinished { .. }) {
                account.belief.unfinished_success();
            }
            tally.excused("recover", &e);
        }
    }
}

async fn guess(account: &mut Account, tally: &mut Tally) {
    match account.client.recover(WRONG, RecoverOptions::default()).await {
        Err(Error::WrongPassword { tries_left, .. }) => {
            tally.count("guessed wrongly");
            if let Err(e) = account.belief.failed(TRIES - tries_left) {
                tally.faults.push(format!("{}: {e}", account.subject));
            }
        }
        Ok(_) => tally.faults.push(format!("{}: a wrong password was accepted", account.subject)),
        Err(e) => {
            if matches!(e, Error::Unfinished { .. }) {
                account.belief.unfinished_failure();
            }
            tally.excused("guess", &e);
        }
    }
}
