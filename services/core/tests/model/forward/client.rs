//! What a person's client does and checks. Restates the client's decisions: t regions must sign the same, for this person and about this record.

use std::collections::BTreeSet;

use bkv_core::account::{Account, State};
use bkv_core::command::{Begin, Command, Delete, Finish, GiveUp, SetLedger};
use bkv_core::id::{AttemptId, Generation, Hash, Ordinal, Slot, WriterId};
use bkv_core::outcome::Outcome;
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;
use bkv_core::statement::{self, Attempt, Attested, Operation};
use bkv_core::verify::Verifier as _;
use bkv_core::view;
use bkv_core::writers::{LedgerName, Naming};

use super::super::fake::{ERA, Fake, LINEAGE, ke3, signed_by};
use super::forge::confirm;
use super::liar::Liar;
use super::person::{Draft, Stage, Try, registration, unique};
use super::speak::{Evaluation, Shown, beta, evaluation};
use super::step::{Act, Twist, Via};
use super::world::{World, home};

/// t of three regions.
const THRESHOLD: usize = 2;

/// What t regions must sign before a change is done.
#[derive(Clone, Copy)]
enum Goal {
    Registered(Generation, Hash),
    Deleted(Generation),
    Named(Generation, LedgerName),
    Recovered(Generation, Ordinal),
}

impl Goal {
    /// As in bkv-client's `settled.rs`.
    fn is_reached(&self, a: &Attested) -> bool {
        let ended = matches!(a.state, State::Destroyed | State::Deleted);
        let (generation, reached) = match self {
            Self::Registered(generation, record) => (*generation, a.record == *record || ended),
            Self::Deleted(generation) => (*generation, ended),
            Self::Named(generation, m) => {
                let named = a.writers.iter().any(|w| w.ledger == *m || w.ledger.counter > m.counter);
                (*generation, named || ended)
            }
            Self::Recovered(generation, ordinal) => (*generation, a.success >= *ordinal || ended),
        };
        a.generation > generation || (a.generation == generation && reached)
    }
}

type Ended = Result<String, &'static str>;

impl World {
    /// One exchange of a person's client with a leader.
    pub(super) fn acts(&mut self, who: u8, act: Act, via: Via) -> String {
        let shard = home(who);
        let token = self.issue(who);
        let shown = Shown { token, nonce: unique("model/nonce", self.fresh()) };
        // Whoever leads shows the token to every region that it asks.
        self.liar.tokens.push(token);
        if let Via::Honest { vault, .. } = via
            && !self.honest.replica(usize::from(vault), shard).is_verified()
        {
            return "this vault is not verified".into();
        }
        let result = match act {
            Act::Store => self.stores(who, shard, &shown, via),
            Act::Confirm => self.confirms(who, shard, &shown, via),
            Act::Begin { right, agreed } => self.begins(who, shard, &shown, via, right, agreed),
            Act::Exchange => self.exchanges(who, shard, &shown, via),
            Act::GiveUp => self.gives_up(who, shard, via),
            Act::Ledger => self.names(who, shard, &shown, via),
            Act::Delete => self.deletes(who, shard, &shown, via),
        };
        result.unwrap_or_else(|why| format!("not done: {why}"))
    }

    /// The replica from whose state the leader answers.
    fn seen(&self, via: Via, shard: u16, who: u8) -> Option<Account> {
        let vault = match via {
            Via::Honest { vault, .. } => usize::from(vault),
            Via::Liar { to, .. } => to.targets()[0],
        };
        self.honest.replica(vault, shard).memory.0.get(&self.people[usize::from(who)].account()).cloned()
    }

    fn commits(&mut self, via: Via, shard: u16, command: Command) -> Result<Outcome, &'static str> {
        let outcomes = match via {
            Via::Honest { vault, liar } => {
                self.liar.commands.push(command.clone());
                self.honest.propose(usize::from(vault), shard, vec![command], self.now, liar)
            }
            Via::Liar { to, .. } => self.liar_appends(&to.targets(), shard, None, self.now, &[command]),
        };
        outcomes?.first().cloned().ok_or("nothing was applied")
    }

    /// The honest regions that the leader asks, and whether the liar answers.
    fn asked(&self, via: Via) -> (Vec<usize>, bool) {
        match via {
            Via::Honest { vault, liar } => {
                let vault = usize::from(vault);
                (if self.honest.linked { vec![vault, 1 - vault] } else { vec![vault] }, liar)
            }
            Via::Liar { to, .. } => (to.targets(), true),
        }
    }

    fn stores(&mut self, who: u8, shard: u16, shown: &Shown, via: Via) -> Ended {
        let account = self.seen(via, shard, who);
        let base = account.as_ref().map_or(Generation(0), |a| a.generation);
        let number = self.fresh();
        let (key, mut store) = registration(number, who, base, &self.policy);
        let person = &mut self.people[usize::from(who)];
        if let Some(old) = account.as_ref().and_then(|a| person.live(a)) {
            store.owner = Some(old.owner(&Operation::Register(key.hash), number, self.now));
            self.audit.may_end.insert(old.hash);
        }
        let subject = shown.token.tag(&shown.nonce);
        person.keys.push(key.clone());
        person.draft = Some(Draft { key, store: store.clone(), subject, acknowledgements: Vec::new() });
        let outcome = self.commits(via, shard, Command::Store(Box::new(store)))?;
        let draft = self.people[usize::from(who)].draft.clone().ok_or("no draft")?;
        let reg_id = draft.key.record.reg_id;
        let (honest, liar) = self.asked(via);
        let mut given: Vec<RegionSignature> = Vec::new();
        given.extend(liar.then(|| signed_by(Liar::SLOT, &draft.acknowledgement(Liar::SLOT))));
        for v in honest {
            given.extend(self.honest.replica(v, shard).acknowledge(shown, &reg_id, self.now));
        }
        let held = |s: &RegionSignature| {
            let list = &self.list();
            Fake.region_signature(list, s, &draft.acknowledgement(s.slot), self.now)
        };
        given.retain(held);
        let count = given.len();
        if let Some(d) = &mut self.people[usize::from(who)].draft {
            d.acknowledgements = given;
        }
        Ok(format!("{outcome:?}, {count} acknowledgements"))
    }

    fn confirms(&mut self, who: u8, shard: u16, shown: &Shown, via: Via) -> Ended {
        let draft = self.people[usize::from(who)].draft.clone().ok_or("no draft")?;
        if draft.acknowledgements.len() < THRESHOLD {
            return Err("too few acknowledgements");
        }
        let command = confirm(&draft, draft.acknowledgements.clone());
        let outcome = self.commits(via, shard, Command::Confirm(command))?;
        let (generation, hash) = (draft.key.record.generation, draft.key.hash);
        let signers = self.settles(shard, shown, via, Goal::Registered(generation, hash))?;
        // A state past it is an answer too.
        for slot in signers {
            let a = self.honest.replica(usize::from(slot.0) - 1, shard).memory.0.get(&draft.store.account);
            if a.is_some_and(|a| a.record_hash() == hash) {
                self.audit.acknowledged.insert((slot, who, hash));
            }
        }
        self.people[usize::from(who)].draft = None;
        Ok(format!("{outcome:?}, acknowledged"))
    }

    /// Waits for t regions to sign. Returns the honest ones. The liar signs everything.
    fn settles(
        &self,
        shard: u16,
        shown: &Shown,
        via: Via,
        goal: Goal,
    ) -> Result<BTreeSet<Slot>, &'static str> {
        let (honest, liar) = self.asked(via);
        let mut slots = BTreeSet::new();
        for v in honest {
            if let Ok((a, _)) = self.honest.replica(v, shard).attest(shown, self.now)
                && goal.is_reached(&a)
            {
                slots.insert(a.slot);
            }
        }
        if slots.len() + usize::from(liar) < THRESHOLD {
            return Err("fewer than t regions sign that it is done");
        }
        Ok(slots)
    }

    fn begins(&mut self, who: u8, shard: u16, shown: &Shown, via: Via, right: bool, agreed: bool) -> Ended {
        let number = self.fresh();
        let person = &mut self.people[usize::from(who)];
        let attempt = person.attempt.get_or_insert_with(|| Try::new(number, right, agreed)).clone();
        if !matches!(attempt.stage, Stage::Blind) {
            return Err("begun already");
        }
        let Some(account) = self.seen(via, shard, who) else { return Err("no account") };
        let mut begin = Begin {
            account: self.people[usize::from(who)].account(),
            generation: account.generation,
            ordinal: Ordinal(account.ordinal.0 + 1),
            attempt: attempt.id,
            blinded: attempt.blinded,
            cancel: statement::cancel_hash(&attempt.cancel),
            seed: Secret32::new(unique("model/seed", number)),
            may_be_last: attempt.agreed,
            permits: Vec::new(),
        };
        if account.tries_left() == 1 && attempt.agreed {
            let (honest, liar) = self.asked(via);
            for v in honest {
                begin.permits.extend(self.permit(v, shard, shown, &begin));
            }
            begin.permits.extend(liar.then(|| signed_by(Liar::SLOT, &begin.permit(&LINEAGE, ERA, 1))));
        }
        let outcome = self.commits(via, shard, Command::Begin(begin));
        if let Ok(Outcome::Refused(why)) = outcome {
            self.people[usize::from(who)].attempt = None;
            return Ok(format!("refused: {why}"));
        }
        let (claimed, evaluations) = self.gather(who, shard, shown, via, &attempt.id)?;
        self.combines(who, shown, &attempt, claimed, &evaluations)
    }

    /// The leader's claim about the attempt, and the evaluations that it passes on.
    fn gather(
        &mut self,
        who: u8,
        shard: u16,
        shown: &Shown,
        via: Via,
        id: &AttemptId,
    ) -> Result<(Attempt, Vec<Evaluation>), &'static str> {
        let subject = shown.token.tag(&shown.nonce);
        let (honest, liar) = self.asked(via);
        let account = self.people[usize::from(who)].account();
        let first = self.honest.replica(honest[0], shard);
        let a = first.memory.0.get(&account).ok_or("no account")?;
        let mut claimed = view::attempt(first.fleet(), &account, a).ok_or("nothing is open")?;
        let now = self.now;
        let mut evaluations = Vec::new();
        for v in honest {
            evaluations.extend(self.honest.replica_mut(v, shard).evaluate(shown, id, now));
        }
        if let Via::Liar { to, twist } = via {
            match twist {
                Twist::None => {}
                Twist::Tries => (claimed.success, claimed.budget) = (claimed.ordinal, 99),
                Twist::Right => claimed.right.0[1] ^= 1,
                Twist::Record => claimed.record.0[1] ^= 1,
                Twist::Alone => evaluations.clear(),
                Twist::OtherPerson(other) => {
                    if let Some(theirs) = self.in_the_place_of(other, to.targets()[0], shown, &claimed) {
                        (claimed, evaluations) = (theirs.attempt.clone(), vec![theirs]);
                    }
                }
            }
        }
        if liar {
            evaluations.push(evaluation(claimed.clone(), Liar::SLOT, &subject));
        }
        Ok((claimed, evaluations))
    }

    /// The client's own attempt, begun under another account whose token the liar has.
    fn in_the_place_of(
        &mut self,
        other: u8,
        to: usize,
        shown: &Shown,
        claimed: &Attempt,
    ) -> Option<Evaluation> {
        let token = self.liar.token(other, self.now)?;
        let shard = home(other);
        let account = self.people[usize::from(other)].account();
        let a = self.honest.replica(to, shard).memory.0.get(&account)?;
        let begin = Begin {
            account,
            generation: a.generation,
            ordinal: Ordinal(a.ordinal.0 + 1),
            attempt: claimed.attempt,
            blinded: claimed.blinded,
            cancel: Hash([9; 32]),
            seed: Secret32::new([9; 32]),
            may_be_last: false,
            permits: Vec::new(),
        };
        let _ = self.liar_appends(&[to], shard, None, self.now, &[Command::Begin(begin)]);
        let (now, shown) = (self.now, Shown { token, nonce: shown.nonce });
        self.honest.replica_mut(to, shard).evaluate(&shown, &claimed.attempt, now).ok()
    }

    /// t regions must have signed the claim, for this person.
    fn combines(
        &mut self,
        who: u8,
        shown: &Shown,
        attempt: &Try,
        claimed: Attempt,
        evaluations: &[Evaluation],
    ) -> Ended {
        let subject = shown.token.tag(&shown.nonce);
        let mine = claimed.attempt == attempt.id
            && claimed.blinded == attempt.blinded
            && (claimed.lineage, claimed.era) == (LINEAGE, ERA);
        let list = self.list();
        let holds = |e: &&Evaluation| {
            let slot = e.by.slot;
            let statement = statement::evaluation(&claimed, slot, &e.beta, &subject);
            e.beta == beta(&claimed, slot) && Fake.region_signature(&list, &e.by, &statement, self.now)
        };
        let slots: BTreeSet<Slot> = evaluations.iter().filter(holds).map(|e| e.by.slot).collect();
        if !mine || slots.len() < THRESHOLD {
            return Err("fewer than t regions evaluated the same for this person");
        }
        let person = &mut self.people[usize::from(who)];
        if claimed.account != person.account() {
            self.audit.broken("OtherAccount", format!("person {who} accepts {:?}", claimed.account));
        }
        let own = person.key(&claimed.record);
        let is_right = attempt.right && own.is_some_and(|k| k.record.right == claimed.right);
        if own.is_some() && attempt.right && !is_right {
            self.audit.broken("RightLooksWrong", format!("person {who}"));
        }
        let stage = if is_right { Stage::Exchange(Box::new(claimed)) } else { Stage::Wrong };
        if let Some(t) = &mut person.attempt {
            t.stage = stage;
        }
        Ok(if is_right { "the password is right".into() } else { "the password is wrong".into() })
    }

    fn exchanges(&mut self, who: u8, shard: u16, shown: &Shown, via: Via) -> Ended {
        let person = &self.people[usize::from(who)];
        let attempt = person.attempt.clone().ok_or("no attempt")?;
        let Stage::Exchange(claimed) = &attempt.stage else { return Err("not at that stage") };
        let key = person.key(&claimed.record).cloned().ok_or("no such key")?;
        let ke2 = match via {
            Via::Honest { vault, .. } => {
                self.honest.replica_mut(usize::from(vault), shard).answer(&claimed.account, &attempt.id)?
            }
            Via::Liar { twist: Twist::None, .. } => [key.server.0, [9; 32]].concat(),
            Via::Liar { .. } => vec![9; 64],
        };
        if ke2.first_chunk() != Some(&key.server.0) {
            return Err("KE2 does not open");
        }
        let context = statement::login_context(
            &LINEAGE,
            ERA,
            &claimed.account,
            claimed.generation,
            claimed.ordinal,
            &attempt.id,
            &attempt.blinded,
        );
        let ke1 = vec![1; 96];
        let ke3 = ke3(&key.client(), &context, &ke1, &ke2);
        self.audit.proved.insert((key.hash, claimed.ordinal));
        let finish = Finish { account: claimed.account, attempt: attempt.id, ke1, ke2, ke3 };
        let outcome = self.commits(via, shard, Command::Finish(finish))?;
        if !matches!(outcome, Outcome::Done) {
            self.people[usize::from(who)].attempt = None;
            return Ok(format!("{outcome:?}"));
        }
        self.settles(shard, shown, via, Goal::Recovered(claimed.generation, claimed.ordinal))?;
        self.people[usize::from(who)].attempt = None;
        Ok("recovered".into())
    }

    fn gives_up(&mut self, who: u8, shard: u16, via: Via) -> Ended {
        let person = &self.people[usize::from(who)];
        let (account, attempt) = (person.account(), person.attempt.clone().ok_or("no attempt")?);
        let Stage::Wrong = attempt.stage else { return Err("not wrong") };
        let give_up = GiveUp { account, attempt: attempt.id, cancel: Secret32::new(attempt.cancel) };
        let outcome = self.commits(via, shard, Command::GiveUp(give_up))?;
        self.people[usize::from(who)].attempt = None;
        Ok(format!("{outcome:?}"))
    }

    fn names(&mut self, who: u8, shard: u16, shown: &Shown, via: Via) -> Ended {
        let account = self.seen(via, shard, who).ok_or("no account")?;
        let number = self.fresh();
        let person = &self.people[usize::from(who)];
        let key = person.live(&account).ok_or("no key")?;
        let writer = WriterId([0; 16]);
        let expected = account.writers.iter().find(|w| w.id == writer).map(|w| w.ledger.hash);
        let ledger = LedgerName { counter: number, hash: Hash(unique("model/ledger", number)) };
        let naming = Naming { writer, expected, ledger, v: None };
        let owner = key.owner(&Operation::SetLedger(naming), number, self.now);
        let (id, generation) = (person.account(), account.generation);
        self.audit.named.insert((who, number));
        let command = SetLedger { account: id, writer, expected, ledger, v: None, owner };
        let outcome = self.commits(via, shard, Command::SetLedger(command))?;
        self.settles(shard, shown, via, Goal::Named(generation, ledger))?;
        Ok(format!("{outcome:?}, done"))
    }

    fn deletes(&mut self, who: u8, shard: u16, shown: &Shown, via: Via) -> Ended {
        let account = self.seen(via, shard, who).ok_or("no account")?;
        let number = self.fresh();
        let person = &self.people[usize::from(who)];
        let key = person.live(&account).ok_or("no key")?;
        let owner = key.owner(&Operation::Delete, number, self.now);
        let id = person.account();
        self.audit.may_end.insert(key.hash);
        let outcome = self.commits(via, shard, Command::Delete(Delete { account: id, owner }))?;
        self.settles(shard, shown, via, Goal::Deleted(account.generation))?;
        Ok(format!("{outcome:?}, done"))
    }
}
