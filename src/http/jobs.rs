//! Jobs: creating, listing, showing, changing, following.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::IntoResponse,
};
use futures::TryStreamExt;
use reelraft_model::Problem;
use reelraft_proto::documents::{
    Event, Job, JobList, Reference, Submitted, TaskDetails, TaskList, spec_options,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};

use super::{
    documents::{json, json_text},
    events,
    faces::{Faces, JobId, TaskId},
    openapi,
    refusal::{Answer, Refusal},
    request::{header_text, json_body, known, page_size, request_id},
    server::{Cut, Stopping},
    spec,
    spec_schema::SpecOptions,
};
use crate::{
    api::{
        Consistency, JobView, ListRequest, Page, SubmitRequest, TasksRequest,
        limits::FINGERPRINT_DIGITS,
    },
    grpc::convert::{wire_event, wire_job, wire_reference, wire_task, wire_task_details},
};

/// A job as a client asks for it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// Size of the source; left out where it lies behind a URL.
    #[schema(minimum = 1)]
    source_bytes: Option<u64>,
    #[serde(default)]
    #[schema(schema_with = openapi::name)]
    source_name: String,
    #[serde(default)]
    #[schema(schema_with = fingerprint)]
    source_fingerprint: String,
    /// Where the cluster fetches the source, in the place of an upload.
    #[serde(default)]
    source_url: String,
    /// Who is told when the job has ended.
    #[serde(default)]
    webhook_url: String,
    /// Where the finished file is put.
    #[serde(default)]
    output_url: String,
    #[serde(default)]
    #[schema(schema_with = openapi::name)]
    tenant: String,
    #[serde(default)]
    #[schema(value_type = SpecOptions)]
    spec: Map<String, Value>,
    /// Within the tenant's jobs the higher go first.
    #[serde(default)]
    #[schema(minimum = -10, maximum = 10, default = 0)]
    priority: i32,
    /// How often a task may fail; the cluster's own rules where it is left out.
    #[schema(maximum = 10)]
    max_retries: Option<u32>,
    /// When it should be done: among jobs of one priority the earliest goes first.
    /// 0: at no such time.
    #[serde(default)]
    deadline_unix_ms: u64,
}

fn fingerprint() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let text = text.pattern(Some(format!("^([0-9A-Fa-f]{{{FINGERPRINT_DIGITS}}})?$")));
    let described = "BLAKE3 over the source's length, head and tail; where it is left out, the same size and name mean the same source";
    text.description(Some(described)).build()
}

/// Makes a job. Its source is sent next.
#[utoipa::path(
    post, path = "/jobs", operation_id = "create_job", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "The request's own id: sent again, it finds its job")),
    request_body = Create,
    responses(
        (status = 200, description = "The key was used before, with the same source", body = Submitted),
        (status = 201, description = "Made", body = Submitted, headers(("Location" = String))),
    ),
)]
pub async fn create(faces: Faces, headers: HeaderMap, body: Body) -> Answer {
    let request_id = request_id(&headers)?;
    let Create {
        source_bytes,
        source_name,
        source_fingerprint,
        source_url,
        webhook_url,
        output_url,
        tenant,
        spec,
        priority,
        max_retries,
        deadline_unix_ms,
    } = json_body(body).await?;
    if source_bytes.is_none() && source_url.is_empty() {
        let hint = "say how long the file is that follows, or where it is fetched from";
        return Err(Refusal::bad_request("there is no source_bytes", hint));
    }
    let source_bytes = source_bytes.unwrap_or_default();
    let request = SubmitRequest {
        tenant,
        request_id,
        spec: spec::from_values(spec)?,
        source_fingerprint: match source_fingerprint.is_empty() && source_url.is_empty() {
            true => spec::fingerprint(source_bytes, &source_name),
            false => source_fingerprint,
        },
        source_name,
        source_bytes,
        source_url,
        webhook_url,
        output_url,
        priority,
        max_retries,
        deadline_unix_ms,
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

/// Lists jobs, the newest first.
#[utoipa::path(
    get, path = "/jobs", operation_id = "list_jobs", tag = "jobs",
    params(
        ("tenant" = Option<String>, Query, description = "Of this tenant alone"),
        ("state" = Option<String>, Query, description = "In this state, or in one of several with commas between them"),
        ("name" = Option<String>, Query, description = "With this in the source's name, in whatever case"),
        ("page_size" = Option<u32>, Query, description = "At most so many; the default is 50"),
        ("page_token" = Option<String>, Query, description = "From an earlier page"),
    ),
    responses((status = 200, description = "A page of them", body = JobList)),
)]
pub async fn list(faces: Faces, uri: Uri) -> Answer {
    let names = ["tenant", "state", "name", "page_size", "page_token"];
    let [tenant, states, name, size, page_token] = known(&uri, names)?;
    let states = states.split(',').filter(|word| !word.is_empty());
    let request = ListRequest {
        tenant,
        states: states.map(str::to_string).collect(),
        name,
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

/// Shows a job.
#[utoipa::path(
    get, path = "/jobs/{id}", operation_id = "show_job", tag = "jobs",
    responses((status = 200, description = "The job", body = Job)),
)]
pub async fn show(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.job(&id, Consistency::Linearizable).await)
}

/// Deletes a job and its bytes. One that is deleted already is no error.
#[utoipa::path(
    delete, path = "/jobs/{id}", operation_id = "delete_job", tag = "jobs",
    responses((status = 200, description = "The job as it was left", body = Job)),
)]
pub async fn delete(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.delete(&id).await)
}

/// Stops a job for good.
#[utoipa::path(
    post, path = "/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs",
    responses((status = 200, description = "The job", body = Job)),
)]
pub async fn cancel(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.cancel(&id).await)
}

/// Tries a job again that failed or was cancelled, from its source, which is kept
/// for a while.
#[utoipa::path(
    post, path = "/jobs/{id}/retry", operation_id = "retry_job", tag = "jobs",
    responses((status = 200, description = "The job", body = Job), (status = 410)),
)]
pub async fn retry(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.retry(&id).await)
}

/// Makes an unfinished job anew from its analysis.
#[utoipa::path(
    post, path = "/jobs/{id}/replan", operation_id = "replan_job", tag = "jobs",
    responses((status = 200, description = "The job", body = Job)),
)]
pub async fn replan(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    job(faces.api.replan(&id).await)
}

/// Lists a job's tasks in the order of its life.
#[utoipa::path(
    get, path = "/jobs/{id}/tasks", operation_id = "list_tasks", tag = "jobs",
    params(
        ("page_size" = Option<u32>, Query, description = "At most so many; the default is 50"),
        ("page_token" = Option<String>, Query, description = "From an earlier page"),
    ),
    responses((status = 200, description = "A page of them", body = TaskList)),
)]
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

/// Shows a task with its attempts.
#[utoipa::path(
    get, path = "/jobs/{id}/tasks/{kind}/{number}", operation_id = "show_task", tag = "jobs",
    params(TaskId),
    responses((status = 200, description = "The task", body = TaskDetails)),
)]
pub async fn task(faces: Faces, TaskId(task): TaskId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let details = wire_task_details(faces.api.task(&task).await?, String::new());
    Ok(json(StatusCode::OK, &TaskDetails::from(&details)))
}

/// Gives what is known of a task's attempts as text: why each failed, and what
/// ffmpeg complained of in a part.
#[utoipa::path(
    get, path = "/jobs/{id}/tasks/{kind}/{number}/log", operation_id = "task_log", tag = "jobs",
    params(TaskId),
    responses((status = 200, description = "A line for each fact", body = String)),
)]
pub async fn log(faces: Faces, TaskId(task): TaskId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let (_, log) = faces.api.task_with_log(&task).await?;
    Ok(log.into_response())
}

/// Gives what ffprobe says of a job's source and of its output, in its own words.
#[utoipa::path(
    get, path = "/jobs/{id}/metadata", operation_id = "job_metadata", tag = "jobs",
    responses(
        (status = 200, description = "`source` and `output`, each null until it is known", body = Object),
        (status = 409),
        (status = 410),
    ),
)]
pub async fn metadata(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    Ok(json_text(StatusCode::OK, faces.api.metadata(&id).await?))
}

/// Gives a finished job's proof, as it is stored.
#[utoipa::path(
    get, path = "/jobs/{id}/proof", operation_id = "job_proof", tag = "jobs",
    responses(
        (status = 200, description = "The proof", body = Object),
        (status = 409),
        (status = 410),
    ),
)]
pub async fn proof(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    Ok(json_text(StatusCode::OK, faces.api.proof(&id).await?))
}

/// Gives the ffmpeg command that a job's output is compared with.
#[utoipa::path(
    get, path = "/jobs/{id}/reference", operation_id = "job_reference", tag = "jobs",
    responses(
        (status = 200, description = "The command", body = Reference),
        (status = 409),
        (status = 410),
    ),
)]
pub async fn reference(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let reference = wire_reference(faces.api.reference(&id).await?);
    Ok(json(StatusCode::OK, &Reference::from(&reference)))
}

/// A job's options as a command.
#[derive(Serialize, ToSchema)]
#[schema(as = JobCommand)]
struct Command {
    command: String,
}

/// Gives the command that makes the same of a file again, with every option that
/// changes something. `FILE` and `OUT` stand for the names.
#[utoipa::path(
    get, path = "/jobs/{id}/command", operation_id = "job_command", tag = "jobs",
    responses((status = 200, description = "The command", body = Command)),
)]
pub async fn command(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let job = wire_job(faces.api.job(&id, Consistency::Linearizable).await?);
    let spec = job.spec.unwrap_or_default();
    let (container, options) = (&spec.container, spec_options(&spec));
    let command = format!("reelraft transcode FILE OUT.{container} {options}");
    Ok(json(StatusCode::OK, &Command { command }))
}

/// Follows a job. Each event carries the whole job, so that a client which
/// connects again, to any node, has missed nothing. Its id is the job's state: a
/// client that has seen how the job ended is told by 204 not to come again.
#[utoipa::path(
    get, path = "/jobs/{id}/events", operation_id = "job_events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last one that was seen")),
    responses(
        (status = 200, description = "Server-sent events of one kind, `job`, each with a job, its leader and term",
         body = String, content_type = "text/event-stream"),
        (status = 204, description = "There will be no more"),
    ),
)]
pub async fn follow(
    faces: Faces,
    JobId(id): JobId,
    cut: Cut,
    stopping: Stopping,
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
    let watched = faces.api.watch(&id).await?;
    watched.on_stall(move || cut.cut());
    let lines = watched.map_ok(|event| {
        let state = event.job.job.state().name();
        let event = wire_event(event);
        events::line("job", Some(state), &Event::from(&event))
    });
    Ok(events::stream(lines, stopping))
}
