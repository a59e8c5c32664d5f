//! Three real vaults with SoftHSM tokens, which the attackers of all targets but `peers` talk to. A person at a time is attacked: the attacker has
//! the person's access token and has recorded what the person's own device sent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bkv_client::{BackupKey, RecoverOptions, RegisterOptions};
use bkv_core::account::State;
use bkv_core::id::Hash;
use bkv_core::writers::LedgerName;
use bkv_simulation::audit::audit_budget;
use bkv_simulation::documents::VAULT_AUDIENCE;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::{Options, RIGHT, Simulation, token};
use bkv_tokens::dev::{DevClaims, DevIssuer};
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;

use tokio::time::Instant;

use crate::process::{self, soon};

/// Tries between two successes.
const BUDGET: u64 = 10;
/// How long an honest client repeats an operation.
const PATIENCE: Duration = Duration::from_mins(10);

/// The vaults, and the person who is attacked.
pub struct Vaults {
    pub sim: Simulation,
    pub person: String,
    /// What the person's device sent when it registered, recovered and named a backup, and how the person before deleted a key.
    pub recorded: Vec<Operation>,
    /// The person's key.
    key: Option<BackupKey>,
    number: u32,
    inputs: u32,
    /// Inputs about one person.
    share: u32,
}

impl Vaults {
    pub async fn begin(share: u32) -> Self {
        process::forget();
        let dir = token::made().unwrap();
        let sim = Simulation::up(dir, Options::default()).await;
        sim.settle().await;
        let mut vaults =
            Self { sim, person: String::new(), recorded: Vec::new(), key: None, number: 0, inputs: 0, share };
        vaults.next().await;
        vaults
    }

    /// The next person registers, recovers and names a backup.
    async fn next(&mut self) {
        let before = std::mem::take(&mut self.recorded);
        self.inputs = 0;
        let until = Instant::now() + PATIENCE;
        loop {
            self.number += 1;
            self.person = format!("person-{}", self.number);
            self.sim.witness.take_requests();
            match self.device().await {
                Ok(key) => {
                    self.key = Some(key);
                    break;
                }
                // On a busy machine an operation may be late.
                Err(e) => assert!(Instant::now() < until, "the vaults do not serve: {e}"),
            }
        }
        let deleted = before.into_iter().filter(|o| matches!(o, Operation::Delete(_)));
        self.recorded = self.sim.witness.take_requests().into_iter().chain(deleted).collect();
    }

    async fn device(&self) -> Result<BackupKey, bkv_client::Error> {
        let client = self.sim.client(&self.person);
        let key = client.register(RIGHT, RegisterOptions::default()).await?.key;
        self.recover().await?;
        client.name_file(&key, LedgerName { counter: 1, hash: Hash([1; 32]) }).await?;
        let writers = client.read_ledgers(&key).await?.writers;
        assert_eq!(writers.len(), 1, "the seed is what a device reads");
        Ok(key)
    }

    /// The person's device deletes the key. The attacker records the request, whose signature is about this account alone.
    async fn delete(&mut self) {
        let Some(key) = self.key.take() else { return };
        let until = Instant::now() + PATIENCE;
        while let Err(e) = self.sim.client(&self.person).delete(&key).await {
            assert!(Instant::now() < until, "the owner can't delete the key: {e}");
        }
        self.recorded = self.sim.witness.take_requests();
    }

    async fn recover(&self) -> Result<(), bkv_client::Error> {
        self.sim.client(&self.person).recover(RIGHT, RecoverOptions::default()).await.map(drop)
    }

    /// After each input: the vaults still serve, and no region has evaluated more than the budget allows.
    pub async fn check(&mut self) {
        self.inputs += 1;
        self.sim.witness.take_requests();
        audit_budget(&self.sim.witness.evaluations(), BUDGET);
        let leader = self.sim.leader().await;
        let account = self.sim.account(leader, &self.person);
        let live = account.as_ref().is_some_and(|a| a.state() == State::Live);
        if self.inputs.is_multiple_of(16) || !live {
            self.honest().await;
        }
        if self.inputs < self.share && live {
            return;
        }
        // The attacker has a token, so it can spend tries. But it can't spoil the key.
        if account.is_some_and(|a| live && a.failures() + 2 < BUDGET && a.pending.is_none()) {
            let until = Instant::now() + PATIENCE;
            while let Err(e) = self.recover().await {
                assert!(Instant::now() < until, "the right password does not recover the key: {e}");
            }
        }
        if live {
            self.delete().await;
        }
        self.sim.witness.take_evaluations();
        self.next().await;
    }

    /// An honest client gets an answer.
    async fn honest(&self) {
        let until = soon();
        loop {
            let transport = self.sim.transport("honest");
            let failed = match RawClient::open(&self.sim, "honest", &transport).await {
                Ok(mut client) => {
                    let attest = Operation::Attest(p::Attest { nonce: vec![1; 32].into(), all: false });
                    match client.ask(attest).await {
                        Ok(Answer::Attestations(a)) if !a.regions.is_empty() => return,
                        other => format!("{other:?}"),
                    }
                }
                Err(e) => format!("{e:?}"),
            };
            assert!(Instant::now() < until, "the vaults do not serve: {failed}");
        }
    }

    /// A token of the attacked person.
    pub fn token(&self, kind: Token) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = |audience, now, lifetime| DevClaims {
            subject: &self.person,
            audience,
            now,
            lifetime,
            enrolment: None,
        };
        match kind {
            Token::Valid => self.sim.token(&self.person),
            Token::Another => self.sim.token("mallory"),
            Token::Expired => self.sim.issuer.sign(&claims(VAULT_AUDIENCE, now - 7200, 60)),
            Token::Audience => self.sim.issuer.sign(&claims("chatd", now, 300)),
            Token::Forged => {
                let forger = DevIssuer::generate(self.sim.issuer.issuer()).unwrap();
                forger.sign(&claims(VAULT_AUDIENCE, now, 300))
            }
        }
    }
}

/// An access token that an attacker could have.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Valid,
    Another,
    Expired,
    Audience,
    Forged,
}
