//! What clients ask for beside uploading: to make a job, to end it, and to
//! fetch what came of it. Each asks again until it is answered.

use reelraft_model::{
    CancelJob, Command, CreateJob, DeleteJob, JobBounds, JobEntry, JobState, Reply, RetryJob,
};

use crate::{
    aims::spec_of,
    bugs::Bug,
    client::{Phase, UPLOADING_MAX, Wish},
    world::{Origin, World},
};

/// How long a client waits for an answer before it asks again.
const PATIENCE_MS: u64 = 4_000;

const BOUNDS: JobBounds = JobBounds {
    jobs: 100,
    uploading: UPLOADING_MAX,
    rows: 100,
};

impl World {
    /// One round of a client.
    pub fn serve(&mut self, client: usize) {
        let of = &self.clients[client];
        if of.starts_ms > self.now_ms {
            return;
        }
        if of.phase == Phase::Upload && of.wish == Wish::Abandon && of.ends_ms <= self.now_ms {
            self.clients[client].phase = Phase::Watch;
        }
        let of = &self.clients[client];
        let may_end = matches!(of.phase, Phase::Upload | Phase::Watch) && !of.ended;
        if may_end && of.ends_ms <= self.now_ms && matches!(of.wish, Wish::Cancel | Wish::Delete) {
            let of = &mut self.clients[client];
            (of.phase, of.again_ms, of.ended) = (Phase::End, 0, true);
        }
        // An impatient client sends the same request once more.
        if of_chance(self, client) {
            self.submit(client);
        }
        let due = self.clients[client].again_ms <= self.now_ms;
        match self.clients[client].phase {
            Phase::Submit if due => self.submit(client),
            Phase::Upload => self.upload(client),
            Phase::Watch if due => self.watch(client),
            Phase::End if due => self.end(client),
            _ => {}
        }
    }

    fn submit(&mut self, client: usize) {
        let retried = self.bugs.has(Bug::RetryIsAnother);
        let of = &mut self.clients[client];
        if of.phase == Phase::Submit {
            of.again_ms = self.now_ms + PATIENCE_MS;
        }
        of.sent += 1;
        let request_id = match retried && of.sent > 1 {
            true => format!("{} again", of.request),
            false => of.request.clone(),
        };
        let command = Command::CreateJob(CreateJob {
            tenant: "t".into(),
            request_id,
            // The same film in other clothes has the same parts.
            spec: reelraft_model::spec::Spec {
                strip_metadata: client % 2 == 1,
                ..spec_of(of.chunks)
            },
            source_bytes: of.chunks,
            bounds: Some(BOUNDS),
            ..Default::default()
        });
        self.propose(vec![vec![command]], Origin::Client(client));
    }

    /// The job that a client reads of now, if it can.
    fn state_of(&mut self, client: usize) -> Option<JobState> {
        let via = self.rng.pick(&self.nodes_in_reach())?;
        let state = self.read(via)?;
        let entry = state.job(&self.job_of(client))?;
        Some(entry.job.state())
    }

    fn watch(&mut self, client: usize) {
        self.clients[client].again_ms = self.now_ms + 1_000;
        let Some(state) = self.state_of(client) else {
            return;
        };
        match state {
            JobState::Succeeded if self.fetched(client) => {
                if self.measures(client) {
                    return;
                }
                let deletes = self.clients[client].wish == Wish::FetchAndDelete;
                self.clients[client].phase = if deletes { Phase::End } else { Phase::Rest };
            }
            JobState::Failed | JobState::Cancelled if self.retry(client) => {}
            JobState::Failed | JobState::Cancelled | JobState::Deleted => {
                self.clients[client].phase = Phase::Rest;
            }
            _ => {}
        }
    }

    /// Every second client has its job tried again, once.
    fn retry(&mut self, client: usize) -> bool {
        let of = &mut self.clients[client];
        if of.retried || of.chunks.is_multiple_of(2) {
            return false;
        }
        (of.retried, of.wish) = (true, Wish::Fetch);
        of.again_ms = self.now_ms + PATIENCE_MS;
        let job = self.job_of(client);
        let replans = self.log.state().job(&job).map(|entry| entry.job.replans);
        let command = Command::RetryJob(RetryJob { job, replans });
        self.propose(vec![vec![command]], Origin::Client(client));
        true
    }

    fn fetched(&mut self, client: usize) -> bool {
        let Some(via) = self.rng.pick(&self.nodes_in_reach()) else {
            return false;
        };
        let Some(state) = self.read(via) else {
            return false;
        };
        let entry = state.job(&self.job_of(client));
        let read = |entry: &JobEntry, blob: &str| self.can_read(entry, via, blob).is_ok();
        entry.is_some_and(|entry| entry.blobs().iter().all(|blob| read(&entry, blob)))
    }

    fn end(&mut self, client: usize) {
        self.clients[client].again_ms = self.now_ms + PATIENCE_MS;
        let job = self.job_of(client);
        let command = match self.clients[client].wish {
            Wish::Cancel => Command::CancelJob(CancelJob { job, unix_ms: 0 }),
            _ => Command::DeleteJob(DeleteJob { job, unix_ms: 0 }),
        };
        self.propose(vec![vec![command]], Origin::Client(client));
    }

    /// Hands the replies to those who wait for them; some are lost.
    pub fn hand_out_replies(&mut self) {
        for (origin, replies) in std::mem::take(&mut self.replies) {
            let lost = !self.calm && self.rng.chance(50);
            let Some(reply) = replies.last() else {
                continue;
            };
            match origin {
                Origin::Client(client) if !lost => self.answered(client, reply),
                Origin::Upload(client) if !lost => {
                    let upload = &mut self.clients[client].upload;
                    crate::uploads::restart(upload);
                }
                Origin::Result(node, key) if !lost => self.settled(node, &key, reply.stale),
                _ => {}
            }
        }
    }

    fn answered(&mut self, client: usize, reply: &Reply) {
        let of = &mut self.clients[client];
        let refused = reply.refused.is_some();
        match (of.phase, &of.job) {
            (Phase::Submit, _) if !refused && !reply.job.is_empty() => {
                of.job = Some(reply.job.clone());
                of.phase = Phase::Upload;
                of.again_ms = 0;
            }
            (Phase::End, _) if refused => of.phase = Phase::Watch,
            (Phase::End, _) if !reply.existed && of.wish == Wish::Cancel => {
                of.phase = Phase::Watch;
            }
            (Phase::End, _) if !reply.existed => of.phase = Phase::Rest,
            _ => {}
        }
        // Whatever is ended too late to be cancelled is fetched instead.
        if refused && of.wish == Wish::Cancel && of.job.is_some() {
            of.wish = Wish::Fetch;
        }
        let of = &self.clients[client];
        if of.job.as_ref().is_some_and(|job| *job != reply.job) {
            self.truth
                .broken(format!("request {} has two jobs (P5)", of.request));
        }
    }
}

fn of_chance(world: &mut World, client: usize) -> bool {
    let known = world.clients[client].job.is_some();
    known && !world.calm && world.rng.chance(3)
}
