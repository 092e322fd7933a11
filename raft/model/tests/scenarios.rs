//! Golden scripts over the pure model: each file in `tests/scenarios/` is a
//! story in prose, commands and the output they must give. After every
//! command `check` must find nothing, and applying the same entry again must
//! change nothing.
//!
//! `SCENARIOS_REWRITE=1` writes the output found into the scripts; read the
//! difference before you commit it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use reelraft_model::{
    Assign, AttemptKey, CancelJob, Command, Complete, CreateJob, DeleteJob, Entry, FailureClass,
    HomeFilled, JobEntry, PlanAppend, Problem, Range, Release, Reopen, Reply, SealSource, State,
    TaskKind, TaskState, Tick,
    check::check,
    job_id,
    plan::{Liveness, NodeView, plan, waiting},
    spec::{SpecRequest, resolve},
};

#[derive(Default)]
struct World {
    state: State,
    liveness: Liveness,
    index: u64,
    names: BTreeMap<String, String>,
}

/// `key=value` words of a command line.
fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn number<T: std::str::FromStr + Default>(words: &[&str], key: &str) -> T {
    option(words, key)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

impl World {
    fn apply(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        self.index += 1;
        let entry = Entry::decode(&Entry::new(commands).encode()).unwrap();
        let applied = self.state.apply(self.index, &entry);
        // The rows named as touched, and no others, carry the change.
        for key in &applied.touched {
            assert_eq!(
                self.state.row(key).is_some(),
                self.state.rows().any(|(row, _)| row == *key)
            );
        }
        assert_eq!(check(&self.state), [], "after {entry:?}");
        let before = self.state.clone();
        let mut again = self.state.clone();
        again.apply(self.index + 1, &entry);
        let idempotent = entry
            .commands
            .iter()
            .all(|envelope| !matches!(envelope.command, Some(Command::SetHomes(_))));
        if idempotent {
            assert_eq!(before, again, "a duplicate of {entry:?} changed the table");
        }
        applied.replies
    }

    fn reply(&self, replies: &[Reply]) -> String {
        replies
            .iter()
            .map(|reply| match &reply.refused {
                Some(problem) => self.aliased(&format!("refused: {problem} ({})\n", problem.hint)),
                None if reply.existed => "existed\n".to_string(),
                None if reply.stale => "stale\n".to_string(),
                None => "ok\n".to_string(),
            })
            .collect()
    }

    /// Job ids as the names that the script gave them.
    fn aliased(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_string(), |text, (name, id)| text.replace(id, name))
    }

    fn key(&self, words: &[&str]) -> AttemptKey {
        AttemptKey {
            job: self.names[words[1]].clone(),
            kind: TaskKind::parse(words[2]).unwrap().into(),
            number: words[3].parse().unwrap(),
            attempt: number(words, "attempt"),
        }
    }

    fn one(&mut self, command: Command) -> String {
        let replies = self.apply(vec![command]);
        self.reply(&replies)
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "nodes" => {
                let slots = option(&words, "slots").map_or(1, |slots| slots.parse().unwrap());
                let ids: Vec<u64> = words[1..]
                    .iter()
                    .filter_map(|word| word.parse().ok())
                    .collect();
                self.liveness.voters = ids.len() as u32;
                for id in ids {
                    let build = option(&words, "build").unwrap_or("b").to_string();
                    self.liveness.nodes.insert(
                        id,
                        NodeView {
                            alive: true,
                            slots,
                            build,
                            ..Default::default()
                        },
                    );
                }
                String::new()
            }
            "silent" => {
                let view = self
                    .liveness
                    .nodes
                    .get_mut(&words[1].parse().unwrap())
                    .unwrap();
                view.silent_ms = words[2].parse().unwrap();
                view.alive = view.silent_ms == 0;
                String::new()
            }
            "build" => {
                let view = self
                    .liveness
                    .nodes
                    .get_mut(&words[1].parse().unwrap())
                    .unwrap();
                view.build = words[2].to_string();
                String::new()
            }
            "full" => {
                let view = self
                    .liveness
                    .nodes
                    .get_mut(&words[1].parse().unwrap())
                    .unwrap();
                view.full = true;
                String::new()
            }
            "create" => {
                let spec = resolve(&SpecRequest {
                    codec: option(&words, "codec").unwrap_or_default().into(),
                    audio: option(&words, "audio").unwrap_or_default().into(),
                    ..Default::default()
                });
                let tenant = option(&words, "tenant").unwrap_or("t");
                let request = option(&words, "request").unwrap_or(words[1]);
                self.names.insert(words[1].into(), job_id(tenant, request));
                self.one(Command::CreateJob(CreateJob {
                    tenant: tenant.into(),
                    request_id: request.into(),
                    spec: spec.unwrap(),
                    source_bytes: option(&words, "bytes")
                        .map_or(1000, |bytes| bytes.parse().unwrap()),
                    ..Default::default()
                }))
            }
            "seal" => {
                let job = self.names[words[1]].clone();
                let epoch = option(&words, "epoch").map_or_else(
                    || self.state.job(&job).unwrap().job.epoch,
                    |epoch| epoch.parse().unwrap(),
                );
                self.one(Command::SealSource(SealSource {
                    job,
                    epoch,
                    manifest: "m".into(),
                    root: "r".into(),
                }))
            }
            "filled" => {
                let job = self.names[words[1]].clone();
                let epoch = self.state.job(&job).unwrap().job.epoch;
                self.one(Command::HomeFilled(HomeFilled {
                    job,
                    epoch,
                    node: words[2].parse().unwrap(),
                }))
            }
            "plan" => {
                let commands = plan(&self.state, &self.liveness);
                let text: String = commands
                    .iter()
                    .map(|command| self.command(command))
                    .collect();
                if !commands.is_empty() {
                    self.apply(commands);
                }
                if text.is_empty() {
                    "nothing to do\n".into()
                } else {
                    text
                }
            }
            "assign" => {
                let key = self.key(&words);
                let node = number(&words, "node");
                self.one(Command::Assign(Assign {
                    key,
                    node,
                    build: "b".into(),
                    unix_ms: 0,
                }))
            }
            // append JOB analyze 0 attempt=1 first=0 0..10 10..20
            "append" => {
                let ranges =
                    words
                        .iter()
                        .filter_map(|word| word.split_once(".."))
                        .map(|(from, to)| {
                            let (from_pts, to_pts): (i64, i64) =
                                (from.parse().unwrap(), to.parse().unwrap());
                            Range {
                                from_pts,
                                to_pts,
                                frames: (to_pts - from_pts) as u64,
                            }
                        });
                let ranges = ranges.collect();
                let (key, first) = (self.key(&words), number(&words, "first"));
                self.one(Command::PlanAppend(PlanAppend { key, first, ranges }))
            }
            "done" => {
                let key = self.key(&words);
                let job = &self.state.job(&key.job).unwrap().job;
                let shards_total =
                    option(&words, "shards").map_or(job.shards_total, |n| n.parse().unwrap());
                let command = Complete {
                    hash: option(&words, "hash").unwrap_or("h").into(),
                    report: option(&words, "report").unwrap_or("p").into(),
                    frames: number(&words, "frames"),
                    bytes_out: 10,
                    shards_total,
                    audio_tracks: option(&words, "audio").map_or(0, |n| n.parse().unwrap()),
                    extras: words.contains(&"extras"),
                    plan_note: option(&words, "note").unwrap_or_default().into(),
                    key,
                    ..Default::default()
                };
                self.one(Command::Complete(command))
            }
            "fail" => {
                let class = match option(&words, "class").unwrap() {
                    "work" => FailureClass::Work,
                    "node" => FailureClass::NodeFault,
                    "final" => FailureClass::Final,
                    "mismatch" => FailureClass::PlanMismatch,
                    "lost" => FailureClass::NodeLost,
                    other => panic!("no class {other}"),
                };
                let problem = Problem::new("test", "it broke", "mend it");
                let key = self.key(&words);
                self.one(Command::Release(Release {
                    key,
                    class: class.into(),
                    problem,
                }))
            }
            "reopen" => {
                let key = self.key(&words);
                self.one(Command::Reopen(Reopen { key }))
            }
            "cancel" => {
                let job = self.names[words[1]].clone();
                self.one(Command::CancelJob(CancelJob { job, unix_ms: 0 }))
            }
            "delete" => {
                let job = self.names[words[1]].clone();
                self.one(Command::DeleteJob(DeleteJob { job, unix_ms: 0 }))
            }
            "tick" => self.one(Command::Tick(Tick {
                cluster_ms: words[1].parse().unwrap(),
            })),
            "show" => match self.state.job(&self.names[words[1]]) {
                Some(entry) => self.aliased(&show(entry, &self.liveness)),
                None => "no such job\n".into(),
            },
            other => panic!("no command {other}"),
        }
    }

    fn command(&self, command: &Command) -> String {
        let text = match command {
            Command::SetHomes(c) => {
                format!("homes {} {:?} (seen epoch {})", c.job, c.homes, c.epoch)
            }
            Command::Assign(c) => format!("assign {} to {}", c.key, c.node),
            Command::Release(c) => format!("release {}: {}", c.key, c.problem),
            Command::FailJob(c) => format!("fail {}: {}", c.job, c.problem),
            other => format!("{other:?}"),
        };
        self.aliased(&text) + "\n"
    }
}

fn show(entry: &JobEntry, liveness: &Liveness) -> String {
    let job = &entry.job;
    let mut text = String::new();
    let homes: Vec<String> = job
        .homes
        .iter()
        .map(|home| format!("{}{}", home.node, if home.filled { "" } else { "?" }))
        .collect();
    write!(
        text,
        "{} {} homes=[{}]",
        job.id,
        job.state().name(),
        homes.join(" ")
    )
    .unwrap();
    if let Some(problem) = &job.problem {
        write!(text, " problem=({problem})").unwrap();
    }
    if !job.plan_note.is_empty() {
        write!(text, " note=({})", job.plan_note).unwrap();
    }
    if !job.output_hash.is_empty() {
        write!(text, " output={} proof={}", job.output_hash, job.proof_hash).unwrap();
    }
    if job.single {
        write!(text, " single").unwrap();
    }
    let waits = waiting(entry, liveness);
    if !waits.is_empty() {
        write!(text, " waits {waits}").unwrap();
    }
    text.push('\n');
    for task in entry.tasks.values() {
        let state = match task.state() {
            TaskState::Pending => "pending".to_string(),
            TaskState::Running => format!("running on {} as attempt {}", task.node, task.attempt),
            TaskState::Done => format!("done: {}", task.hash),
        };
        let range = if task.kind() == TaskKind::Shard {
            format!(" [{}, {})", task.from_pts, task.to_pts)
        } else {
            String::new()
        };
        writeln!(
            text,
            "  {} {}{range} {state}",
            task.kind().name(),
            task.number
        )
        .unwrap();
    }
    text
}

/// Runs a script; returns it with the output that was found.
fn replay(script: &str) -> String {
    let mut world = World::default();
    let mut found = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(found, "{line}").unwrap();
        let command = line.trim();
        if command.is_empty() || command.starts_with('#') {
            continue;
        }
        let output = world.run(command);
        if lines.peek() == Some(&"----") {
            while lines.peek().is_some_and(|line| !line.trim().is_empty()) {
                lines.next();
            }
            write!(found, "----\n{output}").unwrap();
        }
    }
    found
}

#[test]
fn every_scenario_gives_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut scripts = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let script = fs::read_to_string(&path).unwrap();
        let found = replay(&script);
        if std::env::var_os("SCENARIOS_REWRITE").is_some() {
            fs::write(&path, &found).unwrap();
        } else {
            assert_eq!(script, found, "{}", path.display());
        }
        scripts += 1;
    }
    assert!(scripts > 4, "the scenarios are missing");
}
