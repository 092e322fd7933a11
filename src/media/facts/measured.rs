//! How frames compare with those that their encoder was given.

use serde::{Deserialize, Serialize};

use crate::limits::{MEASURED_EDGE_FRAMES, MEASURED_POINTS_MAX};

/// Of one shard. Field names are part of the stored format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub frames: u64,
    /// One for each metric, in the order in which they are asked for.
    pub series: Vec<Series>,
}

/// A shard with its place in the output, as it is told.
#[derive(Serialize)]
pub(crate) struct MeasuredShard<'a> {
    pub shard: usize,
    pub from_us: i64,
    pub to_us: i64,
    #[serde(flatten)]
    pub measured: &'a Measured,
}

/// What was found by one metric, in millionths of its scale: 0.98 is 980000, and 40 dB
/// is 40000000.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// `ssim`, `psnr`, `vmaf` or `xpsnr`.
    pub metric: String,
    pub mean_micro: u64,
    /// Of the worst frame.
    pub least_micro: u64,
    /// Of the frame that so many hundredths are worse than as the job's target allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_micro: Option<u64>,
    /// Of the frames next to the joint before, and next to that behind.
    pub head_micro: u64,
    pub tail_micro: u64,
    /// Means of equally long parts, in order: few enough for a file of hours.
    pub points_micro: Vec<u64>,
}

impl Series {
    /// Sums up what was found of each frame, in order; of a percentile where one counts.
    pub(crate) fn of(metric: &str, frames_micro: &[u64], percentile: u32) -> Self {
        let edge = MEASURED_EDGE_FRAMES.min(frames_micro.len());
        let part = frames_micro.len().div_ceil(MEASURED_POINTS_MAX).max(1);
        Series {
            metric: metric.to_string(),
            mean_micro: mean(frames_micro),
            least_micro: frames_micro.iter().copied().min().unwrap_or(0),
            low_micro: (percentile > 0).then(|| low(frames_micro, percentile)),
            head_micro: mean(&frames_micro[..edge]),
            tail_micro: mean(&frames_micro[frames_micro.len() - edge..]),
            points_micro: frames_micro.chunks(part).map(mean).collect(),
        }
    }
}

impl Measured {
    /// What counts by a metric, if it was taken: a low percentile, or the mean.
    pub fn score_micro(&self, metric: &str) -> Option<u64> {
        let mut series = self.series.iter();
        let found = series.find(|series| series.metric == metric)?;
        Some(found.low_micro.unwrap_or(found.mean_micro))
    }
}

/// The frame that so many hundredths of them are worse than, the one below where that
/// falls between two.
fn low(values: &[u64], percentile: u32) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1) as u64;
    let at = last * u64::from(percentile) / 100;
    sorted.get(at as usize).copied().unwrap_or(0)
}

fn mean(values: &[u64]) -> u64 {
    let sum: u128 = values.iter().map(|value| u128::from(*value)).sum();
    (sum / values.len().max(1) as u128) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_keeps_what_its_edges_and_its_worst_frame_are() {
        let mut frames = vec![900_000; 1_000];
        frames[500] = 100_000;
        frames[..MEASURED_EDGE_FRAMES].fill(500_000);
        let series = Series::of("ssim", &frames, 0);
        assert_eq!((series.head_micro, series.tail_micro), (500_000, 900_000));
        assert_eq!(series.least_micro, 100_000);
        assert!(series.points_micro.len() <= MEASURED_POINTS_MAX);
        let few = Series::of("ssim", &[1, 3], 0);
        assert_eq!((few.mean_micro, few.points_micro), (2, vec![1, 3]));
        assert_eq!(Series::of("ssim", &[], 5).mean_micro, 0);
    }

    #[test]
    fn a_percentile_is_that_of_the_worst_frames() {
        let frames: Vec<u64> = (0..=100).rev().collect();
        for percentile in [1, 5, 50] {
            let series = Series::of("ssim", &frames, percentile);
            assert_eq!(series.low_micro, Some(percentile.into()));
        }
        assert_eq!(Series::of("ssim", &frames, 0).low_micro, None);
        assert_eq!(Series::of("ssim", &[7], 50).low_micro, Some(7));
    }
}
