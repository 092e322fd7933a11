//! How a finished job's output compares with its source: as it was encoded, or after
//! the fact.

use std::sync::Arc;

use reelraft_model::{
    Command, JobEntry, JobState, MeasureJob, Problem, Scope, limits::MEASURE_LEVEL,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    Api, Consistency,
    jobs::all_know,
    limits::{SETTLE_LOOK, SETTLE_PATIENCE},
    not_found,
};

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasureView {
    /// not-measured, measuring, measured or failed.
    pub state: &'static str,
    /// Parts of the film that are compared, and how many there are.
    pub done: u32,
    pub total: u32,
    /// Why it came to nothing.
    pub problem: Option<Problem>,
    /// JSON: each shard with what was found of it, in order; an empty list before.
    pub shards: String,
}

impl MeasureView {
    fn of(state: &'static str) -> Self {
        MeasureView {
            state,
            shards: "[]".into(),
            ..Default::default()
        }
    }
}

impl Api {
    /// How a finished job's output compares with its source, as far as that is known.
    ///
    /// # Errors
    /// `not-found`, `not-finished`, `no-output`, and what keeps the cluster from reading
    /// or the homes from giving it.
    pub async fn measured(&self, id: &str) -> Result<MeasureView, Problem> {
        // Whoever has just asked for it is not to be told that nobody has.
        let entry = self.entry(Scope::Read, id, Consistency::Linearizable);
        let entry = entry.await?;
        match entry.job.lacks_output() {
            Some(problem) => Err(problem),
            None => self.measure_view(&entry).await,
        }
    }

    /// Has it compared, unless it was.
    ///
    /// # Errors
    /// `not-found`, `mixed-versions`, `too-early` while no node has said its version, the
    /// model's refusals: `not-finished`, `no-output`, `no-pictures`, `source-gone`; and what
    /// keeps the cluster from reading or writing.
    pub async fn measure(&self, id: &str) -> Result<MeasureView, Problem> {
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        let tenant = seen.job(id)?.job.tenant.clone();
        let readable = all_know(seen.whole(), MEASURE_LEVEL, "measure finished jobs");
        drop(seen);
        let entry = self.settled(id).await?;
        let mut shards = 1;
        if entry.job.state() == JobState::Succeeded {
            let known = self.measure_view(&entry).await?;
            if matches!(known.state, "measured" | "measuring") {
                return Ok(known);
            }
            shards = self.context().shards_of_proof(&entry).await?.max(1);
        }
        readable?;
        let known = entry.job.measurement.as_ref();
        let command = MeasureJob {
            job: id.to_string(),
            shards,
            seen_index: known.map_or(0, |known| known.begun_index),
        };
        // Held no longer: the apply would have to copy what is shared.
        drop(entry);
        let command = Command::MeasureJob(command);
        let (_, state) = self.apply(Scope::Submit, &tenant, command).await?;
        let entry = state.job(id).ok_or_else(|| not_found(id))?;
        drop(state);
        self.measure_view(&entry).await
    }

    /// A job, once the tasks of one that has just succeeded are put by.
    async fn settled(&self, id: &str) -> Result<Arc<JobEntry>, Problem> {
        let until = Instant::now() + SETTLE_PATIENCE;
        loop {
            let entry = self.entry(Scope::Submit, id, Consistency::Linearizable);
            let entry = entry.await?;
            let open = entry.job.state() == JobState::Succeeded && entry.job.summary.is_none();
            if !open || Instant::now() >= until {
                return Ok(entry);
            }
            sleep(SETTLE_LOOK).await;
        }
    }

    async fn measure_view(&self, entry: &JobEntry) -> Result<MeasureView, Problem> {
        let Some(measurement) = &entry.job.measurement else {
            let proof = self.context().blob(entry, &entry.job.proof_hash).await?;
            let mut proof: Value = serde_json::from_slice(&proof).unwrap_or_default();
            return Ok(match proof.get_mut("measured").map(Value::take) {
                Some(Value::Array(shards)) if !shards.is_empty() => measured(&shards),
                _ => MeasureView::of("not-measured"),
            });
        };
        if let Some(problem) = &measurement.problem {
            return Ok(MeasureView {
                problem: Some(problem.clone()),
                ..MeasureView::of("failed")
            });
        }
        if measurement.is_open() {
            return Ok(MeasureView {
                done: entry.measured_count(),
                total: measurement.tasks,
                ..MeasureView::of("measuring")
            });
        }
        let mut shards: Vec<Value> = Vec::new();
        for part in &measurement.parts {
            let part = self.context().blob(entry, part).await?;
            shards.extend(serde_json::from_slice::<Vec<Value>>(&part).map_err(unread)?);
        }
        Ok(measured(&shards))
    }
}

fn measured(shards: &[Value]) -> MeasureView {
    let (done, total) = (shards.len() as u32, shards.len() as u32);
    MeasureView {
        done,
        total,
        shards: serde_json::to_string(shards).unwrap_or_default(),
        ..MeasureView::of("measured")
    }
}

fn unread(error: impl ToString) -> Problem {
    let hint = "the nodes may run other versions; the output is not concerned";
    Problem::new("internal", error.to_string(), hint)
}
