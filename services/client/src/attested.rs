//! The account as regions attest it, each signed over our own nonce (S20) and for the person of our own token (S46). ChatD, a leader or a replayed answer
//! can't forge that.

use bkv_core::account::State;
use bkv_core::id::{AccountId, Generation, Hash, Ordinal, Slot, Time};
use bkv_core::statement::{self, Attested};
use bkv_core::writers::{AttestedRetired, AttestedWriter, LedgerName, MAX_RETIRED, MAX_WRITERS};
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::missing_region::Reason;

use crate::error::{Error, WrongAnswer};
use crate::fault::printable;
use crate::trusted::{CheckError, Trusted, VaultClock};
use crate::writers::newest_file;

/// One region's attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionStatus {
    /// Its name on the admission list.
    pub region: String,
    /// The signed content.
    pub says: Attested,
}

/// The account as at least t regions sign it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Of the account.
    pub account: AccountId,
    /// See [`State`].
    pub state: State,
    /// Which registration.
    pub generation: Generation,
    /// Tries left.
    pub tries_left: u32,
    /// No attempt before this, by the vault's clock.
    pub next_allowed: Time,
    /// The newest ledger of each writer, as the owner named it.
    pub writers: Vec<AttestedWriter>,
    /// Failed attempts since the key was registered; a success gives back only its own.
    pub lifetime_failures: u32,
    /// Regions that signed the same.
    pub agreeing: Vec<RegionStatus>,
    /// Regions that signed another state. They are stale or lie.
    pub differing: Vec<RegionStatus>,
    /// Regions that did not answer.
    pub silent: Vec<String>,
    /// Regions whose signed answers failed a check.
    pub wrong: Vec<WrongAnswer>,
    /// Vault's clock minus this device's, milliseconds.
    pub clock_offset_ms: i64,
    /// True for a development fleet, which protects nothing.
    pub development: bool,
}

/// Whose attestations the leader shall send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Regions {
    /// No region's.
    None,
    /// Those of the first t regions that sign the same. A region that hangs delays nobody.
    Threshold,
    /// Those of every region that answers within a second.
    All,
}

/// Answers that passed every check, and those that failed one.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) good: Vec<Attested>,
    pub(crate) wrong: Vec<WrongAnswer>,
    /// Regions that did not attest, as the leader claims.
    missing: Vec<p::MissingRegion>,
    /// How many regions answered or failed to, as the leader claims.
    heard: usize,
}

impl Survey {
    /// Checks every attestation against our nonce, our person's tag and the account.
    pub(crate) fn of(
        trusted: &Trusted,
        clock: VaultClock,
        account: &AccountId,
        nonce: &[u8; 32],
        subject: &Hash,
        all: &p::Attestations,
    ) -> Result<Self, Error> {
        let missing: Vec<_> = all.missing.iter().take(usize::from(u8::MAX)).cloned().collect();
        let heard = all.regions.len().saturating_add(missing.len());
        let mut survey = Self { missing, heard, ..Self::default() };
        for a in all.regions.iter().take(usize::from(u8::MAX)) {
            match verify(trusted, clock, account, nonce, subject, a) {
                Ok(good) if survey.good.iter().all(|g| g.slot != good.slot) => survey.good.push(good),
                Ok(_) => {} // the same region twice counts once
                Err(CheckError::Wrong(w)) => survey.wrong.push(w),
                Err(CheckError::Final(e)) => return Err(e),
            }
        }
        Ok(survey)
    }

    /// How many regions refuse the token, as the leader claims.
    pub(crate) fn refuse_token(&self) -> usize {
        self.missing.iter().filter(|m| m.reason() == Reason::Token).count()
    }

    /// What each region of the list answered, for people. `include` selects the regions that are listed among those that signed a state.
    pub(crate) fn describe(&self, trusted: &Trusted, include: impl Fn(&Attested) -> bool) -> String {
        let answer = |slot: Slot| {
            if let Some(a) = self.good.iter().find(|a| a.slot == slot) {
                return include(a).then(|| {
                    format!(
                        "signs {}, generation {}, attempt {}",
                        a.state.name(),
                        a.generation.0,
                        a.ordinal.0
                    )
                });
            }
            if let Some(wrong) = self.wrong.iter().find(|w| w.slot == slot) {
                return Some(format!("answered wrongly: {}", wrong.what));
            }
            Some(match self.missing.iter().find(|m| m.slot == u32::from(slot.0)) {
                Some(m) => format!("has not signed: {}", printable(&m.detail)),
                None if self.heard < trusted.admission().members.len() => "was not waited for".into(),
                None => "has not answered".into(),
            })
        };
        let members = trusted.admission().members.iter();
        let lines = members.filter_map(|m| Some(format!("region {} {}", m.region, answer(m.slot)?)));
        lines.collect::<Vec<_>>().join("; ")
    }

    /// True if t regions sign the same, or if no further region can answer.
    pub(crate) fn suffices(&self, trusted: &Trusted) -> bool {
        self.heard >= trusted.admission().members.len() || self.agreed(trusted.threshold(), whole).is_some()
    }

    /// The smallest of the t latest clocks. At least one of t regions is honest, so no liar moves it into the future. The regions behind it are left
    /// out, so fewer than t liars do not move it into the past either.
    pub(crate) fn clock(&self, t: usize) -> Option<Time> {
        let mut times: Vec<Time> = self.good.iter().map(|a| a.time).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(t.checked_sub(1)?).copied()
    }

    /// The map of the key with this owner, as t regions sign it. None if another device has registered another key: that has a map of its own.
    pub(crate) fn map_of(&self, t: usize, owner: &Hash) -> Option<Vec<AttestedWriter>> {
        let says = self.agreed(t, |a| (a.generation, a.owner, a.writers.clone()))?;
        (says.owner == *owner).then(|| says.writers.clone())
    }

    /// The first of the largest group of regions that sign the same by `same`, if they are at least `t`.
    pub(crate) fn agreed<K: PartialEq>(&self, t: usize, same: impl Fn(&Attested) -> K) -> Option<&Attested> {
        self.good
            .iter()
            .map(|a| (a, self.good.iter().filter(|b| same(a) == same(b)).count()))
            .filter(|(_, count)| *count >= t)
            .max_by_key(|(a, count)| (*count, a.ordinal))
            .map(|(a, _)| a)
    }
}

/// What regions must agree on: everything except slot, log index and clock.
pub(crate) fn whole(a: &Attested) -> Attested {
    Attested { slot: Slot(0), index: 0, time: Time(0), ..a.clone() }
}

fn verify(
    trusted: &Trusted,
    clock: VaultClock,
    account: &AccountId,
    nonce: &[u8; 32],
    subject: &Hash,
    a: &p::Attestation,
) -> Result<Attested, CheckError> {
    let slot = Slot(u8::try_from(a.slot).unwrap_or(0));
    let wrong = |what: &str| CheckError::Wrong(trusted.wrong(slot, what));
    if a.nonce[..] != nonce[..] {
        return Err(wrong("its attestation is not over this nonce: it is a replay"));
    }
    let malformed = || wrong("its attestation is malformed");
    if a.writers.len() > MAX_WRITERS || a.retired.len() > MAX_RETIRED {
        return Err(malformed());
    }
    let writers: Result<Vec<_>, _> = a.writers.iter().map(AttestedWriter::try_from).collect();
    let retired: Result<Vec<_>, _> = a.retired.iter().map(AttestedRetired::try_from).collect();
    let list = trusted.admission();
    let says = Attested {
        nonce: *nonce,
        subject: *subject,
        slot,
        lineage: list.lineage,
        era: list.era,
        account: *account,
        state: state(a.state).ok_or_else(|| wrong("its attestation names a state that there is not"))?,
        generation: Generation(a.generation),
        ordinal: Ordinal(a.ordinal),
        success: Ordinal(a.success),
        tries_left: a.tries_left,
        next_allowed: Time(a.next_allowed_ms),
        record: Hash::try_from(&a.record[..]).map_err(|_| malformed())?,
        index: a.index,
        writers: writers.map_err(|_| malformed())?,
        owner: Hash::try_from(&a.owner[..]).map_err(|_| malformed())?,
        retired: retired.map_err(|_| malformed())?,
        lifetime_failures: a.lifetime_failures,
        time: Time(a.time_ms),
    };
    trusted.check(a.slot, &a.certificate, &statement::attestation(&says), &a.signature, clock)?;
    Ok(says)
}

fn state(code: u32) -> Option<State> {
    [State::None, State::Live, State::LastTry, State::Locked, State::Destroyed, State::Deleted]
        .into_iter()
        .find(|s| *s as u32 == code)
}

impl Status {
    /// The newest of the backups that are one file each.
    pub fn newest_file(&self) -> Option<LedgerName> {
        newest_file(&self.writers)
    }

    pub(crate) fn new(trusted: &Trusted, survey: Survey, agreed: &Attested, offset: i64) -> Self {
        let list = trusted.admission();
        let named = |says: &Attested| RegionStatus {
            region: list.member(says.slot).map(|m| m.region.clone()).unwrap_or_default(),
            says: says.clone(),
        };
        let same = whole(agreed);
        let (agreeing, differing): (Vec<_>, Vec<_>) = survey.good.iter().partition(|a| whole(a) == same);
        let spoke = |slot: Slot| {
            survey.good.iter().any(|a| a.slot == slot) || survey.wrong.iter().any(|w| w.slot == slot)
        };
        Self {
            account: agreed.account,
            state: agreed.state,
            generation: agreed.generation,
            tries_left: agreed.tries_left,
            next_allowed: agreed.next_allowed,
            writers: agreed.writers.clone(),
            lifetime_failures: agreed.lifetime_failures,
            agreeing: agreeing.into_iter().map(named).collect(),
            differing: differing.into_iter().map(named).collect(),
            silent: list.members.iter().filter(|m| !spoke(m.slot)).map(|m| m.region.clone()).collect(),
            wrong: survey.wrong,
            clock_offset_ms: offset,
            development: trusted.policy().development,
        }
    }
}
