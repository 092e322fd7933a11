//! The gRPC face of the leader's sessions: hello, beats and results in;
//! results become commands here, as each carries its own condition.

use std::{pin::Pin, sync::Arc};

use reelraft_consensus::{Cluster, ConsensusError};
use reelraft_model::{
    AttemptKey, Command, Complete, FailureClass, PlanAppend, Problem, RegisterNode, Release,
    Reopen, TaskKind,
    limits::{COMMANDS_PER_ENTRY_MAX, PLAN_SHARDS_PER_COMMAND_MAX},
};
use reelraft_proto::v1::{
    self, from_worker::Message as From, to_worker::Message as To, workers_server::Workers,
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use crate::{
    faces::convert::{
        self, model_attempt, model_problem, model_progress, model_range, wire_attempt,
    },
    limits::SESSION_QUEUE,
    node::{leader::unix_ms, sessions::Sessions},
};

/// The `Workers` service.
#[derive(Clone)]
pub struct SessionService {
    cluster: Cluster,
    sessions: Arc<Sessions>,
}

impl SessionService {
    /// A service over the leader's sessions.
    pub fn new(cluster: Cluster, sessions: Arc<Sessions>) -> Self {
        SessionService { cluster, sessions }
    }

    /// Puts a node's disk on record, or refuses one that has changed.
    async fn register(&self, hello: &v1::Hello) -> Result<(), Status> {
        let state = self.cluster.local();
        let known = state.nodes().any(|node| {
            node.id == hello.node
                && node.incarnation == hello.incarnation
                && node.address == hello.address
        });
        if known {
            return Ok(());
        }
        let command = Command::RegisterNode(RegisterNode {
            node: hello.node,
            incarnation: hello.incarnation.clone(),
            address: hello.address.clone(),
        });
        let committed = self
            .cluster
            .propose_local(vec![command])
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        for reply in committed.replies {
            reply
                .accepted()
                .map_err(|problem| convert::refusal(&problem))?;
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Workers for SessionService {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::ToWorker, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromWorker>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let leadership = self.cluster.leadership().borrow().clone();
        if !leadership.leading {
            let problem = Problem::new("no-leader", "this node does not lead", "ask the leader");
            return Err(convert::refusal(&problem));
        }
        let mut from = request.into_inner();
        let first = from
            .next()
            .await
            .ok_or_else(|| Status::invalid_argument("a session begins with a hello"))??;
        let Some(From::Hello(hello)) = first.message else {
            return Err(Status::invalid_argument("a session begins with a hello"));
        };
        self.register(&hello).await?;
        let node = hello.node;
        let (to_worker, out) = mpsc::channel(SESSION_QUEUE);
        let welcome = v1::Welcome {
            leader: self.cluster.identity().node,
            term: leadership.term,
        };
        let _ = to_worker.try_send(Ok(v1::ToWorker {
            message: Some(To::Welcome(welcome)),
        }));
        info!(node, running = hello.running.len(), "session opened");
        let running = hello.running.iter().filter_map(model_progress);
        let named: Vec<AttemptKey> = running.map(|(key, _)| key).collect();
        let (number, restarted) = self.sessions.open(hello, to_worker);
        if restarted {
            self.take_back(node, &named).await;
        }
        let service = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = from.next().await {
                match message.message {
                    Some(From::Beat(beat)) => service.sessions.beat(node, number, beat),
                    Some(From::Result(result)) => {
                        let service = service.clone();
                        tokio::spawn(async move { service.settle(node, result).await });
                    }
                    Some(From::Hello(_)) | None => break,
                }
            }
            info!(node, "session closed");
            service.sessions.close(node, number);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }
}

impl SessionService {
    /// Takes back what died with a node's process: it counts as lost with the
    /// node, so that work which kills its node is not given out for ever.
    async fn take_back(&self, node: u64, named: &[AttemptKey]) {
        let state = self.cluster.local();
        let died = state.active().flat_map(|entry| {
            let running = entry.running.iter().filter_map(|key| entry.tasks.get(key));
            running
                .filter(|task| task.node == node)
                .map(|task| AttemptKey::of(&entry.job.id, task))
        });
        let commands: Vec<Command> = died
            .filter(|key| !named.contains(key))
            .map(|key| {
                let problem = Problem::new(
                    "node-lost",
                    format!("node {node} was started anew while it ran this"),
                    "the work goes on by itself",
                );
                Command::Release(Release {
                    key,
                    class: FailureClass::NodeLost.into(),
                    problem,
                })
            })
            .collect();
        for part in commands.chunks(COMMANDS_PER_ENTRY_MAX) {
            if let Err(error) = self.cluster.propose_local(part.to_vec()).await {
                // They are sent to the node again instead.
                warn!(node, %error, "lost attempts could not be taken back");
            }
        }
    }

    /// Writes a result down and tells the worker that it may forget it. On an
    /// error the worker keeps it and gives it to the next leader.
    async fn settle(&self, node: u64, result: v1::Result) {
        let Some(wire) = result.attempt else { return };
        let Some(key) = model_attempt(&wire) else {
            return;
        };
        let settled = match result.outcome {
            Some(v1::result::Outcome::Done(done)) => self.done(&key, done).await,
            Some(v1::result::Outcome::Failed(failed)) => self.failed(&key, failed).await,
            None => return,
        };
        match settled {
            Ok(()) => {
                debug!(%key, node, "settled");
                self.sessions.send(node, To::Settled(wire_attempt(&key)));
            }
            Err(error) => warn!(%key, node, %error, "a result could not be written down"),
        }
    }

    async fn done(&self, key: &AttemptKey, done: v1::Done) -> Result<(), ConsensusError> {
        let mut shards_total = 0;
        if key.kind() == TaskKind::Analyze {
            shards_total = done.plan.len() as u32;
            for (part, ranges) in done.plan.chunks(PLAN_SHARDS_PER_COMMAND_MAX).enumerate() {
                let command = Command::PlanAppend(PlanAppend {
                    key: key.clone(),
                    first: (part * PLAN_SHARDS_PER_COMMAND_MAX) as u32,
                    ranges: ranges.iter().map(model_range).collect(),
                });
                self.cluster.propose_local(vec![command]).await?;
            }
        }
        let command = Command::Complete(Complete {
            key: key.clone(),
            hash: done.hash,
            bytes_out: done.bytes_out,
            bytes_in: done.bytes_in,
            frames: if key.kind() == TaskKind::Analyze {
                done.frames_total
            } else {
                done.frames
            },
            report: done.report,
            unix_ms: unix_ms(),
            shards_total,
            plan_note: done.plan_note,
            audio_tracks: done.audio_tracks,
            extras: done.extras,
        });
        self.cluster.propose_local(vec![command]).await.map(drop)
    }

    async fn failed(&self, key: &AttemptKey, failed: v1::Failed) -> Result<(), ConsensusError> {
        let class = match failed.class() {
            v1::FailureClass::Work => FailureClass::Work,
            v1::FailureClass::NodeFault | v1::FailureClass::Unspecified => FailureClass::NodeFault,
            v1::FailureClass::Final => FailureClass::Final,
            v1::FailureClass::PlanMismatch => FailureClass::PlanMismatch,
            v1::FailureClass::Stopped => FailureClass::Stopped,
        };
        let problem = model_problem(failed.problem.unwrap_or_default());
        warn!(%key, ?class, cause = problem.cause, "an attempt failed");
        let lost = failed.lost.iter().filter_map(model_attempt);
        let mut commands: Vec<Command> = lost.map(|key| Command::Reopen(Reopen { key })).collect();
        commands.push(Command::Release(Release {
            key: key.clone(),
            class: class.into(),
            problem,
        }));
        for part in commands.chunks(COMMANDS_PER_ENTRY_MAX) {
            self.cluster.propose_local(part.to_vec()).await?;
        }
        Ok(())
    }
}
