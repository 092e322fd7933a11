//! Percentiles of measured times.

/// The value that `percent` of the sorted `values` don't exceed (nearest rank).
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Measured times in one line. Sorts them.
pub fn figures(values_ms: &mut [u64]) -> String {
    if values_ms.is_empty() {
        return "not measured".into();
    }
    values_ms.sort_unstable();
    format!(
        "p50 {} ms, p99 {} ms, max {} ms ({} values)",
        percentile(values_ms, 50),
        percentile(values_ms, 99),
        percentile(values_ms, 100),
        values_ms.len()
    )
}
