//! The I/O of joining: asks the other voters, lets `bkv_core::join` decide, and starts Raft once that is allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use bkv_core::checkpoint::Lists;
use bkv_core::document::Admission;
use bkv_core::encoding::cbor;
use bkv_core::id::{Hash, NodeId};
use bkv_core::join::{
    self, Acknowledged, Applied, Ballot, Certified, Decision, Goal, LogPosition, Mine, Told,
};
use bkv_wire::proto::peer as p;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::peer::{Body, Peers};
use crate::raft::bounds::Bounds;
use crate::raft::state::State;
use crate::raft::types::{Vote, ballot, log_id_in, log_id_out, position, vote_out};
use crate::raft::{held, network};

/// Time limit of a question, beside its round trip.
const ASK: Duration = Duration::from_millis(500);

/// This vault's own log position and vote in a shard.
fn mine(node: NodeId, state: &State, anchored: bool) -> Mine {
    let log = &state.log;
    let last = log.last();
    let (truncated, excused) = log.explanations();
    Mine {
        node,
        ballot: ballot(log.vote().as_ref()),
        last: position(last.as_ref().map(|l| &l.0)),
        chain: state.applied_end().map_or(Hash([0; 32]), |(_, chain)| chain),
        truncated,
        excused,
        anchored,
    }
}

/// A decision, and the voters that contradict this vault's log without a proof.
pub(crate) struct Round {
    pub(crate) decision: Decision,
    pub(crate) contradicting: Vec<NodeId>,
}

/// Asks all other voters once and decides.
pub(crate) async fn round(
    me: NodeId,
    anchored: bool,
    list: &Admission,
    state: &State,
    peers: &Peers,
    bounds: Bounds,
) -> Round {
    let (shard, log) = (state.shard, &state.log);
    let voters: Vec<NodeId> = list.members.iter().map(|m| m.node).collect();
    let mine = mine(me, state, anchored);
    let my_applied = state.applied_id().as_ref().map(log_id_out);
    let others = voters.iter().copied().filter(|v| *v != me);
    let asked = join_all(others.map(|node| {
        let ask = Body::Ask(p::Ask { shard: u32::from(shard), my_applied });
        async move { (node, peers.call(node, ask, peers.deadline(ASK, 1)).await) }
    }));
    let acknowledged = |held: &p::Held| {
        let (vote, id, chain) = held::own(list, me, shard, held, bounds)?;
        let mine = log.chain_at(&id).ok().flatten();
        Some(Acknowledged { vote: ballot(Some(&vote)), at: position(Some(&id)), chain, mine })
    };
    let answers: BTreeMap<NodeId, Told> = asked
        .await
        .into_iter()
        .filter_map(|(node, answer)| match answer {
            Ok(Body::Told(t)) => {
                let told = told(&t, state, bounds)?;
                let acknowledged = t.held.as_ref().and_then(acknowledged);
                Some((node, Told { acknowledged, certified: certified(&t.certificate, list, state), ..told }))
            }
            _ => None,
        })
        .collect();
    let decision = join::decide(&mine, &voters, &answers);
    Round { decision, contradicting: join::contradicting(&mine, &answers) }
}

/// Asks one voter again how far it is. None if it does not answer as it should.
pub(crate) async fn ask_again(of: NodeId, state: &State, peers: &Peers, bounds: Bounds) -> Option<Goal> {
    let my_applied = state.applied_id().as_ref().map(log_id_out);
    let ask = Body::Ask(p::Ask { shard: u32::from(state.shard), my_applied });
    let Ok(Body::Told(t)) = peers.call(of, ask, peers.deadline(ASK, 1)).await else { return None };
    let t = told(&t, state, bounds)?;
    Some(Goal { of, last: t.last, applied: t.applied, certified: false })
}

/// None if it is malformed or out of bounds: then the voter counts as one that has not answered. What needs signatures is left out.
fn told(t: &p::Told, state: &State, bounds: Bounds) -> Option<Told> {
    let last = t.last.map_or_else(LogPosition::default, |id| LogPosition { term: id.term, index: id.index });
    bounds.position(last.term, last.index.max(t.applied)).ok()?;
    bounds.term(t.vote.map_or(0, |v| v.term)).ok()?;
    let hash = |bytes: &[u8]| match bytes.len() {
        0 => Some(None),
        _ => Hash::try_from(bytes).ok().map(Some),
    };
    // Behind its applied end this vault may have entries that a former leader made up, and an honest voter others.
    let ours = state.applied_id().filter(|id| t.applied <= id.index);
    Some(Told {
        verified: t.verified,
        ballot: t.vote.map_or_else(Ballot::default, |v| Ballot { term: v.term, node: NodeId(v.node) }),
        last,
        applied: hash(&t.chain_at_applied)?.map(|chain| Applied {
            index: t.applied,
            chain,
            mine: ours.and_then(|_| state.log.chain_at_index(t.applied)),
        }),
        chain_at_ours: hash(&t.chain_at_yours)?,
        acknowledged: None,
        certified: None,
    })
}

/// The checkpoint of a certificate that holds under this list. This vault's own signature counts: it has had what it signed.
fn certified(certificate: &[u8], list: &Admission, state: &State) -> Option<Certified> {
    let certificate = super::certify::read(certificate)?;
    certificate.check(Lists::new(list, list), None, state.verifier.as_ref()).ok()?;
    let c = certificate.checkpoint;
    let at = LogPosition { term: c.term, index: c.index };
    let mine = state.log.chain_at_index(c.index);
    (c.shard == state.shard).then_some(Certified { at, chain: c.chain, mine })
}

/// Answers the question of a vault that joins.
pub(crate) fn answer(
    state: &State,
    asker: NodeId,
    ask: &p::Ask,
    verified: bool,
    acknowledged: &network::Acknowledged,
) -> p::Told {
    let log = &state.log;
    let last = log.last();
    let theirs = ask.my_applied.as_ref().map(log_id_in);
    let out = |chain: Option<Hash>| chain.map(|c| Bytes::from(c.0.to_vec())).unwrap_or_default();
    let applied = state.applied_end();
    p::Told {
        verified,
        vote: log.vote().as_ref().map(vote_out),
        last: last.map(|l| log_id_out(&l.0)),
        chain_at_yours: out(theirs.and_then(|id| log.chain_at(&id).ok().flatten())),
        fresh: last.is_none() && log.vote().is_none(),
        held: acknowledged.get(state.shard, asker),
        applied: applied.map_or(0, |(index, _)| index),
        chain_at_applied: out(applied.map(|(_, chain)| chain)),
        certificate: state.book.certified().map(|(c, _)| cbor(&c).into()).unwrap_or_default(),
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
