//! What an engine knows of the machine that it runs on.

use std::collections::BTreeMap;

use reelraft_media::Tools;

/// What an engine says of its machine.
pub struct Machine {
    pub tools: Tools,
    pub build: String,
    pub build_words: String,
    pub lacks: Vec<String>,
    pub speeds: BTreeMap<String, u64>,
    pub slots: u32,
    pub labels: BTreeMap<String, String>,
}
