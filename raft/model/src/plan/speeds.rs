//! How fast nodes and jobs go, as far as the leader of a term has seen: from the
//! heartbeats of what runs and from what has ended. In memory only (P6): a new
//! leader begins with the nodes' own benchmarks and learns the rest again. A
//! speed decides who gets what, and never what is made (P1).

use std::collections::BTreeMap;

use crate::{
    command::AttemptKey,
    limits::{
        SPEED_DEFAULT_MFPS, SPEED_MEMORY_MS, SPEED_MFPS_MAX, SPEED_PRIOR_MS, SPEED_RECENT_MS,
        SPEED_SAMPLE_NODES,
    },
    rows::TaskKey,
};

/// What was seen of each job, and what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speeds {
    jobs: BTreeMap<String, BTreeMap<u64, Seen>>,
    /// By node: a few each.
    going: BTreeMap<u64, Vec<Going>>,
    /// Of all jobs: by node, and together.
    nodes: BTreeMap<u64, Seen>,
    all: Seen,
}

/// Frames that attempts on a node encoded, and how long they took, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    frames: u64,
    ms: u64,
}

/// An attempt that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Going {
    key: AttemptKey,
    since_ms: u64,
    seen_ms: u64,
    /// Encoded when it was first seen: a new leader finds it underway.
    frames_before: u64,
    frames: u64,
    /// Two looks at it, the later first, some seconds apart: when, and its frames.
    looks: [(u64, u64); 2],
}

impl Seen {
    fn add(&mut self, frames: u64, ms: u64) {
        self.frames += frames;
        self.ms += ms;
        // What was long ago counts less and less.
        while self.ms > SPEED_MEMORY_MS {
            self.frames /= 2;
            self.ms /= 2;
        }
    }
}

impl Speeds {
    /// An attempt is underway on a node, and has encoded so many frames. Times are
    /// the leader's own, in milliseconds.
    pub fn goes(&mut self, key: &AttemptKey, node: u64, frames: u64, now_ms: u64) {
        let of_node = self.going.entry(node).or_default();
        let Some(going) = of_node.iter_mut().find(|going| going.key == *key) else {
            of_node.push(Going {
                key: key.clone(),
                since_ms: now_ms,
                seen_ms: now_ms,
                frames_before: frames,
                frames,
                looks: [(now_ms, frames); 2],
            });
            return;
        };
        let added = frames.saturating_sub(going.frames);
        let ms = now_ms.saturating_sub(going.seen_ms);
        going.seen_ms = now_ms;
        going.frames = going.frames.max(frames);
        if now_ms.saturating_sub(going.looks[0].0) >= SPEED_RECENT_MS {
            going.looks = [(now_ms, going.frames), going.looks[0]];
        }
        self.seen(&key.job, node, added, ms);
    }

    fn seen(&mut self, job: &str, node: u64, frames: u64, ms: u64) {
        let nodes = match self.jobs.get_mut(job) {
            Some(nodes) => nodes,
            None => self.jobs.entry(job.to_string()).or_default(),
        };
        nodes.entry(node).or_default().add(frames, ms);
        self.nodes.entry(node).or_default().add(frames, ms);
        self.all.add(frames, ms);
    }

    /// The speed of a node that has no benchmark, where `usual` is that of others: by
    /// all that it has done beside all that others have.
    pub(super) fn unmeasured(&self, node: u64, usual: u64) -> u64 {
        let own = self.nodes.get(&node).copied().unwrap_or_default();
        let per_ms = |seen: Seen, ms: u64| {
            u128::from(seen.frames) * u128::from(ms) / u128::from(seen.ms.max(1))
        };
        let prior = per_ms(self.all, SPEED_PRIOR_MS);
        let expected = per_ms(self.all, own.ms + SPEED_PRIOR_MS).max(1);
        let speed = u128::from(usual) * (u128::from(own.frames) + prior) / expected;
        match prior {
            0 => usual,
            _ => speed.min(u64::MAX.into()) as u64,
        }
    }

    /// An attempt is over; `frames` is what it gave, if it gave a result.
    pub fn ended(&mut self, key: &AttemptKey, node: u64, frames: Option<u64>, now_ms: u64) {
        let of_node = self.going.entry(node).or_default();
        let Some(at) = of_node.iter().position(|going| going.key == *key) else {
            return;
        };
        let going = of_node.swap_remove(at);
        if let Some(frames) = frames {
            let added = frames.saturating_sub(going.frames);
            let ms = now_ms.saturating_sub(going.seen_ms);
            self.seen(&key.job, node, added, ms);
        }
    }

    /// A node says what it runs. What it was given a moment ago it may not know yet.
    pub fn runs(&mut self, node: u64, running: &BTreeMap<AttemptKey, u64>, now_ms: u64) {
        if let Some(of_node) = self.going.get_mut(&node) {
            of_node.retain(|going| {
                let begun = now_ms.saturating_sub(going.seen_ms) < SPEED_PRIOR_MS;
                begun || running.contains_key(&going.key)
            });
        }
        for (key, frames) in running {
            self.goes(key, node, *frames, now_ms);
        }
    }

    /// Whether there is a job besides those that are asked for.
    pub fn has_other_than(&self, keep: impl Fn(&str) -> bool) -> bool {
        self.jobs.keys().any(|id| !keep(id))
    }

    /// Forgets all jobs but those that are asked for.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.jobs.retain(|id, _| keep(id));
    }

    /// How fast a job goes on each node, where `own` is a node's speed with its
    /// codec in general.
    pub(super) fn of<'a>(&'a self, job: &'a str, own: impl Fn(u64) -> u64 + 'a) -> Rates<'a> {
        let seen = self.jobs.get(job);
        let (mut frames, mut promised) = (0u128, 0u128);
        for (node, seen) in seen.into_iter().flatten().take(SPEED_SAMPLE_NODES) {
            frames += u128::from(seen.frames) * 1_000_000;
            promised += u128::from(seen.ms) * u128::from(own(*node));
        }
        // So that little that was seen does not say too much.
        let prior = u128::from(SPEED_PRIOR_MS) * u128::from(SPEED_DEFAULT_MFPS);
        Rates {
            job,
            seen,
            going: &self.going,
            own: Box::new(own),
            easier: (frames + prior, promised + prior),
        }
    }
}

/// The speeds of one job.
pub(super) struct Rates<'a> {
    job: &'a str,
    seen: Option<&'a BTreeMap<u64, Seen>>,
    going: &'a BTreeMap<u64, Vec<Going>>,
    own: Box<dyn Fn(u64) -> u64 + 'a>,
    /// A fraction: how much easier its frames are than those of the benchmark.
    easier: (u128, u128),
}

impl Rates<'_> {
    /// Frames in a thousand seconds on a node, one attempt at a time; at least 1.
    pub fn rate(&self, node: u64) -> u64 {
        let (made, promised) = self.easier;
        let expected = u128::from((self.own)(node)) * made / promised.max(1);
        let expected = expected.clamp(1, SPEED_MFPS_MAX.into()) as u64;
        let seen = self.seen.and_then(|seen| seen.get(&node));
        let Some(seen) = seen else { return expected };
        let before = u128::from(expected) * u128::from(SPEED_PRIOR_MS);
        let all = u128::from(seen.frames) * 1_000_000 + before;
        let rate = all / u128::from(seen.ms + SPEED_PRIOR_MS);
        rate.clamp(1, SPEED_MFPS_MAX.into()) as u64
    }

    /// How long frames take at a rate.
    pub fn ms(frames: u64, rate: u64) -> u64 {
        let ms = u128::from(frames.max(1)) * 1_000_000 / u128::from(rate.max(1));
        ms.min(u64::MAX.into()) as u64
    }

    /// How much longer an attempt takes that is to encode so many frames in all.
    pub fn left_ms(&self, task: TaskKey, attempt: u32, node: u64, frames: u64) -> u64 {
        let expected = |frames| Self::ms(frames, self.rate(node));
        let mut going = self.going.get(&node).into_iter().flatten();
        let is_it =
            |key: &AttemptKey| key.attempt == attempt && key.task() == task && key.job == self.job;
        let Some(going) = going.find(|going| is_it(&going.key)) else {
            return expected(frames);
        };
        let left = frames.saturating_sub(going.frames).max(1);
        let elapsed_ms = going.seen_ms.saturating_sub(going.since_ms);
        let made = going.frames.saturating_sub(going.frames_before);
        // One that stands still takes as long again as it has taken, at least.
        let observed = match made {
            0 => elapsed_ms,
            made => Self::ms(left, Self::rate_of(made, elapsed_ms)),
        };
        match elapsed_ms < SPEED_PRIOR_MS {
            true => expected(left),
            false => expected(left).max(observed),
        }
    }

    /// The same, as its last seconds alone would have it: a machine may have slowed
    /// down. None where too little was seen.
    pub fn left_lately_ms(
        &self,
        task: TaskKey,
        attempt: u32,
        node: u64,
        frames: u64,
    ) -> Option<u64> {
        let mut going = self.going.get(&node).into_iter().flatten();
        let going = going.find(|going| {
            let key = &going.key;
            key.attempt == attempt && key.task() == task && key.job == self.job
        })?;
        let (at_ms, before) = going.looks[1];
        let ms = going.seen_ms.saturating_sub(at_ms);
        let begun = going.frames > going.frames_before;
        let left = frames.saturating_sub(going.frames).max(1);
        let made = (going.frames - before).max(1);
        (begun && ms >= SPEED_RECENT_MS).then(|| Self::ms(left, Self::rate_of(made, ms)))
    }

    fn rate_of(frames: u64, ms: u64) -> u64 {
        (u128::from(frames) * 1_000_000 / u128::from(ms.max(1))).min(u64::MAX.into()) as u64
    }
}
