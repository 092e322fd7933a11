//! A task of an engine: its input, its log, its file, and its end. The token in the path
//! is all that these routes take; it dies with the task.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts, Path},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Limited};
use reelraft_model::Problem;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::{
    documents::json,
    engines::{no_such, nothing},
    faces::Port,
    limits::{ENGINE_LOG_PART_MAX, SOURCE_IDLE_MAX},
    openapi::Binary,
    ranges::{Wanted, wanted},
    refusal::{Answer, Refusal},
    request::{header_text, json_body, known},
};
use crate::node::engines::{Ending, Loss, Run};

/// The task that a path names, and what else it names.
pub struct OpenTask {
    run: Arc<Run>,
    /// Held until the request is answered.
    place: OwnedSemaphorePermit,
    names: BTreeMap<String, String>,
}

impl FromRequestParts<Port> for OpenTask {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let names = Path::<BTreeMap<String, String>>::from_request_parts(parts, port).await;
        let names = names.map(|Path(names)| names).unwrap_or_default();
        let token = names.get("task").map_or("", String::as_str);
        let run = port.access.engine_run(token)?;
        let place = run.place()?;
        Ok(OpenTask { run, place, names })
    }
}

/// How far a task is, as the member has it.
#[derive(Serialize, ToSchema)]
struct EngineTaskState {
    /// Bytes of the log that are here.
    log_bytes: u64,
    /// Bytes of the file that are here.
    output_bytes: u64,
    /// Whether ffmpeg is to end, as all that is wanted is written.
    stop: bool,
}

async fn state(run: &Run) -> Answer {
    let state = EngineTaskState {
        log_bytes: run.log_at(),
        output_bytes: run.output_at().await,
        stop: run.is_to_stop(),
    };
    Ok(json(StatusCode::OK, &state))
}

/// Says how far a task is.
#[utoipa::path(
    get, path = "/engines/tasks/{task}", operation_id = "engine_task", tag = "engines",
    responses((status = 200, description = "How far it is", body = EngineTaskState), (status = 410)),
)]
pub async fn show(task: OpenTask, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    state(&task.run).await
}

/// Gives the source, or a range of it.
#[utoipa::path(
    method(get, head), path = "/engines/tasks/{task}/input/{number}", operation_id = "engine_input",
    tag = "engines",
    params(("Range" = Option<String>, Header, description = "`bytes=FROM-TO`, one range")),
    responses(
        (status = 200, description = "The whole source", body = Binary, content_type = "application/octet-stream",
         headers(("Accept-Ranges" = String))),
        (status = 206, description = "The range", body = Binary, content_type = "application/octet-stream",
         headers(("Content-Range" = String))),
        (status = 410),
        (status = 416),
    ),
)]
pub async fn input(task: OpenTask, method: Method, headers: HeaderMap, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let run = task.run;
    if task.names.get("number").map(String::as_str) != Some("0") {
        return Err(no_such("other input than 0"));
    }
    let total = run.input_bytes;
    let range = header_text(&headers, header::RANGE.as_str())?;
    let (from, to, status) = match wanted(range, total) {
        Wanted::Whole => (0, total, StatusCode::OK),
        Wanted::Part { from, to } => (from, to, StatusCode::PARTIAL_CONTENT),
        Wanted::Nothing => {
            let cause = format!("the source has {total} bytes");
            return Err(Refusal(Problem::new("past-the-end", cause, "ask for less")));
        }
    };
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(bytes_of(run, task.place, from, to)),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let head = answer.headers_mut();
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let kind = HeaderValue::from_static("application/octet-stream");
    head.insert(header::CONTENT_TYPE, kind);
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{total}", to - 1);
        let range = HeaderValue::try_from(range).expect("numbers are plain text");
        head.insert(header::CONTENT_RANGE, range);
    }
    Ok(answer)
}

fn bytes_of(
    run: Arc<Run>,
    place: OwnedSemaphorePermit,
    from: u64,
    to: u64,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::try_unfold((run, place, from), move |(run, place, at)| async move {
        if at >= to {
            return Ok(None);
        }
        let read = run.read(at).await;
        let bytes = read.map_err(|problem| std::io::Error::other(problem.cause))?;
        let left = usize::try_from(to - at).unwrap_or(usize::MAX);
        let bytes = bytes.slice(..bytes.len().min(left));
        if bytes.is_empty() {
            return Err(std::io::Error::other("the source ended early"));
        }
        let next = at + bytes.len() as u64;
        Ok(Some((bytes, (run, place, next))))
    })
}

fn offset(uri: &Uri) -> Result<u64, Refusal> {
    let [offset] = known(uri, ["offset"])?;
    match offset.as_str() {
        "" => Ok(0),
        text => text.parse().map_err(|_| {
            Refusal::bad_request("offset is no number", "give the place of the first byte")
        }),
    }
}

/// Takes more of the task's file. What came before a break is kept.
#[utoipa::path(
    put, path = "/engines/tasks/{task}/output", operation_id = "engine_output", tag = "engines",
    params(("offset" = Option<u64>, Query, description = "Where the body begins in the file: where what is here ends")),
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses((status = 200, description = "How far it is", body = EngineTaskState), (status = 410)),
)]
pub async fn output(task: OpenTask, uri: Uri, body: Body) -> Answer {
    let mut at = offset(&uri)?;
    let run = task.run;
    let mut body = body.into_data_stream();
    let lost = |cause: String| {
        let hint = "ask how far it is, and go on from there";
        Problem::new("client-lost", cause, hint)
    };
    loop {
        let next = tokio::time::timeout(SOURCE_IDLE_MAX, body.next()).await;
        match next.map_err(|_| lost("nothing of the body came for too long".into()))? {
            Some(Ok(bytes)) => at = run.take_output(at, &bytes).await?,
            Some(Err(error)) => return Err(lost(format!("the body broke off: {error}")).into()),
            None => return state(&run).await,
        }
    }
}

/// Takes more of what ffmpeg wrote to its error output.
#[utoipa::path(
    post, path = "/engines/tasks/{task}/log", operation_id = "engine_log", tag = "engines",
    params(("offset" = Option<u64>, Query, description = "Where the body begins in the log")),
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses((status = 200, description = "How far it is", body = EngineTaskState), (status = 410)),
)]
pub async fn log(task: OpenTask, uri: Uri, body: Body) -> Answer {
    let at = offset(&uri)?;
    // Before the body is read: else many could be held at once.
    let turn = task.run.log_turn()?;
    let taken = Limited::new(body, ENGINE_LOG_PART_MAX).collect();
    let taken = tokio::time::timeout(SOURCE_IDLE_MAX, taken).await;
    let taken = taken.ok().and_then(Result::ok).ok_or_else(|| {
        let cause = format!("the body broke off, or has more than {ENGINE_LOG_PART_MAX} bytes");
        Problem::new("client-lost", cause, "send it in smaller parts")
    })?;
    task.run.take_log(&turn, at, &taken.to_bytes()).await?;
    state(&task.run).await
}

/// How a task ended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CompleteEngineTask)]
struct Complete {
    /// Of ffmpeg; 0 of one that was told to stop.
    exit: i32,
    /// Size of the file.
    bytes: u64,
    /// Its SHA-256, in hex.
    sha256: String,
    /// Size of the log.
    log_bytes: u64,
}

/// Ends a task whose log and file are here. The same end may be said again.
#[utoipa::path(
    post, path = "/engines/tasks/{task}/complete", operation_id = "complete_engine_task",
    tag = "engines", request_body = Complete,
    responses((status = 204, description = "It is taken"), (status = 410)),
)]
pub async fn complete(task: OpenTask, body: Body) -> Answer {
    let said: Complete = json_body(body).await?;
    let ending = Ending {
        exit: said.exit,
        bytes: said.bytes,
        sha256: said.sha256,
        log_bytes: said.log_bytes,
    };
    task.run.complete(ending).await?;
    Ok(nothing())
}

/// Why a task gave no result.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndEngineTask)]
struct End {
    cause: String,
}

/// Ends a task that could not be done. A member does it then.
#[utoipa::path(
    post, path = "/engines/tasks/{task}/fail", operation_id = "fail_engine_task",
    tag = "engines", request_body = End,
    responses((status = 204, description = "It is noted"), (status = 410)),
)]
pub async fn fail(task: OpenTask, body: Body) -> Answer {
    end(task, body, Loss::Failed).await
}

/// Gives a task back that may well be done, by this engine or another.
#[utoipa::path(
    post, path = "/engines/tasks/{task}/abort", operation_id = "abort_engine_task",
    tag = "engines", request_body = End,
    responses((status = 204, description = "It is given to others"), (status = 410)),
)]
pub async fn abort(task: OpenTask, body: Body) -> Answer {
    end(task, body, Loss::Back).await
}

async fn end(task: OpenTask, body: Body, loss: Loss) -> Answer {
    let End { cause } = json_body(body).await?;
    let cause: String = cause.chars().take(CAUSE_LETTERS_MAX).collect();
    task.run.give_up(cause, loss).await;
    Ok(nothing())
}

/// Of what an engine says of a failure.
const CAUSE_LETTERS_MAX: usize = 500;
