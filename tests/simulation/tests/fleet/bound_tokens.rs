//! Tokens that are bound to a key of the client (`cnf.jkt`): a rooted region that has seen one, and all proofs of its person, gets nothing with them.

use std::path::PathBuf;

use bkv_client::{Error, LastTry, RecoverOptions, RegisterOptions, TokenKeyError};
use bkv_core::command::{Begin, Command};
use bkv_core::document::Policy;
use bkv_core::id::{AttemptId, Element, Hash, Ordinal, RegId};
use bkv_core::possession::Use;
use bkv_core::secret::Secret32;
use bkv_core::statement;
use bkv_simulation::peer_calls::{CANCEL, CHANNEL, NONCE, PeerCalls};
use bkv_simulation::raw_client::{self, RawClient};
use bkv_simulation::{Options, RIGHT, Simulation, soon, token_key};
use bkv_vault::peer::Body;
use bkv_wire::proto::inner::Proof;
use bkv_wire::proto::inner::missing_region::Reason;

use crate::persons::reason;

const ANNA: &str = "anna";
const MALLORY: &str = "mallory";
const WRONG: &str = "another otter paints the south door";
/// The attempt of the rooted leader, and the last try that it wants the regions to permit.
const GUESS: AttemptId = AttemptId([9; 16]);
const LAST: AttemptId = AttemptId([8; 16]);

/// A rooted leader's attempt on Anna's account. It needs no token: every replica applies it.
struct Guess {
    rooted: usize,
    blinded: Element,
    cancel: Hash,
    reg_id: RegId,
    record: Hash,
}

impl Guess {
    async fn begin(sim: &Simulation) -> Self {
        sim.register(ANNA).await;
        let rooted = sim.leader().await;
        let account = sim.account(rooted, ANNA).unwrap();
        let live = account.live.as_ref().unwrap();
        let (blinded, cancel) = (raw_client::blinded("a guess"), statement::cancel_hash(&[1; 32]));
        let begin = Begin {
            account: sim.id(ANNA),
            generation: account.generation,
            ordinal: Ordinal(account.ordinal.0 + 1),
            attempt: GUESS,
            blinded,
            cancel,
            seed: Secret32::new([2; 32]),
            may_be_last: false,
            permits: vec![],
        };
        sim.replica(rooted).propose(Command::Begin(begin), soon()).await.unwrap();
        sim.settle().await;
        sim.witness.take_evaluations();
        Self { rooted, blinded, cancel, reg_id: live.record.reg_id, record: live.hash }
    }

    /// What the other two regions answer to the same call.
    async fn ask(&self, sim: &Simulation, call: Body) -> [Option<Reason>; 2] {
        let mut reasons = Vec::new();
        for region in (0..3).filter(|r| *r != self.rooted) {
            let to = sim.vault(region).node().node();
            let answer = sim.vault(self.rooted).node().peers().call(to, call.clone(), soon()).await.unwrap();
            reasons.push(reason(answer));
        }
        reasons.try_into().unwrap()
    }

    fn permit(&self, calls: &PeerCalls) -> Body {
        calls.permit(LAST, &self.blinded.0)
    }
}

/// Two tries, so that one is left beside the guess.
fn bound_and_two_tries(policy: &mut Policy) {
    policy.bound_tokens = true;
    policy.attempts.max = 2;
}

/// S46: Anna logs in while a region is rooted. The attacker has her token and every proof that she made in this session: of her channel, of another attempt, of her
/// registration, and of an attempt that she did not agree to be her last try. The same key is also another account's.
pub(crate) async fn s46_a_seen_token_and_its_proofs_are_of_no_use(dir: PathBuf) {
    let sim =
        Simulation::up(dir, Options { bound: true, policy: Some(bound_and_two_tries), ..Options::default() })
            .await;
    let guess = Guess::begin(&sim).await;
    let token = sim.token(ANNA);
    let calls = || PeerCalls::about(&sim, ANNA, &token);
    let refused = [Some(Reason::Possession); 2];

    let attempt =
        |attempt, blinded, cancel, may_be_last| Use::Attempt { attempt, blinded, cancel, may_be_last };
    let (blinded, cancel) = (&guess.blinded, &guess.cancel);
    let other = &raw_client::blinded("Anna's password");
    let session = Use::Session { channel: &CHANNEL };
    let registration = Use::Registration { reg_id: &guess.reg_id, record: &guess.record };
    let last = attempt(&LAST, blinded, &CANCEL, true);
    let good = attempt(&GUESS, blinded, cancel, true);
    let of = async |what: &Use<'_>| Some(sim.proof(ANNA, &token, &NONCE, what).await);
    let seen: Vec<(&str, Option<Proof>)> = vec![
        ("none", None),
        ("another attempt's", of(&attempt(&AttemptId([1; 16]), other, cancel, true)).await),
        ("the same id's with another B", of(&attempt(&GUESS, other, cancel, true)).await),
        ("the same id's with another cancel", of(&attempt(&GUESS, blinded, &Hash([5; 32]), true)).await),
        ("one without agreement to the last try", of(&attempt(&GUESS, blinded, cancel, false)).await),
        ("the last try's without agreement", of(&attempt(&LAST, blinded, &CANCEL, false)).await),
        ("another session's", Some(sim.proof(ANNA, &token, &[1; 32], &good).await)),
        ("another account's", Some(sim.proof(MALLORY, &token, &NONCE, &good).await)),
        ("another channel's", of(&Use::Session { channel: &[1; 32] }).await),
        (
            "another registration's",
            of(&Use::Registration { reg_id: &guess.reg_id, record: &Hash([1; 32]) }).await,
        ),
    ];
    for (what, proof) in seen {
        let calls = match &proof {
            Some(proof) => calls().with(proof),
            None => calls(),
        };
        for call in
            [calls.evaluate(GUESS), calls.attest(), calls.acknowledge(guess.reg_id), guess.permit(&calls)]
        {
            assert_eq!(guess.ask(&sim, call).await, refused, "{what}");
        }
    }
    // Each proof serves its own use only.
    let by_use = [of(&good).await, of(&session).await, of(&registration).await, of(&last).await];
    for (i, proof) in by_use.iter().flatten().enumerate() {
        let calls = calls().with(proof);
        let each =
            [calls.evaluate(GUESS), calls.attest(), calls.acknowledge(guess.reg_id), guess.permit(&calls)];
        for (j, call) in each.into_iter().enumerate().filter(|(j, _)| *j != i) {
            assert_eq!(guess.ask(&sim, call).await, refused, "proof {i} for call {j}");
        }
    }
    // Anna gets another token for her key. What the attacker kept from the first one, also her consent to a last try, is of no use beside it.
    let later = sim.later_token(ANNA);
    assert_ne!(later, token);
    for proof in by_use.iter().flatten() {
        let calls = PeerCalls::about(&sim, ANNA, &later).with(proof);
        for call in
            [calls.evaluate(GUESS), calls.attest(), calls.acknowledge(guess.reg_id), guess.permit(&calls)]
        {
            assert_eq!(guess.ask(&sim, call).await, refused, "a proof beside a later token");
        }
    }
    // The attacker as a client of an honest leader.
    let transport = sim.transport(ANNA);
    for proof in [None, of(&session).await] {
        let opened = RawClient::open_proved(&sim, token.clone(), proof, &transport).await;
        assert!(opened.is_err_and(|e| e.0.contains("code: Token")), "a session was opened");
    }
    assert!(sim.witness.evaluations().is_empty(), "a region evaluated");

    // The control: with the key for exactly this use, the regions do it.
    for (proof, call) in by_use.iter().flatten().zip([
        (|c, _| c.evaluate(GUESS)) as fn(&PeerCalls, &Guess) -> Body,
        |c, _| c.attest(),
        |c, g| c.acknowledge(g.reg_id),
        |c, g| g.permit(c),
    ]) {
        assert_eq!(guess.ask(&sim, call(&calls().with(proof), &guess)).await, [None; 2]);
    }
    // A token that is bound to no key is refused, with a proof too.
    let bearer = PeerCalls::about(&sim, ANNA, &sim.bearer_token(ANNA));
    for calls in [bearer.evaluate(GUESS), bearer.with(by_use[0].as_ref().unwrap()).evaluate(GUESS)] {
        assert_eq!(guess.ask(&sim, calls).await, refused);
    }
    sim.down().await;
}

/// S46: the policy does not ask for bound tokens. One that names a key is of no use without it all the same: its issuer expects that.
pub(crate) async fn s46_a_token_that_names_a_key_needs_its_proof_under_every_policy(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { bound: true, ..Options::default() }).await;
    let guess = Guess::begin(&sim).await;
    let seen = PeerCalls::about(&sim, ANNA, &sim.token(ANNA));
    assert_eq!(guess.ask(&sim, seen.evaluate(GUESS)).await, [Some(Reason::Possession); 2]);
    assert!(sim.witness.evaluations().is_empty(), "a region evaluated");
    // The control: the attack works with a token that names none.
    let bearer = PeerCalls::about(&sim, ANNA, &sim.bearer_token(ANNA));
    assert_eq!(guess.ask(&sim, bearer.evaluate(GUESS)).await, [None; 2]);
    sim.down().await;
}

/// S46: with the key, everything works as before: registration, recovery, a wrong password, the last try, the overwrite. Without it the error says what is missing.
pub(crate) async fn s46_a_person_with_the_key_needs_nothing_else(dir: PathBuf) {
    let sim =
        Simulation::up(dir, Options { bound: true, policy: Some(bound_and_two_tries), ..Options::default() })
            .await;
    let key = sim.register(ANNA).await;
    let client = sim.client(ANNA);
    let agreed = || RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() };
    assert!(client.recover(RIGHT, agreed()).await.unwrap().key == key);
    let e = client.recover(WRONG, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e, Error::WrongPassword { tries_left: 1, .. }), "{e:?}");
    let e = client.recover(RIGHT, RecoverOptions::default()).await.unwrap_err();
    assert_eq!(e, Error::LastTryDeclined);
    // The last try needs permits, and each region checks the proof for its own.
    let recovered = client.recover(RIGHT, agreed()).await.unwrap();
    assert!(recovered.key == key);
    client.register(WRONG, RegisterOptions { key: Some(&key), ..RegisterOptions::default() }).await.unwrap();
    assert!(client.recover(WRONG, RecoverOptions::default()).await.unwrap().key == key);
    assert_eq!(client.status().await.unwrap().tries_left, 2);

    let with = |token: String, key| sim.client_with(&token, key, sim.transport(ANNA));
    let without = with(sim.token(ANNA), None);
    assert_eq!(without.status().await.unwrap_err(), Error::TokenKey(TokenKeyError::Missing));
    let other = with(sim.token(ANNA), Some(token_key()));
    let e = other.recover(WRONG, agreed()).await.unwrap_err();
    assert_eq!(e, Error::TokenKey(TokenKeyError::Other));
    let unbound = with(sim.bearer_token(ANNA), None);
    assert_eq!(unbound.status().await.unwrap_err(), Error::TokenKey(TokenKeyError::Unbound));
    sim.down().await;
}
