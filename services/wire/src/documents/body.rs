//! Bodies of the documents. Encodes drafts to the bytes that the root signs, and decodes bodies and checks every rule.

use bkv_core::document::{Admission, JwksSource, Member, Policy};
use bkv_core::id::{Era, Hash, Lineage, NodeId, Slot, Time};
use bkv_core::record::{AttemptPolicy, KsfParams};
use prost::Message as _;

use super::error::{DocumentError, field};
use crate::proto::documents as p;

const MAX_REGIONS: usize = bkv_core::bounds::REGIONS;
/// The longest name of a region. It is a label of DNS names.
const MAX_NAME: usize = 63;
/// Under a minute, clocks that differ would refuse fresh tokens.
const TOKEN_MAX_AGE_MS: std::ops::RangeInclusive<u64> = 60_000..=24 * 3_600_000;
/// DER head of a P-256 SubjectPublicKeyInfo with an uncompressed point (RFC 5480).
pub(crate) const P256_SPKI: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    3, 1, 7, 3, 0x42, 0, 4,
];

/// The input from which an admission list is made.
pub type AdmissionDraft = Admission;
/// The input from which a policy is made.
pub type PolicyDraft = Policy;

fn header(lineage: &Lineage, era: Era, number: u64, not_before: Time, not_after: Time) -> p::Header {
    p::Header {
        lineage: lineage.0.to_vec().into(),
        era: era.0,
        number,
        not_before_ms: not_before.0,
        not_after_ms: not_after.0,
    }
}

/// The body to sign. Fails unless it passes the same rules as a reader applies. Ignores `hash`, which follows from the signed bytes.
pub fn write_admission(list: &AdmissionDraft) -> Result<Vec<u8>, DocumentError> {
    let body = p::Admission {
        header: Some(header(&list.lineage, list.era, list.number, list.not_before, list.not_after)),
        threshold: u32::from(list.threshold),
        members: list
            .members
            .iter()
            .map(|m| p::Member {
                region: m.region.clone(),
                slot: u32::from(m.slot.0),
                node: m.node.0,
                identity: m.identity.clone().into(),
                delivery: m.delivery.clone().into(),
            })
            .collect(),
    }
    .encode_to_vec();
    read_admission(&body, Hash([0; 32]))?;
    Ok(body)
}

/// The body to sign. Fails unless it passes the same rules as a reader applies.
pub fn write_policy(policy: &PolicyDraft) -> Result<Vec<u8>, DocumentError> {
    let ksf = |k: &KsfParams| Some(p::Ksf { memory_kib: k.memory_kib, passes: k.passes, lanes: k.lanes });
    let body = p::Policy {
        header: Some(header(&policy.lineage, policy.era, policy.number, policy.not_before, policy.not_after)),
        issuer: policy.issuer.clone(),
        vault_audience: policy.vault_audience.clone(),
        chatd_audience: policy.chatd_audience.clone(),
        jwks: Some(match &policy.jwks {
            JwksSource::Inline(json) => p::policy::Jwks::JwksInline(json.clone()),
            JwksSource::Url(url) => p::policy::Jwks::JwksUrl(url.clone()),
        }),
        enrolment_claim: policy.enrolment_claim.clone().unwrap_or_default(),
        attempts: Some(p::Attempts {
            max: policy.attempts.max,
            lifetime_failures: policy.attempts.lifetime_failures,
            waits_ms: policy.attempts.waits_ms.clone(),
            last_try_ms: policy.attempts.last_try_ms,
            attempt_ms: policy.attempts.attempt_ms,
        }),
        store_ms: policy.store_ms,
        ksf_floor: ksf(&policy.ksf_floor),
        ksf_ceiling: ksf(&policy.ksf_ceiling),
        shards: u32::from(policy.shards),
        development: policy.development,
        token_max_age_ms: policy.token_max_age_ms,
        bound_tokens: policy.bound_tokens,
    }
    .encode_to_vec();
    read_policy(&body, Hash([0; 32]))?;
    Ok(body)
}

const fn is_of_region(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

/// Refuses everything but printable ASCII. With control characters in a name, an attacker could repaint a terminal and so show the person who signs another
/// fingerprint than the document has. Other alphabets have letters that look like ours.
fn printable(name: &'static str, text: &str) -> Result<(), DocumentError> {
    match text.chars().position(|c| !matches!(c, ' '..='~')) {
        None => Ok(()),
        Some(at) => Err(field(
            name,
            format!("character {} is not printable ASCII; write the document again without it", at + 1),
        )),
    }
}

struct Head {
    lineage: Lineage,
    era: Era,
    number: u64,
    not_before: Time,
    not_after: Time,
}

fn read_header(h: Option<p::Header>) -> Result<Head, DocumentError> {
    let h = h.ok_or_else(|| field("header", "missing"))?;
    if h.not_after_ms <= h.not_before_ms {
        return Err(field("header.not_after_ms", "must be later than not_before_ms"));
    }
    if h.number == 0 {
        return Err(field("header.number", "numbers begin with 1"));
    }
    Ok(Head {
        lineage: Lineage::try_from(&h.lineage[..]).map_err(|e| field("header.lineage", e.to_string()))?,
        era: Era(h.era),
        number: h.number,
        not_before: Time(h.not_before_ms),
        not_after: Time(h.not_after_ms),
    })
}

pub(super) fn read_admission(body: &[u8], hash: Hash) -> Result<Admission, DocumentError> {
    let a = p::Admission::decode(body)
        .map_err(|e| DocumentError::Malformed { what: "admission list", why: e.to_string() })?;
    let head = read_header(a.header)?;
    let n = a.members.len();
    if n == 0 || n > MAX_REGIONS || n.is_multiple_of(2) {
        return Err(field(
            "members",
            format!("{n} members; an odd number from 1 to {MAX_REGIONS} is needed"),
        ));
    }
    let mut members: Vec<Member> = Vec::with_capacity(n);
    for (i, m) in a.members.into_iter().enumerate() {
        let at = |what: &str| format!("members[{i}].{what}");
        if !(1..=MAX_NAME).contains(&m.region.len()) || !m.region.bytes().all(is_of_region) {
            return Err(field(
                at("region"),
                format!("1 to {MAX_NAME} of the characters a-z, 0-9 and -; rename the region"),
            ));
        }
        // Slots are x-coordinates of the shared OPRF key. The share at 0 would be the key itself. A share at a gap or a double could not be combined.
        if usize::try_from(m.slot).ok() != Some(i + 1) {
            return Err(field(
                at("slot"),
                format!("{}; members stand in the order of their slots 1..={n}", m.slot),
            ));
        }
        if m.node == 0 {
            return Err(field(at("node"), "0 is not a Raft id"));
        }
        if m.identity.len() != 91 || !m.identity.starts_with(&P256_SPKI) {
            return Err(field(at("identity"), "not the DER of an uncompressed P-256 public key"));
        }
        if m.delivery.len() != 32 {
            return Err(field(
                at("delivery"),
                format!("{} bytes; an X25519 public key has 32", m.delivery.len()),
            ));
        }
        for o in &members {
            let same = [
                (o.region == m.region, "region"),
                (o.node.0 == m.node, "node"),
                (o.identity == m.identity, "identity"),
                (o.delivery == m.delivery, "delivery"),
            ];
            if let Some((_, what)) = same.iter().find(|(same, _)| *same) {
                return Err(field(at(what), format!("the same as of slot {}", o.slot)));
            }
        }
        members.push(Member {
            region: m.region,
            slot: Slot(u8::try_from(m.slot).unwrap_or(0)),
            node: NodeId(m.node),
            identity: m.identity.to_vec(),
            delivery: m.delivery.to_vec(),
        });
    }
    let threshold = n / 2 + 1;
    if usize::try_from(a.threshold).ok() != Some(threshold) {
        return Err(field("threshold", format!("{}; for {n} members it is {threshold}", a.threshold)));
    }
    Ok(Admission {
        lineage: head.lineage,
        era: head.era,
        number: head.number,
        not_before: head.not_before,
        not_after: head.not_after,
        threshold: u8::try_from(threshold).unwrap_or(0),
        members,
        hash,
    })
}

pub(super) fn read_policy(body: &[u8], hash: Hash) -> Result<Policy, DocumentError> {
    let b = p::Policy::decode(body)
        .map_err(|e| DocumentError::Malformed { what: "policy", why: e.to_string() })?;
    let head = read_header(b.header)?;
    for (name, v) in
        [("issuer", &b.issuer), ("vault_audience", &b.vault_audience), ("chatd_audience", &b.chatd_audience)]
    {
        if v.is_empty() || v.len() > 512 {
            return Err(field(name, "1 to 512 characters"));
        }
        printable(name, v)?;
    }
    printable("enrolment_claim", &b.enrolment_claim)?;
    match &b.jwks {
        // It is JSON, which people format. It is not shown as it is: only its keys are.
        Some(p::policy::Jwks::JwksInline(json)) => {
            printable("jwks_inline", &json.replace(['\t', '\n', '\r'], " "))?;
        }
        Some(p::policy::Jwks::JwksUrl(url)) => printable("jwks_url", url)?,
        None => {}
    }
    // ChatD sees the token for ChatD's audience, so the vault must not accept that audience.
    if b.vault_audience == b.chatd_audience {
        return Err(field(
            "vault_audience",
            "must differ from chatd_audience, or ChatD could spend a person's attempts",
        ));
    }
    let jwks = match b.jwks {
        Some(p::policy::Jwks::JwksInline(j)) if !j.is_empty() => JwksSource::Inline(j),
        Some(p::policy::Jwks::JwksUrl(u)) if u.starts_with("https://") => JwksSource::Url(u),
        Some(p::policy::Jwks::JwksUrl(_)) => return Err(field("jwks_url", "must begin with https://")),
        _ => return Err(field("jwks", "either jwks_inline or jwks_url is needed")),
    };
    let a = b.attempts.ok_or_else(|| field("attempts", "missing"))?;
    if !(1..=20).contains(&a.max) {
        return Err(field("attempts.max", format!("{}; 1 to 20 is possible", a.max)));
    }
    if a.lifetime_failures < a.max {
        return Err(field(
            "attempts.lifetime_failures",
            format!("{}; at least attempts.max ({})", a.lifetime_failures, a.max),
        ));
    }
    if a.waits_ms.len() > 32 {
        return Err(field("attempts.waits_ms", "at most 32 waits"));
    }
    if a.last_try_ms == 0 || a.attempt_ms == 0 || b.store_ms == 0 {
        return Err(field("attempts.last_try_ms, attempts.attempt_ms, store_ms", "deadlines can't be zero"));
    }
    let ksf = |name: &str, k: Option<p::Ksf>| {
        k.map(|k| KsfParams { memory_kib: k.memory_kib, passes: k.passes, lanes: k.lanes })
            .ok_or_else(|| field(name, "missing"))
    };
    let (floor, ceiling) = (ksf("ksf_floor", b.ksf_floor)?, ksf("ksf_ceiling", b.ksf_ceiling)?);
    if floor.memory_kib > ceiling.memory_kib || floor.passes > ceiling.passes || floor.lanes > ceiling.lanes {
        return Err(field("ksf_floor", "above ksf_ceiling"));
    }
    if !b.development && (floor.memory_kib < 19 << 10 || floor.passes < 1 || floor.lanes < 1) {
        return Err(field(
            "ksf_floor",
            "below Argon2id with 19 MiB and one pass, which only a development policy may allow",
        ));
    }
    if !TOKEN_MAX_AGE_MS.contains(&b.token_max_age_ms) {
        return Err(field(
            "token_max_age_ms",
            format!("{}; one minute to 24 hours ({TOKEN_MAX_AGE_MS:?}) is possible", b.token_max_age_ms),
        ));
    }
    let shards = u16::try_from(b.shards).ok().filter(|s| (1..=256).contains(s));
    Ok(Policy {
        lineage: head.lineage,
        era: head.era,
        number: head.number,
        not_before: head.not_before,
        not_after: head.not_after,
        issuer: b.issuer,
        vault_audience: b.vault_audience,
        chatd_audience: b.chatd_audience,
        jwks,
        enrolment_claim: Some(b.enrolment_claim).filter(|c| !c.is_empty()),
        attempts: AttemptPolicy {
            max: a.max,
            lifetime_failures: a.lifetime_failures,
            waits_ms: a.waits_ms,
            last_try_ms: a.last_try_ms,
            attempt_ms: a.attempt_ms,
        },
        store_ms: b.store_ms,
        ksf_floor: floor,
        ksf_ceiling: ceiling,
        shards: shards.ok_or_else(|| field("shards", format!("{}; 1 to 256 is possible", b.shards)))?,
        hash,
        development: b.development,
        token_max_age_ms: b.token_max_age_ms,
        bound_tokens: b.bound_tokens,
    })
}
