//! A job whose source is analysed once more.

use crate::rows::Job;

impl Job {
    /// Drops what was found of the source, and what followed from that. Attempts are
    /// counted on, so that whatever comes late from before is refused.
    pub(crate) fn forget_analysis(&mut self, last_attempt: u32) {
        self.attempts_before = last_attempt;
        self.replans += 1;
        self.build.clear();
        self.index_hash.clear();
        self.plan_sealed = false;
        self.shards_total = 0;
        self.frames_total = 0;
        self.audio_tracks = 0;
        self.single = false;
        self.reuse = None;
        self.rate = None;
        self.duration_us = 0;
    }
}
