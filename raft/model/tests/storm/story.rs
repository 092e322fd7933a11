//! What happened, written down as far as the scripts of `tests/scenarios/`
//! have words for it; the rest stands in comments.

use std::collections::BTreeMap;

use reelraft_model::{
    AttemptKey, Command, FailureClass, Reply, job_id,
    plan::{ClusterHealth, NodeHealth},
};

#[derive(Default)]
pub struct Story {
    /// Only a seed that failed is told.
    pub told: bool,
    pub lines: Vec<String>,
    names: BTreeMap<String, String>,
    health: BTreeMap<u64, NodeHealth>,
}

impl Story {
    pub fn new(told: bool, requests: &[String]) -> Self {
        let names = requests
            .iter()
            .map(|name| (job_id("t", name), name.clone()));
        Story {
            told,
            names: names.collect(),
            ..Default::default()
        }
    }

    /// The name of a job in the script.
    pub fn name(&self, job: &str) -> String {
        let name = self.names.get(job).cloned();
        name.unwrap_or_else(|| job.to_string())
    }

    /// A script's text with names for the ids.
    pub fn named(&self, text: &str) -> String {
        let names = self.names.iter();
        names.fold(text.to_string(), |text, (id, name)| text.replace(id, name))
    }

    pub fn say(&mut self, now_ms: u64, what: String) {
        if self.told {
            self.lines.push(format!("# {} ms: {what}", now_ms));
        }
    }

    /// What the leader saw, where it led to something.
    pub fn planned(&mut self, now_ms: u64, health: &ClusterHealth, commands: &[Command]) {
        if !self.told || commands.is_empty() {
            return;
        }
        for (node, now) in &health.nodes {
            let before = self.health.insert(*node, now.clone());
            let before = before.unwrap_or_default();
            let fresh = before == NodeHealth::default();
            // A script takes the nodes of its last such line for the voters.
            let (slots, build) = (now.slots, &now.build);
            match *node {
                1 if fresh => {
                    let voters = (1..=u64::from(health.voters)).map(|node| format!("{node} "));
                    let voters: String = voters.collect();
                    let text = format!("nodes {voters}slots={slots} build={build}");
                    self.lines.push(text);
                }
                _ if fresh => {
                    let text = format!("# node {node} has slots={slots} build={build}");
                    self.lines.push(text);
                }
                _ => {}
            }
            let silent = |health: &NodeHealth| match health.alive {
                true => 0,
                false => health.silent_ms,
            };
            if silent(&before) != silent(now) {
                self.lines.push(format!("silent {node} {}", silent(now)));
            }
            if now.starting && !before.starting {
                self.lines.push(format!("starting {node}"));
            } else if !fresh && before.build != now.build && now.alive {
                self.lines.push(format!("build {node} {}", now.build));
            }
            if before.full != now.full {
                let end = if now.full {
                    ""
                } else {
                    " no more (a script has no word for it)"
                };
                let mark = if now.full { "" } else { "# " };
                self.lines.push(format!("{mark}full {node}{end}"));
            }
        }
        self.lines.push("plan".into());
        self.lines.push("----".into());
        for command in commands {
            let text = planned_text(command);
            let text = self.named(&text);
            self.lines.push(text);
        }
        self.lines.push(String::new());
        self.say(now_ms, "planned the above".into());
    }

    /// A command that was written down.
    pub fn command(&mut self, now_ms: u64, command: &Command, reply: &Reply) {
        if !self.told {
            return;
        }
        let key = |key: &AttemptKey| {
            let kind = key.kind().name();
            format!("{} {kind} {} attempt={}", key.job, key.number, key.attempt)
        };
        let text = match command {
            Command::CreateJob(c) => {
                format!("create {} bytes={}", c.request_id, c.source_bytes)
            }
            Command::SealSource(c) => format!("seal {} epoch={}", c.job, c.epoch),
            Command::HomeFilled(c) => format!("filled {} {}", c.job, c.node),
            Command::CancelJob(c) => format!("cancel {}", c.job),
            Command::DeleteJob(c) => format!("delete {}", c.job),
            Command::RetryJob(c) => format!("retry {}", c.job),
            Command::Reopen(c) => format!("reopen {}", key(&c.key)),
            Command::Tick(c) => format!("tick {}", c.cluster_ms),
            Command::PlanAppend(c) => {
                let ranges = c.ranges.iter();
                let ranges = ranges.map(|range| format!(" {}..{}", range.from_pts, range.to_pts));
                format!(
                    "append {} first={}{}",
                    key(&c.key),
                    c.first,
                    ranges.collect::<String>()
                )
            }
            Command::Complete(c) => {
                let extras = if c.extras { " extras" } else { "" };
                format!(
                    "done {} hash={} shards={} audio={}{extras}",
                    key(&c.key),
                    c.hash.replace(' ', "+"),
                    c.shards_total,
                    c.audio_tracks
                )
            }
            Command::Release(c) => format!("fail {} class={}", key(&c.key), class(c.class())),
            Command::Replan(c) => format!("replan {} replans={}", c.job, c.replans),
            Command::SetHomes(c) => format!("# homes {} {:?} written", c.job, c.homes),
            Command::Assign(c) => format!("# assign {} to {} written", c.key, c.node),
            other => format!("# {other:?}"),
        };
        let end = match (reply.stale, reply.existed, &reply.refused) {
            (true, ..) => ": stale",
            (_, true, _) => ": existed",
            (_, _, Some(_)) => ": refused",
            _ => "",
        };
        self.say(now_ms, format!("written{end}"));
        let text = self.named(&text);
        self.lines.push(text);
    }
}

fn planned_text(command: &Command) -> String {
    match command {
        Command::SetHomes(c) => {
            let retiring = match c.retiring.is_empty() {
                true => String::new(),
                false => format!(", retiring {:?}", c.retiring),
            };
            let homes = &c.homes;
            format!(
                "homes {} {homes:?}{retiring} (seen epoch {})",
                c.job, c.epoch
            )
        }
        Command::Assign(c) => format!("assign {} to {}", c.key, c.node),
        Command::Release(c) => format!("release {}: {}", c.key, c.problem),
        Command::FailJob(c) => format!("fail {}: {}", c.job, c.problem),
        Command::Replan(c) => {
            format!("replan {} (seen build {}): {}", c.job, c.build, c.note)
        }
        other => format!("{other:?}"),
    }
}

fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Work => "work",
        FailureClass::NodeFault | FailureClass::Stopped => "node",
        FailureClass::Final => "final",
        FailureClass::PlanMismatch => "mismatch",
        FailureClass::NodeLost => "lost",
        FailureClass::OutOfReach => "reach",
    }
}
