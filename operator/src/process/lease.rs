//! Leader election by a Lease. All replicas serve health and metrics, and the leader writes. Every update carries the resource version that was read, so
//! two replicas can't both win. A leader that can't renew in time ends its process: another replica may write by then.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, timeout};

/// Another replica may take over a lease that was not renewed for this long.
const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up before that.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two renewals, and between two reads of a replica that waits.
const RENEW: Duration = Duration::from_secs(3);

/// The lease could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lease {name} could not be renewed for {} s: {why}", DEADLINE.as_secs())]
pub struct LeaseLost {
    name: String,
    why: String,
}

/// The lease, by name.
#[derive(Clone)]
pub(super) struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
}

/// The state of the lease for this replica.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Mine,
    Free,
    Others,
}

fn judge(spec: &LeaseSpec, identity: &str, unchanged_for: Duration) -> Look {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let life =
        spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).map_or(DURATION, Duration::from_secs);
    if holder == identity {
        Look::Mine
    } else if holder.is_empty() || unchanged_for >= life {
        // Measured by our own clock, not the holder's: clock skew must not make two leaders.
        Look::Free
    } else {
        Look::Others
    }
}

impl Election {
    /// `identity`: this replica's name.
    pub(super) fn new(api: Api<Lease>, name: &str, identity: &str) -> Self {
        Self { api, name: name.to_owned(), identity: identity.to_owned() }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let same = before.filter(|b| b.holder_identity.as_deref() == Some(self.identity.as_str()));
        let transitions = before.and_then(|b| b.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(same.and_then(|b| b.acquire_time.clone()).unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if same.is_some() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    /// Waits until this replica holds it.
    pub(super) async fn acquire(&self) {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            // Without a deadline a request that is never answered would block the election for ever.
            match timeout(DEADLINE, self.try_acquire(&mut last, &mut since)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Err(_) => tracing::warn!(lease = self.name, "the API server does not answer; tried again"),
                Ok(Err(e)) => {
                    tracing::warn!(lease = self.name, error = %e, "can't read the lease; the next try follows");
                }
            }
            sleep(RENEW).await;
        }
    }

    async fn try_acquire(&self, last: &mut Option<String>, since: &mut Instant) -> Result<bool, kube::Error> {
        let Some(found) = self.api.get_opt(&self.name).await? else {
            let new = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return lost_race(self.api.create(&PostParams::default(), &new).await);
        };
        if last.as_ref() != found.metadata.resource_version.as_ref() {
            last.clone_from(&found.metadata.resource_version);
            *since = Instant::now();
        }
        let spec = found.spec.clone().unwrap_or_default();
        match judge(&spec, &self.identity, since.elapsed()) {
            Look::Others => Ok(false),
            Look::Mine | Look::Free => {
                let mine = Lease { spec: Some(self.spec(Some(&spec))), ..found };
                lost_race(self.api.replace(&self.name, &PostParams::default(), &mine).await)
            }
        }
    }

    /// Renews it until it is lost.
    pub(super) async fn keep(&self) -> LeaseLost {
        let mut renewed = Instant::now();
        let mut why = String::new();
        loop {
            sleep(RENEW).await;
            match timeout(RENEW, self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    return LeaseLost { name: self.name.clone(), why: "another replica has it".into() };
                }
                Ok(Err(e)) => why = e.to_string(),
                Err(_) => "the API server does not answer".clone_into(&mut why),
            }
            if renewed.elapsed() >= DEADLINE {
                return LeaseLost { name: self.name.clone(), why };
            }
        }
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        let found = self.api.get(&self.name).await?;
        let spec = found.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            return Ok(false);
        }
        let mine = Lease { spec: Some(self.spec(Some(&spec))), ..found };
        self.api.replace(&self.name, &PostParams::default(), &mine).await.map(|_| true)
    }

    /// Releases it at a shutdown, so that the next leader need not wait.
    pub(super) async fn release(&self) {
        let give_back = async {
            let mut found = self.api.get(&self.name).await?;
            if let Some(spec) = found.spec.as_mut()
                && spec.holder_identity.as_deref() == Some(self.identity.as_str())
            {
                spec.holder_identity = None;
                self.api.replace(&self.name, &PostParams::default(), &found).await?;
            }
            Ok::<_, kube::Error>(())
        };
        let _ = timeout(RENEW, give_back).await;
    }
}

fn lost_race(done: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match done {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(e)) if e.code == 409 => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_mine_given_back_or_silent_for_its_whole_life() {
        let spec = |holder: &str| LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let secs = Duration::from_secs;
        assert_eq!(judge(&spec("me"), "me", secs(0)), Look::Mine);
        assert_eq!(judge(&spec(""), "me", secs(0)), Look::Free);
        assert_eq!(judge(&spec("you"), "me", secs(14)), Look::Others);
        assert_eq!(judge(&spec("you"), "me", secs(15)), Look::Free);
        assert!(DEADLINE + RENEW <= DURATION, "the holder must give up before another may take over");
    }
}
