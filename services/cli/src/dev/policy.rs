//! The policy of a local fleet.

use bkv_admin_api::draft::PolicyWish;
use bkv_core::document::{JwksSource, Policy};
use bkv_core::id::Time;
use bkv_core::record::{AttemptPolicy, KsfParams};
use bkv_tokens::dev::{CHATD_AUDIENCE, ISSUER, VAULT_AUDIENCE};
use bkv_wire::documents::Root;

use super::plan::PolicyPlan;

const MINUTE_MS: u64 = 60_000;

/// Shorter periods than in production, so that tests need not wait.
pub(super) fn policy(shards: u16, wishes: &PolicyPlan, root: &Root, jwks: String, now: Time) -> Policy {
    let wish = PolicyWish {
        issuer: ISSUER.into(),
        vault_audience: VAULT_AUDIENCE.into(),
        chatd_audience: CHATD_AUDIENCE.into(),
        jwks: JwksSource::Inline(jwks),
        enrolment_claim: None,
        max: 10,
        lifetime_failures: wishes.lifetime_failures,
        waits_ms: wishes.waits_ms.clone(),
        // For trials by hand: people keep a token in a file.
        token_max_age_ms: 24 * 60 * MINUTE_MS,
        bound_tokens: wishes.bound_tokens,
        shards,
        development: true,
    };
    let usual = wish.draft(root, 1, now);
    let none = KsfParams { memory_kib: 0, passes: 0, lanes: 0 };
    Policy {
        attempts: AttemptPolicy { last_try_ms: wishes.last_try_ms, attempt_ms: MINUTE_MS, ..usual.attempts },
        store_ms: MINUTE_MS,
        ksf_floor: if wishes.no_ksf { none } else { usual.ksf_floor },
        ..usual
    }
}
