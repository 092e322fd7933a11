//! How a finished job's output compares with its source.

use axum::http::{StatusCode, Uri};
use reelraft_model::Problem;
use serde_json::{Value, json};

use super::{
    documents::json_text,
    faces::{Faces, JobId},
    refusal::Answer,
    request::known,
};
use crate::api::MeasureView;

/// Gives how a finished job's output compares with its source, as far as that is known.
#[utoipa::path(
    get, path = "/jobs/{id}/measure", operation_id = "job_measure", tag = "jobs",
    responses(
        (status = 200, description = "What was found of each shard, or why nothing was", body = Object),
        (status = 409),
        (status = 410),
    ),
)]
pub async fn show(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let view = faces.api.measured(&id).await?;
    Ok(json_text(StatusCode::OK, document(&id, view)))
}

/// Has a finished job's output compared with its source, unless it was.
#[utoipa::path(
    post, path = "/jobs/{id}/measure", operation_id = "measure_job", tag = "jobs",
    responses(
        (status = 200, description = "What was found of each shard, or why nothing was", body = Object),
        (status = 202, description = "It is being compared", body = Object),
    ),
)]
pub async fn begin(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let view = faces.api.measure(&id).await?;
    Ok(json_text(status_of(view.state), document(&id, view)))
}

/// What came to nothing at once is no more under way than what is done.
fn status_of(state: &str) -> StatusCode {
    match state {
        "measuring" => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    }
}

fn document(job: &str, view: MeasureView) -> String {
    let MeasureView {
        state,
        done,
        total,
        problem,
        shards,
    } = view;
    let shards: Value = serde_json::from_str(&shards).unwrap_or_default();
    let problem = problem
        .map(|Problem { kind, cause, hint }| json!({"kind": kind, "cause": cause, "hint": hint}));
    let document = json!({
        "job": job,
        "state": state,
        "done": done,
        "total": total,
        "problem": problem,
        "measured": shards,
    });
    document.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_on_is_accepted() {
        let states = ["measuring", "measured", "failed"];
        let statuses = states.map(|state| status_of(state).as_u16());
        assert_eq!(statuses, [202, 200, 200]);
    }
}
