use std::collections::BTreeSet;

use bkv_core::id::{Era, Hash, Lineage, NodeId, Slot};
use bkv_wire::documents::{DocumentError, Kind, show_to_sign, unsigned, write_admission, write_policy};
use serde_json::json;

use super::jwks::thumbprint;
use super::*;

/// The key of RFC 7638, section 3.1.
const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn list() -> Admission {
    let member = |n: u8| {
        let mut identity = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 3, 1, 7, 3, 0x42, 0, 4,
        ];
        identity.resize(91, n);
        Member {
            region: format!("region-{n}"),
            slot: Slot(n),
            node: NodeId(n.into()),
            identity,
            delivery: vec![n; 32],
        }
    };
    Admission {
        lineage: Lineage([7; 32]),
        era: Era(1),
        number: 3,
        not_before: Time(1_700_000_000_000),
        not_after: Time(1_800_000_000_000),
        threshold: 2,
        members: vec![member(1), member(2), member(3)],
        hash: Hash([0; 32]),
    }
}

fn keys(kid: &str, x: &str) -> JwksSource {
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]});
    JwksSource::Inline(keys.to_string())
}

fn rules() -> Policy {
    Policy {
        lineage: Lineage([7; 32]),
        era: Era(1),
        number: 3,
        not_before: Time(1_700_000_000_000),
        not_after: Time(1_800_000_000_000),
        issuer: "https://issuer.example".into(),
        vault_audience: "vault".into(),
        chatd_audience: "chatd".into(),
        jwks: keys("a", "AAAA"),
        enrolment_claim: None,
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0, 60_000],
            last_try_ms: 86_400_000,
            attempt_ms: 600_000,
        },
        store_ms: 600_000,
        ksf_floor: KsfParams { memory_kib: 19_456, passes: 2, lanes: 1 },
        ksf_ceiling: KsfParams { memory_kib: 1 << 20, passes: 10, lanes: 4 },
        shards: 4,
        hash: Hash([0; 32]),
        development: false,
        token_max_age_ms: 600_000,
        bound_tokens: false,
    }
}

fn shown(content: &Content) -> Shown {
    show_to_sign(&match content {
        Content::Admission(list) => unsigned(Kind::Admission, write_admission(list).unwrap()),
        Content::Policy(policy) => unsigned(Kind::Policy, write_policy(policy).unwrap()),
    })
    .unwrap()
}

/// Each document differs from `before` in one field. Asserts that the text names that field and no other, and that every shown field had its turn.
fn each_change_shows(before: &Content, changed: Vec<(&str, Content)>, never_alone: &[&str]) {
    let every: BTreeSet<String> = fields(before).into_iter().map(|f| f.name).collect();
    let mut turn: BTreeSet<String> = never_alone.iter().map(|name| (*name).to_owned()).collect();
    for (name, after) in changed {
        let lines = changes(before, &after);
        assert!(lines.len() == 1 && lines[0].starts_with(&format!("{name}: ")), "{name}: {lines:?}");
        let (old, new) = (text(&shown(before), None), text(&shown(&after), Some(before)));
        assert!(new.contains(&format!("\n  {}\n", lines[0])), "{name}: {new}");
        let line =
            |text: &str| text.lines().find(|l| l.starts_with(&format!("  {name}: "))).map(str::to_owned);
        assert_ne!(line(&old), line(&new), "{name}");
        assert_ne!(old.lines().last(), new.lines().last(), "{name}: the fingerprint");
        turn.insert(name.to_owned());
    }
    let missed: Vec<_> = every.difference(&turn).collect();
    assert!(missed.is_empty(), "no case for {missed:?}");
}

/// The attacker edits the resource or the request, and the holders of the root are shown the same text as before.
#[test]
fn s56_every_field_of_a_document_is_shown() {
    type Changes = Vec<(&'static str, fn(&mut Policy))>;
    let of_policy: Changes = vec![
        ("lineage", |p| p.lineage.0[31] = 0),
        ("era", |p| p.era = Era(2)),
        ("number", |p| p.number = 4),
        ("not_before", |p| p.not_before.0 += 1),
        ("not_after", |p| p.not_after.0 += 1),
        ("issuer", |p| p.issuer.push(' ')),
        ("vault_audience", |p| p.vault_audience = "vaults".into()),
        ("chatd_audience", |p| p.chatd_audience = "chatds".into()),
        ("enrolment_claim", |p| p.enrolment_claim = Some("none".into())),
        ("attempts.max", |p| p.attempts.max = 9),
        ("attempts.lifetime_failures", |p| p.attempts.lifetime_failures = 99),
        ("attempts.waits", |p| p.attempts.waits_ms[1] = 60_001),
        ("attempts.last_try", |p| p.attempts.last_try_ms += 1),
        ("attempts.attempt", |p| p.attempts.attempt_ms += 1),
        ("store", |p| p.store_ms += 1),
        ("ksf_floor", |p| p.ksf_floor.memory_kib += 1),
        ("ksf_floor", |p| p.ksf_floor.passes = 1),
        ("ksf_floor", |p| p.ksf_floor.lanes = 2),
        ("ksf_ceiling", |p| p.ksf_ceiling.memory_kib += 1),
        ("ksf_ceiling", |p| p.ksf_ceiling.passes = 9),
        ("ksf_ceiling", |p| p.ksf_ceiling.lanes = 3),
        ("shards", |p| p.shards = 5),
        ("development", |p| p.development = true),
        ("token_max_age", |p| p.token_max_age_ms += 1),
        ("bound_tokens", |p| p.bound_tokens = true),
    ];
    let by_url = |url: &str| Policy { jwks: JwksSource::Url(url.into()), ..rules() };
    let changed = of_policy.into_iter().map(|(name, change)| {
        let mut policy = by_url("https://issuer.example/keys");
        change(&mut policy);
        (name, Content::Policy(policy))
    });
    let other = ("jwks", Content::Policy(by_url("https://issuer.example/key")));
    each_change_shows(
        &Content::Policy(by_url("https://issuer.example/keys")),
        changed.chain([other]).collect(),
        &[],
    );

    type Lists = Vec<(&'static str, fn(&mut Admission))>;
    let of_list: Lists = vec![
        ("lineage", |a| a.lineage.0[31] = 0),
        ("era", |a| a.era = Era(2)),
        ("number", |a| a.number = 4),
        ("not_before", |a| a.not_before.0 += 1),
        ("not_after", |a| a.not_after.0 += 1),
        ("slot 1 region", |a| a.members[0].region = "region-0".into()),
        ("slot 1 node", |a| a.members[0].node = NodeId(9)),
        ("slot 1 identity", |a| a.members[0].identity[90] = 0),
        ("slot 1 delivery", |a| a.members[0].delivery[31] = 0),
        ("slot 2 region", |a| a.members[1].region = "region-0".into()),
        ("slot 2 node", |a| a.members[1].node = NodeId(9)),
        ("slot 2 identity", |a| a.members[1].identity[90] = 0),
        ("slot 2 delivery", |a| a.members[1].delivery[31] = 0),
        ("slot 3 region", |a| a.members[2].region = "region-0".into()),
        ("slot 3 node", |a| a.members[2].node = NodeId(9)),
        ("slot 3 identity", |a| a.members[2].identity[90] = 0),
        ("slot 3 delivery", |a| a.members[2].delivery[31] = 0),
    ];
    let before = Content::Admission(list());
    let changed = of_list.into_iter().map(|(name, change)| {
        let mut list = list();
        change(&mut list);
        (name, Content::Admission(list))
    });
    // The threshold follows from the number of members, so it never changes alone.
    each_change_shows(&before, changed.collect(), &["threshold"]);
    let mut one = list();
    (one.threshold, one.members) = (1, one.members.into_iter().take(1).collect());
    let lines = changes(&before, &Content::Admission(one));
    assert!(lines.iter().any(|l| l == "threshold: was 2 of 3, is 1 of 1"), "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("slot 3 identity: was ") && l.ends_with(", is gone")));
}

/// A JWKS with the issuer's key and one of the attacker verifies the issuer's tokens as before, so only the shown text reveals the attacker's key.
#[test]
fn s56_a_key_that_was_added_or_exchanged_is_shown() {
    let before = Content::Policy(rules());
    let both = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAA"},{"kty":"RSA","kid":"b","e":"AQAB","n":"AQ"}]}"#;
    let added = Content::Policy(Policy { jwks: JwksSource::Inline(both.into()), ..rules() });
    let lines = changes(&before, &added);
    assert!(
        lines.iter().any(|l| l.starts_with("jwks key 2: is new, kid \"b\", kty \"RSA\", thumbprint ")),
        "{lines:?}"
    );
    let exchanged = Content::Policy(Policy { jwks: keys("a", "AAAB"), ..rules() });
    let lines = changes(&before, &exchanged);
    assert!(lines.iter().any(|l| l.starts_with("jwks key 1: was kid \"a\"")), "{lines:?}");
    let key = json!({"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
    assert_eq!(thumbprint(&key).as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
    assert_eq!(thumbprint(&json!({"kty": "oct", "k": "AAAA"})), None);
}

/// Control characters could repaint a terminal and show the attacker's fingerprint in place of the real one.
#[test]
fn s56_no_control_character_is_shown() {
    let usual = text(&shown(&Content::Policy(rules())), None).lines().count();
    let clean = |text: &str| text.chars().all(|c| matches!(c, ' '..='~' | '\n'));
    for bad in ['\u{1b}', '\u{7}', '\n', '\r', '\u{7f}', '\u{9b}', '\u{202e}', 'é'] {
        let into = |text: &str| format!("{text}{bad}[2A");
        let refused = |name: &str, result: Result<Vec<u8>, DocumentError>| {
            let error = result.unwrap_err();
            assert!(matches!(&error, DocumentError::Field { field, .. } if field == name), "{name}: {error}");
            assert!(clean(&error.to_string()), "{error}");
        };
        let mut named = list();
        named.members[1].region = into("us-east");
        refused("members[1].region", write_admission(&named));
        let policy = |change: fn(&mut Policy, String)| {
            let mut policy = rules();
            change(&mut policy, into("https://x"));
            write_policy(&policy)
        };
        refused("issuer", policy(|p, text| p.issuer = text));
        refused("vault_audience", policy(|p, text| p.vault_audience = text));
        refused("chatd_audience", policy(|p, text| p.chatd_audience = text));
        refused("enrolment_claim", policy(|p, text| p.enrolment_claim = Some(text)));
        refused("jwks_url", policy(|p, text| p.jwks = JwksSource::Url(text)));
        // Inside the JSON of a JWKS the character may be escaped. It is shown escaped.
        let kid = serde_json::to_string(&into("kid")).unwrap();
        let escaped: String = kid
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
            .collect();
        let escaped = escaped.replace('\u{7f}', "\\u007f");
        let json = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":{escaped}}}]}}"#);
        let policy = Content::Policy(Policy { jwks: JwksSource::Inline(json), ..rules() });
        let text = text(&shown(&policy), None);
        assert!(clean(&text) && text.lines().count() == usual, "{text}");
    }
    let raw = Policy { jwks: JwksSource::Inline("{\"keys\":[{\"kid\":\"\u{202e}\"}]}".into()), ..rules() };
    assert!(matches!(write_policy(&raw), Err(DocumentError::Field { field, .. }) if field == "jwks_inline"));
}

#[test]
fn periods_are_exact() {
    for (ms, want) in [(0, "0s"), (1, "1ms"), (90_000, "1m 30s"), (90_061_001, "1d 1h 1m 1s 1ms")] {
        assert_eq!(period(ms), want);
    }
}
