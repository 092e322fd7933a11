//! The output grid of a constant frame rate. Point `k` lies at `k / rate` after
//! the film's start and shows the last frame whose time, rounded to the nearest
//! point, is not later: what ffmpeg's `fps` filter does.
//!
//! So a shard `[from, to)` has the points from that of `from` to that of `to`.
//! Its own frames and the one at `to` determine them all; no earlier frame is
//! needed. Only the film's last points depend on the duration of its last
//! frame, which only the decoder knows.

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    facts::{
        index::Index,
        plan::{Plan, ShardRange, joined},
        times::{Ratio, rescale},
    },
    limits::FRAMES_MAX,
    video::timing::fps,
};

/// A grid over a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// Frames per second.
    rate: Ratio,
    base: Ratio,
    /// The source's time at which the film begins.
    zero: i64,
}

impl Grid {
    /// The grid of a job, if its frame rate is constant.
    pub fn of(spec: &Spec, index: &Index) -> Option<Grid> {
        let base = index.facts.source.video().time_base;
        Grid::over(spec, base, index.facts.zero)
    }

    /// As [`Grid::of`], before there is an index.
    pub fn over(spec: &Spec, base: Ratio, zero: i64) -> Option<Grid> {
        fps(spec).map(|rate| Grid { rate, base, zero })
    }

    pub fn point(&self, pts: i64) -> i64 {
        let step = Ratio {
            num: self.rate.den,
            den: self.rate.num,
        };
        rescale(pts.saturating_sub(self.zero), self.base, step)
    }

    /// First point of a range and first point after it; the latter is unknown
    /// at the film's end.
    pub fn points(&self, index: &Index, range: ShardRange) -> (i64, Option<i64>) {
        let inner = index.times.last() >= Some(&range.to_pts);
        (
            self.point(range.from_pts),
            inner.then(|| self.point(range.to_pts)),
        )
    }

    /// The filter that snaps a whole film to the grid.
    pub fn filter(&self) -> String {
        format!("fps=fps={}/{}:round=near", self.rate.num, self.rate.den)
    }

    /// The filter for a shard. Times are rounded to the grid as `fps` itself
    /// does, and clamped to the shard: a frame that another one replaces is
    /// never shown.
    pub fn shard_filter(&self, index: &Index, range: ShardRange) -> String {
        let (from, to) = self.points(index, range);
        let within = match to {
            Some(to) => format!("clip(PTS\\,{from}\\,{to})"),
            None => format!("max(PTS\\,{from})"),
        };
        let Ratio { num, den } = self.rate;
        format!("settb=expr={den}/{num},setpts={within},{}", self.filter())
    }

    /// Snaps a plan to the grid: shards without a point of their own join their
    /// neighbors, and frames are recounted.
    ///
    /// # Errors
    /// [`MediaError::OverLimit`] if filling gaps in the source's times would
    /// take too many pictures.
    pub fn snap_plan(&self, mut plan: Plan) -> Result<Plan, MediaError> {
        let (Some(&first), Some(&last)) = (plan.times.first(), plan.times.last()) else {
            return Ok(plan);
        };
        let total = self.point(last).saturating_sub(self.point(first));
        let total = u64::try_from(total).unwrap_or(0).saturating_add(1);
        if total > FRAMES_MAX {
            return Err(MediaError::OverLimit {
                what: "the number of frames at this rate",
                found: total,
                max: FRAMES_MAX,
            });
        }
        let mut shards: Vec<ShardRange> = Vec::new();
        for range in plan.shards {
            // The duration of the last frame is unknown, so it does not count.
            let end = self.point(range.to_pts.min(last));
            match shards.last_mut() {
                Some(before) if end <= self.point(range.from_pts) => {
                    *before = joined(&[*before, range]);
                }
                Some(before) if self.point(before.from_pts) >= self.point(before.to_pts) => {
                    *before = joined(&[*before, range]);
                }
                _ => shards.push(range),
            }
        }
        for range in &mut shards {
            let end = if range.to_pts > last {
                self.point(last) + 1
            } else {
                self.point(range.to_pts)
            };
            range.frames = u64::try_from(end - self.point(range.from_pts)).unwrap_or(0);
        }
        plan.shards = shards;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grid(num: i64, den: i64, zero: i64) -> Grid {
        Grid {
            rate: Ratio { num, den },
            base: Ratio { num: 1, den: 1000 },
            zero,
        }
    }

    fn plan(times: &[i64], cuts: &[i64]) -> Plan {
        let mut bounds = cuts.to_vec();
        bounds.push(times.last().unwrap() + 1);
        Plan {
            times: times.to_vec(),
            keys: Vec::new(),
            shards: bounds
                .windows(2)
                .map(|pair| ShardRange {
                    from_pts: pair[0],
                    to_pts: pair[1],
                    frames: 0,
                })
                .collect(),
            note: None,
        }
    }

    #[test]
    fn points_are_rounded_as_ffmpeg_does() {
        let grid = grid(10, 1, 500);
        assert_eq!(grid.point(500), 0);
        assert_eq!(grid.point(549), 0);
        assert_eq!(grid.point(550), 1);
        assert_eq!(grid.point(450), -1);
    }

    #[test]
    fn every_point_belongs_to_one_shard_and_gaps_to_the_one_before() {
        let snapped = grid(10, 1, 0)
            .snap_plan(plan(&[0, 100, 200, 90_000, 90_100], &[0, 200, 90_000]))
            .unwrap();
        let frames: Vec<u64> = snapped.shards.iter().map(|range| range.frames).collect();
        assert_eq!(frames, [2, 898, 2]);
    }

    #[test]
    fn shards_without_a_point_join_their_neighbours() {
        let times: Vec<i64> = (0..40).map(|frame| frame * 100).collect();
        let cuts: Vec<i64> = (0..8).map(|cut| cut * 500).collect();
        let snapped = grid(1, 2, 0).snap_plan(plan(&times, &cuts)).unwrap();
        assert!(snapped.shards.len() < 4, "{:?}", snapped.shards);
        assert_eq!(snapped.shards[0].from_pts, 0);
        assert_eq!(snapped.shards.last().unwrap().to_pts, 3901);
        assert!(snapped.shards.iter().all(|range| range.frames > 0));
        for pair in snapped.shards.windows(2) {
            assert_eq!(pair[0].to_pts, pair[1].from_pts);
        }
    }

    #[test]
    fn a_gap_can_not_ask_for_endless_pictures() {
        let error = grid(300, 1, 0)
            .snap_plan(plan(&[0, 1_000_000_000], &[0]))
            .unwrap_err();
        assert_eq!(error.kind(), "over-limit");
    }
}
