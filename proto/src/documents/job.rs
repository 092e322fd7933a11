//! A job's documents: the job itself, a page of jobs, a submission, a change, a
//! reference command. The fields are those of the protocol's `Job`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    field::{above_zero, speed, text},
    outside::Delivery,
    spec::Spec,
    words::{job_state, job_states},
};
use crate::v1;

/// One job.
#[derive(Serialize, ToSchema)]
pub struct Job<'a> {
    pub id: &'a str,
    pub tenant: &'a str,
    pub request_id: &'a str,
    #[schema(schema_with = job_states)]
    pub state: &'static str,
    pub waiting: Option<&'a str>,
    pub makers: Option<&'a str>,
    pub problem: Option<Problem<'a>>,
    pub spec: Option<Spec<'a>>,
    pub source_name: &'a str,
    pub source_bytes: u64,
    pub source_root: Option<&'a str>,
    pub epoch: u64,
    pub homes: Vec<Home>,
    pub shards_total: u32,
    pub shards_done: u32,
    pub shards_running: u32,
    pub frames_total: u64,
    pub frames_done: u64,
    pub speed: Option<f64>,
    pub eta_s: Option<u64>,
    pub estimated_output_bytes: Option<u64>,
    pub queue_position: Option<u32>,
    pub output_hash: Option<&'a str>,
    pub output_bytes: Option<u64>,
    pub proof_hash: Option<&'a str>,
    pub build: Option<&'a str>,
    pub plan_note: Option<&'a str>,
    pub priority: i32,
    pub max_retries: Option<u32>,
    /// When it should be done.
    pub deadline_unix_ms: Option<u64>,
    pub created_unix_ms: u64,
    pub ended_unix_ms: Option<u64>,
    pub source_url: Option<&'a str>,
    pub webhook_url: Option<&'a str>,
    pub output_url: Option<&'a str>,
    pub deliveries: Vec<Delivery<'a>>,
    pub rate: Option<Rate>,
    /// What engines made of it, those with most shards first; the first sixteen.
    pub engines: Vec<EngineShare<'a>>,
}

/// Shards of a job that an engine made.
#[derive(Serialize, ToSchema)]
pub struct EngineShare<'a> {
    pub number: u64,
    /// As it was called then.
    pub name: &'a str,
    pub shards: u32,
    /// Those that a node has made as well, with the same hash.
    pub checked: u32,
}

impl<'a> From<&'a v1::EngineShare> for EngineShare<'a> {
    fn from(share: &'a v1::EngineShare) -> Self {
        EngineShare {
            number: share.number,
            name: &share.name,
            shards: share.shards,
            checked: share.checked,
        }
    }
}

/// How the rate factor of a job was found that aims at a size, a bit rate or a quality.
#[derive(Serialize, ToSchema)]
pub struct Rate {
    /// Hundredths; `null` while it is searched.
    pub crf_centi: Option<u32>,
    /// Rounds of probes, and encodes of sampled shards in them.
    pub rounds: u32,
    pub probes: u32,
    pub probes_done: u32,
    /// Shards that were encoded again, to come nearer to a size.
    pub shards_again: u32,
    /// Bits a second of the pictures, once they are encoded.
    pub reached_bitrate: Option<u64>,
    /// In millionths of the scale of the target.
    pub reached_micro: Option<u64>,
}

impl From<&v1::Rate> for Rate {
    fn from(rate: &v1::Rate) -> Self {
        Rate {
            crf_centi: above_zero(rate.film_centi),
            rounds: rate.rounds,
            probes: rate.probes,
            probes_done: rate.probes_done,
            shards_again: rate.shards_again,
            reached_bitrate: above_zero(rate.reached_bitrate),
            reached_micro: above_zero(rate.reached_micro),
        }
    }
}

/// Why a job or an attempt failed.
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    pub kind: &'a str,
    pub cause: &'a str,
    pub hint: &'a str,
}

impl<'a> From<&'a v1::Problem> for Problem<'a> {
    fn from(problem: &'a v1::Problem) -> Self {
        Problem {
            kind: &problem.kind,
            cause: &problem.cause,
            hint: &problem.hint,
        }
    }
}

/// A node that keeps a job's bytes, and whether it has all of them.
#[derive(Serialize, ToSchema)]
pub struct Home {
    pub node: u64,
    pub filled: bool,
    pub retiring: bool,
}

impl<'a> From<&'a v1::Job> for Job<'a> {
    fn from(job: &'a v1::Job) -> Self {
        Job {
            id: &job.id,
            tenant: &job.tenant,
            request_id: &job.request_id,
            state: job_state(job.state),
            waiting: text(&job.waiting),
            makers: text(&job.makers),
            problem: job.problem.as_ref().map(Problem::from),
            spec: job.spec.as_ref().map(Spec::from),
            source_name: &job.source_name,
            source_bytes: job.source_bytes,
            source_root: text(&job.source_root),
            epoch: job.epoch,
            homes: job
                .homes
                .iter()
                .map(|home| Home {
                    node: home.node,
                    filled: home.filled,
                    retiring: home.retiring,
                })
                .collect(),
            shards_total: job.shards_total,
            shards_done: job.shards_done,
            shards_running: job.shards_running,
            frames_total: job.frames_total,
            frames_done: job.frames_done,
            speed: speed(job.speed_milli),
            eta_s: job.eta_s,
            estimated_output_bytes: above_zero(job.estimated_output_bytes),
            queue_position: above_zero(job.queue_position),
            output_hash: text(&job.output_hash),
            output_bytes: above_zero(job.output_bytes),
            proof_hash: text(&job.proof_hash),
            build: text(&job.build),
            plan_note: text(&job.plan_note),
            priority: job.priority,
            max_retries: job.max_retries,
            deadline_unix_ms: above_zero(job.deadline_unix_ms),
            created_unix_ms: job.created_unix_ms,
            ended_unix_ms: above_zero(job.ended_unix_ms),
            source_url: text(&job.source_url),
            webhook_url: text(&job.webhook_url),
            output_url: text(&job.output_url),
            deliveries: job.deliveries.iter().map(Delivery::from).collect(),
            rate: job.rate.as_ref().map(Rate::from),
            engines: job.engines.iter().map(EngineShare::from).collect(),
        }
    }
}

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub struct JobList<'a> {
    pub jobs: Vec<Job<'a>>,
    pub next_page_token: Option<&'a str>,
}

impl<'a> JobList<'a> {
    /// From rows and the token after them, empty at the end.
    pub fn new(jobs: &'a [v1::Job], next_page_token: &'a str) -> Self {
        JobList {
            jobs: jobs.iter().map(Job::from).collect(),
            next_page_token: text(next_page_token),
        }
    }
}

/// A submitted job.
#[derive(Serialize, ToSchema)]
pub struct Submitted<'a> {
    pub job: Job<'a>,
    pub existed: bool,
}

impl<'a> Submitted<'a> {
    /// From the job, and whether an earlier request made it.
    pub fn new(job: &'a v1::Job, existed: bool) -> Self {
        Submitted {
            job: Job::from(job),
            existed,
        }
    }
}

/// One change of a watched job.
#[derive(Serialize, ToSchema)]
pub struct Event<'a> {
    pub job: Option<Job<'a>>,
    pub leader_id: Option<u64>,
    pub term: u64,
}

impl<'a> From<&'a v1::WatchEvent> for Event<'a> {
    fn from(event: &'a v1::WatchEvent) -> Self {
        Event {
            job: event.job.as_ref().map(Job::from),
            leader_id: above_zero(event.leader),
            term: event.term,
        }
    }
}

/// The reference command of a job.
#[derive(Serialize, ToSchema)]
pub struct Reference<'a> {
    pub args: &'a [String],
    pub note: Option<&'a str>,
}

impl<'a> From<&'a v1::ReferenceResponse> for Reference<'a> {
    fn from(answer: &'a v1::ReferenceResponse) -> Self {
        Reference {
            args: &answer.args,
            note: text(&answer.note),
        }
    }
}
