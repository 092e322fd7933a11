//! Jobs, tasks and refusals on the wire. What workers and the leader say to
//! each other has a file of its own.

use reelraft_model::{EngineShare, Home, Job, JobState, Problem, Task, TaskState, worker_words};
use reelraft_proto::{problem, v1};
use tonic::Status;

use super::{
    convert_certificates::{model_certificate, wire_certificate},
    convert_outside::with_outside,
    convert_spec::wire_spec,
    convert_upkeep::{model_upkeep, wire_upkeep},
};
use crate::{
    api::{ClusterStatus, JobView, MeasureView, RateView, Reference, TaskView, WatchEvent},
    node::messages::{Lack, NodeStatus},
};

/// A refusal as a status.
pub fn status(problem: Problem) -> Status {
    problem::to_status(&wire_problem(problem))
}

/// A problem on the wire.
pub fn wire_problem(problem: Problem) -> v1::Problem {
    let Problem { kind, cause, hint } = problem;
    v1::Problem { kind, cause, hint }
}

/// A problem from the wire.
pub fn model_problem(problem: v1::Problem) -> Problem {
    let v1::Problem { kind, cause, hint } = problem;
    Problem { kind, cause, hint }
}

/// A job on the wire.
pub fn wire_job(mut view: JobView) -> v1::Job {
    let engines = std::mem::take(&mut view.engines);
    let (expected, queue_position) = (view.estimate, view.queue_position);
    let duration_us = view.job.duration_us;
    let rate = view.rate.map(|rate| wire_rate(rate, duration_us));
    v1::Job {
        rate,
        speed_milli: expected.speed_milli,
        eta_s: expected.eta_s,
        estimated_output_bytes: expected.output_bytes,
        queue_position,
        engines: engines.into_iter().map(wire_share).collect(),
        ..known_job(view)
    }
}

/// What is known of a job, without what is expected.
fn known_job(view: JobView) -> v1::Job {
    let JobView {
        job,
        shards_done,
        shards_running,
        frames_done,
        waiting,
        makers,
        ..
    } = view;
    let state = job_state(job.state()).into();
    let Job {
        id,
        tenant,
        request_id,
        spec,
        source_name,
        source_bytes,
        epoch,
        homes,
        source_root,
        shards_total,
        frames_total,
        plan_note,
        build,
        output_hash,
        output_bytes,
        proof_hash,
        problem,
        created_unix_ms,
        ended_unix_ms,
        outside,
        priority,
        max_retries,
        deadline_unix_ms,
        .. // The rest is for nodes alone.
    } = job;
    let known = v1::Job {
        id,
        tenant,
        request_id,
        state,
        spec: Some(wire_spec(&spec)),
        source_name,
        source_bytes,
        source_root,
        epoch,
        homes: homes.into_iter().map(wire_home).collect(),
        shards_total,
        shards_done,
        shards_running,
        frames_total,
        frames_done,
        output_hash,
        output_bytes,
        build,
        problem: problem.map(wire_problem),
        created_unix_ms,
        ended_unix_ms,
        waiting,
        makers,
        plan_note,
        proof_hash,
        priority,
        max_retries,
        deadline_unix_ms,
        ..Default::default()
    };
    with_outside(known, outside.unwrap_or_default())
}

/// What an engine made.
fn wire_share(share: EngineShare) -> v1::EngineShare {
    let EngineShare {
        number,
        name,
        shards,
        checked,
    } = share;
    v1::EngineShare {
        number,
        name,
        shards,
        checked,
    }
}

fn wire_rate(view: RateView, duration_us: u64) -> v1::Rate {
    let RateView {
        rate,
        probes,
        probes_done,
    } = view;
    let bits = u128::from(rate.payload) * 8_000_000;
    let reached_bitrate = bits / u128::from(duration_us.max(1));
    v1::Rate {
        film_centi: rate.film_centi,
        rounds: rate.rounds,
        probes,
        probes_done,
        shards_again: rate.shards_again,
        reached_bitrate: reached_bitrate.min(u64::MAX.into()) as u64,
        reached_micro: rate.reached_micro,
    }
}

fn wire_home(home: Home) -> v1::Home {
    v1::Home {
        node: home.node,
        filled: home.filled,
        retiring: home.retiring,
    }
}

fn job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Uploading => v1::JobState::Uploading,
        JobState::Analyzing => v1::JobState::Analyzing,
        JobState::Encoding => v1::JobState::Encoding,
        JobState::Assembling => v1::JobState::Assembling,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
        JobState::Deleted => v1::JobState::Deleted,
    }
}

/// A task on the wire.
pub fn wire_task(task: &Task) -> v1::Task {
    let state = match task.state() {
        TaskState::Pending => v1::TaskState::Pending,
        TaskState::Running => v1::TaskState::Running,
        TaskState::Done => v1::TaskState::Done,
    };
    let failures = task.failures.iter().map(|failure| {
        let (attempt, worker) = (failure.attempt, worker_words(failure.node));
        format!("attempt {attempt} on {worker}: {}", failure.problem)
    });
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
        failures: failures.collect(),
        rate_centi: task.rate_centi,
        probed_shard: task.shard,
        engine: task.made_by_engine().map(wire_share),
    }
}

/// A task with its attempts on the wire.
pub fn wire_task_details(view: TaskView, log: String) -> v1::TaskDetails {
    let attempts = view.attempts.into_iter().map(|attempt| v1::Attempt {
        attempt: attempt.attempt,
        node: attempt.node,
        outcome: attempt.outcome.to_string(),
        problem: attempt.problem.map(wire_problem),
        started_unix_ms: attempt.started_unix_ms,
        ended_unix_ms: attempt.ended_unix_ms,
    });
    v1::TaskDetails {
        task: Some(wire_task(&view.task)),
        attempts: attempts.collect(),
        log,
    }
}

/// A change of a watched job on the wire.
pub fn wire_event(event: WatchEvent) -> v1::WatchEvent {
    let WatchEvent { job, leader, term } = event;
    v1::WatchEvent {
        job: Some(wire_job(job)),
        leader: leader.unwrap_or(0),
        term,
    }
}

/// A reference command on the wire.
pub fn wire_reference(reference: Reference) -> v1::ReferenceResponse {
    let Reference { args, note } = reference;
    v1::ReferenceResponse { args, note }
}

/// How an output compares with its source, on the wire.
pub fn wire_measure(view: MeasureView) -> v1::MeasureResponse {
    let MeasureView {
        state,
        done,
        total,
        problem,
        shards,
    } = view;
    v1::MeasureResponse {
        state: state.to_string(),
        done,
        total,
        problem: problem.map(wire_problem),
        shards,
    }
}

/// The cluster on the wire.
pub fn wire_status(status: ClusterStatus) -> v1::StatusResponse {
    let ClusterStatus {
        cluster_id,
        leader,
        term,
        answered_by,
        applied_index,
        election_timeout_ms,
        feature_level,
        voters_wanted,
        nodes,
    } = status;
    v1::StatusResponse {
        leader_id: leader.unwrap_or(0),
        term,
        answered_by,
        committed_index: applied_index,
        nodes: nodes.into_iter().map(wire_node).collect(),
        cluster_id,
        election_timeout_ms,
        feature_level,
        voters_wanted,
    }
}

/// A node on the wire.
pub fn wire_node(node: NodeStatus) -> v1::NodeStatus {
    let NodeStatus {
        id,
        address,
        http,
        role,
        reachable,
        pid,
        slots,
        slots_busy,
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        build,
        build_words,
        lacks,
        speeds,
        applied_index,
        incarnation,
        version,
        trouble,
        room_bytes,
        starting,
        memory_mib,
        feature_level,
        note,
        certificate,
        upkeep,
        zone,
    } = node;
    v1::NodeStatus {
        id,
        address,
        http,
        role: role.map_or_else(String::new, |role| role.name().to_string()),
        reachable,
        pid,
        slots,
        slots_busy,
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        build,
        build_words,
        lacks: lacks.into_iter().map(wire_lack).collect(),
        speeds: speeds.into_iter().collect(),
        applied_index,
        incarnation,
        version,
        trouble,
        room_bytes,
        starting,
        memory_mib,
        feature_level,
        note,
        certificate: certificate.map(wire_certificate),
        upkeep: Some(wire_upkeep(upkeep)),
        zone,
    }
}

/// A node from the wire. Its role is left to whoever knows the members.
pub fn model_node(node: v1::NodeStatus) -> NodeStatus {
    let v1::NodeStatus {
        id,
        address,
        http,
        role: _,
        reachable,
        pid,
        slots,
        slots_busy,
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        build,
        build_words,
        lacks,
        speeds,
        applied_index,
        incarnation,
        version,
        trouble,
        room_bytes,
        starting,
        memory_mib,
        feature_level,
        note,
        certificate,
        upkeep,
        zone,
    } = node;
    NodeStatus {
        id,
        address,
        http,
        role: None,
        reachable,
        pid,
        slots,
        slots_busy,
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        build,
        build_words,
        lacks: lacks.into_iter().map(model_lack).collect(),
        speeds: speeds.into_iter().collect(),
        applied_index,
        incarnation,
        version,
        trouble,
        room_bytes,
        starting,
        memory_mib,
        feature_level,
        note,
        certificate: certificate.map(model_certificate),
        upkeep: model_upkeep(upkeep.unwrap_or_default()),
        zone,
    }
}

/// What a node can't make, on the wire.
pub fn wire_lack(lack: Lack) -> v1::Lack {
    let Lack { what, why } = lack;
    v1::Lack { what, why }
}

/// What a node can't make, from the wire.
pub fn model_lack(lack: v1::Lack) -> Lack {
    let v1::Lack { what, why } = lack;
    Lack { what, why }
}
