//! The I/O of joining: asks the other voters, lets `bkv_core::join` decide, and starts Raft once that is allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use bkv_core::id::NodeId;
use bkv_core::join::{self, Ballot, Decision, LogPosition, Mine, Told};
use bkv_wire::proto::peer as p;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::peer::{Body, Peers};
use crate::raft::bounds::Bounds;
use crate::raft::log::Log;
use crate::raft::network::Acknowledged;
use crate::raft::types::{Vote, ballot, log_id_in, log_id_out, position, vote_in, vote_out};

const ASK: Duration = Duration::from_millis(500);

/// This vault's own log position and vote in a shard.
pub(crate) fn mine(node: NodeId, log: &Log) -> Mine {
    let last = log.last();
    Mine {
        node,
        ballot: ballot(log.vote().as_ref()),
        last: position(last.as_ref().map(|l| &l.0)),
        chain: last.map_or(bkv_core::id::Hash([0; 32]), |l| l.1),
    }
}

/// Asks all other voters once and decides.
pub(crate) async fn round(
    shard: u16,
    me: NodeId,
    voters: &[NodeId],
    log: &Log,
    peers: &Peers,
    bounds: Bounds,
) -> Decision {
    let mine = mine(me, log);
    let my_last = log.last().map(|l| log_id_out(&l.0));
    let others = voters.iter().copied().filter(|v| *v != me);
    let asked = join_all(others.map(|node| {
        let ask = Body::Ask(p::Ask { shard: u32::from(shard), my_last });
        async move { (node, peers.call(node, ask, Instant::now() + ASK).await) }
    }));
    let answers: BTreeMap<NodeId, Told> = asked
        .await
        .into_iter()
        .filter_map(|(node, answer)| match answer {
            Ok(Body::Told(t)) => Some((node, told(&t, bounds)?)),
            _ => None,
        })
        .collect();
    join::decide(&mine, voters, &answers)
}

/// None if it is malformed or out of bounds: then the voter counts as one that has not answered.
fn told(t: &p::Told, bounds: Bounds) -> Option<Told> {
    for id in [t.last, t.acknowledged].into_iter().flatten() {
        bounds.position(id.term, id.index).ok()?;
    }
    bounds.term(t.vote.map_or(0, |v| v.term)).ok()?;
    let place = |id: Option<p::LogId>| {
        id.map_or_else(LogPosition::default, |id| LogPosition { term: id.term, index: id.index })
    };
    Some(Told {
        verified: t.verified,
        ballot: t.vote.map_or_else(Ballot::default, |v| Ballot { term: v.term, node: NodeId(v.node) }),
        last: place(t.last),
        chain_at_ours: match t.chain_at_yours.len() {
            0 => None,
            _ => Some(bkv_core::id::Hash::try_from(&t.chain_at_yours[..]).ok()?),
        },
        acknowledged: t.acknowledged.map(|id| LogPosition { term: id.term, index: id.index }),
    })
}

/// Answers the question of a vault that joins.
pub(crate) fn answer(
    shard: u16,
    asker: NodeId,
    ask: &p::Ask,
    log: &Log,
    verified: bool,
    acknowledged: &Acknowledged,
) -> p::Told {
    let last = log.last();
    let theirs = ask.my_last.as_ref().map(log_id_in);
    let chain = theirs.and_then(|id| log.chain_at(&id).ok().flatten());
    p::Told {
        verified,
        vote: log.vote().as_ref().map(vote_out),
        last: last.map(|l| log_id_out(&l.0)),
        chain_at_yours: chain.map(|c| c.0.to_vec().into()).unwrap_or_default(),
        acknowledged: acknowledged.get(shard, asker).as_ref().map(log_id_out),
        fresh: last.is_none() && log.vote().is_none(),
    }
}

/// The vote that `bkv_core::join` decided on, uncommitted.
pub(crate) fn vote_of(b: Ballot) -> Option<Vote> {
    (b.term > 0).then(|| Vote::new(b.term, b.node.0))
}

/// While catching up, grant a vote only to a candidate that has everything up to `until`. Electing it loses nothing. Without such votes a fleet that
/// lost all power could elect no leader.
pub(crate) fn may_vote(candidate: Option<&p::LogId>, until: LogPosition) -> bool {
    candidate.is_some_and(|c| LogPosition { term: c.term, index: c.index } >= until)
}

/// Decodes a vote, to check it.
pub(crate) fn read_vote(v: Option<p::Vote>) -> Option<Vote> {
    vote_in(v).ok()
}
