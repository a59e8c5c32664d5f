//! The text that people read before they sign a root document: every field, what differs from the document before, and a fingerprint. `bkv ceremony` and the
//! operator's request show the same text. Pure.
//!
//! The attacker may edit the resource or the request and wants the root's holders to sign it. The holders can only refuse what the text contains.

mod jwks;
mod papers;

use std::collections::BTreeMap;

use bkv_core::document::{Admission, JwksSource, Member, Policy};
use bkv_core::id::Time;
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_wire::documents::{Content, Shown, fingerprint};

use self::jwks::{Jwks, signing_key};
pub use self::papers::{lift_fields, root_fields};

/// One field of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in the document's format: `attempts.max`.
    pub name: String,
    /// Its value, printable ASCII.
    pub value: String,
}

/// All fields, in the order of the format.
pub fn fields(content: &Content) -> Vec<Field> {
    let mut fields = Fields(Vec::new());
    match content {
        Content::Admission(list) => fields.admission(list),
        Content::Policy(policy) => fields.policy(policy),
    }
    fields.0
}

/// The fields in which two documents differ, one line each.
pub fn changes(before: &Content, after: &Content) -> Vec<String> {
    let map = |content| fields(content).into_iter().map(|f| (f.name, f.value)).collect::<BTreeMap<_, _>>();
    let (old, new) = (map(before), map(after));
    let mut lines: Vec<String> = fields(after)
        .into_iter()
        .filter_map(|f| match old.get(&f.name) {
            Some(was) if *was == f.value => None,
            Some(was) => Some(format!("{}: was {was}, is {}", f.name, f.value)),
            None => Some(format!("{}: is new, {}", f.name, f.value)),
        })
        .collect();
    let gone = fields(before).into_iter().filter(|f| !new.contains_key(&f.name));
    lines.extend(gone.map(|f| format!("{}: was {}, is gone", f.name, f.value)));
    lines
}

/// The whole text: each field, then what differs from `before`, then the fingerprint of the signed bytes.
pub fn text(shown: &Shown, before: Option<&Content>) -> String {
    let mut lines = vec![format!("{} {}", shown.kind.name(), shown.content.number())];
    lines.extend(fields(&shown.content).into_iter().map(|f| format!("  {}: {}", f.name, f.value)));
    if let Some(before) = before {
        lines.push(format!("differs from {} {} in:", shown.kind.name(), before.number()));
        // A new document that repeats an older one shows no difference to it, although it differs from the one in force.
        if before.number().checked_add(1) != Some(shown.content.number()) {
            lines.push("  WARNING: this is not the document just before; compare with that one".to_owned());
        }
        let changes = changes(before, &shown.content);
        if changes.is_empty() {
            lines.push("  nothing".to_owned());
        }
        lines.extend(changes.into_iter().map(|line| format!("  {line}")));
    }
    lines.push(format!("fingerprint {}", body_fingerprint(shown)));
    lines.join("\n")
}

/// The fingerprint of the bytes that the root signs. Two people compare it to know that they sign the same document.
pub fn body_fingerprint(shown: &Shown) -> String {
    fingerprint(shown.kind.name(), &shown.body)
}

struct Fields(Vec<Field>);

impl Fields {
    fn put(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(Field { name: name.into(), value: value.into() });
    }

    // The patterns below have no `..`: a field that is added to a document does not compile until it is shown.
    fn admission(&mut self, list: &Admission) {
        let Admission { lineage, era, number, not_before, not_after, threshold, members, hash: _ } = list;
        self.put("lineage", lineage.to_string());
        self.put("era", era.to_string());
        self.put("number", number.to_string());
        self.put("not_before", time(*not_before));
        self.put("not_after", time(*not_after));
        self.put("threshold", format!("{threshold} of {}", members.len()));
        for member in members {
            let Member { region, slot, node, identity, delivery } = member;
            let name = |field: &str| format!("slot {slot} {field}");
            self.put(name("region"), text_value(region));
            self.put(name("node"), node.to_string());
            self.put(name("identity"), fingerprint("identity", identity));
            self.put(name("delivery"), fingerprint("delivery", delivery));
        }
    }

    fn policy(&mut self, policy: &Policy) {
        let Policy {
            lineage,
            era,
            number,
            not_before,
            not_after,
            issuer,
            vault_audience,
            chatd_audience,
            jwks,
            enrolment_claim,
            attempts,
            store_ms,
            ksf_floor,
            ksf_ceiling,
            shards,
            hash: _,
            development,
            token_max_age_ms,
            bound_tokens,
        } = policy;
        self.put("lineage", lineage.to_string());
        self.put("era", era.to_string());
        self.put("number", number.to_string());
        self.put("not_before", time(*not_before));
        self.put("not_after", time(*not_after));
        self.put("issuer", text_value(issuer));
        self.put("vault_audience", text_value(vault_audience));
        self.put("chatd_audience", text_value(chatd_audience));
        self.jwks(jwks);
        self.put("enrolment_claim", enrolment_claim.as_deref().map_or("none".to_owned(), text_value));
        let AttemptPolicy { max, lifetime_failures, waits_ms, last_try_ms, attempt_ms } = attempts;
        self.put("attempts.max", max.to_string());
        self.put("attempts.lifetime_failures", lifetime_failures.to_string());
        let waits: Vec<String> = waits_ms.iter().copied().map(period).collect();
        self.put("attempts.waits", if waits.is_empty() { "none".to_owned() } else { waits.join(", ") });
        self.put("attempts.last_try", period(*last_try_ms));
        self.put("attempts.attempt", period(*attempt_ms));
        self.put("store", period(*store_ms));
        self.put("ksf_floor", stretching(ksf_floor));
        self.put("ksf_ceiling", stretching(ksf_ceiling));
        self.put("shards", shards.to_string());
        self.put("development", if *development { "YES, it protects nobody" } else { "no" });
        self.put("token_max_age", period(*token_max_age_ms));
        self.put("bound_tokens", if *bound_tokens { "required" } else { "not required" });
    }

    fn jwks(&mut self, jwks: &JwksSource) {
        match jwks {
            JwksSource::Url(url) => self.put("jwks", format!("URL {}", text_value(url))),
            JwksSource::Inline(json) => {
                let print = fingerprint("jwks", json.as_bytes());
                match serde_json::from_str::<Jwks>(json) {
                    Ok(Jwks { keys }) => {
                        self.put("jwks", format!("{} keys, fingerprint {print}", keys.len()));
                        for (i, key) in keys.iter().enumerate() {
                            self.put(format!("jwks key {}", i + 1), signing_key(key));
                        }
                    }
                    Err(_) => self.put("jwks", format!("NOT A JWKS, fingerprint {print}")),
                }
            }
        }
    }
}

/// In quotes, which show blanks at its ends. A document's own texts are printable ASCII. Texts inside a JWKS may be anything.
fn text_value(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

fn time(at: Time) -> String {
    let ms = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    ms.map_or_else(|| format!("{} ms since 1970", at.0), |t| t.to_string())
}

fn stretching(ksf: &KsfParams) -> String {
    let KsfParams { memory_kib, passes, lanes } = ksf;
    format!("Argon2id, {memory_kib} KiB, passes {passes}, lanes {lanes}")
}

/// Exact to the millisecond: `1h 30m`.
fn period(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = ms;
    let mut parts = Vec::new();
    for (unit, size) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod shown_test;
