//! Sizes and qualities over rate factors, in whole numbers: near a point the
//! logarithm of a size falls evenly with the rate factor.

use crate::spec::Metric;

/// Bits behind the point of a logarithm.
const POINT: u32 = 20;

/// What a film comes to at a rate factor, in hundredths. It falls with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub centi: u32,
    pub value: i64,
}

/// The logarithm to base 2, in 2^-20; of nothing that of one.
pub(super) fn log2(number: u64) -> i64 {
    let number = number.max(1);
    let whole = 63 - number.leading_zeros();
    // From 1 up to 2, in 2^-31.
    let mut part = match whole {
        0..=31 => number << (31 - whole),
        _ => number >> (whole - 31),
    };
    let mut log = i64::from(whole);
    for _ in 0..POINT {
        part = (part * part) >> 31;
        let doubled = part >> 32;
        part >>= doubled;
        log = 2 * log + doubled as i64;
    }
    log
}

/// What falls evenly of a quality in millionths: an SSIM halves what it lacks to 1,
/// the others are logarithms already.
pub(super) fn quality(metric: Metric, micro: u64) -> i64 {
    match metric {
        Metric::Ssim => -log2(1_000_001_u64.saturating_sub(micro)),
        Metric::Psnr | Metric::Vmaf | Metric::Xpsnr => micro.min(i64::MAX as u64) as i64,
    }
}

/// The two points around a goal, or those nearest to it.
fn around(points: &[Point], goal: i64) -> Option<(Point, Point)> {
    let above = points.partition_point(|point| point.value > goal);
    let second = above.clamp(1, points.len().checked_sub(1)?.max(1));
    Some((*points.get(second - 1)?, *points.get(second)?))
}

/// The rate factor in hundredths whose value is a goal, by points with rising rate
/// factors. It may lie far outside of them.
pub(super) fn solve(points: &[Point], goal: i64) -> i64 {
    let Some((before, after)) = around(points, goal) else {
        return points.first().map_or(0, |point| point.centi.into());
    };
    let steps = i128::from(after.centi) - i128::from(before.centi);
    let fall = i128::from(before.value) - i128::from(after.value);
    if fall <= 0 {
        // What does not fall says nothing: in the direction of the goal.
        let step = if before.value > goal { 1_000 } else { -1_000 };
        return i64::from(before.centi) + step;
    }
    let ahead = i128::from(before.value) - i128::from(goal);
    let moved = (2 * ahead * steps + fall).div_euclid(2 * fall);
    let found = i128::from(before.centi) + moved;
    found.clamp(-1_000_000, 1_000_000) as i64
}

/// Hundredths of a rate factor that halve a size around a goal.
pub(super) fn halving(points: &[Point], goal: i64) -> Option<u32> {
    let (before, after) = around(points, goal)?;
    let steps = i64::from(after.centi) - i64::from(before.centi);
    let fall = before.value - after.value;
    let halving = (fall > 0).then(|| (steps << POINT) / fall)?;
    // What is beyond any encoder is an accident of a few frames.
    (200..=3_000).contains(&halving).then_some(halving as u32)
}

/// How far a rate factor is to be moved, in hundredths, for a size to become another.
pub(super) fn shift(from: u64, to: u64, halving_centi: u32) -> i64 {
    ((log2(from) - log2(to)) * i64::from(halving_centi)) >> POINT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_exact_to_a_millionth() {
        for power in 0..64 {
            assert_eq!(log2(1 << power), i64::from(power) << POINT);
        }
        // log2(3) and log2(1000).
        assert_eq!(log2(3), 1_661_953);
        assert_eq!(log2(1_000), 10_449_882);
        assert!(log2(u64::MAX) <= 64 << POINT);
        assert_eq!(log2(0), 0);
    }

    #[test]
    fn a_rate_factor_is_found_between_points_and_beyond() {
        let point = |centi: u32, size: u64| Point {
            centi,
            value: log2(size),
        };
        let points = [point(2_000, 4_000_000), point(3_200, 1_000_000)];
        assert_eq!(solve(&points, log2(2_000_000)), 2_600);
        assert_eq!(solve(&points, log2(8_000_000)), 1_400);
        assert_eq!(solve(&points, log2(500_000)), 3_800);
        assert_eq!(halving(&points, log2(2_000_000)), Some(600));
        // The nearest two count.
        let nearer = [points[0], point(2_600, 1_900_000), points[1]];
        assert_eq!(solve(&nearer, log2(1_900_000)), 2_600);
        assert!(solve(&nearer, log2(2_000_000)) < 2_600);
        // What does not fall.
        let flat = [point(2_000, 1_000), point(3_000, 1_000)];
        assert!(solve(&flat, log2(10)) > 2_000 && solve(&flat, log2(100_000)) < 2_000);
        assert_eq!(halving(&flat, log2(10)), None);
        assert_eq!(solve(&points[..1], log2(10)), 2_000);
    }

    #[test]
    fn sizes_move_by_the_halving() {
        assert_eq!(shift(2_000, 1_000, 600), 600);
        assert_eq!(shift(1_000, 2_000, 600), -600);
        assert_eq!(shift(1_000, 1_000, 600), 0);
        assert!((8..=9).contains(&shift(1_010, 1_000, 600)));
    }
}
