//! The registry: who is connected, what each runs, and what it is to be told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64},
};

use reelraft_model::{AttemptKey, Problem, is_engine};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::run::{Loss, Run, Runs};
use crate::{
    limits::{
        ENGINE_FAILURES_MAX, ENGINE_OWN_POLLS_MAX, ENGINE_REST, ENGINE_RESUMES_WITHIN,
        ENGINE_RETOLD_EVERY, ENGINE_RUNS_HERE_MAX, ENGINE_RUNS_MAX, ENGINE_SILENT_MAX,
        ENGINES_HERE_MAX,
    },
    node::{
        engine_messages::{EngineBeat, EngineNews},
        messages::Progress,
    },
};

/// What an engine says of itself when it comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineHello {
    pub build: String,
    /// The versions behind it, for people.
    pub build_words: String,
    pub version: String,
    /// Runs at once.
    pub slots: u32,
    pub memory_mib: u64,
    pub lacks: Vec<String>,
    pub speeds: BTreeMap<String, u64>,
    pub labels: BTreeMap<String, String>,
}

/// A run that was begun for another member.
#[derive(Clone, Debug)]
pub struct Underway {
    /// Its token there.
    pub token: String,
    pub key: AttemptKey,
    pub digest: String,
}

/// What an engine says in a heartbeat.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The tokens of its runs.
    pub running: Vec<String>,
    /// Those of another member.
    pub underway: Vec<Underway>,
    /// Whether it wants nothing new.
    pub draining: bool,
}

/// What an engine is told.
#[derive(Debug, Default)]
pub struct Told {
    /// Runs that it has not named yet, each with the token of the one that it goes on
    /// with, if it has begun the same for another member.
    pub begin: Vec<(Arc<Run>, Option<String>)>,
    /// Runs that are to give what they have.
    pub stop: Vec<String>,
    /// Runs that nobody waits for.
    pub cancel: Vec<String>,
    /// Why it gets no work; empty if it does.
    pub note: String,
}

impl Told {
    /// Whether there is nothing to do about it.
    pub fn is_empty(&self) -> bool {
        self.begin.is_empty() && self.stop.is_empty() && self.cancel.is_empty()
    }
}

struct Here {
    hello: EngineHello,
    /// Tells this process from others with the same token: the latest one counts.
    session: String,
    heard: Instant,
    draining: bool,
    wake: Arc<Notify>,
    runs: Runs,
    /// By what it does: the token of a run that was begun elsewhere, and until when it
    /// is kept for that.
    underway: BTreeMap<String, (String, Instant)>,
    /// Failures one after the other, and until when it rests after too many.
    failures: u32,
    rests_until: Option<Instant>,
    /// Bytes of its files that are not complete.
    files: Arc<AtomicU64>,
    /// Its questions that are held open.
    polls: Arc<Semaphore>,
}

#[derive(Default)]
struct Inner {
    engines: BTreeMap<u64, Here>,
    /// Attempts that an engine has begun for another member, and this one is to take.
    taken_over: BTreeSet<(u64, AttemptKey)>,
}

/// The engines that are connected to this member.
#[derive(Default)]
pub struct EnginesHere {
    inner: Mutex<Inner>,
    /// Woken when the leader is to hear of something.
    pub news: Notify,
}

/// The member that engines are connected to.
pub struct Member<'a> {
    /// Its encoder build; empty before that is known.
    pub build: &'a str,
    /// Its disk takes no files.
    pub full: bool,
}

/// What the leader was told of them in one session.
#[derive(Default)]
pub struct EnginesTold {
    last: BTreeMap<u64, EngineBeat>,
    all_at: Option<Instant>,
}

fn unknown() -> Problem {
    let cause = "this member does not know the engine, or another process has its token";
    Problem::new(
        "not-registered",
        cause,
        "register again, and name what runs",
    )
}

impl EnginesHere {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// Takes an engine in, in the place of whoever had its token; gives its session.
    ///
    /// # Errors
    /// `too-busy` where there are too many.
    pub fn register(&self, id: u64, hello: EngineHello) -> Result<String, Problem> {
        let session = format!("{:032x}", rand::random::<u128>());
        let mut inner = self.inner();
        if inner.engines.len() >= ENGINES_HERE_MAX && !inner.engines.contains_key(&id) {
            let cause = format!("this member has {ENGINES_HERE_MAX} engines");
            let hint = "go to another member of the cluster";
            return Err(Problem::new("too-busy", cause, hint));
        }
        let here = Here {
            hello,
            session: session.clone(),
            heard: Instant::now(),
            draining: false,
            wake: Arc::default(),
            runs: Runs::new(),
            underway: BTreeMap::new(),
            failures: 0,
            rests_until: None,
            files: Arc::default(),
            polls: Arc::new(Semaphore::new(ENGINE_OWN_POLLS_MAX)),
        };
        let former = inner.engines.insert(id, here);
        drop(inner);
        if let Some(former) = former {
            leave(former);
        }
        self.news.notify_one();
        Ok(session)
    }

    /// Lets an engine go, and gives what it runs back at once.
    pub fn leave(&self, id: u64, session: &str) {
        let mut inner = self.inner();
        let own = inner.engines.get(&id);
        if own.is_none_or(|here| here.session != session) {
            return;
        }
        let former = inner.engines.remove(&id);
        drop(inner);
        former.into_iter().for_each(leave);
        self.news.notify_one();
    }

    /// Takes a heartbeat; gives what the engine is to be told now.
    ///
    /// # Errors
    /// `not-registered`, and `bad-request` where it names too many runs.
    pub fn beat(&self, id: u64, session: &str, said: &Said) -> Result<Told, Problem> {
        if said.running.len().max(said.underway.len()) > ENGINE_RUNS_MAX {
            let cause = format!("an engine names more than {ENGINE_RUNS_MAX} tasks");
            return Err(Problem::new("bad-request", cause, "give it fewer slots"));
        }
        let now = Instant::now();
        let mut inner = self.inner();
        let Inner {
            engines,
            taken_over,
        } = &mut *inner;
        let here = engines.get_mut(&id).ok_or_else(unknown)?;
        if here.session != session {
            return Err(unknown());
        }
        here.heard = now;
        let news = here.draining != said.draining;
        here.draining = said.draining;
        for run in &said.underway {
            here.keep_underway(run, now);
            let own = taken_over.range((id, AttemptKey::default())..);
            if own.take_while(|(engine, _)| *engine == id).count() < ENGINE_RUNS_MAX {
                taken_over.insert((id, run.key.clone()));
            }
        }
        let named: BTreeSet<&str> = said.running.iter().map(String::as_str).collect();
        for run in here.runs.values() {
            if named.contains(run.token.as_str()) {
                run.name();
                here.underway.remove(&run.digest);
            } else if run.is_named() && run.is_open() {
                // The engine has lost it, and does not know of that.
                give_back(run.clone(), "the engine does not name it any more");
            }
        }
        here.underway.retain(|_, (_, until)| *until > now);
        let kept = |token: &str| here.underway.values().any(|(kept, _)| kept == token);
        let elsewhere = said.underway.iter().map(|run| run.token.as_str());
        let cancel = named.iter().copied().chain(elsewhere);
        let cancel = cancel.filter(|token| !here.runs.contains_key(*token) && !kept(token));
        let begin = here.runs.values().filter(|run| !run.is_named());
        let goes_on = |run: &Run| {
            here.underway
                .get(&run.digest)
                .map(|(token, _)| token.clone())
        };
        let told = Told {
            begin: begin.map(|run| (run.clone(), goes_on(run))).collect(),
            stop: here
                .runs
                .values()
                .filter(|run| run.is_named() && run.is_to_stop())
                .map(|run| run.token.clone())
                .collect(),
            cancel: cancel.map(str::to_string).collect(),
            note: String::new(),
        };
        let news = news || !said.underway.is_empty();
        drop(inner);
        if news {
            self.news.notify_one();
        }
        Ok(told)
    }

    /// What is to be waited for before an engine is told something.
    pub fn waker(&self, id: u64) -> Option<Arc<Notify>> {
        self.inner().engines.get(&id).map(|here| here.wake.clone())
    }

    /// Has an engine be told what is new for it.
    pub(super) fn wake(&self, id: u64) {
        if let Some(wake) = self.waker(id) {
            wake.notify_one();
        }
    }

    /// Asks an engine for a run; `false` where it is not here.
    pub(super) fn offer(&self, run: Arc<Run>) -> bool {
        let mut inner = self.inner();
        let Some(here) = inner.engines.get_mut(&run.engine) else {
            return false;
        };
        here.runs.insert(run.token.clone(), run);
        here.wake.notify_one();
        true
    }

    /// Asks it no more.
    pub(super) fn withdraw(&self, run: &Run) {
        if let Some(here) = self.inner().engines.get_mut(&run.engine) {
            here.runs.remove(&run.token);
            here.wake.notify_one();
        }
    }

    /// A run, by its token. Its engine is heard.
    pub fn run(&self, token: &str) -> Option<Arc<Run>> {
        let mut inner = self.inner();
        let mut all = inner.engines.values_mut();
        let here = all.find(|here| here.runs.contains_key(token))?;
        here.heard = Instant::now();
        here.runs.get(token).cloned()
    }

    /// The place of a question that is held open; none where it has enough of them.
    pub fn poll(&self, id: u64) -> Option<OwnedSemaphorePermit> {
        let polls = self.inner().engines.get(&id).map(|here| here.polls.clone());
        polls.and_then(|polls| polls.try_acquire_owned().ok())
    }

    /// What counts the bytes of an engine's files that are not complete.
    pub(crate) fn files_of(&self, id: u64) -> Arc<AtomicU64> {
        let inner = self.inner();
        let here = inner.engines.get(&id);
        here.map_or_else(Arc::default, |here| here.files.clone())
    }

    /// Whether an engine is connected here.
    pub fn has(&self, id: u64) -> bool {
        self.inner().engines.contains_key(&id)
    }

    /// Attempts that engines have begun for another member.
    pub fn taken_over(&self) -> Vec<(u64, AttemptKey)> {
        std::mem::take(&mut self.inner().taken_over)
            .into_iter()
            .collect()
    }

    /// Notes how an attempt of an engine ended: one that fails again and again has a
    /// rest, whatever it gave back meanwhile.
    pub fn note_end(&self, id: u64, failed: Option<bool>) {
        let mut inner = self.inner();
        if let Some((here, failed)) = inner.engines.get_mut(&id).zip(failed) {
            here.failures = if failed { here.failures + 1 } else { 0 };
            if here.failures >= ENGINE_FAILURES_MAX {
                here.failures = 0;
                here.rests_until = Some(Instant::now() + ENGINE_REST);
            }
        }
    }

    /// Why an engine gets no work, if it does not, at such a member.
    pub fn trouble(&self, id: u64, member: &Member<'_>) -> String {
        let inner = self.inner();
        let here = inner.engines.get(&id);
        here.map_or_else(String::new, |here| here.trouble(member))
    }

    /// What is new of the engines since `told`, where each runs what `running` says.
    /// Those that were silent for too long go.
    pub fn news(
        &self,
        told: &mut EnginesTold,
        running: &BTreeMap<u64, Progress>,
        member: &Member<'_>,
    ) -> EngineNews {
        let now = Instant::now();
        let mut inner = self.inner();
        let silent = |here: &Here| now.duration_since(here.heard) > ENGINE_SILENT_MAX;
        let lost = inner.engines.iter().filter(|(_, here)| silent(here));
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        let lost: Vec<Here> = lost
            .iter()
            .filter_map(|id| inner.engines.remove(id))
            .collect();
        let mut slots_left = ENGINE_RUNS_HERE_MAX;
        let beats = inner.engines.iter().map(|(id, here)| {
            let running = running.get(id).cloned().unwrap_or_default();
            let mut beat = here.beat(*id, running, member);
            beat.slots = beat.slots.min(slots_left);
            slots_left -= beat.slots;
            (*id, beat)
        });
        let beats: BTreeMap<u64, EngineBeat> = beats.collect();
        drop(inner);
        lost.into_iter().for_each(leave);
        let again = told
            .all_at
            .is_none_or(|at| now.duration_since(at) > ENGINE_RETOLD_EVERY);
        if again {
            told.all_at = Some(now);
        }
        let changed = beats
            .iter()
            .filter(|(id, beat)| again || told.last.get(id) != Some(beat));
        let gone = told.last.keys().filter(|id| !beats.contains_key(id));
        let news = EngineNews {
            changed: changed.map(|(_, beat)| beat.clone()).collect(),
            gone: gone.copied().collect(),
        };
        told.last = beats;
        news
    }
}

/// Gives back what an engine runs that has gone.
fn leave(here: Here) {
    here.wake.notify_one();
    for run in here.runs.into_values() {
        give_back(run, "the engine has gone");
    }
}

fn give_back(run: Arc<Run>, cause: &'static str) {
    tokio::spawn(async move { run.give_up(cause.to_string(), Loss::Back).await });
}

impl Here {
    /// Keeps what it has begun for another member, but not more than it could run.
    fn keep_underway(&mut self, run: &Underway, now: Instant) {
        let known = self.underway.contains_key(&run.digest);
        if !known && self.underway.len() < ENGINE_RUNS_MAX {
            let kept = (run.token.clone(), now + ENGINE_RESUMES_WITHIN);
            self.underway.insert(run.digest.clone(), kept);
        }
    }

    fn trouble(&self, member: &Member<'_>) -> String {
        let build = member.build;
        let rests = self.rests_until.is_some_and(|until| until > Instant::now());
        let short = |build: &str| build.get(..12).unwrap_or(build).to_string();
        if self.draining {
            "it wants no new work".into()
        } else if rests {
            "it failed several times one after the other, and rests".into()
        } else if build.is_empty() {
            "its member has no encoder build, or still tries it".into()
        } else if self.hello.build != build {
            let (own, wanted) = (short(&self.hello.build), short(build));
            format!("it has encoder build {own}, and its member {wanted}")
        } else if member.full {
            "its member's disk is full".into()
        } else {
            String::new()
        }
    }

    fn beat(&self, id: u64, running: Progress, member: &Member<'_>) -> EngineBeat {
        debug_assert!(is_engine(id));
        EngineBeat {
            id,
            build: self.hello.build.clone(),
            build_words: self.hello.build_words.clone(),
            version: self.hello.version.clone(),
            slots: self.hello.slots,
            memory_mib: self.hello.memory_mib,
            trouble: self.trouble(member),
            lacks: self.hello.lacks.clone(),
            speeds: self.hello.speeds.clone(),
            labels: self.hello.labels.clone(),
            running,
        }
    }
}
