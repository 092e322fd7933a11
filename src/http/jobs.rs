//! Jobs: creating, listing, showing, changing, following.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures::TryStreamExt;
use reelraft_model::Problem;
use reelraft_proto::documents::{Event, Job, JobList, Reference, Submitted, TaskList};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    documents::{json, json_text},
    faces::{Faces, JobId},
    refusal::Answer,
    request::{header_text, json_body, known, page_size, request_id},
    server::Cut,
    spec,
};
use crate::{
    api::{Consistency, JobView, ListRequest, Page, SubmitRequest, TasksRequest},
    grpc::convert::{wire_event, wire_job, wire_reference, wire_task},
};

/// A job as a client asks for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    source_bytes: u64,
    #[serde(default)]
    source_name: String,
    #[serde(default)]
    source_fingerprint: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    spec: Map<String, Value>,
    #[serde(default)]
    priority: i32,
    max_retries: Option<u32>,
}

/// `POST /jobs`.
pub async fn create(faces: Faces, headers: HeaderMap, body: Body) -> Answer {
    let request_id = request_id(&headers)?;
    let Create {
        source_bytes,
        source_name,
        source_fingerprint,
        tenant,
        spec,
        priority,
        max_retries,
    } = json_body(body).await?;
    let request = SubmitRequest {
        tenant,
        request_id,
        spec: spec::from_values(spec)?,
        source_fingerprint: match source_fingerprint.is_empty() {
            true => spec::fingerprint(source_bytes, &source_name),
            false => source_fingerprint,
        },
        source_name,
        source_bytes,
        priority,
        max_retries,
    };
    let submitted = faces.api.submit(request).await?;
    let status = match submitted.existed {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    let job = wire_job(submitted.job);
    let mut response = json(status, &Submitted::new(&job, submitted.existed));
    let location = HeaderValue::try_from(format!("/api/v1/jobs/{}", job.id));
    let location = location.expect("ids are hex digits");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `GET /jobs`.
pub async fn list(faces: Faces, uri: Uri) -> Answer {
    let [tenant, size, page_token] = known(&uri, ["tenant", "page_size", "page_token"])?;
    let request = ListRequest {
        tenant,
        page_size: page_size(&size)?,
        page_token,
        consistency: Consistency::Linearizable,
    };
    let Page {
        items,
        next_page_token,
    } = faces.api.list(request).await?;
    let jobs: Vec<_> = items.into_iter().map(wire_job).collect();
    Ok(json(StatusCode::OK, &JobList::new(&jobs, &next_page_token)))
}

fn job(view: Result<JobView, Problem>) -> Answer {
    let job = wire_job(view?);
    Ok(json(StatusCode::OK, &Job::from(&job)))
}

/// `GET /jobs/{id}`.
pub async fn show(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.job(&id, Consistency::Linearizable).await)
}

/// `DELETE /jobs/{id}`.
pub async fn delete(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.delete(&id).await)
}

/// `POST /jobs/{id}/cancel`.
pub async fn cancel(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.cancel(&id).await)
}

/// `POST /jobs/{id}/replan`.
pub async fn replan(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.replan(&id).await)
}

/// `GET /jobs/{id}/tasks`.
pub async fn tasks(faces: Faces, JobId(job): JobId, uri: Uri) -> Answer {
    let [size, page_token] = known(&uri, ["page_size", "page_token"])?;
    let request = TasksRequest {
        job,
        page_size: page_size(&size)?,
        page_token,
    };
    let Page {
        items,
        next_page_token,
    } = faces.api.tasks(request).await?;
    let tasks: Vec<_> = items.iter().map(wire_task).collect();
    Ok(json(
        StatusCode::OK,
        &TaskList::new(&tasks, &next_page_token),
    ))
}

/// `GET /jobs/{id}/proof`.
pub async fn proof(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    Ok(json_text(StatusCode::OK, faces.api.proof(&id).await?))
}

/// `GET /jobs/{id}/reference`.
pub async fn reference(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let reference = wire_reference(faces.api.reference(&id).await?);
    Ok(json(StatusCode::OK, &Reference::from(&reference)))
}

/// `GET /jobs/{id}/events`: server-sent events. Each carries the whole job, so
/// that a client which connects again, to any node, has missed nothing. Its id
/// is the job's state: a client that has seen how the job ended is told by 204
/// not to come again.
pub async fn events(
    faces: Faces,
    JobId(id): JobId,
    cut: Cut,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let [] = known(&uri, [])?;
    if let Some(seen) = header_text(&headers, "last-event-id")? {
        let job = faces.api.job(&id, Consistency::Linearizable).await?.job;
        if job.state().ended() && job.state().name() == seen {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
    }
    let events = faces.api.watch(&id).await?;
    events.on_stall(move || cut.cut());
    let lines = events.map_ok(|event| {
        let state = event.job.job.state().name();
        let event = wire_event(event);
        let data = serde_json::to_string(&Event::from(&event));
        let data = data.expect("documents always serialize");
        format!("event: job\nid: {state}\ndata: {data}\n\n")
    });
    let lines = lines.map_err(|problem| problem.to_string());
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
