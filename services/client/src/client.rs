//! The client of one account: opens sessions and repeats until the deadline.

use std::sync::Arc;
use std::time::Duration;

use bkv_core::document::Admission;
use bkv_core::id::{AccountId, Hash, Slot, Time};
use bkv_core::statement::Attested;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use zeroize::Zeroizing;

use crate::attested::{Regions, Status, Survey, whole};
use crate::error::{Distrust, Error, Whose};
use crate::fault::{Cause, Fault, unexpected};
use crate::fleet::Fleet;
use crate::retry::Retry;
use crate::runtime::Runtime;
use crate::session::Session;
use crate::timing::Timing;
use crate::token::{Claims, HeldToken, OneToken, Tokens};
use crate::token_key::{Prover, TokenKey};
use crate::trusted::{Trusted, VaultClock};

/// One account at one fleet. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) runtime: Runtime,
    pub(crate) timing: Timing,
    token: Arc<HeldToken>,
    token_key: Option<Arc<dyn TokenKey>>,
}

/// A request sent in the same flight as `Open`, so before the vault's answer is known.
pub(crate) struct Pipelined<'a> {
    pub(crate) operation: Operation,
    /// Set to true if it may have reached the vault, whether or not the call succeeds.
    pub(crate) may_have_been_sent: &'a mut bool,
}

/// The answer to `Open`.
pub(crate) struct Entered {
    pub(crate) trusted: Arc<Trusted>,
    pub(crate) account: AccountId,
    claims: Claims,
    /// The tag of this person that regions sign in this session.
    pub(crate) subject: Hash,
    pub(crate) clock: VaultClock,
    pub(crate) survey: Survey,
    /// Id of the request that was sent in the same flight.
    pub(crate) pipelined: Option<u64>,
}

impl Client {
    /// `token`: the JWT with the vault's audience. It leaves this device only inside the encrypted channel.
    pub fn new(fleet: Arc<Fleet>, runtime: Runtime, token: Zeroizing<String>) -> Self {
        Self::with_tokens(fleet, runtime, Arc::new(OneToken(token)))
    }

    /// A client that gets a fresh token when the vaults ask for one. It then repeats the same attempt or operation, which is free.
    pub fn with_tokens(fleet: Arc<Fleet>, runtime: Runtime, tokens: Arc<dyn Tokens>) -> Self {
        Self {
            fleet,
            runtime,
            timing: Timing::default(),
            token: Arc::new(HeldToken::new(tokens)),
            token_key: None,
        }
    }

    /// With the key to which the tokens are bound (`cnf.jkt`).
    #[must_use]
    pub fn with_token_key(mut self, key: Arc<dyn TokenKey>) -> Self {
        self.token_key = Some(key);
        self
    }

    /// With other deadlines.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// The same client with this deadline for its next operation. It sends the operation at least once, even if the limit is zero.
    pub(crate) fn limited(&self, limit: Duration) -> Self {
        let least = Duration::from_secs(1);
        let timing = Timing {
            deadline: limit,
            reply: self.timing.reply.min(limit.max(least)),
            followers: self.timing.followers.min(limit),
            ..self.timing.clone()
        };
        self.clone().with_timing(timing)
    }

    /// Closes the connection to ChatD and awaits the tasks of the transport, for all clones of this client. Dropping the last clone ends the same
    /// tasks without waiting for them.
    pub async fn close(&self) {
        self.runtime.transport.close().await;
    }

    /// The fleet.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The fleet's documents, fetched and checked if need be.
    pub async fn trusted(&self) -> Result<Arc<Trusted>, Error> {
        self.retry().run(|| self.fleet.trusted(&self.runtime)).await
    }

    /// What at least t regions sign of the account, over a fresh nonce. Waits a second for regions that do not answer, and names them.
    pub async fn status(&self) -> Result<Status, Error> {
        self.retry().run(|| self.status_once(Regions::All)).await
    }

    /// The same from the first t regions that agree. Names no other region.
    pub async fn quick_status(&self) -> Result<Status, Error> {
        let mut status = self.retry().run(|| self.status_once(Regions::Threshold)).await?;
        status.silent.clear();
        Ok(status)
    }

    /// Repetitions of one operation, from now on.
    pub(crate) fn retry(&self) -> Retry<'_> {
        Retry::new(&self.runtime, &self.timing, &self.token)
    }

    async fn status_once(&self, regions: Regions) -> Result<Status, Fault> {
        let (_, entered) = self.enter(regions, None).await?;
        let agreed = entered.agreed(whole)?.clone();
        let offset = entered.clock.offset_ms();
        let mut status = Status::new(&entered.trusted, entered.survey, &agreed, offset);
        status.wrong.extend(self.fleet.wrong());
        Ok(status)
    }

    /// A fresh channel with `Open` answered.
    pub(crate) async fn enter(
        &self,
        regions: Regions,
        first: Option<Pipelined<'_>>,
    ) -> Result<(Session, Entered), Fault> {
        let trusted = self.fleet.trusted(&self.runtime).await?;
        let limit = self.timing.reply;
        let mut session =
            Session::connect(&self.runtime, &trusted, self.fleet.avoided(&self.runtime), limit).await?;
        let nonce: [u8; 32] = self.runtime.bytes();
        let token = self.token.get().await?;
        let claims = Claims::of(&token, trusted.policy().enrolment_claim.as_deref())
            .ok_or(Error::TokenRefused(Whose::Vault))?;
        let subject = claims.tag(&nonce);
        let prover = Prover::new(self.token_key.as_ref(), &claims, trusted.policy(), subject, &token)
            .map_err(|e| Fault::Repeat(Cause::TokenKey(e)))?;
        if let Some(prover) = prover
            && let Err(fault) = Box::pin(session.prove_with(&self.runtime, prover, limit)).await
        {
            return Err(self.of_handshake(fault, &trusted, session.region()).await);
        }
        let token = token.as_str().to_owned();
        let open = p::Open {
            token,
            nonce: nonce.to_vec().into(),
            attest: regions != Regions::None,
            all: regions == Regions::All,
            proof: None,
        };
        let open = session.ask(Operation::Open(open)).await?;
        let (first, may_have_been_sent) = first.map(|p| (p.operation, p.may_have_been_sent)).unzip();
        let pipelined = match first {
            Some(operation) => Some(session.ask(operation).await?),
            None => None,
        };
        let answer = session.reply(&self.runtime, open, limit).await;
        if let Some(sent) = may_have_been_sent {
            // A vault that refuses `Open` ignores the request behind it.
            *sent |= session.may_have_asked() && !matches!(answer, Err(Fault::Refused(_)));
        }
        let answer = match answer {
            Ok((answer, _)) => answer,
            Err(fault) => {
                let fault = fault.without_claims();
                return Err(self.of_handshake(fault, &trusted, session.region()).await);
            }
        };
        let Answer::Opened(opened) = answer else { return Err(unexpected()) };
        let clock = VaultClock { now: self.runtime.clock.now(), vault: Time(opened.time_ms) };
        // The vault claims that newer documents than ours are in force. Fetching them checks their signatures.
        let known = (trusted.admission().number, trusted.policy().number);
        if opened.admission > known.0 || opened.policy > known.1 {
            let newer = self.fleet.fetch(&self.runtime).await?;
            if (newer.admission().number, newer.policy().number) != known {
                return Err(Fault::Repeat(Cause::NewerBundle));
            }
        }
        let account = AccountId::try_from(&opened.account[..]).map_err(|_| unexpected())?;
        let attestations = opened.attestations.unwrap_or_default();
        let survey = Survey::of(&trusted, clock, &account, &nonce, &subject, &attestations)?;
        let mut entered = Entered { trusted, account, claims, subject, clock, survey, pipelined };
        if regions == Regions::Threshold && !entered.survey.suffices(&entered.trusted) {
            entered.survey = self.attest(&mut session, &entered, Regions::All).await?;
        }
        Ok((session, entered))
    }

    /// A fault of the handshake, or of the first reply.
    async fn of_handshake(&self, fault: Fault, known: &Trusted, region: Option<&str>) -> Fault {
        match fault {
            Fault::Final(Error::FleetNotTrusted(Distrust::NotAdmitted)) => {
                self.maybe_newer(known, region).await
            }
            other => other,
        }
    }

    /// A vault's key is not on the list, perhaps because the list is old. If there is no newer one, the vault is not
    /// trusted (S06).
    async fn maybe_newer(&self, known: &Trusted, region: Option<&str>) -> Fault {
        match self.fleet.fetch(&self.runtime).await {
            Ok(newer) if newer.admission().number > known.admission().number => {
                Fault::Repeat(Cause::NewerBundle)
            }
            // One vault that lies must not end the operation (S49): the next stream goes to another region. Without a region's name only chance leads there.
            Ok(_) => Fault::Repeat(match region {
                Some(region) if self.fleet.avoid(region, known.admission().members.len(), &self.runtime) => {
                    Cause::Elsewhere(region.to_owned())
                }
                _ => Cause::NotAdmitted,
            }),
            Err(fault) => fault,
        }
    }

    /// Asks the vault at the other end again what the account is now.
    ///
    /// The answer of the first t regions may contain that of a liar, whose signature does not hold. Then all regions are asked.
    pub(crate) async fn attest(
        &self,
        session: &mut Session,
        entered: &Entered,
        regions: Regions,
    ) -> Result<Survey, Fault> {
        let mut all = regions == Regions::All;
        loop {
            let nonce: [u8; 32] = self.runtime.bytes();
            let id = session.ask(Operation::Attest(p::Attest { nonce: nonce.to_vec().into(), all })).await?;
            let answer = session.reply(&self.runtime, id, self.timing.reply).await;
            let (answer, _) = answer.map_err(Fault::without_claims)?;
            let Answer::Attestations(answers) = answer else { return Err(unexpected()) };
            let subject = entered.claims.tag(&nonce);
            let (trusted, account) = (&entered.trusted, &entered.account);
            let survey = Survey::of(trusted, entered.clock, account, &nonce, &subject, &answers)?;
            if all || survey.suffices(trusted) {
                return Ok(survey);
            }
            all = true;
        }
    }
}

impl Entered {
    /// What at least t regions sign alike. If too few remain because regions answered wrongly, the error names them. Otherwise the fault is worth
    /// repeating.
    pub(crate) fn agreed<K: PartialEq>(&self, same: impl Fn(&Attested) -> K) -> Result<&Attested, Fault> {
        self.agreed_in(&self.survey, same)
    }

    /// The same for the answers to a later question.
    pub(crate) fn agreed_in<'s, K: PartialEq>(
        &self,
        survey: &'s Survey,
        same: impl Fn(&Attested) -> K,
    ) -> Result<&'s Attested, Fault> {
        let t = self.trusted.threshold();
        survey.agreed(t, same).ok_or_else(|| match survey.wrong.first() {
            Some(wrong) => wrong.clone().into(),
            None if survey.good.len() + survey.refuse_token() >= t => Fault::Repeat(Cause::FreshToken),
            None if survey.good.len() < t => {
                let answers = survey.describe(&self.trusted, |_| true);
                Fault::Repeat(Cause::Vault(format!("too few regions answer: {answers}")))
            }
            None => {
                let answers = survey.describe(&self.trusted, |_| true);
                Fault::Repeat(Cause::Disagree(format!(
                    "too few regions agree on the account's state: {answers}"
                )))
            }
        })
    }

    /// The slot of the vault at the other end of this session.
    pub(crate) fn leader(&self, session: &Session) -> Slot {
        slot_of(self.trusted.admission(), session.peer())
    }
}

fn slot_of(list: &Admission, identity: Option<&[u8]>) -> Slot {
    list.members.iter().find(|m| identity == Some(m.identity.as_slice())).map_or(Slot(0), |m| m.slot)
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}
