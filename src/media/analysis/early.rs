//! Shards that are certain while the packets are still being read: behind each,
//! as much of the film is known as it needs. Whether the whole film has the same
//! shards is judged by their keys once its plan is made.

use reelraft_model::{
    limits::{PLAN_SHARDS_PER_COMMAND_MAX, SHARDS_PER_JOB_MAX},
    spec::Spec,
};
use tokio::sync::mpsc;

use crate::{
    analysis::{packet::Packet, planner::Planner},
    facts::{
        index::{Index, SourceFacts},
        plan::{Keyframe, Plan, ShardRange},
    },
    limits::LOOK_AHEAD_PACKETS,
    video::filters,
};

/// Shards that may be encoded before the rest of the film is known.
#[derive(Clone, Debug)]
pub struct EarlyShards {
    /// As much of the index as they need, serialized.
    pub index: Vec<u8>,
    pub ranges: Vec<ShardRange>,
    /// What determines the bytes of each, beside source and build: see
    /// [`Index::shard_key`].
    pub keys: Vec<String>,
}

/// Takes early shards. It is given more once it has taken the last.
pub type EarlySink = mpsc::Sender<EarlyShards>;

/// The plan of a film as far as it is certain.
pub(crate) struct EarlyPlan<'a> {
    spec: &'a Spec,
    facts: SourceFacts,
    sink: &'a EarlySink,
    /// The time of the first frame that is decoded.
    decoded: i64,
    /// That of the first one by the packets.
    first: Option<i64>,
    /// Times of the first frames, once the later ones are forgotten.
    head: Vec<i64>,
    /// The times of frames from the last published shard on, unsorted.
    times: Vec<i64>,
    /// How many shards were published.
    published: usize,
    /// Nothing can be said of this film before all of it is known.
    over: bool,
}

impl<'a> EarlyPlan<'a> {
    /// A plan of a film of which all else is known.
    pub fn new(spec: &'a Spec, facts: SourceFacts, decoded: i64, sink: &'a EarlySink) -> Self {
        EarlyPlan {
            decoded,
            spec,
            facts,
            sink,
            first: None,
            head: Vec::new(),
            times: Vec::new(),
            published: 0,
            over: false,
        }
    }

    /// Takes a packet that the planner has taken just before.
    pub fn observe(&mut self, packet: &Packet, planner: &Planner) {
        if self.over {
            return;
        }
        if let Some(pts) = packet.pts.filter(|_| !packet.hidden) {
            self.first = Some(self.first.map_or(pts, |first| first.min(pts)));
            self.times.push(pts);
        }
        let cuts = planner.cuts();
        let begins = |cut: &i64| self.first == Some(*cut) && self.decoded == *cut;
        let begins = cuts.first().is_none_or(begins);
        if planner.is_single() || !begins || cuts.len() > SHARDS_PER_JOB_MAX {
            self.over = true;
            return;
        }
        if cuts.len() > self.published + 1 {
            self.publish(cuts, planner.keys());
        }
    }

    /// Publishes what is certain by now, if there is somebody to take it.
    fn publish(&mut self, cuts: &[i64], keys: &[Keyframe]) {
        let Ok(room) = self.sink.try_reserve() else {
            self.over = self.sink.is_closed();
            return;
        };
        let last = (cuts.len() - 1).min(self.published + PLAN_SHARDS_PER_COMMAND_MAX);
        let index = self.index(&cuts[self.published..=last], keys);
        // The last one of the index stands for the rest of the film.
        let planned = &index.shards()[..last - self.published];
        let end = index.times.last().copied();
        let certain = |range: &&ShardRange| {
            let needed = filters::decoded_range(self.spec, &index, **range);
            Some(needed.to_pts) < end
        };
        let ranges: Vec<ShardRange> = planned.iter().take_while(certain).copied().collect();
        if ranges.is_empty() {
            return;
        }
        let keys = ranges
            .iter()
            .map(|range| index.shard_key(self.spec, *range));
        self.published += ranges.len();
        room.send(EarlyShards {
            keys: keys.collect(),
            index: index.to_bytes(),
            ranges,
        });
        if self.head.is_empty() {
            self.head = index.times;
            self.head.truncate(LOOK_AHEAD_PACKETS);
        }
        // What comes next looks back by one shard at most.
        let from = cuts[self.published - 1];
        self.times.retain(|time| *time >= from);
    }

    /// The index of the shards between these cuts, as if the film went on for ever.
    fn index(&self, cuts: &[i64], keys: &[Keyframe]) -> Index {
        let mut times = self.times.clone();
        times.extend(&self.head);
        times.sort_unstable();
        times.dedup();
        let end = times.last().map_or(0, |last| last.saturating_add(1));
        let bounds = cuts.iter().copied().chain([end]);
        let bounds: Vec<i64> = bounds.collect();
        let shards = bounds.windows(2).map(|pair| ShardRange {
            from_pts: pair[0],
            to_pts: pair[1],
            frames: (times.partition_point(|&time| time < pair[1])
                - times.partition_point(|&time| time < pair[0])) as u64,
        });
        let plan = Plan {
            shards: shards.collect(),
            keys: keys.to_vec(),
            note: None,
            times,
        };
        Index::new(self.facts.clone(), plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::planner::tests::{draw, plan},
        facts::{index::tests::sample, times::Ratio},
    };
    use reelraft_model::spec::{SpecRequest, resolve};

    const FILM: Ratio = Ratio { num: 1, den: 24 };

    /// What is published early of packets, each batch taken after so many.
    fn early(packets: &[Packet], spec: &Spec, pause: usize) -> Vec<EarlyShards> {
        let (sink, mut taken) = mpsc::channel(1);
        let mut planner = Planner::new(FILM, 1_000);
        let mut early = EarlyPlan::new(spec, sample().facts, 0, &sink);
        let mut found = Vec::new();
        for (number, packet) in packets.iter().enumerate() {
            planner.push(*packet);
            early.observe(packet, &planner);
            if number % pause == 0 {
                found.extend(taken.try_recv().ok());
            }
        }
        found.extend(taken.try_recv().ok());
        found
    }

    #[test]
    fn early_shards_are_those_of_the_whole_film_by_range_and_key() {
        let group = format!("I{}", "Pbb".repeat(4));
        let open = format!("ibb{}", "Pbb".repeat(7));
        for film in [group.repeat(60), format!("I{}", open.repeat(40))] {
            let packets = draw(&film);
            for options in [SpecRequest::default(), {
                SpecRequest {
                    deinterlace: "on".into(),
                    ..Default::default()
                }
            }] {
                let Ok(spec) = resolve(&options) else {
                    continue;
                };
                let whole = Index::new(sample().facts, plan(&packets, FILM, 1_000));
                for pause in [1, 500] {
                    let found = early(&packets, &spec, pause);
                    let ranges: Vec<ShardRange> = found
                        .iter()
                        .flat_map(|early| early.ranges.clone())
                        .collect();
                    let keys: Vec<String> =
                        found.iter().flat_map(|early| early.keys.clone()).collect();
                    assert!(ranges.len() > 5, "{} of {pause}", ranges.len());
                    assert_eq!(ranges, whole.shards()[..ranges.len()]);
                    let of_all = ranges.iter().map(|range| whole.shard_key(&spec, *range));
                    assert_eq!(keys, of_all.collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_key_tells_what_changes_a_shard() {
        let (spec, index) = (resolve(&SpecRequest::default()).unwrap(), sample());
        let range = index.shards()[1];
        let key = index.shard_key(&spec, range);
        let mut other = sample();
        other.facts.notes.push("for people".into());
        assert_eq!(other.shard_key(&spec, range), key);
        other.facts.zero += 1;
        assert_ne!(other.shard_key(&spec, range), key);
        let mut other = sample();
        let at = other.times.partition_point(|time| *time <= range.from_pts);
        other.times.remove(at);
        assert_ne!(other.shard_key(&spec, range), key);
        let before = index.shard_key(&spec, index.shards()[0]);
        assert_ne!(before, key);
    }
}
