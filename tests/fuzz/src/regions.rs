//! What a rooted leader asks another region for a person: to evaluate, to attest, to acknowledge, to permit a last try, to
//! send the leader's own share. The attacker has some person's valid token.

use arbitrary::Arbitrary;
use bkv_core::id::AttemptId;
use bkv_core::record::SealedShare;
use bkv_vault::peer::{Body, PeerError};
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use prost::Message as _;

use crate::change::{Change, changed};
use crate::numbers::Number;
use crate::process::soon;
use crate::target::Target;
use crate::vaults::{Token, Vaults};

/// Most calls of one input.
const CALLS: usize = 12;

/// One call.
#[derive(Arbitrary, Debug)]
pub struct Call {
    kind: Kind,
    token: Token,
    account: Account,
    changes: Vec<Change>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Evaluate { attempt: Option<u8> },
    Attest,
    Acknowledge { registration: Option<u8> },
    Permit { attempt: Option<u8>, generation: Number, ordinal: Number },
    Clock { admission: Number, policy: Number },
    Share { shard: Number, registration: Option<u8> },
    Ping,
}

#[derive(Arbitrary, Debug)]
enum Account {
    Attacked,
    Honest,
    Other([u8; 2]),
}

/// The vaults, and a leader that the attacker has taken over.
pub struct Regions(Vaults);

impl Target for Regions {
    type Message = Call;
    const TOKENS: bool = true;

    async fn begin(share: u32) -> Self {
        Self(Vaults::begin(share).await)
    }

    async fn input(&mut self, calls: &[Call]) -> bool {
        send(&self.0, calls).await;
        self.0.check().await;
        true
    }

    async fn end(self) {
        self.0.sim.down().await;
    }
}

async fn send(vaults: &Vaults, calls: &[Call]) {
    let sim = &vaults.sim;
    let leader = sim.leader().await;
    let victim = (leader + 1) % 3;
    sim.witness.take_evaluations();
    let mut may_evaluate = false;
    for call in calls.iter().take(CALLS) {
        let Some(body) = altered(call, message(vaults, call)) else { continue };
        may_evaluate |= call.token == Token::Valid;
        let to = sim.vault(victim).node().node();
        match sim.vault(leader).node().peers().call(to, body, soon()).await {
            Ok(Body::ShareAnswer(a)) => {
                let share: SealedShare = minicbor::decode(&a.share).expect("a share that can't be decoded");
                assert_eq!(usize::from(share.slot.0), leader + 1, "a region sent another region's share");
            }
            Ok(_) | Err(PeerError::Refused { .. }) => {}
            Err(e) => panic!("no answer: {e}"),
        }
    }
    assert!(
        may_evaluate || sim.witness.evaluations().is_empty(),
        "a region evaluated without the person's token"
    );
}

/// The message with its changes. None if it is no such call any more.
fn altered(call: &Call, body: Body) -> Option<Body> {
    if call.changes.is_empty() {
        return Some(body);
    }
    let bytes = p::Message { id: 0, body: Some(body) }.encode_to_vec();
    let message = p::Message::decode(&changed(bytes, &call.changes)[..]).ok()?;
    // The target `peers` has Raft's calls. Answers to nothing are dropped.
    message.body.filter(|b| {
        matches!(
            b,
            Body::Evaluate(_)
                | Body::Attest(_)
                | Body::Acknowledge(_)
                | Body::Permit(_)
                | Body::Clock(_)
                | Body::ShareAsk(_)
                | Body::Ping(_)
        )
    })
}

fn message(vaults: &Vaults, call: &Call) -> Body {
    let sim = &vaults.sim;
    let account: Bytes = match call.account {
        Account::Attacked => sim.id(&vaults.person).0.to_vec(),
        Account::Honest => sim.id("honest").0.to_vec(),
        Account::Other([a, b]) => [vec![a], vec![b; 31]].concat(),
    }
    .into();
    let token = vaults.token(call.token);
    let nonce = Bytes::from(vec![7; 32]);
    let recorded = || {
        let begun = vaults.recorded.iter().find_map(|o| match o {
            Operation::Begin(b) => Some(b.attempt.clone()),
            _ => None,
        });
        begun.unwrap_or_default()
    };
    let id = |n: &Option<u8>| n.map_or_else(|| live(vaults), |n| vec![n; 16].into());
    let attempt = |id: &Option<u8>| id.map_or_else(recorded, |n| AttemptId([n; 16]).0.to_vec().into());
    match &call.kind {
        Kind::Evaluate { attempt: id } => Body::Evaluate(p::Evaluate {
            shard: 0,
            account,
            attempt: attempt(id),
            committed: 0,
            token,
            nonce,
            ..Default::default()
        }),
        Kind::Attest => Body::Attest(p::Attest {
            shard: 0,
            account,
            nonce: nonce.clone(),
            committed: 0,
            token,
            session: nonce.clone(),
            channel: nonce,
            proof: Bytes::new(),
        }),
        Kind::Acknowledge { registration } => Body::Acknowledge(p::Acknowledge {
            shard: 0,
            account,
            reg_id: id(registration),
            committed: 0,
            token,
            nonce,
            proof: Bytes::new(),
        }),
        Kind::Permit { attempt: id, generation, ordinal } => Body::Permit(p::Permit {
            shard: 0,
            account,
            attempt: attempt(id),
            committed: 0,
            token,
            nonce,
            generation: generation.value(),
            ordinal: ordinal.value(),
            blinded: bkv_simulation::raw_client::blinded("a guess").0.to_vec().into(),
            cancel: vec![1; 32].into(),
            ..Default::default()
        }),
        Kind::Clock { admission, policy } => {
            let version = u32::try_from(admission.value()).unwrap_or(u32::MAX);
            Body::Clock(p::Clock { admission: admission.value(), policy: policy.value(), version })
        }
        Kind::Share { shard, registration } => {
            Body::ShareAsk(p::ShareAsk { shard: shard.value() as u32, account, reg_id: id(registration) })
        }
        Kind::Ping => Body::Ping(p::Ping {}),
    }
}

/// The id of the attacked person's live registration.
fn live(vaults: &Vaults) -> Bytes {
    let account = vaults.sim.account(0, &vaults.person);
    account.and_then(|a| Some(a.live.as_ref()?.record.reg_id.0.to_vec().into())).unwrap_or_default()
}
