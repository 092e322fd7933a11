//! Engines: their tokens, as the operator makes them, and what they ask for work with.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{StatusCode, Uri, request::Parts},
};
use reelraft_model::{AttemptKey, Problem, TaskKind};
use reelraft_proto::documents::{CreatedEngine, Engine, EngineList};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    access::credential,
    documents::{json, json_with_secret},
    faces::{Faces, NamedInPath, Port},
    openapi,
    refusal::{Answer, Refusal},
    request::{json_body, known},
};
use crate::{
    api::{Answered, EngineApi, EngineView, NewEngine, Registered},
    grpc::convert_engines::wire_engine,
    node::engines::{EngineHello, Run, Said, Underway},
};

/// An engine as its operator asks for it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateEngine)]
struct Create {
    #[schema(schema_with = openapi::plain_name)]
    name: String,
}

/// Makes a token for an engine. The answer alone has its text.
#[utoipa::path(
    post, path = "/engines", operation_id = "create_engine", tag = "engines",
    request_body = Create,
    responses((status = 201, description = "Made", body = CreatedEngine)),
)]
pub async fn create(faces: Faces, body: Body) -> Answer {
    let asked: Create = json_body(body).await?;
    let NewEngine {
        engine,
        text,
        server,
    } = faces.api.create_engine(&asked.name).await?;
    let status = None;
    let engine = wire_engine(EngineView { engine, status });
    let text = text.reveal();
    let created = CreatedEngine::new(&engine, &text, &server);
    Ok(json_with_secret(StatusCode::CREATED, &created))
}

/// Lists engines, those that are away included.
#[utoipa::path(
    get, path = "/engines", operation_id = "list_engines", tag = "engines",
    responses((status = 200, description = "All of them", body = EngineList)),
)]
pub async fn list(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let engines: Vec<_> = faces
        .api
        .engines()
        .await?
        .into_iter()
        .map(wire_engine)
        .collect();
    Ok(json(StatusCode::OK, &EngineList::from(engines.as_slice())))
}

/// Ends an engine's token for good.
#[utoipa::path(
    delete, path = "/engines/{name}", operation_id = "revoke_engine", tag = "engines",
    responses((status = 200, description = "The engine as it was", body = Engine)),
)]
pub async fn revoke(faces: Faces, NamedInPath(name): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let engine = wire_engine(faces.api.revoke_engine(&name).await?);
    Ok(json(StatusCode::OK, &Engine::from(&engine)))
}

/// A node, as the engine whose token a request shows may ask it.
pub struct AsEngine(EngineApi);

impl FromRequestParts<Port> for AsEngine {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let api = port.access.admit_engine(credential(&parts.headers));
        Ok(AsEngine(api?))
    }
}

/// What an engine says of itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterEngine)]
struct Hello {
    /// Its encoder build, as `reelraft engine --show-build` or `reelraft doctor` says it.
    build: String,
    /// The versions behind it, for people.
    #[serde(default)]
    build_words: String,
    /// That of the program.
    #[serde(default)]
    version: String,
    /// Tasks that it runs at once.
    #[schema(minimum = 1, maximum = 256)]
    slots: u32,
    /// What its encoders may take together; 0 where that is not known.
    #[serde(default)]
    memory_mib: u64,
    /// Codecs that it can't make.
    #[serde(default)]
    lacks: Vec<String>,
    /// By codec: frames of the benchmark's clip that one slot encodes in a thousand
    /// seconds.
    #[serde(default)]
    speeds: BTreeMap<String, u64>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Texts and numbers of each kind that an engine may say of itself.
const SAID_MAX: usize = 32;
const TEXT_MAX: usize = 200;
const SLOTS_MAX: u32 = 256;

impl Hello {
    fn check(&self) -> Result<(), Refusal> {
        let labels = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let texts = [&self.build, &self.build_words, &self.version];
        let texts = texts.into_iter().chain(&self.lacks).chain(labels);
        let mut texts = texts.chain(self.speeds.keys());
        let long = texts.any(|text| text.len() > TEXT_MAX || text.chars().any(char::is_control));
        let many = self
            .labels
            .len()
            .max(self.speeds.len())
            .max(self.lacks.len())
            > SAID_MAX;
        if long || many {
            let cause = format!("a text has more than {TEXT_MAX} bytes, or {SAID_MAX} are too few");
            return Err(Refusal::bad_request(cause, "say less"));
        }
        match self.slots {
            1..=SLOTS_MAX => Ok(()),
            _ => Err(Refusal::bad_request(
                format!("it has {} slots", self.slots),
                "give a number from 1 to 256",
            )),
        }
    }
}

/// What an engine is told when it comes.
#[derive(Serialize, ToSchema)]
struct EngineRegistered {
    number: u64,
    name: String,
    /// To be sent with each heartbeat. Another process with the same token ends it.
    session: String,
    /// The encoder build of the member: an engine with another one gets no task.
    build: String,
    build_words: String,
    /// Why it gets no task, if that is so.
    note: Option<String>,
    /// Members that it may go to when this one is lost.
    servers: Vec<String>,
}

fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Takes an engine in, in the place of another process with the same token.
#[utoipa::path(
    post, path = "/engines/register", operation_id = "register_engine", tag = "engines",
    request_body = Hello,
    responses((status = 200, description = "It may ask for tasks", body = EngineRegistered)),
)]
pub async fn register(AsEngine(api): AsEngine, body: Body) -> Answer {
    let hello: Hello = json_body(body).await?;
    hello.check()?;
    let Registered {
        number,
        name,
        session,
        build,
        build_words,
        note,
        servers,
    } = api
        .register(EngineHello {
            build: hello.build,
            build_words: hello.build_words,
            version: hello.version,
            slots: hello.slots,
            memory_mib: hello.memory_mib,
            lacks: hello.lacks,
            speeds: hello.speeds,
            labels: hello.labels,
        })
        .await?;
    let registered = EngineRegistered {
        number,
        name,
        session,
        build,
        build_words,
        note: text(note),
        servers,
    };
    Ok(json_with_secret(StatusCode::OK, &registered))
}

/// An attempt of the cluster at a task of a job.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EngineAttempt {
    job: String,
    kind: String,
    number: u32,
    attempt: u32,
}

/// A task that an engine runs, and that another member asked it for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EngineUnderway {
    /// As that member called it.
    task: String,
    /// As it said it.
    attempt: EngineAttempt,
    /// As it said it.
    digest: String,
}

/// A heartbeat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EngineBeat)]
struct Beat {
    session: String,
    /// All tasks that it runs. One that it does not name within 20 s is given to others.
    #[serde(default)]
    running: Vec<String>,
    #[serde(default)]
    underway: Vec<EngineUnderway>,
    /// Whether it wants no new task.
    #[serde(default)]
    draining: bool,
    /// How long the answer may wait for something to do, at most 5 s.
    #[serde(default)]
    wait_s: u32,
}

/// What an engine is to do.
#[derive(Serialize, ToSchema)]
struct EngineTask {
    /// Names the task, and opens its routes: nothing else is to be shown there.
    task: String,
    attempt: EngineAttempt,
    /// Of all that is to be done: the same work has the same one at every member.
    digest: String,
    /// The program to run, in an empty folder: `ffmpeg`.
    program: &'static str,
    /// Its arguments. `{input}` in them stands for where it reads the source.
    args: Vec<String>,
    /// Where that is, relative to the member's address. It takes ranges.
    input: String,
    input_bytes: u64,
    /// The file that it writes.
    output: String,
    output_bytes_max: u64,
    /// The engine's own task that goes on as this one.
    continues: Option<String>,
}

/// What an engine is told in answer to a heartbeat.
#[derive(Serialize, ToSchema)]
struct EngineTold {
    /// Tasks to begin. They come again until they are named as running.
    begin: Vec<EngineTask>,
    /// Tasks whose ffmpeg is to end, as all that is wanted is written: the file is sent
    /// as it is, and the task completed with the exit code 0.
    stop: Vec<String>,
    /// Tasks that nobody waits for any more.
    cancel: Vec<String>,
    /// Why it gets no task, if that is so.
    note: Option<String>,
    /// Milliseconds until the next heartbeat.
    again_in_ms: u64,
}

fn task(run: &Run, continues: Option<String>) -> EngineTask {
    EngineTask {
        task: run.token.clone(),
        attempt: EngineAttempt {
            job: run.key.job.clone(),
            kind: run.key.kind().name().to_string(),
            number: run.key.number,
            attempt: run.key.attempt,
        },
        digest: run.digest.clone(),
        program: "ffmpeg",
        args: run.args.clone(),
        input: format!("/api/v1/engines/tasks/{}/input/0", run.token),
        input_bytes: run.input_bytes,
        output: run.output.clone(),
        output_bytes_max: run.output_bytes_max,
        continues,
    }
}

fn underway(said: EngineUnderway) -> Option<Underway> {
    let EngineAttempt {
        job,
        kind,
        number,
        attempt,
    } = said.attempt;
    Some(Underway {
        token: said.task,
        digest: said.digest,
        key: AttemptKey {
            job,
            kind: TaskKind::parse(&kind)?.into(),
            number,
            attempt,
        },
    })
}

/// Takes a heartbeat. Answers as soon as there is something to do, or after `wait_s`.
#[utoipa::path(
    post, path = "/engines/beat", operation_id = "engine_beat", tag = "engines",
    request_body = Beat,
    responses((status = 200, description = "What to do", body = EngineTold)),
)]
pub async fn beat(AsEngine(api): AsEngine, body: Body) -> Answer {
    let beat: Beat = json_body(body).await?;
    let said = Said {
        running: beat.running,
        underway: beat.underway.into_iter().filter_map(underway).collect(),
        draining: beat.draining,
    };
    let wait = Duration::from_secs(beat.wait_s.into());
    let Answered { told, again_in } = api.beat(&beat.session, &said, wait).await?;
    let begin = told.begin.into_iter();
    let told = EngineTold {
        begin: begin
            .map(|(run, continues)| task(&run, continues))
            .collect(),
        stop: told.stop,
        cancel: told.cancel,
        note: text(told.note),
        again_in_ms: again_in.as_millis() as u64,
    };
    Ok(json_with_secret(StatusCode::OK, &told))
}

/// What an engine says when it goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaveEngine)]
struct Leave {
    session: String,
}

/// Lets an engine go: what it runs is given to others at once.
#[utoipa::path(
    post, path = "/engines/leave", operation_id = "leave_engine", tag = "engines",
    request_body = Leave,
    responses((status = 204, description = "It has gone")),
)]
pub async fn leave(AsEngine(api): AsEngine, body: Body) -> Answer {
    let leave: Leave = json_body(body).await?;
    api.leave(&leave.session);
    Ok(nothing())
}

/// An answer without a body.
pub fn nothing() -> axum::response::Response {
    let mut answer = axum::response::Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// The refusal of what a path names and there is not.
pub fn no_such(what: &str) -> Refusal {
    let hint = "see docs/engines.md";
    Refusal(Problem::new(
        "not-found",
        format!("there is no {what}"),
        hint,
    ))
}
