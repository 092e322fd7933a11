//! The JSON of `-o json`. Stable: fields are added, never renamed or removed.
//!
//! docs/json.md tells users each document and field; a test below holds it to
//! the types here.

use reelraft_proto::v1;
use serde::Serialize;

use crate::words::{self, job_state, task_state};

/// A document as the one line that is printed.
pub fn line(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document)
        .expect("documents have string keys and plain values, which always serialize");
    text + "\n"
}

fn text(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

fn above_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

/// One job.
#[derive(Serialize)]
#[allow(missing_docs)] // The fields are those of the protocol's Job.
pub struct Job<'a> {
    pub id: &'a str,
    pub tenant: &'a str,
    pub request_id: &'a str,
    pub state: &'static str,
    pub waiting: Option<&'a str>,
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
    pub output_hash: Option<&'a str>,
    pub output_bytes: Option<u64>,
    pub proof_hash: Option<&'a str>,
    pub build: Option<&'a str>,
    pub plan_note: Option<&'a str>,
    pub created_unix_ms: u64,
    pub ended_unix_ms: Option<u64>,
}

/// Why a job failed.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Problem<'a> {
    pub kind: &'a str,
    pub cause: &'a str,
    pub hint: &'a str,
}

/// A node that keeps a job's bytes, and whether it has all of them.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Home {
    pub node: u64,
    pub filled: bool,
}

/// The spec as stored; `null` keeps the source's.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Spec<'a> {
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<String>,
    pub codec: Option<&'a str>,
    pub crf: Option<u32>,
    pub preset: Option<&'a str>,
    pub pix_fmt: Option<&'a str>,
    pub brightness_milli: Option<i32>,
    pub contrast_milli: Option<i32>,
    pub audio: Option<&'a str>,
    pub audio_bitrate: Option<u32>,
    pub container: Option<&'a str>,
    pub shard_ms: Option<u32>,
    pub saturation_milli: Option<i32>,
    pub deinterlace: Option<&'a str>,
    pub crop: Option<String>,
    pub pad: Option<String>,
    pub denoise: Option<&'a str>,
    pub loudness_mlufs: Option<i32>,
    pub audio_tracks: &'a [u32],
    pub subtitles: Option<&'a str>,
    pub strip_metadata: bool,
    pub keep_location: bool,
    pub strict: bool,
}

impl<'a> From<&'a v1::Job> for Job<'a> {
    fn from(job: &'a v1::Job) -> Self {
        Job {
            id: &job.id,
            tenant: &job.tenant,
            request_id: &job.request_id,
            state: job_state(job.state),
            waiting: text(&job.waiting),
            problem: job.problem.as_ref().map(|problem| Problem {
                kind: &problem.kind,
                cause: &problem.cause,
                hint: &problem.hint,
            }),
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
                })
                .collect(),
            shards_total: job.shards_total,
            shards_done: job.shards_done,
            shards_running: job.shards_running,
            frames_total: job.frames_total,
            frames_done: job.frames_done,
            output_hash: text(&job.output_hash),
            output_bytes: above_zero(job.output_bytes),
            proof_hash: text(&job.proof_hash),
            build: text(&job.build),
            plan_note: text(&job.plan_note),
            created_unix_ms: job.created_unix_ms,
            ended_unix_ms: above_zero(job.ended_unix_ms),
        }
    }
}

impl<'a> From<&'a v1::Spec> for Spec<'a> {
    fn from(spec: &'a v1::Spec) -> Self {
        Spec {
            width: above_zero(spec.width),
            height: above_zero(spec.height),
            fps: above_zero(spec.fps_num).map(|num| format!("{num}/{}", spec.fps_den)),
            codec: text(&spec.codec),
            crf: spec.crf,
            preset: text(&spec.preset),
            pix_fmt: text(&spec.pix_fmt),
            brightness_milli: spec.brightness_milli,
            contrast_milli: spec.contrast_milli,
            audio: text(&spec.audio),
            audio_bitrate: above_zero(spec.audio_bitrate),
            container: text(&spec.container),
            shard_ms: above_zero(spec.shard_ms),
            saturation_milli: spec.saturation_milli,
            deinterlace: text(&spec.deinterlace),
            crop: words::crop(spec),
            pad: words::pad(spec),
            denoise: text(&spec.denoise),
            loudness_mlufs: (spec.loudness_mlufs != 0).then_some(spec.loudness_mlufs),
            audio_tracks: &spec.audio_tracks,
            subtitles: text(&spec.subtitles),
            strip_metadata: spec.strip_metadata,
            keep_location: spec.keep_location,
            strict: spec.strict,
        }
    }
}

/// A page of jobs.
#[derive(Serialize)]
#[allow(missing_docs)]
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
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Submitted<'a> {
    pub job: Job<'a>,
    pub existed: bool,
}

impl<'a> Submitted<'a> {
    /// From the job, and whether an earlier request had made it.
    pub fn new(job: &'a v1::Job, existed: bool) -> Self {
        Submitted {
            job: Job::from(job),
            existed,
        }
    }
}

/// One change of a watched job.
#[derive(Serialize)]
#[allow(missing_docs)]
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
#[derive(Serialize)]
#[allow(missing_docs)]
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

/// A job's tasks.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct TaskList<'a> {
    pub tasks: Vec<Task<'a>>,
}

/// One task; `kind` is analyze, audio, shard, extras or assemble.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Task<'a> {
    pub number: u32,
    pub kind: &'a str,
    pub state: &'static str,
    pub node: Option<u64>,
    pub attempt: u32,
    pub from_pts: i64,
    pub to_pts: i64,
    pub frames: u64,
    pub bytes_in: Option<u64>,
    pub bytes_out: Option<u64>,
    pub ratio_milli: Option<u64>,
    pub hash: Option<&'a str>,
    pub started_unix_ms: Option<u64>,
    pub ended_unix_ms: Option<u64>,
    pub failures: &'a [String],
}

impl<'a> TaskList<'a> {
    /// From rows.
    pub fn new(tasks: &'a [v1::Task]) -> Self {
        let tasks = tasks.iter().map(|task| Task {
            number: task.number,
            kind: &task.kind,
            state: task_state(task.state),
            node: above_zero(task.node),
            attempt: task.attempt,
            from_pts: task.from_pts,
            to_pts: task.to_pts,
            frames: task.frames,
            bytes_in: above_zero(task.bytes_in),
            bytes_out: above_zero(task.bytes_out),
            ratio_milli: above_zero(task.ratio_milli),
            hash: text(&task.hash),
            started_unix_ms: above_zero(task.started_unix_ms),
            ended_unix_ms: above_zero(task.ended_unix_ms),
            failures: &task.failures,
        });
        TaskList {
            tasks: tasks.collect(),
        }
    }
}

/// The cluster as one node sees it.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Status<'a> {
    pub leader_id: Option<u64>,
    pub term: u64,
    pub answered_by: u64,
    pub committed_index: u64,
    pub cluster_id: &'a str,
    pub nodes: Vec<Node<'a>>,
}

/// One node.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Node<'a> {
    pub id: u64,
    pub address: &'a str,
    pub role: &'a str,
    pub reachable: bool,
    pub pid: Option<u32>,
    pub load_milli: u32,
    pub slots: u32,
    pub slots_busy: u32,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    pub build: Option<&'a str>,
    pub applied_index: u64,
    pub incarnation: Option<&'a str>,
    pub version: Option<&'a str>,
    pub trouble: Option<&'a str>,
}

impl<'a> From<&'a v1::NodeStatus> for Node<'a> {
    fn from(node: &'a v1::NodeStatus) -> Self {
        Node {
            id: node.id,
            address: &node.address,
            role: &node.role,
            reachable: node.reachable,
            pid: above_zero(node.pid),
            load_milli: node.load_milli,
            slots: node.slots,
            slots_busy: node.slots_busy,
            disk_free_bytes: node.disk_free_bytes,
            disk_total_bytes: node.disk_total_bytes,
            build: text(&node.build),
            applied_index: node.applied_index,
            incarnation: text(&node.incarnation),
            version: text(&node.version),
            trouble: text(&node.trouble),
        }
    }
}

impl<'a> From<&'a v1::StatusResponse> for Status<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        Status {
            leader_id: above_zero(status.leader_id),
            term: status.term,
            answered_by: status.answered_by,
            committed_index: status.committed_index,
            cluster_id: &status.cluster_id,
            nodes: status.nodes.iter().map(Node::from).collect(),
        }
    }
}

/// All nodes.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Nodes<'a> {
    pub nodes: Vec<Node<'a>>,
}

impl<'a> From<&'a v1::StatusResponse> for Nodes<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        Nodes {
            nodes: status.nodes.iter().map(Node::from).collect(),
        }
    }
}

/// The leader.
#[derive(Serialize)]
#[allow(missing_docs)]
pub struct Leader<'a> {
    pub leader_id: u64,
    pub term: u64,
    pub address: Option<&'a str>,
}

impl<'a> From<&'a v1::StatusResponse> for Leader<'a> {
    fn from(status: &'a v1::StatusResponse) -> Self {
        let leader = status.nodes.iter().find(|node| node.id == status.leader_id);
        Leader {
            leader_id: status.leader_id,
            term: status.term,
            address: leader.map(|node| node.address.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name in a document, at any depth.
    fn names(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    found.push(name.clone());
                    names(value, found);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_is_documented() {
        let paper = include_str!("../../../docs/json.md");
        let job = v1::Job {
            problem: Some(v1::Problem::default()),
            spec: Some(v1::Spec::default()),
            homes: vec![v1::Home::default()],
            ..Default::default()
        };
        let status = v1::StatusResponse {
            nodes: vec![v1::NodeStatus::default()],
            ..Default::default()
        };
        let jobs = [job];
        let tasks = [v1::Task::default()];
        let reference = v1::ReferenceResponse::default();
        let event = v1::WatchEvent::default();
        let lines = [
            line(&JobList::new(&jobs, "")),
            line(&Submitted::new(&jobs[0], true)),
            line(&TaskList::new(&tasks)),
            line(&Reference::from(&reference)),
            line(&Event::from(&event)),
            line(&Status::from(&status)),
            line(&Leader::from(&status)),
        ];
        for text in lines {
            let mut found = Vec::new();
            names(
                &serde_json::from_str(&text).expect("lines are JSON"),
                &mut found,
            );
            for name in found {
                let documented =
                    paper.contains(&format!("`{name}`")) || paper.contains(&format!("\"{name}\""));
                assert!(documented, "docs/json.md does not tell of {name}");
            }
        }
    }

    #[test]
    fn a_status_has_the_documented_form() {
        let status = v1::StatusResponse {
            leader_id: 0,
            term: 3,
            nodes: vec![v1::NodeStatus {
                id: 2,
                address: "127.0.0.1:7402".into(),
                role: "voter".into(),
                reachable: true,
                pid: 77,
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(
            line(&Status::from(&status)),
            "{\"leader_id\":null,\"term\":3,\"answered_by\":0,\"committed_index\":0,\
             \"cluster_id\":\"\",\"nodes\":[{\"id\":2,\"address\":\"127.0.0.1:7402\",\
             \"role\":\"voter\",\"reachable\":true,\"pid\":77,\"load_milli\":0,\"slots\":0,\
             \"slots_busy\":0,\"disk_free_bytes\":0,\"disk_total_bytes\":0,\"build\":null,\
             \"applied_index\":0,\"incarnation\":null,\"version\":null,\"trouble\":null}]}\n"
        );
    }
}
