//! `cluster engines` as a grid.

use reelraft_proto::v1::Engine;

use super::layout::{grid, or_dash, short_hash};
use crate::render::screen::printable;

/// All engines, those that are away included.
pub fn engines(engines: &[Engine]) -> String {
    let row = |engine: &Engine| {
        let state = match (engine.connected, engine.quarantine.is_empty()) {
            (_, false) => "quarantined",
            (true, _) => "connected",
            (false, _) => "away",
        };
        let labels = engine.labels.iter();
        let mut labels: Vec<String> = labels
            .map(|(name, value)| printable(&format!("{name}={value}")))
            .collect();
        labels.sort_unstable();
        let node = (engine.node != 0).then(|| engine.node.to_string());
        let trouble = match engine.quarantine.as_str() {
            "" => printable(&engine.trouble),
            quarantine => printable(quarantine),
        };
        vec![
            engine.number.to_string(),
            printable(&engine.name),
            state.to_string(),
            or_dash(&node.unwrap_or_default()),
            format!("{}/{}", engine.slots_busy, engine.slots),
            short_hash(&engine.build),
            labels.join(" "),
            trouble,
        ]
    };
    let rows: Vec<Vec<String>> = engines.iter().map(row).collect();
    let head = [
        ">NUMBER", "NAME", "STATE", ">NODE", ">BUSY", "BUILD", "LABELS", "TROUBLE",
    ];
    grid(&head, &rows)
}
