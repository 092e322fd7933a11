//! Engines: the tokens by which they come, what they ask while they work, and what is
//! told of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reelraft_model::{
    Command, CreateEngine, Engine, EngineText, Problem, RevokeEngine, Scope, engine_digest,
    engine_number,
    limits::{ENGINES_LEVEL, ENGINES_MAX},
};
use tokio::time::Instant;

use super::{
    Api, Consistency,
    caller::{Node, unauthenticated},
    jobs::all_know,
    keys::check_name,
};
use crate::{
    clock::unix_ms,
    limits::{ENGINE_ASKS_EVERY, ENGINE_POLL_MAX, ENGINE_POLLS_MAX},
    node::{
        engine_messages::EngineStatus,
        engines::{EngineHello, Member, Run, Said, Told},
    },
};

/// An engine as people see it.
#[derive(Clone, Debug)]
pub struct EngineView {
    pub engine: Arc<Engine>,
    /// What is known of it while it is connected.
    pub status: Option<EngineStatus>,
}

/// An engine that was made.
#[derive(Clone, Debug)]
pub struct NewEngine {
    pub engine: Arc<Engine>,
    /// What it shows. Nothing else has it.
    pub text: EngineText,
    /// What the HTTP port of this node is called; empty where it has none.
    pub server: String,
}

impl Api {
    /// Makes a token for an engine.
    ///
    /// # Errors
    /// `forbidden`, `bad-request`, `engine-exists`, `too-many-engines`,
    /// `mixed-versions`, `too-early`, and what keeps the cluster from writing.
    pub async fn create_engine(&self, name: &str) -> Result<NewEngine, Problem> {
        self.operator_only()?;
        check_name("name", name)?;
        let seen = self.seen(Scope::Admin, Consistency::Linearizable).await?;
        all_know(seen.whole(), ENGINES_LEVEL, "have engines")?;
        drop(seen);
        let secret = rand::random();
        let engine = Engine {
            name: name.to_string(),
            digest: engine_digest(&secret),
            created_unix_ms: unix_ms(),
            ..Default::default()
        };
        let command = Command::CreateEngine(CreateEngine {
            engine,
            engines_max: ENGINES_MAX,
        });
        let (reply, state) = self.apply(Scope::Admin, "", command).await?;
        let engine = state.engine(reply.node).cloned();
        let engine = engine.ok_or_else(|| no_engine(name))?;
        let config = &self.context().config;
        Ok(NewEngine {
            text: EngineText::new(engine.id, secret),
            engine,
            server: config.http_public.clone().unwrap_or_default(),
        })
    }

    /// Ends an engine's token for good, by its name or its number.
    ///
    /// # Errors
    /// `forbidden`, `not-found`, and what keeps the cluster from writing.
    pub async fn revoke_engine(&self, name: &str) -> Result<EngineView, Problem> {
        self.operator_only()?;
        let seen = self.seen(Scope::Admin, Consistency::Linearizable).await?;
        let number = |engine: &Engine| engine_number(engine.id).to_string();
        let named = seen.whole().engines().find(|engine| engine.name == name);
        let numbered = || seen.whole().engines().find(|engine| number(engine) == name);
        let engine = named.or_else(numbered).cloned();
        let engine = engine.ok_or_else(|| no_engine(name))?;
        drop(seen);
        let command = Command::RevokeEngine(RevokeEngine { id: engine.id });
        self.apply(Scope::Admin, "", command).await?;
        let status = None;
        Ok(EngineView { engine, status })
    }

    /// All engines, those that are away included.
    ///
    /// # Errors
    /// `forbidden`, and what keeps the cluster from reading.
    pub async fn engines(&self) -> Result<Vec<EngineView>, Problem> {
        self.operator_only()?;
        let seen = self.seen(Scope::Read, Consistency::Linearizable).await?;
        let there = self.context().report.engines().unwrap_or_default();
        let view = |engine: &Arc<Engine>| EngineView {
            engine: engine.clone(),
            status: there.iter().find(|status| status.id == engine.id).cloned(),
        };
        Ok(seen.whole().engines().map(view).collect())
    }
}

fn no_engine(name: &str) -> Problem {
    let cause = format!("there is no engine '{name}'");
    Problem::new("not-found", cause, "see `reelraft cluster engines`")
}

/// How many questions of engines are held open.
static POLLS: AtomicUsize = AtomicUsize::new(0);

/// One of them, for as long as this lives.
struct Poll;

impl Poll {
    fn begin() -> Option<Self> {
        let held = POLLS.fetch_add(1, Ordering::Relaxed);
        let poll = Poll;
        (held < ENGINE_POLLS_MAX).then_some(poll)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        POLLS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an engine is told when it comes.
#[derive(Debug)]
pub struct Registered {
    pub number: u64,
    pub name: String,
    pub session: String,
    /// This member's build.
    pub build: String,
    pub build_words: String,
    /// Why it gets no work; empty if it does.
    pub note: String,
    /// What the HTTP ports of the members are called, so far as they have one.
    pub servers: Vec<String>,
}

/// What an engine is told in answer to a heartbeat.
#[derive(Debug)]
pub struct Answered {
    pub told: Told,
    /// When it is to ask again.
    pub again_in: Duration,
}

/// A node, as one engine may ask it.
#[derive(Clone)]
pub struct EngineApi {
    node: Arc<Node>,
    engine: Arc<Engine>,
}

impl EngineApi {
    /// What the holder of a token may ask.
    ///
    /// # Errors
    /// `unauthenticated`, and `quarantined`.
    pub(super) fn admit(node: Arc<Node>, token: &[u8]) -> Result<Self, Problem> {
        let wrong = || unauthenticated("there is no such engine, or its token was revoked");
        let text = std::str::from_utf8(token).ok();
        let text = text.and_then(EngineText::parse).ok_or_else(wrong)?;
        let state = node.table().local();
        let engine = state.engine(text.id).filter(|engine| text.opens(engine));
        let engine = engine.cloned().ok_or_else(wrong)?;
        if engine.quarantine.is_some() {
            let cause = format!("the engine '{}' gave a wrong result", engine.name);
            let hint = "see `reelraft cluster engines`; with another token it may begin anew";
            return Err(Problem::new("quarantined", cause, hint));
        }
        Ok(EngineApi { node, engine })
    }

    /// Why it gets no work here, if it does not; `build` is this node's.
    fn trouble(&self, build: &str) -> String {
        let context = self.node.context();
        let full = !context.has_room();
        let member = Member { build, full };
        context.engines.trouble(self.engine.id, &member)
    }

    /// Takes an engine in.
    ///
    /// # Errors
    /// `too-busy`.
    pub async fn register(&self, hello: EngineHello) -> Result<Registered, Problem> {
        let context = self.node.context();
        let session = context.engines.register(self.engine.id, hello)?;
        let build = context.encoders().await.build.clone();
        let report = context.report.origins();
        Ok(Registered {
            number: engine_number(self.engine.id),
            name: self.engine.name.clone(),
            session,
            note: self.trouble(&build),
            build,
            build_words: context.build_words(),
            servers: report.into_values().collect(),
        })
    }

    /// Takes a heartbeat, and answers as soon as there is something to do, or after a
    /// while.
    ///
    /// # Errors
    /// `not-registered`, and the refusals of a token that is no more.
    pub async fn beat(
        &self,
        session: &str,
        said: &Said,
        wait: Duration,
    ) -> Result<Answered, Problem> {
        let (context, id) = (self.node.context(), self.engine.id);
        let own = context.engines.poll(id);
        let poll = own.and_then(|own| Some((own, Poll::begin()?)));
        let wait = match poll {
            Some(_) => wait.min(ENGINE_POLL_MAX),
            None => Duration::ZERO,
        };
        let until = Instant::now() + wait;
        loop {
            if !self.node.table().local().takes_engine(id) {
                let cause = "its token was revoked, or it gave a wrong result";
                return Err(unauthenticated(cause));
            }
            let mut told = context.engines.beat(id, session, said)?;
            if !told.is_empty() || Instant::now() >= until {
                told.note = self.trouble(&context.build());
                return Ok(Answered {
                    told,
                    again_in: match poll {
                        Some(_) => Duration::ZERO,
                        None => ENGINE_ASKS_EVERY,
                    },
                });
            }
            let wake = context.engines.waker(id);
            let woken = async {
                match wake {
                    Some(wake) => wake.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Lets the engine go.
    pub fn leave(&self, session: &str) {
        self.node.context().engines.leave(self.engine.id, session);
    }
}

/// A run, by the token that names it and opens it.
///
/// # Errors
/// `task-over`, also for one that there never was.
pub(super) fn run_of(node: &Node, token: &str) -> Result<Arc<Run>, Problem> {
    let run = node.context().engines.run(token);
    let allowed = run.filter(|run| node.table().local().takes_engine(run.engine));
    allowed.ok_or_else(|| {
        let cause = "this task is over, or another member has it";
        Problem::new("task-over", cause, "end its ffmpeg, and ask for work")
    })
}
