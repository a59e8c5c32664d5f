//! What the rooted vault knows, and the entries that it appends as a leader without votes.

use std::collections::BTreeMap;
use std::rc::Rc;

use bkv_core::batch::Batch;
use bkv_core::command::{Begin, Command, VERSION};
use bkv_core::id::{AttemptId, Ordinal, Slot, Time};
use bkv_core::join::Ballot;
use bkv_core::outcome::Outcome;
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;
use bkv_core::statement;

use super::super::fake::{ERA, LINEAGE, signed_by};
use super::super::machine::account;
use super::LIAR;
use super::append::Append;
use super::honest::liar;
use super::log::{Entry, Place};
use super::person::{Key, attempt_id, element, unique};
use super::replica::Reached;
use super::speak::Shown;
use super::token::Token;
use super::world::World;

/// A checkpoint of an honest vault, with its rows and the signatures on it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) reached: Reached,
    pub(super) signatures: Vec<RegionSignature>,
}

/// The rooted vault sees every command, every session's token, and every checkpoint.
#[derive(Default)]
pub(super) struct Liar {
    pub(super) tokens: Vec<Token>,
    pub(super) commands: Vec<Command>,
    pub(super) seen: Vec<Seen>,
    /// Of registrations that it made up.
    pub(super) keys: Vec<Key>,
    /// Of attempts that it made up.
    pub(super) cancels: BTreeMap<AttemptId, [u8; 32]>,
}

impl Liar {
    pub(super) const SLOT: Slot = Slot(LIAR);

    /// The person's newest token that is still valid.
    pub(super) fn token(&self, person: u8, now: Time) -> Option<Token> {
        self.tokens.iter().rev().find(|t| t.person == person && t.is_valid(now)).copied()
    }

    pub(super) fn saw(&mut self, reached: &Reached, signature: RegionSignature) {
        let same = |s: &&mut Seen| s.reached.checkpoint == reached.checkpoint;
        match self.seen.iter_mut().find(same) {
            Some(seen) => seen.signatures.push(signature),
            None => self.seen.push(Seen { reached: reached.clone(), signatures: vec![signature] }),
        }
    }
}

impl World {
    /// The term in which the liar leads these replicas. It leads without any vote.
    pub(super) fn liar_term(&self, targets: &[usize], shard: u16) -> u64 {
        let votes: Vec<Ballot> = targets.iter().map(|t| self.honest.replica(*t, shard).vote).collect();
        match votes.first() {
            Some(v) if v.node == liar() && votes.iter().all(|w| w == v) => v.term,
            _ => votes.iter().map(|v| v.term).max().unwrap_or(0) + 1,
        }
    }

    /// Appends one entry at each target behind the end of its log, or behind an earlier index, and calls it committed. Returns the outcomes at the first target.
    pub(super) fn liar_appends(
        &mut self,
        targets: &[usize],
        shard: u16,
        behind: Option<u64>,
        time: Time,
        commands: &[Command],
    ) -> Result<Vec<Outcome>, &'static str> {
        let term = self.liar_term(targets, shard);
        let mut first = Err("no target");
        for (i, target) in targets.iter().enumerate() {
            let r = self.honest.replica_mut(*target, shard);
            let previous: Place = behind.and_then(|b| r.log.place(b)).unwrap_or(r.log.last());
            let index = previous.at.index + 1;
            let batch = Batch { version: VERSION, time, commands: commands.to_vec() };
            let entries: Vec<Rc<Entry>> = vec![Entry::new(term, liar(), index, batch)];
            let append = Append { from: liar(), term, previous, entries, committed: index };
            let result = r.append(&append, self.now).map(|()| r.outcomes.clone());
            if i == 0 {
                first = result;
            }
        }
        self.liar.commands.extend(commands.iter().cloned());
        first
    }

    /// A guess: an attempt with an element of the liar's own, charged at the targets, and evaluated there with a token that the liar has seen.
    pub(super) fn liar_guesses(&mut self, who: u8, to: &[usize], shard: u16) -> String {
        let id = account(who);
        let Some(before) = self.honest.replica(to[0], shard).memory.0.get(&id).cloned() else {
            return "no such account there".into();
        };
        let number = self.fresh();
        let cancel = unique("model/cancel", number);
        let mut begin = Begin {
            account: id,
            generation: before.generation,
            ordinal: Ordinal(before.ordinal.0 + 1),
            attempt: attempt_id(number),
            blinded: element(number),
            cancel: statement::cancel_hash(&cancel),
            seed: Secret32::new(unique("model/seed", number)),
            may_be_last: true,
            permits: Vec::new(),
        };
        self.liar.cancels.insert(begin.attempt, cancel);
        if before.tries_left() == 1 {
            begin.permits = self.liars_permits(&begin, who, shard);
        }
        let attempt = begin.attempt;
        let charged = self.liar_appends(to, shard, None, self.now, &[Command::Begin(begin)]);
        let ask = |v: &usize| self.liar_asks_evaluation(who, *v, shard, &attempt);
        let evaluated: Vec<String> = to.iter().map(ask).collect();
        format!("charged: {charged:?}, evaluated: {evaluated:?}")
    }

    /// Its own permit, and those of honest regions to which it shows a token.
    fn liars_permits(&mut self, begin: &Begin, who: u8, shard: u16) -> Vec<RegionSignature> {
        let mut permits = vec![signed_by(Liar::SLOT, &begin.permit(&LINEAGE, ERA, 1))];
        if let Some(token) = self.liar.token(who, self.now) {
            let shown = Shown { token, nonce: [9; 32] };
            permits.extend((0..2).filter_map(|v| self.permit(v, shard, &shown, begin)));
        }
        permits
    }

    pub(super) fn liar_asks_evaluation(
        &mut self,
        who: u8,
        to: usize,
        shard: u16,
        attempt: &AttemptId,
    ) -> String {
        // Without the person's token it shows another one.
        let token = self.liar.token(who, self.now).or_else(|| self.liar.tokens.last().copied());
        let Some(token) = token else { return "no token".into() };
        let shown = Shown { token, nonce: [9; 32] };
        let now = self.now;
        match self.honest.replica_mut(to, shard).evaluate(&shown, attempt, now) {
            Ok(_) => "yes".into(),
            Err(why) => format!("refused: {why}"),
        }
    }
}
