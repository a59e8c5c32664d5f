//! Two honest vaults, the liar and the people. Carries out the steps.

use bkv_core::account::Account;
use bkv_core::checkpoint::next_step;
use bkv_core::command::{Begin, Command, Init, VERSION};
use bkv_core::document::Admission;
use bkv_core::id::{FleetId, Hash, Time};
use bkv_core::record::AttemptPolicy;
use bkv_core::secret::Secret32;
use bkv_core::signature::RegionSignature;

use super::super::fake::{ERA, LINEAGE, documents_of, signed_by};
use super::super::machine::{account, route};
use super::SHARDS;
use super::append::AHEAD_MS;
use super::audit::Audit;
use super::honest::{Honest, Vault, liar};
use super::joining::LiarTold;
use super::liar::Liar;
use super::person::Person;
use super::replica::Replica;
use super::speak::Shown;
use super::step::{Act, PEOPLE, Step, To, Via, shard};
use super::token::Token;

pub(super) struct World {
    pub(super) now: Time,
    pub(super) policy: AttemptPolicy,
    pub(super) honest: Honest,
    pub(super) liar: Liar,
    pub(super) people: Vec<Person>,
    pub(super) audit: Audit,
    images: [Option<Vault>; 2],
    told: LiarTold,
    number: u64,
}

/// The shard in which a person's account lies.
pub(super) fn home(who: u8) -> u16 {
    route(who).shard(SHARDS).0
}

impl World {
    /// Everybody is registered, at both honest vaults, and the tokens of that time have ended.
    pub(super) fn new(policy: &AttemptPolicy) -> Self {
        let person = |number| Person { number, ..Person::default() };
        let mut world = Self {
            now: Time(1_000_000),
            policy: policy.clone(),
            honest: Honest::new(),
            liar: Liar::default(),
            people: (0..PEOPLE).map(person).collect(),
            audit: Audit::default(),
            images: [None, None],
            told: LiarTold::Verified,
            number: 0,
        };
        for shard in 0..SHARDS {
            let init = Command::Init(Init {
                fleet: FleetId([1; 16]),
                lineage: LINEAGE,
                era: ERA,
                shard,
                index: Secret32::new([3; 32]),
                documents: documents_of(1, policy, SHARDS),
                version: VERSION,
            });
            world.honest.propose(0, shard, vec![init], world.now, true).unwrap();
        }
        let via = Via::Honest { vault: 0, liar: true };
        for who in 0..PEOPLE {
            world.acts(who, Act::Store, via);
            world.acts(who, Act::Confirm, via);
        }
        world.now = next_step(world.now);
        for shard in 0..SHARDS {
            world.honest.propose(0, shard, Vec::new(), world.now, true).unwrap();
        }
        world.settle();
        world.now = world.now.plus(700_000);
        assert_eq!(world.audit.acknowledged.len(), 2 * usize::from(PEOPLE));
        world
    }

    /// A number that occurs once.
    pub(super) const fn fresh(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub(super) const fn issue(&self, person: u8) -> Token {
        Token { person, issued: self.now }
    }

    /// The admission list, as everybody has it.
    pub(super) fn list(&self) -> Admission {
        self.honest.replica(0, 0).fleet().documents.admission.clone()
    }

    /// Asks an honest region to permit a last try.
    pub(super) fn permit(
        &mut self,
        vault: usize,
        shard: u16,
        shown: &Shown,
        begin: &Begin,
    ) -> Option<RegionSignature> {
        let permit = self.honest.replica(vault, shard).permit(shown, begin, self.now).ok()?;
        assert!(shown.token.is_valid(self.now) && account(shown.token.person) == begin.account);
        self.audit.permitted.insert((begin.account, begin.attempt, begin.blinded));
        let live = self.honest.replica(vault, shard).memory.0.get(&begin.account).map(Account::record_hash);
        self.audit.may_end.extend(live);
        Some(permit)
    }

    /// Carries out one step. Returns what came of it.
    pub(super) fn step(&mut self, step: &Step) -> String {
        let result = self.carry_out(step);
        self.settle();
        result
    }

    /// After each step the honest vaults sign checkpoints and join, and the audit looks.
    fn settle(&mut self) {
        for vault in 0..2 {
            for shard in 0..SHARDS {
                for (checkpoint, signature) in self.honest.replica_mut(vault, shard).sign_reached() {
                    let r = self.honest.replica(vault, shard);
                    let mut all = r.reached.iter().chain(r.certified.iter().map(|c| &c.1));
                    if let Some(reached) = all.find(|r| r.checkpoint == checkpoint) {
                        self.liar.saw(reached, signature.clone());
                    }
                    if self.honest.linked {
                        self.honest.replica_mut(1 - vault, shard).take(&checkpoint, &signature);
                    }
                }
            }
        }
        self.honest.join(self.told);
        for vault in &mut self.honest.vaults {
            for r in &mut vault.replicas {
                for happened in r.happened.drain(..) {
                    self.audit.note(r.me, happened);
                }
            }
        }
        self.audit.look(&self.honest, &self.people);
    }

    fn carry_out(&mut self, step: &Step) -> String {
        match step {
            Step::Wait(ms) => {
                self.now = self.now.plus(u64::from(*ms));
                String::new()
            }
            Step::Link(linked) => {
                self.honest.linked = *linked;
                String::new()
            }
            Step::Person(who, act, via) => self.acts(*who, *act, *via),
            Step::Mark { vault, shard: s, liar } => {
                self.now = next_step(self.now);
                let now = self.now;
                text(self.honest.propose(usize::from(*vault), shard(*s), Vec::new(), now, *liar))
            }
            Step::Purge { vault } => {
                self.honest.vaults[usize::from(*vault)].replicas.iter_mut().for_each(Replica::purge);
                String::new()
            }
            Step::Image { vault } => {
                self.images[usize::from(*vault)] = Some(self.honest.vaults[usize::from(*vault)].clone());
                String::new()
            }
            Step::Restart { vault, image, liar } => self.restart(usize::from(*vault), *image, *liar),
            Step::Guess { who, to, off } => self.liar_guesses(*who, &to.targets(), elsewhere(*who, *off)),
            Step::Vote { to, shard: s, more } => {
                let r = self.honest.replica_mut(usize::from(*to), shard(*s));
                let term = r.vote.term + u64::from(*more);
                format!("granted: {}", r.follows(liar(), term))
            }
            Step::Ask { who, to } => {
                let (to, home) = (usize::from(*to), home(*who));
                let a = self.honest.replica(to, home).memory.0.get(&account(*who));
                let Some(open) = a.and_then(|a| a.pending.as_ref()).map(|p| p.attempt) else {
                    return "nothing is open".into();
                };
                self.liar_asks_evaluation(*who, to, home, &open)
            }
            Step::Copy { who, to, off } => self.copies(*who, *to, elsewhere(*who, *off)),
            Step::Replay { pick, to, shard: s } => {
                let Some(command) = self.recorded(*pick) else { return "nothing to repeat".into() };
                text(self.liar_appends(&to.targets(), shard(*s), None, self.now, &[command]))
            }
            Step::Forge { kind, who, to, off } => {
                let (targets, shard) = (to.targets(), elsewhere(*who, *off));
                let commands = self.forged(*kind, *who, targets[0], shard);
                text(self.liar_appends(&targets, shard, None, self.now, &commands))
            }
            Step::Back { to, shard: s, by, pick } => {
                let (to, shard) = (usize::from(*to), shard(*s));
                let behind =
                    self.honest.replica(to, shard).log.last().at.index.saturating_sub(u64::from(*by));
                let commands: Vec<Command> = self.recorded(*pick).into_iter().collect();
                text(self.liar_appends(&[to], shard, Some(behind), self.now, &commands))
            }
            Step::LiarMark { to, shard: s, ahead } => {
                self.now = next_step(self.now);
                let time = if *ahead { self.now.plus(AHEAD_MS) } else { self.now };
                text(self.liar_appends(&to.targets(), shard(*s), None, time, &[]))
            }
            Step::Snapshot { to, shard: s, pick, lies, signatures } => {
                self.liar_sends_snapshot(usize::from(*to), shard(*s), *pick, lies, *signatures)
            }
            Step::Sign { pick, to, harm } => self.liar_signs(*pick, usize::from(*to), *harm),
        }
    }

    /// Starts a vault again. From an older image only if the other honest vault has applied all that is lost: only that vault can notice an older image, because the model has no anchors.
    fn restart(&mut self, vault: usize, image: bool, told: LiarTold) -> String {
        let image = self.images[vault].clone().filter(|_| image);
        if image.is_some() && !self.honest.is_known_elsewhere(vault) {
            return "no vault would notice the image".into();
        }
        let from = if image.is_some() { "from its image" } else { "" };
        self.told = told;
        self.honest.restart(vault, image);
        from.into()
    }

    fn copies(&mut self, who: u8, to: To, shard: u16) -> String {
        let id = account(who);
        let of = |c: &&Command| c.account() == Some(id);
        let own = || self.liar.commands.iter().rev().filter(of);
        let confirm = own().find_map(|c| match c {
            Command::Confirm(confirm) => Some(confirm.clone()),
            _ => None,
        });
        let Some(confirm) = confirm else { return "nothing to copy".into() };
        let store = own().find(|c| matches!(c, Command::Store(s) if s.record.reg_id == confirm.reg_id));
        let Some(store) = store.cloned() else { return "nothing to copy".into() };
        let commands = [store, Command::Confirm(confirm)];
        text(self.liar_appends(&to.targets(), shard, None, self.now, &commands))
    }

    fn recorded(&self, pick: u16) -> Option<Command> {
        let count = self.liar.commands.len();
        self.liar.commands.get(usize::from(pick).checked_rem(count)?).cloned()
    }

    /// The liar's signature on a checkpoint that it has seen, or on another digest there.
    fn liar_signs(&mut self, pick: u8, to: usize, harm: bool) -> String {
        let count = self.liar.seen.len();
        let Some(i) = usize::from(pick).checked_rem(count) else { return "no checkpoint was seen".into() };
        let mut checkpoint = self.liar.seen[i].reached.checkpoint.clone();
        if harm {
            checkpoint.digest = Hash([9; 32]);
        }
        let statement = bkv_core::statement::checkpoint(&checkpoint, Liar::SLOT);
        let signature = signed_by(Liar::SLOT, &statement);
        self.honest.replica_mut(to, checkpoint.shard).take(&checkpoint, &signature);
        String::new()
    }
}

fn elsewhere(who: u8, off: u8) -> u16 {
    (home(who) + u16::from(off)) % SHARDS
}

fn text(result: Result<Vec<bkv_core::outcome::Outcome>, &'static str>) -> String {
    match result {
        Ok(outcomes) => format!("{outcomes:?}"),
        Err(why) => format!("refused: {why}"),
    }
}
