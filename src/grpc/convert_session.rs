//! What workers and the leader say to each other, on the wire. Decoding gives
//! `None` for what this version does not know.

use std::sync::Arc;

use reelraft_model::FailureClass;
use reelraft_proto::v1::{self, attempt_result, from_worker, to_worker};

use super::{
    convert::{model_lack, model_node, model_problem, wire_lack, wire_node, wire_problem},
    convert_certificates::{model_certificate, wire_certificate},
    convert_done::{model_done, wire_done},
    convert_engines::{model_engine_status, model_news, wire_engine_status, wire_news},
    convert_progress::{model_attempt, model_progress, wire_attempt, wire_progress},
    convert_upkeep::{model_upkeep, wire_upkeep},
};
use crate::node::messages::{
    Assignment, AttemptResult, Beat, Failed, FromWorker, Hello, JobProgress, LeaderReport, Outcome,
    TablePoint, ToWorker,
};

/// A hello as the first message of a session.
pub fn wire_hello(hello: Hello) -> v1::FromWorker {
    let Hello {
        node,
        incarnation,
        address,
        http,
        zone,
        pid,
        process,
        slots,
        build,
        starting,
        build_words,
        version,
        feature_level,
        beat,
    } = hello;
    let hello = v1::Hello {
        node,
        incarnation,
        address,
        http,
        zone,
        pid,
        process,
        slots,
        build,
        starting,
        build_words,
        version,
        feature_level,
        beat: Some(wire_beat(beat)),
    };
    v1::FromWorker {
        message: Some(from_worker::Message::Hello(hello)),
    }
}

/// The hello that begins a session.
pub fn model_hello(first: v1::FromWorker) -> Option<Hello> {
    let from_worker::Message::Hello(hello) = first.message? else {
        return None;
    };
    let v1::Hello {
        node,
        incarnation,
        address,
        http,
        zone,
        pid,
        process,
        slots,
        build,
        starting,
        build_words,
        version,
        feature_level,
        beat,
    } = hello;
    Some(Hello {
        node,
        incarnation,
        address,
        http,
        zone,
        pid,
        process,
        slots,
        build,
        starting,
        build_words,
        version,
        feature_level,
        beat: model_beat(beat.unwrap_or_default()),
    })
}

fn wire_beat(beat: Beat) -> v1::Beat {
    let Beat {
        running,
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        applied_index,
        trouble,
        full,
        table,
        room_bytes,
        lacks,
        speeds,
        certificate,
        memory_mib,
        upkeep,
        engines,
    } = beat;
    let (engines, engines_gone) = wire_news(engines);
    v1::Beat {
        running: wire_progress(running),
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        applied_index,
        trouble,
        full,
        table: table.map(wire_point),
        room_bytes,
        lacks: lacks.into_iter().map(wire_lack).collect(),
        speeds: speeds.into_iter().collect(),
        certificate: certificate.map(wire_certificate),
        memory_mib,
        upkeep: Some(wire_upkeep(upkeep)),
        engines,
        engines_gone,
    }
}

fn wire_point(point: TablePoint) -> v1::TablePoint {
    let TablePoint { index, hash } = point;
    v1::TablePoint { index, hash }
}

fn model_point(point: v1::TablePoint) -> TablePoint {
    let v1::TablePoint { index, hash } = point;
    TablePoint { index, hash }
}

fn model_beat(beat: v1::Beat) -> Beat {
    let v1::Beat {
        running,
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        applied_index,
        trouble,
        full,
        table,
        room_bytes,
        lacks,
        speeds,
        certificate,
        memory_mib,
        upkeep,
        engines,
        engines_gone,
    } = beat;
    Beat {
        running: model_progress(running),
        load_milli,
        disk_free_bytes,
        disk_total_bytes,
        applied_index,
        trouble,
        full,
        table: table.map(model_point),
        room_bytes,
        lacks: lacks.into_iter().map(model_lack).collect(),
        speeds: speeds.into_iter().collect(),
        certificate: certificate.map(model_certificate),
        memory_mib,
        upkeep: model_upkeep(upkeep.unwrap_or_default()),
        engines: model_news(engines, engines_gone),
    }
}

/// A worker's message, after its hello.
pub fn wire_from_worker(message: FromWorker) -> v1::FromWorker {
    let message = match message {
        FromWorker::Beat(beat) => from_worker::Message::Beat(wire_beat(beat)),
        FromWorker::Result(AttemptResult {
            key,
            engine,
            outcome,
        }) => {
            let outcome = match outcome {
                Outcome::Done(done) => attempt_result::Outcome::Done(wire_done(done)),
                Outcome::Failed(failed) => attempt_result::Outcome::Failed(wire_failed(failed)),
            };
            from_worker::Message::Result(v1::AttemptResult {
                attempt: Some(wire_attempt(&key)),
                outcome: Some(outcome),
                engine,
            })
        }
    };
    v1::FromWorker {
        message: Some(message),
    }
}

/// A worker's message from the wire.
pub fn model_from_worker(message: v1::FromWorker) -> Option<FromWorker> {
    match message.message? {
        from_worker::Message::Hello(_) => None,
        from_worker::Message::Beat(beat) => Some(FromWorker::Beat(model_beat(beat))),
        from_worker::Message::Result(result) => {
            let outcome = match result.outcome? {
                attempt_result::Outcome::Done(done) => Outcome::Done(model_done(done)),
                attempt_result::Outcome::Failed(failed) => Outcome::Failed(model_failed(failed)),
            };
            Some(FromWorker::Result(AttemptResult {
                key: model_attempt(result.attempt?)?,
                engine: result.engine,
                outcome,
            }))
        }
    }
}

fn wire_failed(failed: Failed) -> v1::Failed {
    let Failed {
        problem,
        class,
        lost,
    } = failed;
    let class = match class {
        FailureClass::Work => v1::FailureClass::Work,
        // A node never says of itself that it was lost.
        FailureClass::NodeFault | FailureClass::NodeLost => v1::FailureClass::NodeFault,
        FailureClass::Final => v1::FailureClass::Final,
        FailureClass::PlanMismatch => v1::FailureClass::PlanMismatch,
        FailureClass::Stopped => v1::FailureClass::Stopped,
        FailureClass::OutOfReach => v1::FailureClass::OutOfReach,
    };
    v1::Failed {
        problem: Some(wire_problem(problem)),
        class: class.into(),
        lost: lost.iter().map(wire_attempt).collect(),
    }
}

fn model_failed(failed: v1::Failed) -> Failed {
    let class = match failed.class() {
        v1::FailureClass::Work => FailureClass::Work,
        v1::FailureClass::NodeFault | v1::FailureClass::Unspecified => FailureClass::NodeFault,
        v1::FailureClass::Final => FailureClass::Final,
        v1::FailureClass::PlanMismatch => FailureClass::PlanMismatch,
        v1::FailureClass::Stopped => FailureClass::Stopped,
        v1::FailureClass::OutOfReach => FailureClass::OutOfReach,
    };
    Failed {
        problem: model_problem(failed.problem.unwrap_or_default()),
        class,
        lost: failed.lost.into_iter().filter_map(model_attempt).collect(),
    }
}

/// A message to a worker.
pub fn wire_to_worker(message: ToWorker) -> v1::ToWorker {
    let message = match message {
        ToWorker::Welcome { leader, term } => {
            to_worker::Message::Welcome(v1::Welcome { leader, term })
        }
        ToWorker::Assign(Assignment {
            key,
            log_index,
            engine,
        }) => to_worker::Message::Assign(v1::Assignment {
            attempt: Some(wire_attempt(&key)),
            log_index,
            engine,
        }),
        ToWorker::Settled(key) => to_worker::Message::Settled(wire_attempt(&key)),
        ToWorker::Report(report) => to_worker::Message::Report(wire_report(report)),
    };
    v1::ToWorker {
        message: Some(message),
    }
}

/// A message to a worker from the wire.
pub fn model_to_worker(message: v1::ToWorker) -> Option<ToWorker> {
    Some(match message.message? {
        to_worker::Message::Welcome(v1::Welcome { leader, term }) => {
            ToWorker::Welcome { leader, term }
        }
        to_worker::Message::Assign(assignment) => ToWorker::Assign(Assignment {
            key: model_attempt(assignment.attempt?)?,
            log_index: assignment.log_index,
            engine: assignment.engine,
        }),
        to_worker::Message::Settled(attempt) => ToWorker::Settled(model_attempt(attempt)?),
        to_worker::Message::Report(report) => ToWorker::Report(model_report(report)),
    })
}

fn wire_report(report: LeaderReport) -> v1::LeaderReport {
    let LeaderReport {
        leader,
        term,
        nodes,
        jobs,
        compared_index,
        majority,
        notes,
        engines,
    } = report;
    let engines_unchanged = engines.is_none();
    let engines = engines.map(Arc::unwrap_or_clone).unwrap_or_default();
    let job = |(job, progress): (String, JobProgress)| v1::JobProgress {
        job,
        running: wire_progress(progress.running),
        waiting: progress.waiting,
    };
    let jobs_unchanged = jobs.is_none();
    let jobs = jobs.map(Arc::unwrap_or_clone).unwrap_or_default();
    v1::LeaderReport {
        leader,
        term,
        nodes: nodes.into_iter().map(wire_node).collect(),
        jobs: jobs.into_iter().map(job).collect(),
        jobs_unchanged,
        compared_index,
        majority: majority.map(wire_point),
        notes: notes.into_iter().collect(),
        engines: engines.into_iter().map(wire_engine_status).collect(),
        engines_unchanged,
    }
}

fn model_report(report: v1::LeaderReport) -> LeaderReport {
    let v1::LeaderReport {
        leader,
        term,
        nodes,
        jobs,
        jobs_unchanged,
        compared_index,
        majority,
        notes,
        engines,
        engines_unchanged,
    } = report;
    let engines = || engines.into_iter().map(model_engine_status).collect();
    let job = |job: v1::JobProgress| {
        let progress = JobProgress {
            running: model_progress(job.running),
            waiting: job.waiting,
        };
        (job.job, progress)
    };
    LeaderReport {
        leader,
        term,
        nodes: nodes.into_iter().map(model_node).collect(),
        jobs: (!jobs_unchanged).then(|| Arc::new(jobs.into_iter().map(job).collect())),
        compared_index,
        majority: majority.map(model_point),
        notes: notes.into_iter().collect(),
        engines: (!engines_unchanged).then(|| Arc::new(engines())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use reelraft_model::{AttemptKey, ChunksRead, ShardRange, TaskKind};

    use super::*;
    use crate::node::messages::{Analysis, Done};

    #[test]
    fn a_failure_without_a_class_does_not_blame_the_work() {
        let failed = model_failed(v1::Failed::default());
        assert_eq!(failed.class, FailureClass::NodeFault);
    }

    #[test]
    fn what_a_worker_says_crosses_the_wire_whole() {
        let key = AttemptKey {
            job: "j1".into(),
            kind: TaskKind::Analyze.into(),
            number: 0,
            attempt: 2,
        };
        let done = Done {
            hash: "h".into(),
            bytes_out: 1,
            bytes_in: 2,
            frames: 3,
            report: "r".into(),
            payload: 9,
            score_micro: 980_000,
            analysis: Some(Analysis {
                duration_us: 7,
                plan: vec![ShardRange {
                    from_pts: -1,
                    to_pts: 5,
                    frames: 6,
                }],
                plan_note: "one".into(),
                audio_tracks: 2,
                extras: true,
                epoch: 7,
                kept: 3,
                audio_kept: 1,
                shard_keys: vec!["s".into()],
                audio_keys: vec!["a".into()],
                shard_memory_mib: 300,
                shares_parts: true,
            }),
            read: Some(ChunksRead {
                runs: vec![0, 2],
                digest: "d".into(),
            }),
        };
        let failed = |class| Failed {
            problem: reelraft_model::Problem::new("k", "c", "h"),
            class,
            lost: vec![key.clone()],
        };
        let mut outcomes = vec![Outcome::Done(done)];
        for class in [
            FailureClass::Work,
            FailureClass::NodeFault,
            FailureClass::Final,
            FailureClass::PlanMismatch,
            FailureClass::Stopped,
            FailureClass::OutOfReach,
        ] {
            outcomes.push(Outcome::Failed(failed(class)));
        }
        for outcome in outcomes {
            let said = FromWorker::Result(AttemptResult {
                key: key.clone(),
                engine: 5,
                outcome,
            });
            let heard = model_from_worker(wire_from_worker(said.clone()));
            assert_eq!(heard, Some(said));
        }
    }
}
