//! One pass over one resource: observe, validate, decide and plan, apply, status. A fault in one step is said in the status; only what says nothing about
//! the resource (the API server is away) is an error, and tried again with growing pauses.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bkv_core::document::JwksSource as SignedJwks;
use bkv_core::id::{Slot, Time as Millis};
use bkv_wire::documents::{Root, admission, fingerprint, policy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Api;
use kube::runtime::controller::Action as Next;
use kube::{Resource as _, ResourceExt as _};
use tokio::time::Instant;

use super::act::{act, custody};
use super::announce;
use super::pki::{self, CertificateError};
use super::read;
use super::secrets::{Secrets, new_id};
use super::tell;
use super::world::{Dropped, Memory, World, now};
use crate::apply::{ApplyError, Owner, Wanted};
use crate::bootstrap::{Decision, Facts, Verdict, Wait, decide};
use crate::documents::PolicyWish;
use crate::journal::{Journal, Pinned, Stage};
use crate::kinds::Kind;
use crate::observe::Observed;
use crate::plan::{self, Content, Input, Kinds, Object};
use crate::resource::{BackupKeyVault, BackupKeyVaultStatus};
use crate::status::conditions::{ACCEPTED, Finding, READY, RECONCILING, STALLED, merge};
use crate::status::{Pass, Trouble, status, unread};
use crate::validate::{Fleet, JwksSource, Postgres, Refusal, RootCustody, validate};

/// After something was done there is usually more.
const SOON: Duration = Duration::from_millis(300);
/// While something is on its way.
const WHILE_WORKING: Duration = Duration::from_secs(2);
/// ChatD's health port.
const CHATD_HEALTH: u16 = 9090;
/// More is no answer of ChatD.
const MOST_METRICS: usize = 1 << 20;
/// For so long after something has moved the next look comes soon.
const LIVELY: Duration = Duration::from_mins(2);
/// A wait that lasts longer is a stall.
const PATIENCE: i64 = 600;

/// A pass that could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("the status can't be written")]
    Status(#[source] kube::Error),
}

/// One pass.
pub(super) async fn reconcile(resource: Arc<BackupKeyVault>, world: Arc<World>) -> Result<Next, PassError> {
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let uid = resource.uid().unwrap_or_default();
    if resource.metadata.deletion_timestamp.is_some() {
        // Retain: what holds keys is owned by nobody and stays; the collector takes the rest.
        world.forget(&namespace, &name);
        return Ok(Next::await_change());
    }
    let before = resource.status.clone().unwrap_or_default();
    match validate(&resource) {
        Err(refusals) => {
            let mut memory = world.recall(&namespace, &name, &uid);
            let before = memory.completed(before);
            let after = refused(&resource, &before, &refusals);
            let written = write(&world, &resource, &before, &after, &mut memory).await;
            world.remember(&namespace, &name, memory);
            written.map(|()| Next::requeue(world.resync))
        }
        Ok(fleet) => {
            let mut memory = world.recall(&namespace, &name, &uid);
            let before = memory.completed(before);
            let began = Instant::now();
            let done = pass(&world, &resource, &fleet, &before, &mut memory).await;
            world.remember(&namespace, &name, memory);
            done.map(|pause| Next::requeue(world.fair(pause, began.elapsed())))
        }
    }
}

async fn pass(
    world: &World,
    resource: &BackupKeyVault,
    fleet: &Fleet,
    before: &BackupKeyVaultStatus,
    memory: &mut Memory,
) -> Result<Duration, PassError> {
    let at = now();
    let mut observed = match read::cluster(world, fleet).await {
        Ok(observed) => observed,
        Err(e) => {
            // Somebody else's ConfigMap in the place of the journal, or no right to look: nothing is done on half a view.
            let after = unread(before, fleet.generation, &trouble(e)?, &Time(at));
            write(world, resource, before, &after, memory).await?;
            world.metrics.show(&fleet.namespace, fleet.name.as_str(), &after);
            return Ok(world.resync);
        }
    };
    let mut troubles = Vec::new();
    let mut changed = false;
    // Certificates and Secrets come first: pods wait for them.
    let certificates = if fleet.paused {
        memory.pki.as_ref().map(|(_, _, known)| known.clone())
    } else {
        match pki::ensure(world, fleet, memory).await {
            Ok(known) => Some(known),
            Err(CertificateError::Apply(e)) => {
                troubles.push(trouble(e)?);
                None
            }
            Err(e) => {
                // The ones from before still open the doors: a fleet that serves is not called down for this.
                troubles.push(e.trouble(fleet));
                memory.pki.as_ref().map(|(_, _, known)| known.clone())
            }
        }
    };
    // Only while there can be no token that an earlier PIN opens.
    let new = matches!(&observed.journal, Ok(None))
        || matches!(&observed.journal, Ok(Some(j)) if j.stage == Stage::Begun);
    let may_make = new && observed.claims.iter().all(|c| !c.bound);
    let (mut external_ca, mut external_port) = (false, None);
    if !fleet.paused {
        let secrets = Secrets::of(world, fleet);
        match secrets.pins(may_make).await {
            Ok(found) => troubles.extend(found),
            Err(e) => troubles.push(trouble(e)?),
        }
        match secrets.database().await {
            Ok((found, ca, port)) => {
                troubles.extend(found);
                (external_ca, external_port) = (ca, port);
            }
            Err(e) => troubles.push(trouble(e)?),
        }
    }
    if let Some(known) = &certificates {
        read::vaults(fleet, known, memory, &mut observed).await;
    }
    let (journal, decision) = decided(world, fleet, &observed, at.as_millisecond())?;
    let content = Content {
        root: observed.root.clone(),
        jwks: observed.jwks.clone().or_else(|| observed.served_jwks.clone()),
        external_uri_ca: external_ca,
        external_port,
    };
    let planned = journal.as_ref().map(|j| objects(world, fleet, j, &observed, &content)).unwrap_or_default();
    let harmless = !matches!(decision.verdict, Verdict::Lost | Verdict::Contradiction);
    if !fleet.paused {
        if harmless && journal.is_some() {
            let owner = Owner {
                namespace: fleet.namespace.clone(),
                name: fleet.name.to_string(),
                uid: fleet.uid.clone(),
            };
            for object in &planned {
                match apply(world, &owner, object).await {
                    Ok(wrote) => changed |= wrote,
                    Err(e) => troubles.push(trouble(e)?),
                }
            }
            // Only after a whole plan: a half one would take away what it did not come to.
            if troubles.is_empty() {
                let keep: BTreeSet<_> = planned.iter().map(|o| (o.kind, o.name.clone())).collect();
                match world.applier.prune(&owner, &keep).await {
                    Ok(gone) => changed |= !gone.is_empty(),
                    Err(e) => troubles.push(trouble(e)?),
                }
            }
        }
        for action in decision.actions.clone() {
            let step = action.name();
            match act(world, fleet, memory, journal.as_ref(), &observed.request, action).await {
                Ok(wrote) => {
                    if wrote {
                        tracing::info!(vault = %fleet.name, namespace = fleet.namespace, step, "done");
                    }
                    changed |= wrote;
                }
                Err(e) => {
                    world.metrics.errors.with_label_values(&[step]).inc();
                    troubles.push(Trouble::soft("StepFailed", step, e.to_string()));
                    break;
                }
            }
        }
    }
    let database = database(world, fleet, &observed).await;
    let after = after(
        world,
        fleet,
        before,
        Seen {
            observed: &observed,
            decision: &decision,
            journal: journal.as_ref(),
            troubles: &troubles,
            planned: &planned,
            database,
            listed: certificates.as_ref().map(|c| c.listed.as_slice()).unwrap_or_default(),
            now: Time(at),
        },
    );
    write(world, resource, before, &after, memory).await?;
    world.metrics.show(&fleet.namespace, fleet.name.as_str(), &after);
    if changed || *before != after {
        memory.moved = Some(Instant::now());
    }
    let settled =
        after.conditions.iter().any(|c| c.type_ == READY && c.status == "True") && after.waits.is_empty();
    Ok(match (changed, settled) {
        (true, false) => SOON,
        (true, true) => WHILE_WORKING,
        // What has not moved for long waits for a person; and pods, volumes and workloads wake us when they change.
        (false, false) if memory.moved.is_some_and(|m| m.elapsed() < LIVELY) => {
            WHILE_WORKING.max(world.resync / 10)
        }
        (false, _) => world.resync,
    })
}

/// A fault of one object is a trouble of the resource; a server that is away is an error of the pass.
fn trouble(e: ApplyError) -> Result<Trouble, ApplyError> {
    let target = |kind: &str, name: &str| format!("{kind} {name}");
    Ok(match &e {
        ApplyError::Collision { kind, name } => {
            Trouble::hard("NameCollision", target(kind, name), e.to_string())
        }
        ApplyError::Quota { kind, name, .. } => {
            Trouble::hard("QuotaExceeded", target(kind, name), e.to_string())
        }
        ApplyError::Refused { kind, name, .. } => {
            Trouble::hard("ObjectRefused", target(kind, name), e.to_string())
        }
        ApplyError::Forbidden { kind, name, .. } => {
            Trouble::hard("RoleMissing", target(kind, name), e.to_string())
        }
        ApplyError::Leaving { kind, name } => {
            Trouble::soft("BeingCollected", target(kind, name), e.to_string())
        }
        ApplyError::Server { .. } => return Err(e),
    })
}

fn decided(
    world: &World,
    fleet: &Fleet,
    o: &Observed,
    at: i64,
) -> Result<(Option<Journal>, Decision), ApplyError> {
    let journal = match &o.journal {
        Ok(journal) => journal.clone(),
        Err(e) => {
            let wait = Wait {
                check: "JournalUnreadable",
                target: Journal::name(fleet.name.as_str()),
                message: format!("{e}; restore it from a backup: guessing could make new keys over old ones"),
            };
            return Ok((
                None,
                Decision { actions: Vec::new(), waits: vec![wait], verdict: Verdict::Contradiction },
            ));
        }
    };
    if let Some(halt) = journal.as_ref().and_then(|j| journal_changed(o, j)) {
        return Ok((None, halt));
    }
    let settings = &world.settings;
    let facts = Facts {
        custody: custody(fleet),
        regions: fleet.regions.iter().map(|r| (Slot(r.slot), r.name.to_string())).collect(),
        wish: wish(fleet, o.jwks.as_deref()),
        pinned: Pinned {
            vault_image: fleet
                .images
                .vault
                .as_ref()
                .map_or_else(|| settings.vault_image.clone(), ToString::to_string),
            copier_image: settings.copier_image.clone(),
            pull_policy: fleet.images.pull_policy.unwrap_or(settings.pull_policy),
        },
        journal: journal.clone(),
        remains: !o.sets.is_empty() || !o.claims.is_empty(),
        new_id: new_id()?,
        root: o.root.clone(),
        given_root: o.given_root.clone(),
        documents: o.documents.clone(),
        given: o.given.clone(),
        requested: !o.request.is_empty(),
        vaults: o.vaults.clone(),
        now: Millis(u64::try_from(at).unwrap_or(0)),
    };
    Ok((journal, decide(&facts)))
}

/// The journal decides which image vaults run, and who can edit a ConfigMap must not: what runs is the witness.
fn journal_changed(o: &Observed, journal: &Journal) -> Option<Decision> {
    let image = &journal.pinned.vault_image;
    let (region, other) =
        o.sets.iter().find_map(|(r, s)| Some((r, s.image.as_ref().filter(|i| *i != image)?)))?;
    let message = format!(
        "the vault of {region} runs {other} and the journal says {image}: somebody has edited the ConfigMap; restore it"
    );
    let waits = vec![Wait { check: "JournalChanged", target: region.clone(), message }];
    Some(Decision { actions: Vec::new(), waits, verdict: Verdict::Contradiction })
}

fn wish(fleet: &Fleet, keys: Option<&str>) -> Option<PolicyWish> {
    let auth = &fleet.client_auth;
    let jwks = match &auth.jwks {
        JwksSource::Url { url, .. } => SignedJwks::Url(url.clone()),
        JwksSource::ConfigMap(_) => SignedJwks::Inline(keys?.to_owned()),
    };
    Some(PolicyWish {
        issuer: auth.issuer.clone(),
        vault_audience: auth.vault_audience.clone(),
        chatd_audience: auth.chatd_audience.clone(),
        jwks,
        enrolment_claim: auth.enrolment_claim.clone(),
        max: fleet.attempts.max,
        lifetime_failures: fleet.attempts.lifetime_failures,
        waits_ms: fleet.attempts.waits.clone(),
        shards: fleet.shards,
        development: fleet.root == RootCustody::InFleet,
    })
}

fn objects(world: &World, fleet: &Fleet, journal: &Journal, o: &Observed, content: &Content) -> Vec<Object> {
    let facts = plan::Facts {
        fleet_id: journal.fleet.clone(),
        seed: journal.seed.clone(),
        vault_image: journal.pinned.vault_image.clone(),
        copier_image: journal.pinned.copier_image.clone(),
        pull_policy: journal.pinned.pull_policy,
        // Also where it is there already: a journal that was set back must not take away what people connect to.
        initialised: journal.stage == Stage::Initialised || o.chatd.is_some(),
    };
    let kinds = Kinds {
        pod_monitor: world.seen.knows("PodMonitor"),
        prometheus_rule: world.seen.knows("PrometheusRule"),
        http_route: world.seen.knows("HTTPRoute"),
        certificate: world.seen.knows("Certificate"),
    };
    plan::objects(&Input {
        fleet,
        settings: &world.settings,
        journal: &facts,
        content,
        embedded: &world.embedded,
        kinds,
    })
}

async fn apply(world: &World, owner: &Owner, object: &Object) -> Result<bool, ApplyError> {
    let Some(kind) = Kind::named(object.kind) else {
        return Err(ApplyError::Refused {
            kind: object.kind,
            name: object.name.clone(),
            why: "the operator does not know this kind".into(),
        });
    };
    let owned = object.body.pointer("/metadata/ownerReferences").is_some();
    let wanted = Wanted { kind, name: object.name.clone(), body: object.body.clone(), owned };
    let wrote = world.applier.apply(owner, wanted).await?;
    if wrote {
        world.metrics.writes.with_label_values(&[kind.kind]).inc();
        tracing::info!(
            namespace = owner.namespace,
            vault = owner.name,
            kind = kind.kind,
            object = object.name,
            "applied"
        );
    }
    Ok(wrote)
}

/// Does ChatD reach a database that is not ours? Its own metric says so. Every pod is asked, the first that answers counts.
async fn database(world: &World, fleet: &Fleet, o: &Observed) -> Option<bool> {
    if !matches!(fleet.postgres, Postgres::External(_) | Postgres::CloudNativePg { .. }) {
        return None;
    }
    for address in &o.chatd_pods {
        let url = format!("http://{}/metrics", std::net::SocketAddr::new(*address, CHATD_HEALTH));
        let Ok(mut answer) = world.http.get(url).send().await else { continue };
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MOST_METRICS {
                break;
            }
        }
        let text = String::from_utf8_lossy(&body);
        let up = text.lines().find_map(|l| l.strip_prefix("bkv_chatd_postgres_up "));
        return up.map(|v| v.trim() == "1");
    }
    None
}

struct Seen<'a> {
    observed: &'a Observed,
    decision: &'a Decision,
    journal: Option<&'a Journal>,
    troubles: &'a [Trouble],
    planned: &'a [Object],
    listed: &'a [crate::resource::status::CertificateStatus],
    database: Option<bool>,
    now: Time,
}

fn after(world: &World, fleet: &Fleet, before: &BackupKeyVaultStatus, s: Seen<'_>) -> BackupKeyVaultStatus {
    let root = s.observed.root.as_ref().and_then(|b| Root::decode(b).ok());
    let numbers = root.as_ref().map(|root| {
        let list = s.observed.documents.admission.as_ref().and_then(|b| admission(root, b, None).ok());
        let rules = s.observed.documents.policy.as_ref().and_then(|b| policy(root, b, None).ok());
        (list.map(|l| l.number), rules.map(|p| p.number))
    });
    let overdue = |w: &&crate::resource::status::WaitStatus| {
        w.since.as_ref().is_some_and(|t| t.0.as_second().saturating_add(PATIENCE) < s.now.0.as_second())
    };
    let templates = |region: &str| {
        let set = s
            .planned
            .iter()
            .find(|o| o.kind == "StatefulSet" && o.name == format!("{}-{region}", fleet.name))?;
        let note = set.body.pointer("/spec/template/metadata/annotations/bkv.dev~1template-hash")?;
        note.as_str().map(str::to_owned)
    };
    status(
        before,
        &Pass {
            fleet,
            observed: s.observed,
            decision: s.decision,
            journal: s.journal,
            troubles: s.troubles,
            certificates: s.listed,
            root_fingerprint: s.observed.root.as_ref().map(|b| fingerprint("root", b)),
            numbers: numbers.unwrap_or_default(),
            database: s.database,
            templates: &templates,
            overdue: before
                .waits
                .iter()
                .filter(overdue)
                .map(|w| (w.check.clone(), w.target.clone()))
                .collect::<HashSet<_>>(),
            version: &world.settings.version,
            now: s.now,
        },
    )
}

/// A spec that can't be carried out is a condition, and nothing is touched.
fn refused(
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    refusals: &[Refusal],
) -> BackupKeyVaultStatus {
    let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let reason = refusals.first().map_or("Refused", |r| r.reason);
    let words = words.join("; ");
    let findings = vec![
        Finding::no(ACCEPTED, reason, words.clone()),
        Finding::no(READY, "Refused", "the spec is refused: the fleet is left as it is"),
        Finding::no(RECONCILING, "Refused", "nothing is done until the spec is mended"),
        Finding::yes(STALLED, reason, words),
    ];
    let generation = resource.metadata.generation;
    BackupKeyVaultStatus {
        observed_generation: generation,
        phase: Some("Refused".to_owned()),
        conditions: merge(&before.conditions, findings, generation, &Time(now())),
        waits: Vec::new(),
        ..before.clone()
    }
}

async fn write(
    world: &World,
    resource: &BackupKeyVault,
    before: &BackupKeyVaultStatus,
    after: &BackupKeyVaultStatus,
    memory: &mut Memory,
) -> Result<(), PassError> {
    if before == after {
        return Ok(());
    }
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<BackupKeyVault> = Api::namespaced(world.client.clone(), &namespace);
    let kept = tell::status(&api, &resource.name_any(), after).await.map_err(PassError::Status)?;
    if kept == *after {
        memory.dropped = None;
    } else {
        if memory.dropped.is_none() {
            tell::about_the_definition(world, &resource.object_ref(&())).await;
        }
        memory.dropped = Some(Arc::new(Dropped { at: Instant::now(), kept, given: after.clone() }));
    }
    world.metrics.writes.with_label_values(&["BackupKeyVault"]).inc();
    announce::changes(world, &resource.object_ref(&()), before, after).await;
    Ok(())
}

/// What to do after a pass that failed: pauses grow by the number of failures in the queue's own backoff.
#[allow(clippy::needless_pass_by_value)] // the controller hands them over so
pub(super) fn failed(resource: Arc<BackupKeyVault>, error: &PassError, world: Arc<World>) -> Next {
    let step = match error {
        PassError::Apply(_) => "apply",
        PassError::Status(_) => "status",
    };
    world.metrics.errors.with_label_values(&[step]).inc();
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        words = format!("{words}: {e}");
        source = e.source();
    }
    tracing::warn!(
        namespace = resource.namespace(),
        vault = resource.name_any(),
        error = words,
        "a pass failed; tried again"
    );
    Next::requeue(Duration::from_secs(5))
}
