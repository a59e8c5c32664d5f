//! Makes the fleet: initialises every shard with the documents in force.

use std::time::Duration;

use bkv_core::command::{Command, Init};
use bkv_core::document::{Documents, NewDocuments};
use bkv_core::id::ShardId;
use bkv_core::outcome::Outcome;
use bkv_core::secret::Secret32;
use tokio::time::Instant;

use super::Vault;
use crate::replica::{ProposeError, Replica};

/// For all shards together.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two tries to become the leader.
const PAUSE: Duration = Duration::from_millis(300);

/// The fleet is not made. Repeating the operation continues where it stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeFleetError {
    #[error("no admission list and policy are in force yet")]
    NoDocuments,
    #[error(transparent)]
    Raft(#[from] ProposeError),
    #[error("shard {shard}: {outcome:?}")]
    Outcome { shard: ShardId, outcome: Outcome },
}

impl Vault {
    /// Initialises the shards that do not know their fleet yet. An administrator calls it on one vault. Repeating it changes nothing.
    pub(crate) async fn make_fleet(&self) -> Result<(), MakeFleetError> {
        let installed = self.documents().ok_or(MakeFleetError::NoDocuments)?;
        let documents = &installed.documents;
        let replicas = self.node.replicas();
        let deadline = Instant::now() + DEADLINE;
        for replica in replicas {
            replica.initialize(deadline).await?;
        }
        // All shards have one index key. An earlier call may have stopped half-way: use the key that it made.
        let known = replicas.iter().find_map(|r| r.fleet().map(|f| f.index.clone()));
        let index = known.unwrap_or_else(|| Secret32::new(self.random.bytes()));
        let mut made = false;
        for replica in replicas {
            made |= self.init_shard(replica, documents, &index, deadline).await?;
        }
        if made {
            self.spread_leaders(documents.admission.members.len());
        }
        Ok(())
    }

    /// True if this call initialised the shard.
    async fn init_shard(
        &self,
        replica: &Replica,
        documents: &Documents,
        index: &Secret32,
        deadline: Instant,
    ) -> Result<bool, MakeFleetError> {
        let command = Init {
            fleet: self.root.fleet,
            lineage: self.root.lineage(),
            era: self.root.era,
            shard: replica.shard().0,
            index: index.clone(),
            documents: NewDocuments {
                admission: documents.admission_signed.clone(),
                policy: documents.policy_signed.clone(),
            },
            version: self.node.versions().oldest,
        };
        while replica.fleet().is_none() {
            match replica.propose(Command::Init(command.clone()), deadline).await {
                Ok(c) if c.outcome == Outcome::Done => return Ok(true),
                Ok(c) => {
                    return Err(MakeFleetError::Outcome { shard: replica.shard(), outcome: c.outcome });
                }
                Err(e) if Instant::now() >= deadline => return Err(e.into()),
                // Another vault was elected for this shard. It steps aside for this vault within an election or two.
                Err(_) => {
                    let raft = replica.raft.borrow().clone();
                    if let Some(raft) = raft {
                        let _ = raft.trigger().elect().await;
                    }
                    // An election begun before the answers to the last one would end that one.
                    tokio::time::sleep(self.node.peers().timing().limit(PAUSE, 2)).await;
                }
            }
        }
        Ok(false)
    }

    /// Spreads the leaders over the regions. The fleet has no clients yet, so a change of leader disturbs no request.
    fn spread_leaders(&self, members: usize) {
        let me = self.slot().map_or(1, |slot| slot.0);
        for (replica, turn) in self.node.replicas().iter().zip((0..members).cycle()) {
            if turn + 1 != usize::from(me) {
                replica.step_down();
            }
        }
    }
}
