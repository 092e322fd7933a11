//! What the nodes of one cluster did, read from their own logs or from the
//! lines that `reelraft dev` passes on. Each line carries its node's own
//! clock, which on one machine is one clock, so that how late a line is
//! written or read does not matter. What to make of it is not said here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// One thing that a node said it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since 1970.
    pub at_us: u64,
    pub node: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The process takes part again.
    Ready,
    /// Since it was started it has fetched all that it should hold.
    CaughtUp,
    Leads {
        term: u64,
    },
    LeadsNoMore,
    /// This leader heard a node's hello.
    SessionOpened {
        with: u64,
    },
    /// The leader gave an attempt to a node.
    Assigned {
        key: Key,
        to: u64,
    },
    Started {
        key: Key,
    },
    Finished {
        key: Key,
    },
    Failed {
        key: Key,
        problem: String,
    },
    /// The table took the attempt away from a living node.
    Stopped {
        key: Key,
    },
}

/// `job/kind/number#attempt`, as the log shows an attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub job: String,
    pub kind: String,
    pub number: u32,
    pub attempt: u32,
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let (path, attempt) = text.split_once('#')?;
        let mut parts = path.split('/');
        Some(Key {
            job: parts.next()?.to_string(),
            kind: parts.next()?.to_string(),
            number: parts.next()?.parse().ok()?,
            attempt: attempt.parse().ok()?,
        })
    }

    /// The unit of work, without the attempt.
    pub fn task(&self) -> (&str, &str, u32) {
        (&self.job, &self.kind, self.number)
    }
}

/// One try of a node at a task, from its start to whatever ended it.
#[derive(Clone, Debug)]
pub struct Try {
    pub key: Key,
    pub node: u64,
    pub from_us: u64,
    pub to_us: u64,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Finished,
    Failed(String),
    Stopped,
    Killed,
    /// The record ends before it.
    Open,
}

/// A kill: when, and which node.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub at_us: u64,
    pub node: u64,
}

/// A log, and how far it has been read.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    /// Whose it is; `None` where each line names its node.
    node: Option<u64>,
    read_bytes: u64,
}

/// All events so far, by time.
#[derive(Clone, Default)]
pub struct Record {
    pub events: Vec<Event>,
    /// Whether the supervisor had to drop lines: then the record proves less.
    pub dropped: bool,
    /// Where a node's clock was set wrong on purpose.
    pub skews: Vec<Skew>,
    sources: Vec<Source>,
}

/// A time in which a node's clock was wrong.
#[derive(Clone, Copy, Debug)]
pub struct Skew {
    pub node: u64,
    pub from_us: u64,
    pub to_us: u64,
    pub ahead_us: i64,
}

impl Record {
    /// Of a cluster under `reelraft dev`, whose lines each name their node.
    pub fn of_dev(log: &Path) -> Self {
        Self::of(vec![(None, log.to_path_buf())])
    }

    /// Of nodes that each write a log of their own.
    pub fn of_nodes(logs: Vec<(u64, PathBuf)>) -> Self {
        Self::of(logs.into_iter().map(|(id, log)| (Some(id), log)).collect())
    }

    fn of(logs: Vec<(Option<u64>, PathBuf)>) -> Self {
        let source = |(node, path)| Source {
            path,
            node,
            read_bytes: 0,
        };
        let mut record = Record {
            sources: logs.into_iter().map(source).collect(),
            ..Default::default()
        };
        record.update();
        record
    }

    /// Reads what was logged since the last time, whole lines only.
    pub fn update(&mut self) {
        let mut sources = std::mem::take(&mut self.sources);
        for source in &mut sources {
            let text = source.rest();
            for line in text.lines() {
                let found = match source.node {
                    Some(node) => event(node, &without_colour(line)),
                    None => passed_on(line),
                };
                if let Some(mut found) = found {
                    found.at_us = self.true_time(found.node, found.at_us);
                    self.events.push(found);
                }
                self.dropped |= line.starts_with("dev") && line.contains("lines were dropped");
            }
        }
        self.sources = sources;
        // Nearly sorted as it is, which this sort makes use of.
        self.events.sort_by_key(|event| event.at_us);
    }

    /// A moment by the true clock, from one by the node's own.
    fn true_time(&self, node: u64, at_us: u64) -> u64 {
        let corrected = self.skews.iter().find_map(|skew| {
            let true_us = at_us.checked_add_signed(-skew.ahead_us)?;
            let then = (skew.from_us..skew.to_us).contains(&true_us);
            (skew.node == node && then).then_some(true_us)
        });
        corrected.unwrap_or(at_us)
    }

    /// Only what came after a moment, and who had been elected before it.
    pub fn since(mut self, from_us: u64) -> Self {
        self.events
            .retain(|event| event.at_us >= from_us || matches!(event.what, What::Leads { .. }));
        self
    }

    /// The events after a moment.
    pub fn after(&self, at_us: u64) -> &[Event] {
        let first = self.events.partition_point(|event| event.at_us <= at_us);
        &self.events[first..]
    }

    /// Every attempt that some leader had given out by a moment.
    pub fn assigned_before(&self, at_us: u64) -> BTreeSet<&Key> {
        let before = self.events.iter().take_while(|event| event.at_us <= at_us);
        before
            .filter_map(|event| match &event.what {
                What::Assigned { key, .. } => Some(key),
                _ => None,
            })
            .collect()
    }

    /// Who led last before a moment.
    pub fn leader_at(&self, at_us: u64) -> Option<u64> {
        self.events
            .iter()
            .take_while(|event| event.at_us < at_us)
            .filter(|event| matches!(event.what, What::Leads { .. }))
            .last()
            .map(|event| event.node)
    }

    /// Whether the last elected leader has a session with every node, and each
    /// has said since it was last killed that it is ready and has caught up.
    /// The leader's own word for "reachable" is some seconds old and would name
    /// the dead. To kill a home before another has caught up is a second fault,
    /// which may cost a finished part (it is then encoded again).
    pub fn whole(&self, nodes: u64, kills: &[Kill]) -> bool {
        let elected = self.events.iter().rev().find_map(|event| match event.what {
            What::Leads { .. } => Some((event.node, event.at_us)),
            _ => None,
        });
        let Some((leader, elected_us)) = elected else {
            return false;
        };
        let killed_us = |node: u64| {
            let own = kills.iter().filter(|kill| kill.node == node);
            own.map(|kill| kill.at_us).max().unwrap_or(0)
        };
        let after = |from_us: u64, node: u64, what: What| {
            self.events
                .iter()
                .any(|event| event.at_us > from_us && event.node == node && event.what == what)
        };
        killed_us(leader) < elected_us
            && (1..=nodes).all(|node| {
                // A session may open in the moment before its leader says
                // that it leads; one with a dead process does not count.
                let since_us = killed_us(node).max(elected_us.saturating_sub(1_000_000));
                after(killed_us(node), node, What::Ready)
                    && after(killed_us(node), node, What::CaughtUp)
                    && after(since_us, leader, What::SessionOpened { with: node })
            })
    }

    /// Every try at every task.
    pub fn tries(&self, kills: &[Kill], now_us: u64) -> Vec<Try> {
        let mut tries: Vec<Try> = Vec::new();
        let mut open: BTreeMap<(u64, Key), usize> = BTreeMap::new();
        for event in &self.events {
            let (key, end) = match &event.what {
                What::Started { key } => {
                    open.insert((event.node, key.clone()), tries.len());
                    tries.push(Try {
                        key: key.clone(),
                        node: event.node,
                        from_us: event.at_us,
                        to_us: now_us,
                        end: End::Open,
                    });
                    continue;
                }
                What::Finished { key } => (key, End::Finished),
                What::Failed { key, problem } => (key, End::Failed(problem.clone())),
                What::Stopped { key } => (key, End::Stopped),
                _ => continue,
            };
            if let Some(at) = open.remove(&(event.node, key.clone())) {
                tries[at].to_us = event.at_us;
                tries[at].end = end;
            }
        }
        for found in &mut tries {
            let killed = kills.iter().find(|kill| {
                kill.node == found.node && (found.from_us..found.to_us).contains(&kill.at_us)
            });
            if let Some(kill) = killed {
                found.to_us = kill.at_us;
                found.end = End::Killed;
            }
        }
        tries
    }
}

impl Source {
    /// The whole lines that have come since the last call.
    fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read_bytes))?;
            file.read_to_end(&mut bytes)
        });
        // A node that was not started yet has no log yet.
        if read.is_err() {
            return String::new();
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |last| last + 1));
        self.read_bytes += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// `n1  | 2026-11-21T09:19:46.592512Z  INFO session opened node=3 running=0`
fn passed_on(line: &str) -> Option<Event> {
    let plain = without_colour(line);
    let (name, rest) = plain.split_once(" | ")?;
    event(name.trim().strip_prefix('n')?.parse().ok()?, rest)
}

/// `2026-11-21T09:19:46.592512Z  INFO session opened node=3 running=0`
fn event(node: u64, line: &str) -> Option<Event> {
    let mut words = line.trim().splitn(3, char::is_whitespace);
    let at_us = parse_time(words.next()?)?;
    // The level is padded: a second blank may stand before or after it.
    let rest = words.nth(1)?.trim_start();
    let rest = ["INFO ", "WARN ", "ERROR "]
        .iter()
        .find_map(|level| rest.strip_prefix(level))
        .unwrap_or(rest);
    let key = || Key::parse(field(rest, "key")?);
    let what = if rest.starts_with("ready ") {
        What::Ready
    } else if rest.starts_with("caught up") {
        What::CaughtUp
    } else if rest.starts_with("this node leads") {
        let term = field(rest, "term")?.parse().ok()?;
        What::Leads { term }
    } else if rest.starts_with("this node no longer leads") {
        What::LeadsNoMore
    } else if rest.starts_with("session opened") {
        let with = field(rest, "node")?.parse().ok()?;
        What::SessionOpened { with }
    } else if rest.starts_with("assigned key=") {
        let to = field(rest, "node")?.parse().ok()?;
        What::Assigned { key: key()?, to }
    } else if rest.starts_with("started key=") {
        What::Started { key: key()? }
    } else if rest.starts_with("finished key=") {
        What::Finished { key: key()? }
    } else if rest.starts_with("failed key=") {
        let problem = rest.split_once("problem=").map_or("", |(_, text)| text);
        What::Failed {
            key: key()?,
            problem: problem.to_string(),
        }
    } else if rest.starts_with("no longer ours, stopping") {
        What::Stopped { key: key()? }
    } else {
        return None;
    };
    Some(Event { at_us, node, what })
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Without the terminal's escapes, which stand between `ESC [` and `m`.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((text, after)) = rest.split_once("\x1b[") {
        plain.push_str(text);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

/// `2026-11-21T09:19:46.592512Z` as microseconds since 1970.
fn parse_time(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (time, micros) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let micros: u64 = format!("{micros:0<6}").get(..6)?.parse().ok()?;
    // Years counted from March, so that the leap day is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let seconds = (days.checked_sub(719_468)?) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}
