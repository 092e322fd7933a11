//! The two layouts: a grid of aligned columns, and a card of names and values.

use unicode_width::UnicodeWidthStr;

use crate::render::screen::printable;

/// Lines with aligned columns; a heading that starts with `>` aligns right.
pub fn grid(headings: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = headings.iter().map(|text| text.starts_with('>')).collect();
    let head = headings
        .iter()
        .map(|text| text.trim_start_matches('>').to_string())
        .collect();
    let lines: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().cloned())
        .map(|line| line.iter().map(|cell| printable(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).zip(&right);
        let padded: Vec<String> = cells
            .map(|((cell, &width), &right)| {
                let blank = " ".repeat(width.saturating_sub(cell.width()));
                if right {
                    blank + cell
                } else {
                    cell.clone() + &blank
                }
            })
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one a line; empty values are left out.
pub fn card(rows: &[(&str, String)]) -> String {
    let shown: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {}\n", printable(value)))
        .collect()
}

/// A dash for an empty text.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_string()
}

/// The first 12 digits of a hash.
pub fn short_hash(hash: &str) -> String {
    or_dash(&hash.chars().take(12).collect::<String>())
}
