//! S39: a dictionary with the right password in it, against everything of one region, then of two.

use std::fs;
use std::sync::Mutex;

use bkv_stack_tests::{contains, files};
use bkv_vault::forensics::Seized;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::Sha512;

use crate::guess::{Target, under, weight, with_element};
use crate::seized::{account, attempts, commitments, dir, evaluation, share, vaults};

const WORDS: [&str; 24] = [
    "seven brass kettles sing at dawn",
    "my landlord collects blue umbrellas",
    "no goose ever reads the manual",
    "thirteen lanterns on the wet pier",
    "grandmother's tractor was never red",
    "all roads lead past the bakery",
    "the moon owes me eleven crowns",
    "two left boots and a violin",
    "pickled thunder in small jars",
    "the mayor whistles out of tune",
    "a ladder too short for the apples",
    "velvet hammer under the porch",
    "counting sheep in base sixteen",
    "our ferry sails on Thursdays only",
    "half a biscuit for the lighthouse",
    "lost glove seeks honest finder",
    "green ink on the third page",
    "the choir practises in the tunnel",
    "salt the stairs before midnight",
    "a crooked sixpence in the pudding",
    "harbour cats prefer the old nets",
    "nine candles and a broken clock",
    "the postman knows about the swan",
    "copper rain on the chapel roof",
];
/// Alice's.
pub(crate) const PASSWORD: &str = WORDS[16];
/// What others tried on her account.
pub(crate) const WRONG: [&str; 2] = [WORDS[3], WORDS[21]];

fn scalar(bytes: &[u8; 32]) -> Scalar {
    Scalar::from_bytes_mod_order(*bytes)
}

fn target(vault: &Seized) -> Target {
    let (shard, id, account) = account(vault, "alice");
    let record = account.live.unwrap().record;
    let z = *vault.secrets(shard, &id, &record).unwrap().z.expose();
    Target { record, z }
}

/// Everything in one region that could be, or stand in for, a piece of the key: its own share, and every secret and every scalar that it saw.
fn scalars(mine: &Seized, relayed: &[[u8; 64]]) -> (Scalar, Vec<Scalar>) {
    let own = scalar(&share(mine, "alice").to_bytes());
    let target = target(mine);
    let index = *mine.fleet(0).unwrap().unwrap().index.expose();
    let delivery = *mine.delivery_key().unwrap().secret().unwrap();
    let seeds = attempts(mine, "alice").into_iter().take(2).map(|a| a.seed);
    let secrets: Vec<[u8; 32]> = [target.z, delivery, index].into_iter().chain(seeds).collect();
    let mut known = vec![Scalar::ZERO, Scalar::ONE, own];
    known.extend(secrets.iter().map(scalar));
    known.push(Scalar::hash_from_bytes::<Sha512>(&target.z));
    for proof in relayed {
        known.extend(proof.chunks(32).map(|half| scalar(half.try_into().unwrap())));
    }
    (own, known)
}

/// Everything public or relayed that could be k·H(word).
fn elements(mine: &Seized, all: &[Seized]) -> Vec<[u8; 32]> {
    let mut found: Vec<[u8; 32]> = Vec::new();
    for attempt in attempts(mine, "alice").iter().take(2) {
        let s = &attempt.statement;
        if found.is_empty() {
            found.extend(s.commitments.iter().map(|c| c.0));
            found.extend((1..=3).map(|i| commitments(s).public_share(bkv_core::id::Slot(i)).unwrap().0));
        }
        let betas: Vec<(u8, RistrettoPoint)> = all
            .iter()
            .map(|v| evaluation(v, "alice", attempt))
            .map(|(slot, e)| (slot.0, CompressedRistretto(e.beta.0).decompress().unwrap()))
            .collect();
        found.push(s.blinded.0);
        found.extend(betas.iter().map(|(_, b)| b.compress().0));
        // k·B: unblinded it would be k·H(password), but only the client has the factor. The seed is none.
        let (i, j) = (betas[0], betas[1]);
        let whole = weight(i.0, j.0) * i.1 + weight(j.0, i.0) * j.1;
        found.push(whole.compress().0);
        found.push((scalar(&attempt.seed).invert() * whole).compress().0);
    }
    found
}

/// Tries every word with every guess, on two threads. Gives the words that opened, with the backup key.
fn run(target: &Target, keys: &[Scalar], elements: &[[u8; 32]]) -> Vec<(&'static str, [u8; 32])> {
    let found = Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for words in WORDS.chunks(WORDS.len().div_ceil(2)) {
            let found = &found;
            s.spawn(move || {
                for word in words {
                    let guesses = keys.iter().filter_map(|k| under(word, k));
                    for pw in guesses.chain(elements.iter().map(|e| with_element(word, e))) {
                        if let Some(key) = target.open(&pw) {
                            found.lock().unwrap().push((*word, key));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// S39: an attacker with the data of one region finds nothing, whichever region it is.
pub(crate) fn s39_everything_of_one_region_tests_no_password() {
    let all = vaults();
    for (at, mine) in all.iter().enumerate() {
        let me = mine.slot().unwrap().0;
        let others: Vec<u8> = (1..=3).filter(|s| *s != me).collect();
        // As a leader it relayed the others' evaluations and proofs of every attempt.
        let first = &attempts(mine, "alice")[0];
        let relayed: Vec<[u8; 64]> = all
            .iter()
            .filter(|v| v.slot().unwrap().0 != me)
            .map(|v| evaluation(v, "alice", first).1.proof.0)
            .collect();
        let (own, known) = scalars(mine, &relayed);
        // Each as if it were the whole key; and the own share with each in the place of another region's.
        let mut keys = known.clone();
        for other in &others {
            keys.extend(known.iter().map(|g| weight(me, *other) * own + weight(*other, me) * g));
        }
        // These are the same for all regions: once is enough.
        let elements = if at == 0 { elements(mine, all) } else { Vec::new() };
        let found = run(&target(mine), &keys, &elements);
        assert!(found.is_empty(), "region {me} finds {:?}", found.iter().map(|f| f.0).collect::<Vec<_>>());
    }
}

/// The control: the data of any two regions gives the password and the key, and nothing else.
pub(crate) fn s39_with_two_regions_the_same_dictionary_finds_it() {
    let all = vaults();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let [i, j] = [a, b].map(|v: usize| all[v].slot().unwrap().0);
        let [x, y] = [a, b].map(|v: usize| scalar(&share(&all[v], "alice").to_bytes()));
        let key = weight(i, j) * x + weight(j, i) * y;
        let found = run(&target(&all[a]), &[key], &[]);
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [PASSWORD]);
        // What came out of two regions is really alice's: her own device has the same key.
        let key = hex::encode(found[0].1);
        let home = files(&dir().join("alice-home"));
        assert!(home.iter().any(|f| contains(&fs::read(f).unwrap(), key.as_bytes())), "another key: {key}");
    }
    // And the guess by an element is one: unblinded rightly, k·H(password) opens too.
    let shares =
        [0, 1].map(|v: usize| (all[v].slot().unwrap().0, scalar(&share(&all[v], "alice").to_bytes())));
    let key = weight(shares[0].0, shares[1].0) * shares[0].1 + weight(shares[1].0, shares[0].0) * shares[1].1;
    let factor = Scalar::from(77u8);
    let blinded =
        voprf::OprfClient::<voprf::Ristretto255>::deterministic_blind_unchecked(PASSWORD.as_bytes(), factor);
    let blinded = CompressedRistretto(blinded.unwrap().message.serialize().into()).decompress().unwrap();
    let unblinded = factor.invert() * (key * blinded);
    assert!(target(&all[0]).open(&with_element(PASSWORD, &unblinded.compress().0)).is_some());
}
