//! `job measure` as a grid, whose columns depend on what was measured.

use super::layout::grid;

/// Rows under headings.
pub fn measured_rows(headings: &[String], rows: &[Vec<String>]) -> String {
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    grid(&headings, rows)
}
