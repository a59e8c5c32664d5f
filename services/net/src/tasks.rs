//! Named groups of tasks, so that a shutdown can log which of them still run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// The tasks of a program, in named groups. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Mutex<BTreeMap<&'static str, TaskTracker>>>);

/// Tasks that did not end before the deadline.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(group, running)| format!("{running} of {group}")).collect::<Vec<_>>().join(", "))]
pub struct StillRunning(Vec<(&'static str, usize)>);

impl Tasks {
    /// The group of this name. All callers get the same one.
    pub fn group(&self, name: &'static str) -> TaskTracker {
        self.0.lock().entry(name).or_default().clone()
    }

    fn running(&self) -> Vec<(&'static str, TaskTracker)> {
        let groups = self.0.lock();
        groups
            .iter()
            .filter(|(_, tasks)| !tasks.is_empty())
            .map(|(name, tasks)| (*name, tasks.clone()))
            .collect()
    }

    /// Waits at most `within` until all tasks of all groups have ended. The caller must cancel them first.
    pub async fn ended(&self, within: Duration) -> Result<(), StillRunning> {
        let all = async {
            loop {
                let running = self.running();
                if running.is_empty() {
                    return;
                }
                for (_, tasks) in running {
                    tasks.close();
                    tasks.wait().await;
                }
            }
        };
        if timeout(within, all).await.is_ok() {
            return Ok(());
        }
        let running: Vec<_> = self.running().into_iter().map(|(name, tasks)| (name, tasks.len())).collect();
        if running.is_empty() { Ok(()) } else { Err(StillRunning(running)) }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_that_do_not_end_are_named_with_their_number() {
        let tasks = Tasks::default();
        let stop = CancellationToken::new();
        tasks.group("links").spawn(stop.clone().cancelled_owned());
        for _ in 0..2 {
            tasks.group("sessions").spawn(std::future::pending::<()>());
        }
        stop.cancel();
        let running = tasks.ended(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(running.to_string(), "2 of sessions");
    }

    #[tokio::test]
    async fn tasks_that_end_are_waited_for_also_those_they_start() {
        let tasks = Tasks::default();
        let inner = tasks.group("inner");
        tasks.group("outer").spawn(async move {
            tokio::task::yield_now().await;
            inner.spawn(tokio::task::yield_now());
        });
        tasks.ended(Duration::from_secs(5)).await.unwrap();
        assert!(tasks.group("inner").is_empty());
    }
}
