//! What follows from the probes of a job: more of them, a rate factor for the film, or
//! a refusal.

use std::collections::BTreeMap;

use super::{
    budget::{aimed_at, beside, budget, is_within},
    curve::{Point, halving, log2, quality, solve},
    rates::Rates,
};
use crate::{
    job_entry::JobEntry,
    limits::{PROBE_NEAR_CENTI, PROBE_ROUNDS_MAX},
    rate_row::Rate,
    rows::{Problem, Task, TaskKind, TaskState},
    spec::{Aim, Metric, Spec, centi_words, target_words},
};

/// What follows from the probes.
pub(crate) enum Next {
    /// Samples are to be encoded at these rate factors too.
    Probe(Vec<u32>),
    /// The film gets this one.
    Settle(Rate),
    /// It can't be done.
    Fail(Problem),
}

/// The rate factors that the search of a job begins with.
pub(crate) fn first_rates(spec: &Spec) -> Vec<u32> {
    Rates::of(spec.codec()).first.to_vec()
}

/// What the samples came to at one rate factor.
#[derive(Clone, Copy, Default)]
struct Probed {
    frames: u64,
    payload: u64,
    /// Millionths, added up over the frames.
    score: u128,
}

/// How a search stands whose probes are all done.
struct Search<'a> {
    entry: &'a JobEntry,
    aim: Aim,
    rate: Rate,
    rates: Rates,
    frames_total: u64,
    /// By rate factor.
    probed: BTreeMap<u32, Probed>,
}

/// What follows from the probes of a job, all of which are done, as is whatever else
/// is in a file of a given size.
pub(crate) fn next(entry: &JobEntry) -> Option<Next> {
    let search = Search::of(entry)?;
    if search.budget() == Some(0) {
        return Some(Next::Fail(search.too_small()));
    }
    Some(search.next())
}

impl<'a> Search<'a> {
    fn of(entry: &'a JobEntry) -> Option<Self> {
        let promised = |shard: u32| {
            let task = entry.tasks.get(&(TaskKind::Shard, shard));
            task.map_or(0, |task| task.frames)
        };
        let mut probed: BTreeMap<u32, Probed> = BTreeMap::new();
        for probe in entry.probes() {
            let frames = promised(probe.shard).max(1);
            let of = probed.entry(probe.rate_centi).or_default();
            of.frames += frames;
            of.payload += probe.payload;
            of.score += u128::from(probe.score_micro) * u128::from(frames);
        }
        Some(Search {
            entry,
            aim: entry.job.spec.aim()?,
            rate: entry.job.rate?,
            rates: Rates::of(entry.job.spec.codec()),
            frames_total: entry.shards().map(|task| task.frames.max(1)).sum(),
            probed: (!probed.is_empty()).then_some(probed)?,
        })
    }

    fn budget(&self) -> Option<u64> {
        budget(self.entry, self.aim)
    }

    /// The bytes of all frames at a rate factor, by its samples.
    fn film_bytes(&self, of: &Probed) -> u64 {
        let all = u128::from(of.payload) * u128::from(self.frames_total);
        (all / u128::from(of.frames.max(1))).min(u64::MAX.into()) as u64
    }

    fn film_micro(&self, of: &Probed) -> u64 {
        (of.score / u128::from(of.frames.max(1))) as u64
    }

    fn value(&self, of: &Probed) -> i64 {
        match self.aim {
            Aim::Quality(metric, _) => quality(metric, self.film_micro(of)),
            Aim::Size(_) | Aim::Bitrate(_) => log2(self.film_bytes(of)),
        }
    }

    fn goal(&self) -> i64 {
        match (self.aim, self.budget()) {
            (Aim::Quality(metric, micro), _) => {
                quality(metric, u64::from(micro) + tolerance_micro(metric) / 2)
            }
            (_, budget) => log2(aimed_at(budget.unwrap_or(1), 0)),
        }
    }

    /// Whether a film at this rate factor needs nothing more.
    fn fits(&self, of: &Probed) -> bool {
        match (self.aim, self.budget()) {
            (Aim::Quality(metric, micro), _) => {
                let (found, asked) = (self.film_micro(of), u64::from(micro));
                (asked..=asked + tolerance_micro(metric)).contains(&found)
            }
            (_, Some(budget)) => is_within(self.film_bytes(of), budget),
            (_, None) => true,
        }
    }

    fn next(&self) -> Next {
        let point = |(centi, of): (&u32, &Probed)| Point {
            centi: *centi,
            value: self.value(of),
        };
        let points: Vec<Point> = self.probed.iter().map(point).collect();
        let fitting = self.probed.iter().find(|(_, of)| self.fits(of));
        let found = match fitting {
            Some((centi, _)) => *centi,
            None => {
                let found = solve(&points, self.goal());
                found.clamp(self.rates.low.into(), self.rates.high.into()) as u32
            }
        };
        let mut wanted: Vec<u32> = match self.rates.step {
            1 if self.nearest(found).0.abs_diff(found) <= PROBE_NEAR_CENTI => Vec::new(),
            _ => self.rates.around(found).to_vec(),
        };
        wanted.dedup();
        wanted.retain(|centi| !self.probed.contains_key(centi));
        if !wanted.is_empty() && self.rate.rounds < PROBE_ROUNDS_MAX {
            return Next::Probe(wanted);
        }
        match self.refusal(found) {
            Some(problem) => Next::Fail(problem),
            None => Next::Settle(self.settled(found, &points)),
        }
    }

    /// What was probed nearest to a rate factor.
    fn nearest(&self, centi: u32) -> (u32, &Probed) {
        let nearest = self.probed.iter();
        let nearest = nearest.min_by_key(|(at, _)| at.abs_diff(centi));
        let (at, of) = nearest.expect("a search has probes");
        (*at, of)
    }

    fn settled(&self, found: u32, points: &[Point]) -> Rate {
        let (_, nearest) = self.nearest(found);
        let halving_centi = match self.aim {
            Aim::Quality(..) => None,
            Aim::Size(_) | Aim::Bitrate(_) => halving(points, self.goal()),
        };
        Rate {
            film_centi: found,
            halving_centi: halving_centi.unwrap_or(self.rates.halving),
            reached_micro: self.film_micro(nearest),
            ..self.rate
        }
    }

    /// Why the film can't be what is asked for at the rate factor that comes nearest.
    fn refusal(&self, found: u32) -> Option<Problem> {
        let (at, of) = self.nearest(found);
        let job = &self.entry.job;
        let amount = job.spec.amount.as_ref();
        let percent = amount.map_or(0, |amount| amount.max_encoded_percent);
        let bytes = self.film_bytes(of);
        match self.aim {
            Aim::Quality(metric, micro) if found == self.rates.low => {
                let reached = self.film_micro(of);
                (reached < u64::from(micro)).then(|| out_of_reach(metric, micro, reached, at))
            }
            Aim::Quality(metric, micro) => {
                let most = u128::from(job.source_bytes) * u128::from(percent);
                let larger = percent > 0 && u128::from(bytes) * 100 > most;
                larger.then(|| {
                    let cause = format!(
                        "{} takes about {bytes} bytes, which is more than {percent} % of the source",
                        target_words(metric, micro)
                    );
                    let hint = "keep the source, ask for less quality, or raise --max-encoded-percent";
                    Problem::new("encoded-too-large", cause, hint)
                })
            }
            Aim::Size(_) | Aim::Bitrate(_) => {
                let worst = found == self.rates.high && Some(bytes) > self.budget();
                worst.then(|| self.too_small())
            }
        }
    }

    fn too_small(&self) -> Problem {
        let least = self.probed.values().map(|of| self.film_bytes(of)).min();
        let least = least.unwrap_or(0);
        let (high, beside) = (centi_words(self.rates.high), beside(self.entry));
        let cause = match self.aim {
            Aim::Size(bytes) if bytes <= beside => format!(
                "{bytes} bytes are asked for, and what is not pictures takes about {beside}"
            ),
            Aim::Size(bytes) => format!(
                "{bytes} bytes are asked for, and at the worst quality that was tried (crf up to \
                 {high}) the pictures take about {least}, and what else is in the file {beside}"
            ),
            _ => format!(
                "at the worst quality that was tried (crf up to {high}) the pictures take about \
                 {least} bytes, more than the bit rate gives"
            ),
        };
        let hint = "ask for more, or for a smaller picture with --width or --height, or less sound";
        Problem::new("size-too-small", cause, hint)
    }
}

fn out_of_reach(metric: Metric, micro: u32, reached: u64, at: u32) -> Problem {
    let reached = u32::try_from(reached).unwrap_or(u32::MAX);
    Problem::new(
        "target-out-of-reach",
        format!(
            "{} is asked for, and at crf {} the film reaches {}",
            target_words(metric, micro),
            centi_words(at),
            target_words(metric, reached)
        ),
        "ask for less; what is deinterlaced or denoised is compared after that",
    )
}

/// How much more quality than asked for is as good as none, in millionths.
fn tolerance_micro(metric: Metric) -> u64 {
    match metric {
        Metric::Ssim => 1_000,
        Metric::Psnr | Metric::Xpsnr => 100_000,
        Metric::Vmaf => 400_000,
    }
}

/// Whether a task of a job's search, or what its sizes depend on, is not done.
pub(crate) fn waits_for_more(entry: &JobEntry) -> bool {
    let is_open = |task: &Task| task.state() != TaskState::Done;
    let counted = matches!(entry.job.spec.aim(), Some(Aim::Size(_)));
    entry.probes().any(is_open)
        || counted
            && entry
                .parts()
                .any(|task| task.kind() != TaskKind::Shard && is_open(task))
}
