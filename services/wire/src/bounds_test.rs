use prost::Message as _;

use super::*;
use crate::proto::inner as p;

fn zeros(n: usize) -> bytes::Bytes {
    vec![0xff; n].into()
}

fn proof() -> p::Proof {
    p::Proof { key: zeros(65), signature: zeros(64) }
}

fn owner() -> p::OwnerSignature {
    p::OwnerSignature { operation: zeros(16), expires_ms: u64::MAX, signature: zeros(64) }
}

/// One request of each kind, each field as long as it can be.
fn largest() -> Vec<Operation> {
    let share = p::SealedShare { slot: 255, enc: zeros(SHARE_KEY), ct: zeros(SHARE_TEXT) };
    let ack = p::Acknowledgement { slot: 255, certificate: zeros(CERTIFICATE), signature: zeros(64) };
    vec![
        Operation::Open(p::Open {
            token: "t".repeat(TOKEN),
            nonce: zeros(32),
            attest: true,
            all: true,
            proof: Some(proof()),
        }),
        Operation::RegisterStart(p::RegisterStart { request: zeros(REGISTRATION_REQUEST) }),
        Operation::Store(p::Store {
            request: zeros(REGISTRATION_REQUEST),
            response: zeros(REGISTRATION_RESPONSE),
            record: zeros(RECORD),
            shares: vec![share; REGIONS],
            owner: Some(owner()),
            proof: Some(proof()),
        }),
        Operation::Confirm(p::Confirm {
            reg_id: zeros(16),
            record: zeros(32),
            acknowledgements: vec![ack; REGIONS],
            signature: zeros(64),
            subject: zeros(32),
        }),
        Operation::Begin(p::Begin {
            attempt: zeros(16),
            blinded: zeros(32),
            cancel: zeros(32),
            may_be_last: true,
            proof: Some(proof()),
        }),
        Operation::MoreEvaluations(p::MoreEvaluations { attempt: zeros(16) }),
        Operation::KeyExchange(p::KeyExchange { attempt: zeros(16), ke1: zeros(KE1) }),
        Operation::GiveUp(p::GiveUp { attempt: zeros(16), cancel: zeros(32) }),
        Operation::Finish(p::Finish {
            attempt: zeros(16),
            ke1: zeros(KE1),
            ke2: zeros(KE2),
            ke3: zeros(KE3),
        }),
        Operation::SetLedger(p::SetLedger {
            writer: zeros(16),
            expected: zeros(32),
            counter: u64::MAX,
            hash: zeros(32),
            v: zeros(32),
            owner: Some(owner()),
        }),
        Operation::Delete(p::Delete { owner: Some(owner()) }),
        Operation::Attest(p::Attest { nonce: zeros(32), all: true }),
        Operation::ForgetWriter(p::ForgetWriter {
            writer: zeros(16),
            expected: zeros(32),
            owner: Some(owner()),
        }),
        Operation::ReadLedgers(p::ReadLedgers { signature: zeros(64) }),
    ]
}

/// A new operation must get its largest request in `largest`, and its name is that of the message.
#[test]
fn each_operation_of_the_message_has_its_largest_request_and_its_name() {
    let proto = include_str!("../proto/inner.proto");
    let (_, arms) = proto.split_once("oneof operation {").unwrap();
    let (arms, _) = arms.split_once('}').unwrap();
    let arms: Vec<&str> = arms.lines().filter_map(|arm| arm.split_whitespace().nth(1)).collect();
    let names: Vec<&str> = largest().iter().map(|operation| of(operation).0).collect();
    assert_eq!(names, arms);
}

/// S50: a bound is neither smaller than a request can be, nor much larger.
#[test]
fn s50_the_largest_request_of_each_kind_fits_and_little_more() {
    for operation in largest() {
        let (kind, most) = of(&operation);
        let request = p::Request { protocol: 1, id: u64::MAX, operation: Some(operation.clone()) };
        let len = request.encoded_len();
        assert_eq!(check(&operation, len), Ok(()), "{kind}");
        assert!(len + ROOM / 2 <= most, "{kind}: no room for later fields: {len} of {most}");
        assert!(most <= len + len / 4 + ROOM, "{kind}: {most} for at most {len}");
        let refused = check(&operation, most + 1).unwrap_err();
        assert_eq!(refused.to_string(), format!("{kind} has {} bytes, at most {most} are allowed", most + 1));
    }
}
