//! The grammar: what can happen next, drawn at random.

use rand::Rng;
use rand::seq::SliceRandom;

use super::SHARDS;
use super::forge::Forged;
use super::joining::LiarTold;
use super::snapshot_lie::{RowLie, Signatures};

/// The people. The last one never comes back after its registration, so the liar has no valid token of that person.
pub(super) const PEOPLE: u8 = 4;

/// To whom the liar sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    One(u8),
    Both,
}

impl To {
    pub(super) fn targets(self) -> Vec<usize> {
        match self {
            Self::One(v) => vec![usize::from(v)],
            Self::Both => vec![0, 1],
        }
    }
}

/// How the liar answers a client whose leader it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    None,
    Tries,
    Right,
    Record,
    Alone,
    OtherPerson(u8),
}

/// The leader that a client meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// An honest one. `liar`: whether the rooted vault votes, acknowledges and contributes.
    Honest {
        vault: u8,
        liar: bool,
    },
    Liar {
        to: To,
        twist: Twist,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Store,
    Confirm,
    Begin { right: bool, agreed: bool },
    Exchange,
    GiveUp,
    Ledger,
    Delete,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Time passes.
    Wait(u32),
    /// The honest vaults reach each other, or not.
    Link(bool),
    /// A person's client does something.
    Person(u8, Act, Via),
    /// An honest leader makes a checkpoint, as soon as one may be made.
    Mark {
        vault: u8,
        shard: u8,
        liar: bool,
    },
    /// An honest vault drops its log up to its newest certified checkpoint.
    Purge {
        vault: u8,
    },
    /// The attacker keeps an image of an honest vault's disk.
    Image {
        vault: u8,
    },
    /// An honest vault starts again, perhaps from its image.
    Restart {
        vault: u8,
        image: bool,
        liar: LiarTold,
    },
    /// The liar charges an attempt of its own, and has it evaluated. `off` shards from home.
    Guess {
        who: u8,
        to: To,
        off: u8,
    },
    /// The liar asks for the vote of one vault, with a log as long as any.
    Vote {
        to: u8,
        shard: u8,
        more: u8,
    },
    /// The liar asks for an evaluation of what is open.
    Ask {
        who: u8,
        to: u8,
    },
    /// The liar repeats a registration in another shard.
    Copy {
        who: u8,
        to: To,
        off: u8,
    },
    /// The liar repeats any command, in any shard.
    Replay {
        pick: u16,
        to: To,
        shard: u8,
    },
    Forge {
        kind: Forged,
        who: u8,
        to: To,
        off: u8,
    },
    /// The liar replaces the end of a log.
    Back {
        to: u8,
        shard: u8,
        by: u8,
        pick: u16,
    },
    /// The liar makes a checkpoint.
    LiarMark {
        to: To,
        shard: u8,
        ahead: bool,
    },
    Snapshot {
        to: u8,
        shard: u8,
        pick: u8,
        lies: Vec<(RowLie, u8)>,
        signatures: Signatures,
    },
    /// The liar signs a checkpoint that it has seen, perhaps with another digest, for one vault.
    Sign {
        pick: u8,
        to: u8,
        harm: bool,
    },
}

/// The tastes of one history: it attacks one person at one vault more than the others.
pub(super) struct Taste {
    victim: u8,
    target: u8,
}

impl Taste {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { victim: rng.gen_range(0..PEOPLE), target: rng.gen_range(0..2) }
    }

    fn who(&self, rng: &mut impl Rng) -> u8 {
        if rng.gen_bool(0.6) { self.victim } else { rng.gen_range(0..PEOPLE) }
    }

    fn vault(&self, rng: &mut impl Rng) -> u8 {
        if rng.gen_bool(0.6) { self.target } else { rng.gen_range(0..2) }
    }

    fn to(&self, rng: &mut impl Rng) -> To {
        if rng.gen_bool(0.3) { To::Both } else { To::One(self.vault(rng)) }
    }

    fn via(&self, rng: &mut impl Rng) -> Via {
        if rng.gen_bool(0.6) {
            Via::Honest { vault: rng.gen_range(0..2), liar: rng.gen_bool(0.8) }
        } else {
            let twist = match rng.gen_range(0..9) {
                0 => Twist::Tries,
                1 => Twist::Right,
                2 => Twist::Record,
                3 => Twist::Alone,
                4 => Twist::OtherPerson(rng.gen_range(0..PEOPLE)),
                _ => Twist::None,
            };
            Via::Liar { to: self.to(rng), twist }
        }
    }

    fn act(rng: &mut impl Rng) -> Act {
        match rng.gen_range(0..20) {
            0..=2 => Act::Store,
            3..=5 => Act::Confirm,
            6..=11 => Act::Begin { right: rng.gen_bool(0.6), agreed: rng.gen_bool(0.8) },
            12..=15 => Act::Exchange,
            16 | 17 => Act::GiveUp,
            18 => Act::Ledger,
            _ => Act::Delete,
        }
    }

    fn forged(rng: &mut impl Rng) -> Forged {
        match rng.gen_range(0..14) {
            0 => Forged::Finish,
            1 => Forged::OldProof,
            2 => Forged::Delete,
            3 => Forged::Ledger,
            4 | 5 => Forged::GiveUp,
            6 => Forged::LastTry,
            7 => Forged::OtherElement,
            8 => Forged::Ahead,
            9 => Forged::Expire,
            10 => Forged::Register,
            11 => Forged::OtherStore(rng.gen_range(0..4)),
            12 => Forged::Confirm,
            _ => Forged::OtherAccount(rng.gen_range(0..PEOPLE)),
        }
    }

    fn row_lie(rng: &mut impl Rng) -> RowLie {
        const LIES: [RowLie; 16] = [
            RowLie::Last,
            RowLie::Wait,
            RowLie::Ledger,
            RowLie::OtherZ,
            RowLie::NoSecrets,
            RowLie::NoShare,
            RowLie::Missing,
            RowLie::Foreign,
            RowLie::Old,
            RowLie::Ended,
            RowLie::Locked,
            RowLie::Success,
            RowLie::Refilled,
            RowLie::OtherAttempt,
            RowLie::OtherKey(0),
            RowLie::OtherKey(1),
        ];
        if rng.gen_bool(0.05) { RowLie::Twice } else { *LIES.choose(rng).unwrap_or(&RowLie::Last) }
    }

    fn snapshot(&self, rng: &mut impl Rng) -> Step {
        let mut lies = Vec::new();
        while lies.len() < 3 && rng.gen_bool(0.7) {
            lies.push((Self::row_lie(rng), self.who(rng)));
        }
        let signatures = match rng.gen_range(0..8) {
            0 => Signatures::OwnTwice,
            1 => Signatures::Pasted,
            2 => Signatures::InTheNameOfAll,
            3 => Signatures::OtherIndex,
            _ => Signatures::Genuine,
        };
        Step::Snapshot {
            to: self.vault(rng),
            shard: self.shard(rng),
            pick: rng.gen_range(0..8) / 3,
            lies,
            signatures,
        }
    }

    /// How many shards from home. Mostly none.
    fn off(rng: &mut impl Rng) -> u8 {
        if rng.gen_bool(0.7) { 0 } else { rng.gen_range(1..3) }
    }

    fn shard(&self, rng: &mut impl Rng) -> u8 {
        let home = u8::try_from(super::world::home(self.victim)).unwrap_or(0);
        if rng.gen_bool(0.6) { home } else { rng.gen_range(0..3) }
    }

    /// The next steps: one, or a few that seldom come together by chance.
    pub(super) fn steps(&self, rng: &mut impl Rng) -> Vec<Step> {
        match rng.gen_range(0..20) {
            0 => self.leaves_behind(rng),
            1 => self.old_disk(rng),
            _ => vec![self.step(rng)],
        }
    }

    /// The liar leads a registration at one vault only, and sends the other one a snapshot of it.
    fn leaves_behind(&self, rng: &mut impl Rng) -> Vec<Step> {
        let (who, vault) = (self.who(rng) % (PEOPLE - 1), self.vault(rng));
        let shard = u8::try_from(super::world::home(who)).unwrap_or(0);
        let to = To::One(1 - vault);
        let via = Via::Liar { to, twist: Twist::None };
        let lies = vec![(Self::row_lie(rng), who)];
        vec![
            Step::Person(who, Act::Store, via),
            Step::Person(who, Act::Confirm, via),
            Step::LiarMark { to, shard, ahead: false },
            Step::Snapshot { to: vault, shard, pick: 0, lies, signatures: Signatures::Genuine },
        ]
    }

    /// A vault starts from an image that is older than an attempt, and the liar leads it.
    fn old_disk(&self, rng: &mut impl Rng) -> Vec<Step> {
        let (who, vault) = (self.who(rng) % (PEOPLE - 1), self.vault(rng));
        let via = Via::Honest { vault, liar: true };
        vec![
            Step::Link(true),
            Step::Image { vault },
            Step::Person(who, Act::Begin { right: rng.gen_bool(0.5), agreed: true }, via),
            Step::Restart { vault, image: true, liar: LiarTold::Verified },
            Step::Guess { who, to: To::One(vault), off: 0 },
        ]
    }

    fn step(&self, rng: &mut impl Rng) -> Step {
        match rng.gen_range(0..100) {
            0..=6 => Step::Wait(*[1, 100, 700, 25_000, 70_000].choose(rng).unwrap_or(&1)),
            7 => Step::Wait(700_000),
            8..=10 => Step::Link(rng.gen_bool(0.6)),
            11..=38 => {
                // The last person stays away.
                let who = self.who(rng) % (PEOPLE - 1);
                Step::Person(who, Self::act(rng), self.via(rng))
            }
            39..=44 => {
                Step::Mark { vault: rng.gen_range(0..2), shard: self.shard(rng), liar: rng.gen_bool(0.8) }
            }
            45 | 46 => Step::Purge { vault: self.vault(rng) },
            47..=49 => Step::Image { vault: self.vault(rng) },
            50..=53 => {
                let liar = match rng.gen_range(0..4) {
                    0 => LiarTold::Nothing,
                    1 => LiarTold::Term(rng.gen_range(1..9)),
                    _ => LiarTold::Verified,
                };
                Step::Restart { vault: self.vault(rng), image: rng.gen_bool(0.7), liar }
            }
            54..=67 => Step::Guess { who: self.who(rng), to: self.to(rng), off: Self::off(rng) },
            68 => Step::Ask { who: self.who(rng), to: self.vault(rng) },
            69..=71 => Step::Copy { who: self.who(rng), to: self.to(rng), off: rng.gen_range(1..3) },
            72..=74 => Step::Replay { pick: rng.r#gen(), to: self.to(rng), shard: self.shard(rng) },
            75..=81 => Step::Forge {
                kind: Self::forged(rng),
                who: self.who(rng),
                to: self.to(rng),
                off: Self::off(rng),
            },
            82 | 83 => Step::Back {
                to: self.vault(rng),
                shard: self.shard(rng),
                by: rng.gen_range(1..5),
                pick: rng.r#gen(),
            },
            84..=86 => Step::LiarMark { to: self.to(rng), shard: self.shard(rng), ahead: rng.gen_bool(0.2) },
            87..=97 => self.snapshot(rng),
            98 => Step::Vote { to: self.vault(rng), shard: self.shard(rng), more: rng.gen_range(0..4) },
            _ => Step::Sign { pick: rng.r#gen(), to: self.vault(rng), harm: rng.gen_bool(0.5) },
        }
    }
}

/// A shard from a small number.
pub(super) fn shard(number: u8) -> u16 {
    u16::from(number) % SHARDS
}
