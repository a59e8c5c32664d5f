//! One attempt and its progress. It outlives sessions: after a break the client sends the same messages with the same ids again, which costs no try.

use bkv_core::id::{AttemptId, Slot, Time};
use bkv_core::statement::{self, Attempt as Statement};
use bkv_crypto::opaque::{ClientLogin, LoggedIn, Stretched};
use bkv_crypto::password::Prepared;
use bkv_crypto::toprf::{self, Blinded, Commitments, Verified};
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use zeroize::Zeroizing;

use crate::error::{Counted, Error, WrongAnswer};
use crate::last_try::OpenLastTry;
use crate::runtime::Runtime;

/// Lives in memory only, unless t regions sign before its `Begin` that it is the last try, and its user has agreed to use it: then `kept` says what the device
/// keeps on its disk. With the blinding factor and B, which the vaults know, an attacker who reads the disk could test passwords against B offline. Losing
/// another try in a crash is the smaller loss.
pub(super) struct Attempt {
    pub(super) id: AttemptId,
    cancel: Zeroizing<[u8; 32]>,
    pub(super) password: Prepared,
    pub(super) blinded: Blinded,
    pub(super) stage: Stage,
    /// The last try may be used.
    pub(super) may_use_last_try: bool,
    /// `Begin` may have reached a vault: whether it was charged is not known before an answer.
    pub(super) begin_may_have_been_sent: bool,
    /// The device keeps this of the attempt: a last try, unless the tries came back before its `Begin` arrived.
    pub(super) kept: Option<OpenLastTry>,
    /// The attempt was begun before this process started, and the regions have not said yet whether it is still open.
    pub(super) resumed: bool,
    /// The device keeps another last try, which did not begin before the tries came back. A success of this attempt ends it too.
    pub(super) superseded_kept: bool,
    /// When this last try ends, as a leader claims, by the vault's clock.
    pub(super) until: Option<Time>,
    /// The vault refused the last `Begin`, because it would be the last try.
    pub(super) refused_last: bool,
    /// The vault answered `Begin`: it is charged, repeating is free.
    pub(super) begun: bool,
    /// Answers with valid proofs, all to one statement.
    pub(super) answers: Answers,
    /// Wrong answers so far.
    pub(super) wrong: Vec<WrongAnswer>,
}

#[derive(Default)]
pub(super) struct Answers {
    pub(super) statement: Option<(Statement, Commitments)>,
    pub(super) verified: Vec<(Slot, Verified)>,
    /// How often a leader changed the statement of the attempt.
    pub(super) statements: u8,
}

pub(super) enum Stage {
    /// B has been sent, or is about to be.
    Blind,
    /// The password is right, as t regions sign. The client has sent nothing made from it before this stage.
    Exchange(Box<Exchange>),
    /// KE2 opened: the password is right.
    Proved(Box<Proved>),
    /// The password is wrong, as t regions sign.
    Wrong(Box<Statement>),
}

pub(super) struct Exchange {
    pub(super) statement: Statement,
    pub(super) password: Stretched,
    pub(super) login: Option<(ClientLogin, Vec<u8>)>,
}

pub(super) struct Proved {
    pub(super) statement: Statement,
    pub(super) ke1: Vec<u8>,
    pub(super) ke2: Vec<u8>,
    pub(super) logged_in: LoggedIn,
}

impl Attempt {
    pub(super) fn new(runtime: &Runtime, password: Prepared) -> Result<Self, Error> {
        let blinded = toprf::blind(password.expose(), &mut runtime.rng())
            .map_err(|e| Error::PasswordRefused(e.to_string()))?;
        Ok(Self {
            id: AttemptId(runtime.bytes()),
            cancel: Zeroizing::new(runtime.bytes()),
            password,
            blinded,
            stage: Stage::Blind,
            may_use_last_try: false,
            begin_may_have_been_sent: false,
            kept: None,
            resumed: false,
            superseded_kept: false,
            until: None,
            refused_last: false,
            begun: false,
            answers: Answers::default(),
            wrong: Vec::new(),
        })
    }

    /// Takes the id, cancel and blinding factor of a last try that is kept on the device. Its user has agreed to use it.
    pub(super) fn adopt(&mut self, open: OpenLastTry) -> Result<(), Error> {
        self.blinded = open.blind(&self.password)?;
        self.id = open.attempt;
        self.cancel = Zeroizing::new(open.cancel);
        (self.stage, self.answers) = (Stage::Blind, Answers::default());
        (self.may_use_last_try, self.kept) = (true, Some(open));
        Ok(())
    }

    /// Replaces the kept attempt, which has ended, by a new one.
    pub(super) fn starts_anew(&mut self, runtime: &Runtime) -> Result<(), Error> {
        self.blinded = toprf::blind(self.password.expose(), &mut runtime.rng())
            .map_err(|e| Error::PasswordRefused(e.to_string()))?;
        self.id = AttemptId(runtime.bytes());
        self.cancel = Zeroizing::new(runtime.bytes());
        (self.may_use_last_try, self.resumed, self.kept) = (false, false, None);
        Ok(())
    }

    fn id_bytes(&self) -> bytes::Bytes {
        self.id.0.to_vec().into()
    }

    /// What to send at this stage. The same at every repetition.
    pub(super) fn request(&mut self, runtime: &Runtime) -> Result<Option<Operation>, Error> {
        let attempt = self.id_bytes();
        Ok(Some(match &mut self.stage {
            Stage::Blind => Operation::Begin(p::Begin {
                attempt,
                blinded: self.blinded.element().0.to_vec().into(),
                cancel: statement::cancel_hash(&self.cancel).0.to_vec().into(),
                may_be_last: self.may_use_last_try,
                proof: None,
            }),
            Stage::Exchange(exchange) => Operation::KeyExchange(p::KeyExchange {
                attempt,
                ke1: exchange.ke1(runtime)?.to_vec().into(),
            }),
            Stage::Proved(proved) => Operation::Finish(proved.finish()),
            Stage::Wrong(_) => Operation::GiveUp(p::GiveUp { attempt, cancel: self.cancel.to_vec().into() }),
        }))
    }

    /// Whether the try of this attempt is counted, for an error.
    ///
    /// The client does not close the attempt (`GiveUp`) when time is up. That would give no try back, and would destroy the key at once if this is
    /// the last try, which a device with the key can still rescue until the deadline.
    pub(super) fn counted(&self) -> Option<Counted> {
        match (self.begun, self.begin_may_have_been_sent) {
            (true, _) => Some(Counted::Yes),
            (false, true) => Some(Counted::Perhaps),
            (false, false) => None,
        }
    }

    /// The error if the password is wrong, with the tries left that t regions signed.
    pub(super) fn wrong_password(&self) -> Option<Error> {
        let Stage::Wrong(statement) = &self.stage else { return None };
        Some(Error::WrongPassword { tries_left: tries_left(statement), next_allowed: None })
    }

    /// The error for the person. A password that is known to be wrong is reported as such, whether or not the attempt could be closed.
    pub(super) fn explain(&self, e: Error) -> Error {
        match self.wrong_password() {
            Some(wrong) if !matches!(e, Error::WrongPassword { .. } | Error::Destroyed) => wrong,
            _ => e.of_attempt(self.counted()),
        }
    }

    pub(super) fn wrong_last(&self) -> bool {
        matches!(&self.stage, Stage::Wrong(statement) if tries_left(statement) == 0)
    }
}

impl Proved {
    /// KE1 to KE3.
    pub(super) fn finish(&self) -> p::Finish {
        p::Finish {
            attempt: self.statement.attempt.0.to_vec().into(),
            ke1: self.ke1.clone().into(),
            ke2: self.ke2.clone().into(),
            ke3: self.logged_in.ke3.clone().into(),
        }
    }
}

impl Exchange {
    /// KE1. It is made once and stays the same at every repetition until a KE2 has been tried on it.
    pub(super) fn ke1(&mut self, runtime: &Runtime) -> Result<&[u8], Error> {
        let started = match self.login.take() {
            Some(started) => started,
            None => bkv_crypto::opaque::login_start(&self.password, &mut runtime.rng())
                .map_err(|e| Error::Local(e.to_string()))?,
        };
        Ok(&self.login.insert(started).1)
    }
}

/// max(0, budget − (ordinal − success)): this attempt counts as failed until it succeeds.
pub(super) fn tries_left(s: &Statement) -> u32 {
    let used = s.ordinal.0.saturating_sub(s.success.0);
    u32::try_from(u64::from(s.budget).saturating_sub(used)).unwrap_or(0)
}
