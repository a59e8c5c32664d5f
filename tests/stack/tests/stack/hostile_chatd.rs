//! What an attacker who runs ChatD sees and can do during an account's whole life: a proxy between ChatD and the vaults, with all of ChatD's keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bkv_core::document::{Admission, Policy};
use bkv_core::id::{FleetId, Time};
use bkv_core::statement::route;
use bkv_mtls::{ClientRole, Files, Identity, Role};
use bkv_net::frames;
use bkv_stack_tests::chatd::Chatd;
use bkv_stack_tests::issuer::ISSUER;
use bkv_stack_tests::relay_proxy::{Meddle, RelayProxies, Seen};
use bkv_stack_tests::{Account, Fleet, RIGHT, contains, files};
use bkv_wire::documents::{Kind, Root, RootKey, add_signature, unsigned, write_admission, write_policy};
use bkv_wire::frame::MAX_FRAME;
use bkv_wire::proto::outer::frame::Body;
use bkv_wire::proto::outer::{self as o};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use prost::Message as _;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use zeroize::Zeroizing;

const NEXT: &str = "brisk heron folds a paper lantern";
const WRONG: &str = "wrong password entirely";

fn record_only() -> Meddle {
    Arc::new(|_, _| true)
}

/// The opaque bytes of each stream, by direction, in the order of sending.
fn streams(seen: &[Seen]) -> BTreeMap<(String, u64, bool), Vec<Bytes>> {
    let mut all: BTreeMap<_, Vec<Bytes>> = BTreeMap::new();
    for s in seen {
        if let Some(Body::Data(data)) = &s.frame.body {
            all.entry((s.region.clone(), s.frame.stream, s.up)).or_default().push(data.clone());
        }
    }
    all
}

/// Every byte of a stream lies in TLS records; gives their types.
fn record_types(bytes: &[u8]) -> Vec<u8> {
    let (mut types, mut rest) = (Vec::new(), bytes);
    while let [kind, 3, 1 | 3, a, b, more @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        types.push(*kind);
        rest = more.get(len..).expect("whole records");
    }
    assert!(rest.is_empty(), "bytes that are no TLS record: {:?}", &rest[..rest.len().min(16)]);
    types
}

/// What a backup sends to the vault: the hash of its ledger, which the ledger's name has, and V, which the writer's state has: field 2, 32 bytes of CBOR.
fn named_to_the_vault(cloud: &Path, writers: &Path) -> (String, String) {
    let ledgers = files(cloud).into_iter().filter(|path| path.parent().unwrap().ends_with("ledgers"));
    let name = ledgers.max().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let state = files(writers).into_iter().find(|path| path.ends_with("state")).unwrap();
    let state = fs::read(state).unwrap();
    let at = state.windows(3).position(|bytes| bytes == [0x02, 0x58, 0x20]).unwrap() + 3;
    let digits = state[at..at + 32].iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let v = digits.map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect();
    (name.split('-').nth(1).unwrap().to_owned(), v)
}

/// S05: the proxies record the whole life of an account. The recording contains no secret, and each stream is TLS between client and vault: a hello each way,
/// then only application data.
#[tokio::test(flavor = "multi_thread")]
async fn s05_a_whole_life_reveals_nothing_to_chatd() {
    let fleet = Fleet::up();
    let proxies = RelayProxies::before(&fleet, record_only()).await;
    let chatd = Chatd::start(&fleet, "proxied", |t| proxies.redirect(t));
    let alice = chatd.serves(fleet.account("alice"));
    alice.run(&["register"], "home", Some(RIGHT)).expect(0);
    let (cloud, source) = (fleet.path("cloud"), fleet.path("diary"));
    fs::create_dir(&cloud).unwrap();
    fs::create_dir(&source).unwrap();
    fs::write(source.join("today.txt"), "dear diary").unwrap();
    let args = ["backup", source.to_str().unwrap(), "--to", cloud.to_str().unwrap()];
    assert_eq!(alice.run(&args, "home", None).expect(0).json["named_at_vault"], true);
    let path = fleet.path("alice-home/device.json");
    let mut device: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (ledger, v) = named_to_the_vault(&cloud, &fleet.path("alice-home/writers"));
    (device["hash"], device["V"]) = (ledger.into(), v.into());
    alice.recover("phone", RIGHT).expect(0);
    alice.recover("thief", WRONG).expect(10);
    let next = fleet.path("next.password");
    fs::write(&next, NEXT).unwrap();
    alice
        .run(&["password", "change", "--new-password-file", next.to_str().unwrap()], "phone", Some(RIGHT))
        .expect(0);
    alice.recover("tablet", NEXT).expect(0);
    alice.run(&["status"], "tablet", None).expect(0);
    alice.run(&["delete", "--yes"], "tablet", None).expect(0);

    let seen = proxies.seen();
    let all: Vec<u8> = seen.iter().flat_map(|s| s.frame.encode_to_vec()).collect();
    assert!(all.len() > 10_000, "something was recorded: {} bytes", all.len());
    // The control: the recording contains what ChatD does know.
    assert!(contains(&all, &route(ISSUER, "alice").0));
    let tokens: Value = serde_json::from_slice(&fs::read(&alice.token).unwrap()).unwrap();
    let vault_token = tokens["vault"].as_str().unwrap();
    let mut secrets: Vec<(String, Vec<u8>)> = [RIGHT, WRONG, NEXT, "alice", "dear diary", vault_token]
        .iter()
        .chain(&vault_token.split('.').collect::<Vec<_>>())
        .map(|s| ((*s).to_owned(), s.as_bytes().to_vec()))
        .collect();
    for field in ["key", "account", "series", "hash", "V"] {
        let text = device[field].as_str().unwrap();
        let Ok(bytes) = hex(text) else { continue };
        secrets.push((format!("{field} in hex"), text.as_bytes().to_vec()));
        secrets.push((format!("{field} in base64"), STANDARD.encode(&bytes).into_bytes()));
        secrets.push((format!("{field} in base64url"), URL_SAFE_NO_PAD.encode(&bytes).into_bytes()));
        secrets.push((field.to_owned(), bytes));
    }
    for (what, secret) in &secrets {
        if !secret.is_empty() {
            assert!(!contains(&all, secret), "{what} went through ChatD in the clear");
        }
    }
    let streams = streams(&seen);
    assert!(streams.len() >= 14, "{}", streams.len());
    for ((region, stream, up), data) in &streams {
        let types = record_types(&data.concat());
        // 22: the one hello that TLS 1.3 sends in the clear. 20: its compatibility record. 23: encrypted, to the end.
        assert_eq!(types.first(), Some(&22), "{region} {stream} {up}");
        let rest: Vec<u8> = types.iter().skip(1).copied().filter(|t| *t != 20).collect();
        assert!(
            rest.iter().all(|t| *t == 23) && (!up || !rest.is_empty()),
            "{region} {stream} {up}: {types:?}"
        );
    }
}

fn hex(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16)).collect()
}

/// S05: an attacker with ChatD's keys replays a client's recorded bytes to every vault on new streams. They get no answer and change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn s05_replayed_frames_get_nothing_and_spend_nothing() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let proxies = RelayProxies::before(&fleet, record_only()).await;
    let chatd = Chatd::start(&fleet, "proxied", |t| proxies.redirect(t));
    let alice = chatd.serves(fleet.registered("alice"));
    alice.recover("thief", WRONG).expect(10);
    alice.recover("phone", RIGHT).expect(0);
    alice.recover("thief", WRONG).expect(10);
    let before = attested(&alice);
    let mut played = 0;
    for ((_, _, up), data) in streams(&proxies.seen()) {
        if !up {
            continue;
        }
        for region in fleet.regions() {
            let answers = play(&fleet, &region, &data).await;
            let types: Vec<u8> = record_types(&answers.concat());
            // The vault's own hello and handshake with fresh keys, which the old bytes do not fit: then an alert and the end. A second flight
            // of application data would be an answer to what is inside.
            let hellos: Vec<&u8> = types.iter().filter(|t| **t == 22).collect();
            assert!(hellos.len() <= 1, "{types:?}");
            assert!(answers.len() <= 2, "{} answers", answers.len());
            played += usize::from(!answers.is_empty());
        }
    }
    assert!(played >= 3, "the leader at least began a handshake each time: {played}");
    assert_eq!(attested(&alice), before);
    assert_eq!(alice.tries_left(), 9);
}

/// What the vaults sign about the account, without the fields that are new in each answer.
fn attested(account: &Account<'_>) -> Value {
    let status = account.run(&["status"], "asker", None).expect(0).json;
    serde_json::json!([status["tries_left"], status["generation"], status["ordinal"], status["state"]])
}

/// Plays client bytes to a vault on a link of our own, as ChatD; what comes back on the stream.
async fn play(fleet: &Fleet, region: &str, data: &[Bytes]) -> Vec<Bytes> {
    let identity = Identity::load(Files::in_directory(&fleet.dir().join("chatd"))).unwrap();
    let tls = ClientRole::new(identity, Role::Vault).named(region).build().unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", fleet.port(region, "relay"))).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(tls);
    let mut link = connector.connect(ServerName::try_from("vault").unwrap(), tcp).await.unwrap();
    let mut words = BytesMut::new();
    let open = Body::Open(o::Open { route: route(ISSUER, "alice").0.to_vec().into(), ..Default::default() });
    for body in [open].into_iter().chain(data.iter().cloned().map(Body::Data)) {
        frames::put(&mut words, &o::Frame { stream: 5, body: Some(body) }).unwrap();
    }
    link.write_all(&words).await.unwrap();
    let (mut incoming, mut answers) = (frames::reader::<_, o::Frame>(link, MAX_FRAME), Vec::new());
    loop {
        let next = timeout(Duration::from_secs(20), incoming.next()).await;
        let f = next.expect("an end of the stream in time").expect("the link stands").unwrap();
        match f.body {
            Some(Body::Data(data)) if f.stream == 5 => answers.push(data),
            Some(Body::Close(_) | Body::NotLeader(_) | Body::Reset(_)) if f.stream == 5 => return answers,
            _ => {}
        }
    }
}

/// S05: a bit that an attacker flips on the way ends that channel only. The client repeats over another channel, and no try is spent or given.
#[tokio::test(flavor = "multi_thread")]
async fn s05_flipped_bits_end_one_channel_and_spend_nothing() {
    let fleet = Fleet::with(&["--no-postgres"]);
    // Counts down the frames of each direction; at zero the middle of that one is hit.
    let aim: Arc<[AtomicUsize; 2]> = Arc::new([AtomicUsize::new(usize::MAX), AtomicUsize::new(usize::MAX)]);
    let hits = Arc::new(AtomicUsize::new(0));
    let (aimed, hit) = (aim.clone(), hits.clone());
    let meddle: Meddle = Arc::new(move |up, f| {
        if let Some(Body::Data(data)) = &mut f.body
            && aimed[usize::from(up)].fetch_sub(1, Ordering::Relaxed) == 1
        {
            let mut bytes = data.to_vec();
            let at = bytes.len() / 2;
            bytes[at] ^= 0x10;
            *data = bytes.into();
            hit.fetch_add(1, Ordering::Relaxed);
        }
        true
    });
    let proxies = RelayProxies::before(&fleet, meddle).await;
    let chatd = Chatd::start(&fleet, "proxied", |t| proxies.redirect(t));
    let alice = chatd.serves(fleet.registered("alice"));
    let bob = chatd.serves(fleet.registered("bob"));
    for up in [true, false] {
        for n in 1..=6 {
            aim[usize::from(up)].store(n, Ordering::Relaxed);
            alice.recover("phone", RIGHT).expect(0);
            aim[usize::from(up)].store(usize::MAX, Ordering::Relaxed);
            assert_eq!(alice.tries_left(), 10, "up {up}, frame {n}");
        }
    }
    assert!(hits.load(Ordering::Relaxed) >= 8, "{hits:?} frames were hit");
    // A wrong guess during bit flips costs one try, and costs another account none.
    aim[1].store(3, Ordering::Relaxed);
    aim[0].store(3, Ordering::Relaxed);
    alice.recover("thief", WRONG).expect(10);
    assert_eq!(alice.tries_left(), 9);
    assert_eq!(bob.tries_left(), 10);
}

/// The fleet's documents again, changed and signed by a key.
fn bundle(
    root: &Root,
    key: &RootKey,
    list: &Admission,
    policy: &Policy,
    change: impl Fn(&mut u64, &mut Time),
) -> o::Bundle {
    let (mut list, mut policy) = (list.clone(), policy.clone());
    for (lineage, number, not_after) in [
        (&mut list.lineage, &mut list.number, &mut list.not_after),
        (&mut policy.lineage, &mut policy.number, &mut policy.not_after),
    ] {
        *lineage = root.lineage();
        change(number, not_after);
    }
    let sign = |kind, body| add_signature(kind, &unsigned(kind, body), key).unwrap().into();
    o::Bundle {
        admission: sign(Kind::Admission, write_admission(&list).unwrap()),
        policy: sign(Kind::Policy, write_policy(&policy).unwrap()),
        region: String::new(),
    }
}

/// S06: an attacker who runs ChatD, a vault or the network serves other documents than the root's newest: another root's, documents signed by another key,
/// expired ones, ones with a flipped bit, or older ones. `bkv` ends with 16, and no try is spent.
#[tokio::test(flavor = "multi_thread")]
async fn s06_clients_refuse_every_other_bundle() {
    let fleet = Fleet::with(&["--no-postgres"]);
    let documents = fleet.documents().await;
    let (list, policy, root) = (documents.admission, documents.policy, fleet.root());
    let seed = Zeroizing::new(fs::read(fleet.dir().join("root.key")).unwrap());
    let key = RootKey::from_seed(&Zeroizing::new(seed.as_slice().try_into().unwrap()));
    let other = RootKey::from_seed(&Zeroizing::new([9; 32]));
    let other_root = Root { keys: vec![other.public()], fleet: FleetId([3; 16]), ..root.clone() };

    let served: Arc<Mutex<Option<o::Bundle>>> = Arc::default();
    let serve = served.clone();
    let meddle: Meddle = Arc::new(move |up, f| {
        if let (false, Some(Body::Bundle(b)), Some(instead)) =
            (up, &mut f.body, serve.lock().unwrap().clone())
        {
            *b = instead;
        }
        true
    });
    let proxies = RelayProxies::before(&fleet, meddle).await;
    let set = |b: &o::Bundle| *served.lock().unwrap() = Some(b.clone());
    // A ChatD of its own for each: it keeps a bundle for a while.
    let mut n = 0;
    let mut fresh = |b: &o::Bundle| {
        set(b);
        n += 1;
        Chatd::start(&fleet, &format!("lies-{n}"), |t| proxies.redirect(t))
    };

    let same = bundle(&root, &key, &list, &policy, |_, _| {});
    let newer = bundle(&root, &key, &list, &policy, |number, _| *number = 2);
    let expired =
        bundle(&root, &key, &list, &policy, |_, not_after| *not_after = Time(list.not_before.0 + 1));
    let strangers = bundle(&other_root, &other, &list, &policy, |_, _| {});
    let forged = bundle(&root, &other, &list, &policy, |_, _| {});
    let mut flipped = same.clone();
    let mut bytes = flipped.admission.to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    flipped.admission = bytes.into();
    let mut mixed = same.clone();
    mixed.policy.clone_from(&strangers.policy);
    let nothing =
        o::Bundle { admission: same.policy.clone(), policy: same.admission.clone(), ..same.clone() };

    // The control: the client accepts the same documents signed again, and remembers them once they are newer.
    let chatd = fresh(&newer);
    let alice = chatd.serves(fleet.registered("alice"));
    alice.recover("phone", RIGHT).expect(0);
    let lies = [
        ("another root's", &strangers),
        ("another key's signature", &forged),
        ("expired", &expired),
        ("a bit flipped", &flipped),
        ("another root's policy", &mixed),
        ("one in the other's place", &nothing),
    ];
    for (what, lie) in lies {
        let chatd = fresh(lie);
        let alice = chatd.serves(fleet.account("alice"));
        let answer = alice.run(&["recover", "--yes", "--timeout", "10"], "new device", Some(RIGHT));
        assert_eq!(answer.code, 16, "{what}: {} {}", answer.json, answer.stderr);
    }
    let chatd = fresh(&same);
    let alice = chatd.serves(fleet.account("alice"));
    alice.run(&["recover", "--yes", "--timeout", "10"], "phone", Some(RIGHT)).expect(16);
    // A device that never saw the newer bundle can't detect the rollback.
    alice.recover("another device", RIGHT).expect(0);
    assert_eq!(alice.tries_left(), 10);
}
