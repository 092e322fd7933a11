//! Server-sent events of many jobs and of the cluster, on one connection.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use reelraft_model::{Mark, Problem, Turned};
use reelraft_proto::documents::{self, ClusterNews, JobProgress, JobTurn, speed};
use serde::Serialize;

use super::{
    faces::Faces,
    limits::JOBS_FOLLOWED_MAX,
    refusal::{Answer, Refusal},
    request::{header_text, query},
    server::{Cut, Stopping},
};
use crate::{
    api::{Begun, Event, EventsRequest, JobNews},
    grpc::convert::wire_status,
};

/// Tells of many jobs, and of the cluster's leader and nodes.
///
/// `start` is the first event, or `reset` where what was missed is no longer
/// known: ask anew for what you follow. `job` says that a job came into a state;
/// its id, a place in the log, is the same on every node. `progress` says how far
/// a job is, `cluster` who leads and which nodes there are; they have no id, as
/// only the latest counts. `ping` comes every 15 s. Chosen jobs follow the first
/// event, which then has no id; a `ping` behind them has it.
#[utoipa::path(
    get, path = "/events", operation_id = "events", tag = "events",
    params(
        ("tenant" = Option<String>, Query, description = "Of this tenant's jobs alone"),
        ("job" = Option<Vec<String>>, Query, explode, description = "Of this job, and of others that are named so"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last one that was seen, of any node"),
    ),
    responses(
        (status = 200, description = "Server-sent events; the data of `job` is a JobTurn, of `progress` a JobProgress, of `cluster` a ClusterNews",
         body = String, content_type = "text/event-stream"),
        (status = 404),
    ),
)]
pub async fn follow(
    faces: Faces,
    cut: Cut,
    stopping: Stopping,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let mut request = chosen(&uri)?;
    request.after = header_text(&headers, "last-event-id")?
        .filter(|text| !text.is_empty())
        .map(read_mark)
        .transpose()?;
    let events = faces.api.events(request).await?;
    events.on_stall(move || cut.cut());
    Ok(stream(events.map_ok(|event| text(&event)), stopping))
}

/// Whose events a query wants.
fn chosen(uri: &Uri) -> Result<EventsRequest, Refusal> {
    let mut request = EventsRequest::default();
    for (name, value) in query(uri)? {
        match name.as_str() {
            "job" if request.jobs.len() == JOBS_FOLLOWED_MAX => {
                let cause = format!("more than {JOBS_FOLLOWED_MAX} jobs are named");
                return Err(Refusal::bad_request(cause, "name none, and get all"));
            }
            "job" => request.jobs.push(value),
            "tenant" if request.tenant.is_some() => {
                return Err(Refusal::bad_request(
                    "tenant is given twice",
                    "give it once",
                ));
            }
            "tenant" => request.tenant = Some(value),
            _ => {
                return Err(Refusal::bad_request(
                    format!("there is no parameter {name}"),
                    "these are known: tenant, job",
                ));
            }
        }
    }
    Ok(request)
}

/// A stream of events as an answer; it ends when the node stops.
pub fn stream(
    lines: impl Stream<Item = Result<Bytes, Problem>> + Send + 'static,
    stopping: Stopping,
) -> Response {
    let lines = lines
        .map_err(|problem| problem.to_string())
        .take_until(stopping.wait());
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// An event as it goes over the wire.
pub fn line(name: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("documents always serialize");
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

fn text(event: &Event) -> Bytes {
    match event {
        Event::Start(begun) => begins("start", *begun),
        Event::Reset(begun) => begins("reset", *begun),
        Event::Present(job) => line("job", None, &job_turn(job)),
        Event::Turn(turn) => {
            let text = || line("job", Some(&mark_text(turn.mark)), &job_turn(&turn.job));
            turn.text.get_or_init(text).clone()
        }
        Event::Progress(news) => {
            let text = || line("progress", None, &progress(&news.value));
            news.text.get_or_init(text).clone()
        }
        Event::Cluster(news) => {
            let text = || {
                let status = wire_status(news.value.clone());
                line("cluster", None, &ClusterNews::from(&status))
            };
            news.text.get_or_init(text).clone()
        }
        Event::Ping(mark) => line("ping", Some(&mark_text(*mark)), &serde_json::json!({})),
    }
}

fn begins(name: &str, begun: Begun) -> Bytes {
    // Who loses the line before all of the beginning has come begins again.
    let id = begun.whole.then(|| mark_text(Mark::after(begun.index)));
    let data = serde_json::json!({ "index": begun.index });
    line(name, id.as_deref(), &data)
}

fn job_turn(job: &Turned) -> JobTurn<'_> {
    JobTurn {
        job: &job.job,
        tenant: &job.tenant,
        state: job.state.name(),
        source_name: &job.source_name,
        output_bytes: (job.output_bytes > 0).then_some(job.output_bytes),
        problem: job.problem.as_ref().map(|problem| documents::Problem {
            kind: &problem.kind,
            cause: &problem.cause,
            hint: &problem.hint,
        }),
    }
}

fn progress(news: &JobNews) -> JobProgress<'_> {
    JobProgress {
        job: &news.job,
        tenant: &news.tenant,
        shards_total: news.shards_total,
        shards_done: news.shards_done,
        shards_running: news.shards_running,
        frames_total: news.frames_total,
        frames_done: news.frames_done,
        speed: speed(news.estimate.speed_milli),
        eta_s: news.estimate.eta_s,
        estimated_output_bytes: Some(news.estimate.output_bytes).filter(|bytes| *bytes > 0),
    }
}

/// `INDEX.POSITION` of a turn, or `INDEX` behind all of an entry.
fn mark_text(mark: Mark) -> String {
    match mark.position {
        u32::MAX => mark.index.to_string(),
        position => format!("{}.{position}", mark.index),
    }
}

fn read_mark(text: &str) -> Result<Mark, Refusal> {
    let read = || match text.split_once('.') {
        None => Some(Mark::after(text.parse().ok()?)),
        Some((index, position)) => Some(Mark {
            index: index.parse().ok()?,
            position: position.parse().ok()?,
        }),
    };
    read().ok_or_else(|| {
        let cause = "the Last-Event-ID is not one of this stream";
        Refusal::bad_request(cause, "send it as it came, or leave it out")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        for mark in [
            Mark::after(7),
            Mark {
                index: 12,
                position: 3,
            },
        ] {
            assert_eq!(read_mark(&mark_text(mark)).unwrap(), mark);
        }
        for bad in ["x", "7.", "-1", "7.x", "7.1.2", "succeeded"] {
            assert_eq!(read_mark(bad).unwrap_err().0.kind, "bad-request", "{bad}");
        }
    }

    #[test]
    fn a_query_chooses_by_names_that_are_known() {
        let uri = "/?job=a&tenant=t&job=b".parse().unwrap();
        let request = chosen(&uri).unwrap();
        assert_eq!(request.jobs, ["a", "b"]);
        assert_eq!(request.tenant.as_deref(), Some("t"));
        for bad in ["/?jobs=a", "/?tenant=a&tenant=b"] {
            let refused = chosen(&bad.parse().unwrap()).unwrap_err();
            assert_eq!(refused.0.kind, "bad-request", "{bad}");
        }
        let many = "job=a&".repeat(JOBS_FOLLOWED_MAX + 1);
        assert!(chosen(&format!("/?{many}").parse().unwrap()).is_err());
    }
}
