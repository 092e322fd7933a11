//! Golden scripts over the pure model: each file in `tests/scenarios/` is a
//! story in prose, commands and the output they must give. After every
//! command `check` must find nothing, and applying the same entry again must
//! change nothing.
//!
//! `SCENARIOS_REWRITE=1` writes the output found into the scripts; read the
//! difference before you commit it.
#![allow(clippy::unwrap_used)]

mod engines;
mod keys;
mod measuring;
mod members;
mod outside;
mod restored;
mod show;
mod words;

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use reelraft_model::{
    Assign, AttemptKey, CancelJob, ChunksRead, Command, Complete, CreateJob, DeleteJob, EarlyPlan,
    Entry, History, HomeFilled, JobBounds, KeepHistory, Outside, PlanAppend, Problem, RegisterNode,
    Release, Reopen, Replan, Reply, SealSource, ShardRange, State, TaskKind, Tick, TouchUpload,
    check::check,
    job_id,
    limits::FEATURE_LEVEL,
    plan::{ClusterHealth, NodeHealth, plan},
    spec::{SpecRequest, resolve},
};

use keys::change_access;
use outside::{change_outside, due};
use show::{command_text, show};
use words::{amount, failure_class, number, option, retry};

struct World {
    state: State,
    health: ClusterHealth,
    index: u64,
    names: BTreeMap<String, String>,
    /// What was planned and is not written yet.
    thought: Vec<Command>,
    bounds: JobBounds,
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
        engines::aliased(&self.state, &self.names, text)
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

    /// The job that a script calls by this name.
    fn job(&self, name: &str) -> String {
        self.names[name].clone()
    }

    fn epoch(&self, job: &str) -> u64 {
        self.state.job(job).unwrap().job.epoch
    }

    /// Runs one line of a script and returns its output.
    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "nodes" | "silent" | "starting" | "build" | "full" | "lacks" | "zone" => {
                self.report_health(&words)
            }
            "plan" => self.think() + &self.write(),
            "think" => self.think(),
            "write" => self.write(),
            "voters" => {
                self.health.voters = words[1].parse().unwrap();
                String::new()
            }
            "create" => self.create(&words),
            "bounds" => {
                self.bounds.jobs = number(&words, "jobs");
                self.bounds.uploading = number(&words, "uploading");
                self.bounds.rows = number(&words, "rows");
                String::new()
            }
            "keep" => {
                self.health.keep_ended_ms = Some(words[1].parse().unwrap());
                String::new()
            }
            "seal" | "filled" | "history" | "touch" | "cancel" | "delete" | "replan" | "retry"
            | "measure" => self.change_job(&words),
            "register" => self.register(&words),
            "webhook" | "unhook" | "sent" | "parts" | "unfetchable" => {
                self.one(change_outside(&self.names, &words))
            }
            "zones" => members::zones(&self.state, &self.health),
            "due" => self.aliased(&due(&self.state, &words)),
            "token" | "want" | "drain" | "undrain" | "remove" => self.one(members::command(&words)),
            "admit" => self.admit(&words),
            "engine" | "revoke-engine" => self.one(engines::command(&words)),
            "engines" | "unheard" => engines::report(&mut self.health, &words),
            "permits" => self.aliased(&engines::list(&self.state)),
            "members" => members::judge(&self.state, &mut self.health),
            "change" => members::change(&self.state, &mut self.health),
            "votes" | "leads" | "behind" | "joined" | "joint" => {
                members::report(&mut self.health, &words)
            }
            "restore" => {
                let said = restored::restore(&mut self.state, self.index, &words, &self.names);
                self.aliased(&said)
            }
            "key" | "revoke" | "quota" => self.one(change_access(&self.state, &words)),
            "assign" | "twin" | "fail" | "reopen" => self.change_task(&words),
            "append" => self.append(&words),
            "done" => self.complete(&words),
            "tick" => self.one(Command::Tick(Tick {
                cluster_ms: words[1].parse().unwrap(),
            })),
            "show" => match self.state.job(&self.names[words[1]]) {
                Some(entry) => self.aliased(&show(&entry, &self.health)),
                None => "no such job\n".into(),
            },
            other => panic!("no command {other}"),
        }
    }

    /// `nodes 1 2 3 [slots=2] [build=b] [memory=MIB]`, `silent NODE MS`, `starting NODE`,
    /// `build NODE BUILD`, `lacks NODE CODEC…`, `zone NODE ZONE` and `full NODE`: what the
    /// nodes report.
    fn report_health(&mut self, words: &[&str]) -> String {
        if words[0] == "nodes" {
            self.add_nodes(words);
            return String::new();
        }
        let node = self.health.nodes.get_mut(&words[1].parse().unwrap());
        let node = node.unwrap();
        match words[0] {
            "silent" => {
                node.silent_ms = words[2].parse().unwrap();
                node.alive = node.silent_ms == 0;
            }
            "starting" => {
                (node.alive, node.silent_ms, node.starting) = (true, 0, true);
                node.build.clear();
            }
            "zone" => node.zone = words[2].to_string(),
            "build" => (node.build, node.starting) = (words[2].to_string(), false),
            "lacks" => node.lacks = words[2..].iter().map(ToString::to_string).collect(),
            _ => {
                node.full = true;
                node.trouble = "its disk is full".into();
            }
        }
        String::new()
    }

    fn add_nodes(&mut self, words: &[&str]) {
        let ids: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
        self.health.voters = ids.len() as u32;
        for id in ids {
            let node = NodeHealth {
                alive: true,
                slots: option(words, "slots").map_or(1, |slots| slots.parse().unwrap()),
                memory_mib: number(words, "memory"),
                build: option(words, "build").unwrap_or("b").into(),
                room_bytes: 1 << 40,
                behind: Some(0),
                ..Default::default()
            };
            self.health.nodes.insert(id, node);
        }
    }

    /// Plans; `write` applies what was planned, and `plan` does both.
    fn think(&mut self) -> String {
        self.health.take_standings(&self.state);
        self.thought = plan(&self.state, &self.health);
        if self.thought.is_empty() {
            return "nothing to do\n".into();
        }
        let text = self.thought.iter().map(|command| self.command(command));
        text.collect()
    }

    fn write(&mut self) -> String {
        let commands = std::mem::take(&mut self.thought);
        if !commands.is_empty() {
            self.apply(commands);
        }
        String::new()
    }

    /// `create JOB [tenant=t] [request=NAME] [bytes=1000] [codec=] [audio=] [size=]
    /// [target=] [hold] [container=] [priority=0] [retries=] [from=URL] [told=URL] [put=URL]`
    fn create(&mut self, words: &[&str]) -> String {
        let spec = resolve(&SpecRequest {
            container: option(words, "container").unwrap_or_default().into(),
            codec: option(words, "codec").unwrap_or_default().into(),
            audio: option(words, "audio").unwrap_or_default().into(),
            amount: amount(words),
            ..Default::default()
        });
        let tenant = option(words, "tenant").unwrap_or("t");
        let request = option(words, "request").unwrap_or(words[1]);
        let url = |key| option(words, key).unwrap_or_default().to_string();
        let outside = Outside {
            source_url: url("from"),
            webhook_url: url("told"),
            output_url: url("put"),
            ..Default::default()
        };
        self.names.insert(words[1].into(), job_id(tenant, request));
        self.one(Command::CreateJob(CreateJob {
            tenant: tenant.into(),
            request_id: request.into(),
            spec: spec.unwrap(),
            source_bytes: option(words, "bytes").map_or(1000, |bytes| bytes.parse().unwrap()),
            bounds: Some(self.bounds),
            outside: (outside != Outside::default()).then_some(outside),
            priority: number(words, "priority"),
            deadline_unix_ms: option(words, "due").map_or(0, |due| due.parse().unwrap()),
            max_retries: option(words, "retries").map(|retries| retries.parse().unwrap()),
            ..Default::default()
        }))
    }

    /// `register 1 2 3 [level=1]`: nodes, and what they can read of the log.
    fn register(&mut self, words: &[&str]) -> String {
        let feature_level = option(words, "level").map_or(FEATURE_LEVEL, |n| n.parse().unwrap());
        let nodes = words.iter().filter_map(|word| word.parse().ok());
        let register = |node: u64| {
            Command::RegisterNode(RegisterNode {
                node,
                feature_level,
                ..Default::default()
            })
        };
        let replies = self.apply(nodes.map(register).collect());
        self.reply(&replies)
    }

    /// `seal JOB [epoch=] [kept]`, `filled JOB NODE`, `history JOB NODE [epoch=]
    /// [hash=]`, `touch JOB seen=MS`, `cancel JOB`, `delete JOB`,
    /// `retry JOB [replans=]`, `measure JOB shards=3` and `replan JOB [replans=]`
    fn change_job(&mut self, words: &[&str]) -> String {
        let job = self.job(words[1]);
        let epoch = option(words, "epoch");
        let epoch = epoch.map_or_else(|| self.epoch(&job), |epoch| epoch.parse().unwrap());
        self.one(match words[0] {
            "seal" => Command::SealSource(SealSource {
                epoch,
                job,
                manifest: "m".into(),
                root: "r".into(),
                keep_source: words.contains(&"kept"),
            }),
            "filled" => Command::HomeFilled(HomeFilled {
                epoch,
                job,
                node: words[2].parse().unwrap(),
                index_hash: None,
            }),
            "history" => Command::KeepHistory(KeepHistory {
                epoch,
                node: words[2].parse().unwrap(),
                history_hash: option(words, "hash").map_or_else(
                    || History::blob(&self.state.job(&job).unwrap()).hash,
                    str::to_string,
                ),
                job,
            }),
            "touch" => Command::TouchUpload(TouchUpload {
                job,
                touched_cluster_ms: number(words, "seen"),
            }),
            "cancel" => Command::CancelJob(CancelJob { job, unix_ms: 0 }),
            "retry" => retry(job, words),
            "measure" => measuring::command(&self.state, job, words),
            "replan" => {
                let now = self.state.job(&job).map(|entry| entry.job.clone());
                let now = now.unwrap_or_default();
                let seen = option(words, "replans").map(|seen| seen.parse().unwrap());
                Command::Replan(Replan {
                    job,
                    build: now.build,
                    replans: seen.unwrap_or(now.replans),
                    note: "planned anew".into(),
                })
            }
            _ => Command::DeleteJob(DeleteJob { job, unix_ms: 0 }),
        })
    }

    /// `assign JOB KIND NUMBER attempt=1 node=1`, `twin` the same, `fail ... class=work` and
    /// `reopen ...`
    fn change_task(&mut self, words: &[&str]) -> String {
        let key = self.key(words);
        self.one(match words[0] {
            "assign" | "twin" => Command::Assign(Assign {
                key,
                node: option(words, "node").map_or(0, engines::id_of),
                build: "b".into(),
                unix_ms: 0,
                twin: words[0] == "twin",
            }),
            "fail" => Command::Release(Release {
                key,
                class: failure_class(option(words, "class").unwrap()).into(),
                problem: Problem::new(
                    option(words, "kind").unwrap_or("test"),
                    "it broke",
                    "mend it",
                ),
            }),
            _ => Command::Reopen(Reopen { key }),
        })
    }

    /// `append JOB analyze 0 attempt=1 first=0 [early=KEY [audio=0]] [keys=KEY] [replace] 0..10 10..20`;
    /// each shard that is planned early, or has a key, has that and its number.
    fn append(&mut self, words: &[&str]) -> String {
        let ranges = words.iter().filter_map(|word| word.split_once(".."));
        let ranges = ranges.map(|(from, to)| {
            let (from_pts, to_pts): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
            ShardRange {
                from_pts,
                to_pts,
                frames: (to_pts - from_pts) as u64,
            }
        });
        let ranges: Vec<ShardRange> = ranges.collect();
        let (key, first): (_, u32) = (self.key(words), number(words, "first"));
        let numbers = first..first + ranges.len() as u32;
        let keys = |of: &str| -> Vec<String> {
            let keys = numbers.clone().map(|number| format!("{of}{number}"));
            keys.collect()
        };
        let shard_keys = option(words, "keys").map(keys);
        let early = option(words, "early").map(|of| EarlyPlan {
            index: "x".into(),
            keys: keys(of),
            audio_keys: (0..number(words, "audio"))
                .map(|at| format!("{of}{at}"))
                .collect(),
            shard_memory_mib: 0,
        });
        self.one(Command::PlanAppend(PlanAppend {
            key,
            first,
            ranges,
            early,
            replace: words.contains(&"replace"),
            shard_keys: shard_keys.unwrap_or_default(),
        }))
    }

    /// `done JOB KIND NUMBER attempt=1 [hash=h] [report=p] [frames=0] [bytes=10] [payload=0] [score=0]`, and of
    /// an analysis `[shards=] [audio=0] [kept=0] [keys=KEY] [memory=0] [note=] [extras] [epoch=]`, of a shard
    /// `[read]` where its source was not sealed, of an engine's `[check]`
    fn complete(&mut self, words: &[&str]) -> String {
        let key = self.key(words);
        let job = &self.state.job(&key.job).unwrap().job;
        let shards_total =
            option(words, "shards").map_or(job.shards_total, |shards| shards.parse().unwrap());
        self.one(Command::Complete(Complete {
            hash: option(words, "hash").unwrap_or("h").into(),
            report: option(words, "report").unwrap_or("p").into(),
            frames: number(words, "frames"),
            bytes_out: option(words, "bytes").map_or(10, |bytes| bytes.parse().unwrap()),
            payload: number(words, "payload"),
            score_micro: number(words, "score"),
            shards_total,
            audio_tracks: option(words, "audio").map_or(0, |tracks| tracks.parse().unwrap()),
            extras: words.contains(&"extras"),
            plan_note: option(words, "note").unwrap_or_default().into(),
            epoch: option(words, "epoch").map(|epoch| epoch.parse().unwrap()),
            read: words.contains(&"read").then(ChunksRead::default),
            audio_kept: number(words, "kept"),
            shares_parts: option(words, "keys").is_some(),
            shard_memory_mib: number(words, "memory"),
            check: words.contains(&"check"),
            audio_keys: option(words, "keys").map_or_else(Vec::new, |of| vec![format!("{of}0")]),
            key,
            ..Default::default()
        }))
    }

    fn admit(&mut self, words: &[&str]) -> String {
        let replies = self.apply(vec![members::admit(words)]);
        let reply = self.reply(&replies);
        match replies[0].node {
            0 => reply,
            node => format!("node {node}: {reply}"),
        }
    }

    fn command(&self, command: &Command) -> String {
        self.aliased(&command_text(command)) + "\n"
    }
}

/// Runs a script; returns it with the output that was found.
fn replay(script: &str) -> String {
    let mut world = World {
        state: State::default(),
        health: ClusterHealth::default(),
        index: 0,
        names: BTreeMap::new(),
        thought: Vec::new(),
        bounds: JobBounds {
            jobs: u64::MAX,
            uploading: u64::MAX,
            rows: u64::MAX,
        },
    };
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
