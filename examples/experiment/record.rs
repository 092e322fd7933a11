//! What the nodes of one cluster did, read from their log lines as
//! `reelraft dev` passes them on. Each line carries its node's own clock,
//! which on one machine is one clock, so that how late a line is written or
//! read does not matter.

use std::{collections::BTreeMap, path::Path};

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

/// All events so far, by time.
#[derive(Default)]
pub struct Record {
    pub events: Vec<Event>,
    /// Whether the supervisor had to drop lines: then the record proves less.
    pub dropped: bool,
}

impl Record {
    /// Reads a cluster's whole log.
    pub fn read(log: &Path) -> Self {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut events: Vec<Event> = text.lines().filter_map(event).collect();
        events.sort_by_key(|event| event.at_us);
        let dropped = text
            .lines()
            .any(|line| line.starts_with("dev") && line.contains("lines were dropped"));
        Record { events, dropped }
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
    /// has said that it is ready since it was last killed. The leader's own
    /// word for "reachable" is some seconds old and would name the dead.
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

/// What was done again, and why.
#[derive(Default)]
pub struct Again {
    /// Tries at something that had been tried before.
    pub tries: usize,
    /// Those of them whose earlier try no kill explains, in words.
    pub unexplained: Vec<String>,
}

/// Work that was begun again. A second try is explained if the node of the
/// try before it was killed between the two (P4); whatever a living node had
/// begun must end there.
pub fn begun_again(tries: &[Try], kills: &[Kill]) -> Again {
    let mut last: BTreeMap<(&str, &str, u32), &Try> = BTreeMap::new();
    let mut again = Again::default();
    for found in tries {
        if let Some(before) = last.insert(found.key.task(), found) {
            again.tries += 1;
            let explained = kills.iter().any(|kill| {
                kill.node == before.node && (before.from_us..=found.from_us).contains(&kill.at_us)
            });
            if !explained {
                again.unexplained.push(format!(
                    "{}/{}/{}: attempt {} on node {} ended as {:?} after {} ms, and attempt {} \
                     began on node {} though node {} had lived",
                    found.key.job,
                    found.key.kind,
                    found.key.number,
                    before.key.attempt,
                    before.node,
                    before.end,
                    (before.to_us - before.from_us) / 1_000,
                    found.key.attempt,
                    found.node,
                    before.node,
                ));
            }
        }
    }
    again
}

/// `n1  | 2026-11-21T09:19:46.592512Z  INFO session opened node=3 running=0`
fn event(line: &str) -> Option<Event> {
    let plain = without_colour(line);
    let (name, rest) = plain.split_once(" | ")?;
    let node = name.trim().strip_prefix('n')?.parse().ok()?;
    let mut words = rest.trim().splitn(3, char::is_whitespace);
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
    } else if rest.starts_with("this node leads") {
        let term = field(rest, "term")?.parse().ok()?;
        What::Leads { term }
    } else if rest.starts_with("this node no longer leads") {
        What::LeadsNoMore
    } else if rest.starts_with("session opened") {
        let with = field(rest, "node")?.parse().ok()?;
        What::SessionOpened { with }
    } else if rest.starts_with("assigned key=") {
        What::Assigned { key: key()? }
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
