//! The model's types as the wire shows them, and refusals as gRPC statuses.
//! Generated types go no further into the program than this.

use prost::Message;
use reelraft_model::{
    AttemptKey, Job, JobEntry, Problem, ShardRange, Task, TaskKind, TaskState,
    spec::{Crop, Spec, SpecRequest},
};
use reelraft_proto::v1;
use tonic::{Code, Status, metadata::MetadataValue};

/// Metadata key under which a status carries its `Problem`.
pub const PROBLEM_KEY: &str = "reelraft-problem-bin";

/// A refusal as a status with its problem attached.
pub fn status(code: Code, problem: &Problem) -> Status {
    let mut status = Status::new(code, problem.cause.clone());
    let wire = wire_problem(problem);
    status.metadata_mut().insert_bin(
        PROBLEM_KEY,
        MetadataValue::from_bytes(&wire.encode_to_vec()),
    );
    status
}

/// A refusal as a status, its code by the problem's kind.
pub fn refusal(problem: &Problem) -> Status {
    let code = match problem.kind.as_str() {
        "not-found" => Code::NotFound,
        "request-id-reused" => Code::AlreadyExists,
        "bad-spec" | "bad-request" | "empty-source" => Code::InvalidArgument,
        "no-leader" | "unreachable" => Code::Unavailable,
        "timed-out" => Code::DeadlineExceeded,
        "disk-full" => Code::ResourceExhausted,
        "internal" => Code::Internal,
        _ => Code::FailedPrecondition,
    };
    status(code, problem)
}

/// A problem on the wire.
pub fn wire_problem(problem: &Problem) -> v1::Problem {
    v1::Problem {
        kind: problem.kind.clone(),
        cause: problem.cause.clone(),
        hint: problem.hint.clone(),
    }
}

/// A problem from the wire.
pub fn model_problem(problem: v1::Problem) -> Problem {
    Problem {
        kind: problem.kind,
        cause: problem.cause,
        hint: problem.hint,
    }
}

/// An attempt on the wire.
pub fn wire_attempt(key: &AttemptKey) -> v1::AttemptRef {
    v1::AttemptRef {
        job: key.job.clone(),
        kind: key.kind().name().to_string(),
        number: key.number,
        attempt: key.attempt,
    }
}

/// An attempt with its progress on the wire.
pub fn wire_progress(key: &AttemptKey, frames: u64) -> v1::AttemptProgress {
    v1::AttemptProgress {
        attempt: Some(wire_attempt(key)),
        frames,
    }
}

/// An attempt with its progress from the wire.
pub fn model_progress(progress: &v1::AttemptProgress) -> Option<(AttemptKey, u64)> {
    Some((model_attempt(progress.attempt.as_ref()?)?, progress.frames))
}

/// An attempt from the wire; `None` for a kind that this version lacks.
pub fn model_attempt(attempt: &v1::AttemptRef) -> Option<AttemptKey> {
    Some(AttemptKey {
        job: attempt.job.clone(),
        kind: TaskKind::parse(&attempt.kind)?.into(),
        number: attempt.number,
        attempt: attempt.attempt,
    })
}

/// A planned range from the wire.
pub fn model_range(range: &v1::Range) -> ShardRange {
    ShardRange {
        from_pts: range.from_pts,
        to_pts: range.to_pts,
        frames: range.frames,
    }
}

/// A spec as a client asks for it.
pub fn spec_request(spec: v1::Spec) -> SpecRequest {
    SpecRequest {
        // Zero means "as the source has it" on the wire.
        width: (spec.width != 0).then_some(spec.width),
        height: (spec.height != 0).then_some(spec.height),
        fps: (spec.fps_num != 0 || spec.fps_den != 0).then_some((spec.fps_num, spec.fps_den)),
        codec: spec.codec,
        crf: spec.crf,
        preset: spec.preset,
        pix_fmt: spec.pix_fmt,
        brightness_milli: spec.brightness_milli,
        contrast_milli: spec.contrast_milli,
        audio: spec.audio,
        audio_bitrate: (spec.audio_bitrate != 0).then_some(spec.audio_bitrate),
        container: spec.container,
        shard_ms: (spec.shard_ms != 0).then_some(spec.shard_ms),
        saturation_milli: spec.saturation_milli,
        deinterlace: spec.deinterlace,
        crop: spec.crop.map(|crop| Crop {
            width: crop.width,
            height: crop.height,
            x: crop.x,
            y: crop.y,
        }),
        pad: (spec.pad_width != 0 || spec.pad_height != 0)
            .then_some((spec.pad_width, spec.pad_height)),
        denoise: spec.denoise,
        loudness_mlufs: (spec.loudness_mlufs != 0).then_some(spec.loudness_mlufs),
        audio_tracks: spec.audio_tracks,
        subtitles: spec.subtitles,
        strip_metadata: spec.strip_metadata,
        keep_location: spec.keep_location,
        strict: spec.strict,
    }
}

fn wire_spec(spec: &Spec) -> v1::Spec {
    v1::Spec {
        width: spec.width,
        height: spec.height,
        fps_num: spec.fps_num,
        fps_den: spec.fps_den,
        codec: spec.codec().name().to_string(),
        crf: Some(spec.crf),
        preset: spec.preset.clone(),
        pix_fmt: spec.pix_fmt.clone(),
        brightness_milli: Some(spec.brightness_milli),
        contrast_milli: Some(spec.contrast_milli),
        audio: spec.audio().name().to_string(),
        audio_bitrate: spec.audio_bitrate,
        container: spec.container().name().to_string(),
        shard_ms: spec.shard_ms,
        saturation_milli: Some(spec.saturation_milli),
        deinterlace: spec.deinterlace().name().to_string(),
        crop: spec.crop.map(|crop| v1::Crop {
            width: crop.width,
            height: crop.height,
            x: crop.x,
            y: crop.y,
        }),
        pad_width: spec.pad_width,
        pad_height: spec.pad_height,
        denoise: spec.denoise().name().to_string(),
        loudness_mlufs: spec.loudness_mlufs,
        audio_tracks: spec.audio_tracks.clone(),
        subtitles: spec.subtitles().name().to_string(),
        strip_metadata: spec.strip_metadata,
        keep_location: spec.keep_location,
        strict: spec.strict,
    }
}

/// A job as clients see it. `live` adds what only the leader knows.
pub fn wire_job(entry: &JobEntry, live: Option<&v1::JobProgress>) -> v1::Job {
    let job = &entry.job;
    let encoded: u64 = entry
        .shards()
        .filter(|task| task.state() == TaskState::Done)
        .map(|task| task.frames)
        .sum();
    let count =
        |state: TaskState| entry.shards().filter(|task| task.state() == state).count() as u32;
    v1::Job {
        id: job.id.clone(),
        tenant: job.tenant.clone(),
        request_id: job.request_id.clone(),
        state: job_state(job).into(),
        spec: Some(wire_spec(&job.spec)),
        source_name: job.source_name.clone(),
        source_bytes: job.source_bytes,
        source_root: job.source_root.clone(),
        epoch: job.epoch,
        homes: job
            .homes
            .iter()
            .map(|home| v1::Home {
                node: home.node,
                filled: home.filled,
            })
            .collect(),
        shards_total: job.shards_total,
        shards_done: count(TaskState::Done),
        shards_running: count(TaskState::Running),
        frames_total: job.frames_total,
        frames_done: encoded + live.map_or(0, |live| frames_running(entry, live)),
        output_hash: job.output_hash.clone(),
        output_bytes: job.output_bytes,
        build: job.build.clone(),
        problem: job.problem.as_ref().map(wire_problem),
        created_unix_ms: job.created_unix_ms,
        ended_unix_ms: job.ended_unix_ms,
        waiting: live.map(|live| live.waiting.clone()).unwrap_or_default(),
        plan_note: job.plan_note.clone(),
        proof_hash: job.proof_hash.clone(),
    }
}

/// Frames of the attempts that the table still has as running: one that has
/// just been written down counts as done already.
fn frames_running(entry: &JobEntry, live: &v1::JobProgress) -> u64 {
    let current = |key: &AttemptKey| {
        let task = entry.tasks.get(&key.task());
        task.is_some_and(|task| task.state() == TaskState::Running && task.attempt == key.attempt)
    };
    live.running
        .iter()
        .filter_map(model_progress)
        .filter(|(key, _)| current(key))
        .map(|(_, frames)| frames)
        .sum()
}

fn job_state(job: &Job) -> v1::JobState {
    use reelraft_model::JobState as S;
    match job.state() {
        S::Uploading => v1::JobState::Uploading,
        S::Analyzing => v1::JobState::Analyzing,
        S::Encoding => v1::JobState::Encoding,
        S::Assembling => v1::JobState::Assembling,
        S::Succeeded => v1::JobState::Succeeded,
        S::Failed => v1::JobState::Failed,
        S::Cancelled => v1::JobState::Cancelled,
        S::Deleted => v1::JobState::Deleted,
    }
}

/// A task as clients see it.
pub fn wire_task(task: &Task) -> v1::Task {
    let state = match task.state() {
        TaskState::Pending => v1::TaskState::Pending,
        TaskState::Running => v1::TaskState::Running,
        TaskState::Done => v1::TaskState::Done,
    };
    v1::Task {
        number: task.number,
        kind: task.kind().name().to_string(),
        state: state.into(),
        node: task.node,
        attempt: task.attempt,
        from_pts: task.from_pts,
        to_pts: task.to_pts,
        frames: task.frames,
        bytes_in: task.bytes_in,
        bytes_out: task.bytes_out,
        ratio_milli: (task.bytes_out * 1000)
            .checked_div(task.bytes_in)
            .unwrap_or(0),
        hash: task.hash.clone(),
        started_unix_ms: task.started_unix_ms,
        ended_unix_ms: task.ended_unix_ms,
        failures: task
            .failures
            .iter()
            .map(|failure| {
                format!(
                    "attempt {} on node {}: {}",
                    failure.attempt, failure.node, failure.problem
                )
            })
            .collect(),
    }
}
