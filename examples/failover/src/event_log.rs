//! What the nodes of one cluster did, read from their own logs or from the
//! lines that `reelraft dev` passes on. Each line carries the clock of its
//! node, which on one machine is the same for all, so it does not matter how
//! late a line is written or read. What must hold is in [`crate::invariants`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{
    events::{Attempt, AttemptEnd, AttemptKey, ClockSkew, Event, EventKind, Kill},
    log_line::{parse_dev_line, parse_node_line},
};

/// A session may open this long before its leader logs that it leads.
const EARLY_SESSION_US: u64 = 1_000_000;

/// All events so far, by time.
#[derive(Clone, Default)]
pub struct EventLog {
    pub events: Vec<Event>,
    /// Whether `reelraft dev` had to drop lines. The log then proves less.
    pub lines_dropped: bool,
    /// Where a node's clock was set wrong on purpose.
    pub skews: Vec<ClockSkew>,
    files: Vec<LogFile>,
}

/// A log file, and how far it has been read.
#[derive(Clone, Debug)]
struct LogFile {
    path: PathBuf,
    /// Whose it is; `None` if each line names its node.
    node: Option<u64>,
    read_bytes: u64,
}

impl EventLog {
    /// The log of a cluster under `reelraft dev`, whose lines name their node.
    pub fn from_dev_log(log: &Path) -> Self {
        Self::from_files(vec![(None, log.to_path_buf())])
    }

    /// The logs of nodes that each write a file of their own.
    pub(crate) fn from_node_logs(logs: Vec<(u64, PathBuf)>) -> Self {
        Self::from_files(logs.into_iter().map(|(id, log)| (Some(id), log)).collect())
    }

    fn from_files(logs: Vec<(Option<u64>, PathBuf)>) -> Self {
        let file = |(node, path)| LogFile {
            path,
            node,
            read_bytes: 0,
        };
        let mut log = EventLog {
            files: logs.into_iter().map(file).collect(),
            ..Default::default()
        };
        log.update();
        log
    }

    /// Reads what was logged since the last call, whole lines only.
    pub fn update(&mut self) {
        let mut files = std::mem::take(&mut self.files);
        for file in &mut files {
            let text = file.read_new_lines();
            for line in text.lines() {
                let event = match file.node {
                    Some(node) => parse_node_line(node, line),
                    None => parse_dev_line(line),
                };
                if let Some(mut event) = event {
                    event.at_us = self.true_time(event.node, event.at_us);
                    self.events.push(event);
                }
                self.lines_dropped |=
                    line.starts_with("dev") && line.contains("lines were dropped");
            }
        }
        self.files = files;
        // Already nearly sorted, which this sort makes use of.
        self.events.sort_by_key(|event| event.at_us);
    }

    /// A moment by the true clock, from one by the node's own.
    fn true_time(&self, node: u64, at_us: u64) -> u64 {
        let corrected = self.skews.iter().find_map(|skew| {
            let true_us = at_us.checked_add_signed(-skew.ahead_us)?;
            let applies = (skew.from_us..skew.to_us).contains(&true_us);
            (skew.node == node && applies).then_some(true_us)
        });
        corrected.unwrap_or(at_us)
    }

    /// Only what came after a moment, and who had been elected before it.
    pub fn starting_at(mut self, from_us: u64) -> Self {
        self.events.retain(|event| {
            event.at_us >= from_us || matches!(event.kind, EventKind::BecameLeader { .. })
        });
        self
    }

    /// The events after a moment.
    pub fn after(&self, at_us: u64) -> &[Event] {
        let first = self.events.partition_point(|event| event.at_us <= at_us);
        &self.events[first..]
    }

    /// Every attempt that some leader had assigned by a moment.
    pub fn assigned_before(&self, at_us: u64) -> BTreeSet<&AttemptKey> {
        let before = self.events.iter().take_while(|event| event.at_us <= at_us);
        before
            .filter_map(|event| match &event.kind {
                EventKind::Assigned { key, .. } => Some(key),
                _ => None,
            })
            .collect()
    }

    /// The last leader before a moment.
    pub fn leader_at(&self, at_us: u64) -> Option<u64> {
        let before = self.events.iter().take_while(|event| event.at_us < at_us);
        let elected = before.filter(|event| is_election(event));
        elected.last().map(|event| event.node)
    }

    /// The last election: (leader, when).
    fn last_election(&self) -> Option<(u64, u64)> {
        let elected = self.events.iter().rev().find(|event| is_election(event))?;
        Some((elected.node, elected.at_us))
    }

    /// When the current leader last opened a session with a node that has not
    /// been killed since.
    pub fn session_with(&self, node: u64, kills: &[Kill]) -> Option<u64> {
        let (leader, elected_us) = self.last_election()?;
        let from_us = last_kill_us(kills, node).max(elected_us.saturating_sub(EARLY_SESSION_US));
        let opened = self.after(from_us).iter().rfind(|event| {
            event.node == leader && event.kind == EventKind::SessionOpened { with: node }
        });
        opened.map(|event| event.at_us)
    }

    /// Whether the last elected leader lives and has a session with every node,
    /// and each has logged since it was last killed that it is ready and has
    /// caught up. The leader's own "reachable" is some seconds old and would
    /// include the dead. Killing a home before another has caught up would be a
    /// second fault, which may cost a finished part (it is then encoded again).
    pub fn all_nodes_ready(&self, nodes: u64, kills: &[Kill]) -> bool {
        let Some((leader, elected_us)) = self.last_election() else {
            return false;
        };
        let has_logged = |node: u64, kind: EventKind| {
            self.events.iter().any(|event| {
                event.at_us > last_kill_us(kills, node) && event.node == node && event.kind == kind
            })
        };
        last_kill_us(kills, leader) < elected_us
            && (1..=nodes).all(|node| {
                has_logged(node, EventKind::Ready)
                    && has_logged(node, EventKind::CaughtUp)
                    && self.session_with(node, kills).is_some()
            })
    }

    /// Every attempt at every task.
    pub fn attempts(&self, kills: &[Kill], now_us: u64) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut open: BTreeMap<(u64, AttemptKey), usize> = BTreeMap::new();
        for event in &self.events {
            let (key, end) = match &event.kind {
                EventKind::Started { key } => {
                    open.insert((event.node, key.clone()), attempts.len());
                    attempts.push(Attempt {
                        key: key.clone(),
                        node: event.node,
                        from_us: event.at_us,
                        to_us: now_us,
                        end: AttemptEnd::Open,
                    });
                    continue;
                }
                EventKind::Finished { key } => (key, AttemptEnd::Finished),
                EventKind::Failed { key, problem } => (key, AttemptEnd::Failed(problem.clone())),
                EventKind::Stopped { key } => (key, AttemptEnd::Stopped),
                _ => continue,
            };
            if let Some(at) = open.remove(&(event.node, key.clone())) {
                attempts[at].to_us = event.at_us;
                attempts[at].end = end;
            }
        }
        for attempt in &mut attempts {
            let lifetime = attempt.from_us..attempt.to_us;
            let kill = kills
                .iter()
                .find(|kill| kill.node == attempt.node && lifetime.contains(&kill.at_us));
            if let Some(kill) = kill {
                attempt.to_us = kill.at_us;
                attempt.end = AttemptEnd::Killed;
            }
        }
        attempts
    }
}

fn is_election(event: &Event) -> bool {
    matches!(event.kind, EventKind::BecameLeader { .. })
}

/// When a node was last killed; 0 if it never was.
fn last_kill_us(kills: &[Kill], node: u64) -> u64 {
    let own = kills.iter().filter(|kill| kill.node == node);
    own.map(|kill| kill.at_us).max().unwrap_or(0)
}

impl LogFile {
    /// The whole lines that were added since the last call.
    fn read_new_lines(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read_bytes))?;
            file.read_to_end(&mut bytes)
        });
        // A node that was not started yet has no log yet.
        if read.is_err() {
            return String::new();
        }
        let last_newline = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(last_newline.map_or(0, |last| last + 1));
        self.read_bytes += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
