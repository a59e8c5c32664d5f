//! Frames of the outer path, between a client, ChatD and a vault.

use arbitrary::Arbitrary;
use bkv_simulation::Simulation;
use bkv_wire::channel::{Channel, ClientSettings};
use bkv_wire::proto::outer as o;
use bkv_wire::proto::outer::frame::Body;
use prost::Message as _;

use crate::change::{Change, changed};
use crate::numbers::Number;
use crate::vaults::Vaults;

/// One frame.
#[derive(Arbitrary, Debug)]
pub struct Sent {
    /// Few streams, so that frames meet.
    stream: u8,
    any: Option<Number>,
    kind: Kind,
    changes: Vec<Change>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Open {
        route: Route,
        /// Regions to pass over.
        not: u8,
    },
    /// The first message of an inner handshake.
    Hello,
    Data(Vec<u8>),
    LongData(u16),
    Close,
    Reset(i32),
    NotLeader,
    Subscribe {
        shard: Number,
        after: Number,
    },
    Credit(Number),
    Ping(Number),
    Bundle,
    Greeting {
        shards: Number,
    },
    Pong(Number),
    Event {
        shard: Number,
        cursor: Number,
    },
    Page {
        events: u8,
        last: bool,
    },
    FeedEnd,
    /// The fleet's documents, or other bytes.
    Documents {
        genuine: bool,
    },
    Relayed,
    Bytes(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Route {
    Attacked,
    Any([u8; 4]),
    Short(u8),
}

/// The frame's bytes. It is of one of four streams, of which `newest` is the last, or of any.
pub fn encoded(vaults: &Vaults, sent: &Sent, newest: u64) -> Vec<u8> {
    let body = match &sent.kind {
        Kind::Open { route, not } => Body::Open(o::Open {
            route: match route {
                Route::Attacked => Simulation::route(&vaults.person).0.to_vec(),
                Route::Any(bytes) => bytes.repeat(8),
                Route::Short(n) => vec![1; (*n).into()],
            }
            .into(),
            not: (0..*not).map(|i| format!("region-{i}")).collect(),
        }),
        Kind::Hello => Body::Data(hello().into()),
        Kind::Data(bytes) => Body::Data(bytes.clone().into()),
        Kind::LongData(n) => Body::Data(vec![0x16; (*n).into()].into()),
        Kind::Close => Body::Close(o::Close {}),
        Kind::Reset(reason) => Body::Reset(o::Reset { reason: *reason }),
        Kind::NotLeader => Body::NotLeader(o::NotLeader { region: "region-1".into() }),
        Kind::Subscribe { shard, after } => {
            Body::Subscribe(o::Subscribe { shard: shard.value() as u32, after: after.value() })
        }
        Kind::Credit(n) => Body::FeedCredit(o::FeedCredit { frames: n.value() as u32 }),
        Kind::Ping(id) => Body::Ping(o::Ping { id: id.value() }),
        Kind::Bundle => Body::GetBundle(o::GetBundle {}),
        Kind::Greeting { shards } => Body::Hello(o::Hello {
            region: "region-0".into(),
            shards: shards.value() as u32,
            leaders: vec![o::Leadership { shard: 0, region: "region-2".into() }],
        }),
        Kind::Pong(id) => Body::Pong(o::Pong { id: id.value() }),
        Kind::Event { shard, cursor } => Body::Event(o::Event {
            shard: shard.value() as u32,
            cursor: cursor.value(),
            ..o::Event::default()
        }),
        Kind::Page { events, last } => Body::ScanPage(o::ScanPage {
            events: vec![vec![1; 64].into(); (*events).into()],
            last: *last,
            ..o::ScanPage::default()
        }),
        Kind::FeedEnd => Body::FeedEnd(o::FeedEnd { shard: 0, reason: "not the leader".into() }),
        Kind::Documents { genuine } => {
            let documents = &vaults.sim.documents;
            let bytes = |of: &Vec<u8>| if *genuine { of.clone() } else { vec![1; of.len()] };
            Body::Bundle(o::Bundle {
                admission: bytes(&documents.admission).into(),
                policy: bytes(&documents.policy).into(),
                ..o::Bundle::default()
            })
        }
        Kind::Relayed => Body::Relayed(o::Relayed { region: "region-1".into() }),
        Kind::Bytes(bytes) => return bytes.clone(),
    };
    let one = newest.saturating_sub(3) + u64::from(sent.stream % 4);
    let stream = sent.any.map_or(one, Number::value);
    changed(o::Frame { stream, body: Some(body) }.encode_to_vec(), &sent.changes)
}

/// The first message of an inner handshake.
pub fn hello() -> Vec<u8> {
    let settings = ClientSettings::new(vec![vec![0; 91]]).unwrap();
    Channel::client(&settings).unwrap().take_outgoing()
}
