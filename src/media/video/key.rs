//! What determines a shard's bytes, beside the source's and the encoder build.

use reelraft_model::spec::Spec;

use crate::{
    facts::{index::Index, plan::ShardRange},
    ffmpeg::input::Input,
    video::{args, filter_clock::FilterClock, filters, grid::Grid, rate::Rate, seam::Given},
};

impl Index {
    /// A hash over all that the index says to an encoding of a range: its command
    /// from each start, the frames that it must find, and the facts that these are
    /// judged by. Two indexes with the same key give the same shard, also those of jobs
    /// with other options of sound, container or tags.
    pub fn shard_key(&self, spec: &Spec, range: ShardRange) -> String {
        let given = Given::of(spec, self, range);
        let filtered = filters::decoded_range(spec, self, range);
        let needed = filters::decoded_range(spec, self, given.range);
        let starts = self.starts(needed);
        // Where it is read from and how a build counts times is the same for all.
        let input = Input::File("source".into());
        let clock = FilterClock::Muxer;
        let rate = Rate::of_shard(spec, self, range);
        let commands = starts
            .iter()
            .map(|start| args::shard(&input, self, spec, range, *start, clock, &rate));
        let commands: Vec<Vec<String>> = commands.collect();
        let clean = |start: &Option<i64>| start.is_some_and(|start| self.is_clean_key(start));
        let clean: Vec<bool> = starts.iter().map(clean).collect();
        let points = Grid::of(spec, self).map(|grid| grid.points(self, range));
        let bounds = [range, filtered, needed].map(|range| self.bounds(range));
        // What only the file as a whole, its sound or its header is made by, or is
        // in the command.
        let mut facts = self.facts.clone();
        facts.description = None;
        facts.metadata = None;
        facts.so_far = None;
        facts.notes.clear();
        facts.audio_tracks.clear();
        facts.extras.clear();
        facts.label = Default::default();
        facts.color_tags = Default::default();
        let facts = serde_json::to_string(&facts).expect("facts are plain data");
        let single = self.is_single_pass(false);
        let single = single.then(|| args::single(&input, self, spec, &Rate::of(spec)));
        let said = format!(
            "{given:?} {starts:?} {clean:?} {commands:?} {:?} {bounds:?} {points:?} {single:?} {} {facts}",
            self.times_in(needed),
            spec.strict,
        );
        blake3::hash(said.as_bytes()).to_hex().to_string()
    }
}
