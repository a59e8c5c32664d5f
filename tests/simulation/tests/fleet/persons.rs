//! What a region does for an account needs a valid token of its person, whichever region asks.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bkv_core::command::{Begin, Command};
use bkv_core::document::Policy;
use bkv_core::id::{AttemptId, Element, Ordinal, RegId};
use bkv_core::secret::Secret32;
use bkv_core::statement;
use bkv_simulation::documents::VAULT_AUDIENCE;
use bkv_simulation::peer_calls::PeerCalls;
use bkv_simulation::raw_client::{self, RawClient};
use bkv_simulation::{Options, Simulation, soon};
use bkv_tokens::dev::{DevClaims, DevIssuer};
use bkv_vault::peer::Body;
use bkv_wire::proto::inner as i;
use bkv_wire::proto::inner::missing_region::Reason;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use prost::Message as _;

const ANNA: &str = "anna";
const MALLORY: &str = "mallory";
const GUESS: AttemptId = AttemptId([9; 16]);

/// What a rooted leader asks the other regions, with this token in place of Anna's.
fn calls(sim: &Simulation, reg_id: RegId, token: &str) -> [Body; 4] {
    let of = PeerCalls::about(sim, ANNA, token);
    let blinded = raw_client::blinded("a guess").0;
    [of.evaluate(GUESS), of.attest(), of.acknowledge(reg_id), of.permit(AttemptId([8; 16]), &blinded)]
}

/// None if the region contributes, or its reason.
pub(crate) fn reason(answer: Body) -> Option<Reason> {
    let (contribution, missing) = match answer {
        Body::Evaluated(e) => (e.evaluation, e.missing),
        Body::Attested(a) => (a.attestation, a.missing),
        Body::Acknowledged(a) => (a.acknowledgement, a.missing),
        Body::Permitted(p) => (p.permit, p.missing),
        other => panic!("{other:?}"),
    };
    contribution.is_empty().then(|| i::MissingRegion::decode(missing).unwrap().reason())
}

/// S46: a rooted leader begins an attempt of its own on Anna's account and asks the other regions to evaluate it. It has no valid token of hers, only its own
/// person's and ones that are forged, expired or for another service.
pub(crate) async fn s46_no_region_evaluates_without_the_persons_token(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    sim.register(MALLORY).await;
    let rooted = sim.leader().await;
    let live = sim.account(rooted, ANNA).unwrap();
    let reg_id = live.live.as_ref().unwrap().record.reg_id;
    let begin = Begin {
        account: sim.id(ANNA),
        generation: live.generation,
        ordinal: Ordinal(live.ordinal.0 + 1),
        attempt: GUESS,
        blinded: raw_client::blinded("a guess"),
        cancel: statement::cancel_hash(&[1; 32]),
        seed: Secret32::new([2; 32]),
        may_be_last: false,
        permits: vec![],
    };
    sim.replica(rooted).propose(Command::Begin(begin), soon()).await.unwrap();
    sim.settle().await;
    let ask = async |token: &str| {
        let mut reasons = Vec::new();
        for region in (0..3).filter(|r| *r != rooted) {
            for call in calls(&sim, reg_id, token) {
                let to = sim.vault(region).node().node();
                let answer = sim.vault(rooted).node().peers().call(to, call, soon()).await.unwrap();
                reasons.push(reason(answer));
            }
        }
        reasons
    };
    sim.witness.take_evaluations();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let of_anna =
        |audience, now, lifetime| DevClaims { subject: ANNA, audience, now, lifetime, enrolment: None };
    let forged = DevIssuer::generate(sim.issuer.issuer()).unwrap();
    for (what, token, why) in [
        ("none", String::new(), Reason::Token),
        ("a forged one", forged.sign(&of_anna(VAULT_AUDIENCE, now, 300)), Reason::Token),
        ("an expired one", sim.issuer.sign(&of_anna(VAULT_AUDIENCE, now - 7200, 60)), Reason::Token),
        ("one for another service", sim.issuer.sign(&of_anna("chatd", now, 300)), Reason::Token),
        ("a long one", "x".repeat(5000), Reason::Token),
        ("another person's", sim.token(MALLORY), Reason::OtherAccount),
    ] {
        assert_eq!(ask(&token).await, [Some(why); 8], "{what}");
    }
    assert!(sim.witness.evaluations().is_empty(), "no region evaluated");
    // The control: with Anna's own token every region does all of it, but permits no last try, since nine are left.
    let each = [None, None, None, Some(Reason::NotLast)];
    assert_eq!(ask(&sim.token(ANNA)).await, [each, each].concat());
    sim.down().await;
}

/// To these regions every token has expired, as one whose key they do not have yet would be refused.
fn refuse_tokens(sim: &Simulation, leader: usize, refuse: bool) {
    let ahead = if refuse { 5 * 3_600_000 } else { 0 };
    (0..3).filter(|i| *i != leader).for_each(|i| sim.machines[i].clock.offset(ahead));
}

async fn begin(sim: &Simulation, n: u8, blinded: Element) -> Answer {
    let mut raw = RawClient::open(sim, ANNA, &sim.transport(ANNA)).await.unwrap();
    raw.ask(raw_client::begin(AttemptId([n; 16]), blinded)).await.unwrap()
}

fn wants_fresh_token(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(r) if r.code() == Code::FreshToken)
}

/// S11: the other regions refuse a token that is valid at the leader. The first Begin is charged before the leader knows. After that the leader charges none with a token of that
/// key, and does not let it wait in the queue behind the first. The first attempt goes on, free, once the regions accept its token.
pub(crate) async fn s11_a_key_that_the_regions_refuse_begins_nothing(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { no_chores: true, ..Options::default() }).await;
    sim.register(ANNA).await;
    let leader = sim.leader().await;
    refuse_tokens(&sim, leader, true);
    let blinded = raw_client::blinded("a guess");
    for n in [1, 2] {
        let answer = begin(&sim, n, blinded).await;
        assert!(wants_fresh_token(&answer), "{answer:?}");
        assert_eq!(sim.account(leader, ANNA).unwrap().ordinal.0, 1, "{answer:?}");
    }
    refuse_tokens(&sim, leader, false);
    let answer = begin(&sim, 1, blinded).await;
    assert!(matches!(answer, Answer::Begun(_)), "{answer:?}");
    assert_eq!(sim.account(leader, ANNA).unwrap().ordinal.0, 1);
    sim.down().await;
}

/// S11: the regions refuse the token that a last try came with. They permit nothing, so nothing is charged, and the leader remembers it.
pub(crate) async fn s11_a_last_try_whose_token_the_regions_refuse_is_not_begun(dir: PathBuf) {
    let one = |p: &mut Policy| p.attempts.max = 1;
    let sim = Simulation::up(dir, Options { no_chores: true, policy: Some(one), ..Options::default() }).await;
    sim.register(ANNA).await;
    let leader = sim.leader().await;
    refuse_tokens(&sim, leader, true);
    for n in [1, 2] {
        let answer = begin(&sim, n, raw_client::blinded("a guess")).await;
        assert!(wants_fresh_token(&answer), "{answer:?}");
        assert_eq!(sim.account(leader, ANNA).unwrap().ordinal.0, 0, "{answer:?}");
    }
    sim.down().await;
}

/// S11: a token that ends in a moment begins nothing. If the leader charged the try first, the other regions would refuse the token, and the try would be
/// spent for nothing.
pub(crate) async fn s11_a_token_that_ends_soon_begins_nothing(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let transport = sim.transport(ANNA);
    for (life, begins) in [(20, false), (300, true)] {
        let claims = DevClaims {
            subject: ANNA,
            audience: VAULT_AUDIENCE,
            now: now(),
            lifetime: life,
            enrolment: None,
        };
        let token = sim.issuer.sign(&claims);
        let mut raw = RawClient::open_with(&sim, token, &transport).await.unwrap();
        let answer = raw.ask(raw_client::begin(GUESS, raw_client::blinded("a guess"))).await.unwrap();
        let refused = matches!(&answer, Answer::Refused(r) if r.code() == Code::FreshToken);
        assert_eq!((matches!(answer, Answer::Begun(_)), refused), (begins, !begins), "{answer:?}");
        let leader = sim.leader().await;
        assert_eq!(sim.account(leader, ANNA).unwrap().ordinal.0, u64::from(begins));
    }
    sim.down().await;
}
