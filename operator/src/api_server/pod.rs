//! A pod and its problem, with a message that names a remedy. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::conditions::Check;
use crate::labels::TEMPLATE_HASH;

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodSeen {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its vault container runs.
    pub running: bool,
    /// It is ready.
    pub ready: bool,
    /// Hash of the template that it was made from.
    pub template_hash: Option<String>,
    /// What is wrong with it.
    pub problem: Option<PodProblem>,
}

/// What is wrong with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodProblem {
    /// The check of the wait.
    pub check: Check,
    /// What is wrong, for people.
    pub message: String,
}

/// Longest excerpt of a container's termination message, characters.
const WORDS: usize = 500;

/// Reads a pod.
pub(crate) fn pod_seen(pod: &Pod) -> PodSeen {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let condition = |name: &str| status.conditions.iter().flatten().find(|c| c.type_ == name);
    let going = pod.metadata.deletion_timestamp.is_some();
    let running = containers.iter().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
    PodSeen {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        address: status.pod_ip.as_deref().and_then(|a| a.parse().ok()),
        running: running && !going,
        ready: condition("Ready").is_some_and(|c| c.status == "True") && !going,
        template_hash: pod.metadata.annotations.as_ref().and_then(|a| a.get(TEMPLATE_HASH)).cloned(),
        // A pod that is being deleted will be replaced, so its fault no longer matters.
        problem: problem(pod).filter(|_| !going),
    }
}

fn problem(pod: &Pod) -> Option<PodProblem> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(c) = unscheduled {
        let why = c.message.clone().unwrap_or_default();
        return Some(PodProblem {
            check: Check::Unschedulable,
            message: format!(
                "the scheduler finds no node for pod {name}: {why}; check the region's nodeSelector, its nodes and its volumes"
            ),
        });
    }
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten()).find_map(|c| of_container(name, c))
}

fn of_container(pod: &str, c: &ContainerStatus) -> Option<PodProblem> {
    let waiting = c.state.as_ref().and_then(|s| s.waiting.as_ref());
    let reason = waiting.and_then(|w| w.reason.as_deref()).unwrap_or_default();
    let why = waiting.and_then(|w| w.message.clone()).unwrap_or_default();
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "RegistryUnavailable" => Some(PodProblem {
            check: Check::ImageUnavailable,
            message: format!(
                // Not the kubelet's own reason: it alternates between two reasons at every try, and each change would cause a status write.
                "pod {pod}, container {}: the node can't pull image {}; check its name, the registry and images.pullSecrets (`kubectl describe pod {pod}` shows the registry's error)",
                c.name, c.image
            ),
        }),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Some(PodProblem {
            check: Check::ContainerNotMade,
            message: format!("pod {pod}, container {}: {why}", c.name),
        }),
        _ => {
            let ended = c.state.as_ref().and_then(|s| s.terminated.as_ref());
            let before = c.last_state.as_ref().and_then(|s| s.terminated.as_ref());
            let last = ended.or(before).filter(|t| t.exit_code != 0)?;
            // A container that runs again and is ready has no problem.
            if c.state.as_ref().is_some_and(|s| s.running.is_some()) && c.ready {
                return None;
            }
            let code = last.exit_code;
            let detail = match code {
                // A killed container's last log line does not explain its end.
                137 => "it was killed, by a person or because it used up its memory".to_owned(),
                255 => "its node was lost or restarted".to_owned(),
                _ => last_words(last.message.as_deref().unwrap_or_default()),
            };
            Some(PodProblem {
                // 64 to 66: configuration, PIN, missing file. Only a person can repair those.
                check: if (64..=66).contains(&last.exit_code) || c.restart_count >= 3 {
                    Check::ContainerKeepsEnding
                } else {
                    Check::ContainerEnds
                },
                message: format!("pod {pod}, container {} ends with {code}: {detail}", c.name),
            })
        }
    }
}

/// The last line with content. Our programs write no secret there.
fn last_words(log: &str) -> String {
    let line = log
        .lines()
        .rev()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or("it left no message; look at its log");
    line.chars().take(WORDS).collect()
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // JSON written in place
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "demo-a-0", "uid": "u" }, "status": status }))
            .unwrap()
    }

    fn container(state: Value, last: Value, restarts: i32) -> Value {
        json!({ "containerStatuses": [{ "name": "vault", "image": "x/vault:1", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last }] })
    }

    fn check(status: Value) -> Option<Check> {
        pod_seen(&pod(status)).problem.map(|p| p.check)
    }

    #[test]
    fn what_kubernetes_says_becomes_one_check_each() {
        let unscheduled =
            json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes" }] });
        assert_eq!(check(unscheduled), Some(Check::Unschedulable));
        for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"] {
            let status = container(json!({ "waiting": { "reason": reason } }), json!({}), 0);
            assert_eq!(check(status), Some(Check::ImageUnavailable), "{reason}");
        }
        let status = container(
            json!({ "waiting": { "reason": "CreateContainerConfigError", "message": "secret \"p\" not found" } }),
            json!({}),
            0,
        );
        assert_eq!(check(status), Some(Check::ContainerNotMade));
        assert_eq!(
            check(container(json!({ "waiting": { "reason": "ContainerCreating" } }), json!({}), 0)),
            None
        );
        assert_eq!(check(container(json!({ "running": {} }), json!({}), 0)), None);
    }

    #[test]
    fn the_last_words_of_a_container_that_ends_are_passed_on() {
        let ended = json!({ "terminated": { "exitCode": 66, "message": "one\nbkv-vault: token.pin_file: /etc/bkv-pin/pin is not there\n\n" } });
        let status = container(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), ended, 1);
        let problem = pod_seen(&pod(status)).problem.unwrap();
        assert_eq!(problem.check, Check::ContainerKeepsEnding);
        assert!(
            problem.message.ends_with("with 66: bkv-vault: token.pin_file: /etc/bkv-pin/pin is not there"),
            "{}",
            problem.message
        );
    }
}
