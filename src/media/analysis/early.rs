//! Shards that are certain while the packets are still being read: behind each,
//! as much of the film is known as it needs. Whether the whole film has the same
//! shards is judged by their keys once its plan is made.

use reelraft_model::{
    limits::{PLAN_SHARDS_PER_COMMAND_MAX, SHARDS_PER_JOB_MAX},
    spec::{Codec, Spec},
};
use tokio::sync::mpsc;

use crate::{
    analysis::{packet::Packet, planner::Planner},
    facts::{
        index::{Index, SoFar, SourceFacts},
        plan::{Keyframe, Plan, ShardRange},
    },
    limits::{AV1_SHARDS_KNOWN, LOOK_AHEAD_PACKETS},
    video::{
        filters,
        seam::{Given, keyframes_apart},
        timing::Evenness,
    },
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
    /// The same of each audio track, which may be encoded too.
    pub audio_keys: Vec<String>,
    /// What the encoding of one of them takes, in MiB.
    pub shard_memory_mib: u32,
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
    /// Of the times up to the last published shard.
    evenness: Evenness,
    /// The shards that were published.
    ranges: Vec<ShardRange>,
    /// Nothing can be said of this film before all of it is known.
    over: bool,
}

impl<'a> EarlyPlan<'a> {
    /// A plan of a film of which all else is known.
    pub fn new(spec: &'a Spec, facts: SourceFacts, decoded: i64, sink: &'a EarlySink) -> Self {
        EarlyPlan {
            decoded,
            spec,
            sink,
            first: None,
            head: Vec::new(),
            times: Vec::new(),
            evenness: Evenness::of(facts.rate, facts.source.video().time_base),
            ranges: Vec::new(),
            facts,
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
        // Whether all shards of a film are equally long shows only after some.
        let known = self.spec.codec() != Codec::Av1 || cuts.len() > AV1_SHARDS_KNOWN;
        if known && cuts.len() > self.ranges.len() + 1 {
            self.publish(cuts, planner.keys());
        }
    }

    /// Publishes what is certain by now, if there is somebody to take it.
    fn publish(&mut self, cuts: &[i64], keys: &[Keyframe]) {
        let Ok(room) = self.sink.try_reserve() else {
            self.over = self.sink.is_closed();
            return;
        };
        let published = self.ranges.len();
        let last = (cuts.len() - 1).min(published + PLAN_SHARDS_PER_COMMAND_MAX);
        let index = self.index(&cuts[published..=last], keys);
        // The last one of the index stands for the rest of the film.
        let planned = &index.shards()[..last - published];
        let end = index.times.last().copied();
        let certain = |range: &&ShardRange| {
            let given = Given::of(self.spec, &index, **range).range;
            let needed = filters::decoded_range(self.spec, &index, given);
            Some(needed.to_pts) < end
        };
        let ranges: Vec<ShardRange> = planned.iter().take_while(certain).copied().collect();
        if ranges.is_empty() {
            return;
        }
        let keys = ranges
            .iter()
            .map(|range| index.shard_key(self.spec, *range));
        room.send(EarlyShards {
            keys: keys.collect(),
            audio_keys: (0..index.audio_tracks())
                .map(|track| index.audio_key(self.spec, track))
                .collect(),
            shard_memory_mib: index.shard_memory_mib(self.spec),
            index: index.to_bytes(),
            ranges: ranges.clone(),
        });
        self.ranges.extend(ranges);
        self.forget(
            cuts[self.ranges.len() - 1],
            cuts[self.ranges.len()],
            index.times,
        );
    }

    /// Forgets the times before the last published shard: what comes next looks back
    /// by one at most.
    fn forget(&mut self, last_from: i64, last_to: i64, sorted: Vec<i64>) {
        let seen = self.evenness.last();
        let fresh = |time: &i64| seen.is_none_or(|seen| *time > seen) && *time < last_to;
        let fresh: Vec<i64> = sorted.iter().copied().filter(fresh).collect();
        self.evenness.observe(&fresh);
        if self.head.is_empty() {
            self.head = sorted;
            self.head.truncate(LOOK_AHEAD_PACKETS);
        }
        self.times.retain(|time| *time >= last_from);
    }

    /// The index of the shards between these cuts, as if the film went on for ever
    /// as it has begun.
    fn index(&self, cuts: &[i64], keys: &[Keyframe]) -> Index {
        let mut times = self.times.clone();
        times.extend(&self.head);
        times.sort_unstable();
        times.dedup();
        let end = times.last().map_or(0, |last| last.saturating_add(1));
        let bounds: Vec<i64> = cuts.iter().copied().chain([end]).collect();
        let below = |bound: i64| times.partition_point(|&time| time < bound);
        let shards = bounds.windows(2).map(|pair| ShardRange {
            from_pts: pair[0],
            to_pts: pair[1],
            frames: (below(pair[1]) - below(pair[0])) as u64,
        });
        let shards: Vec<ShardRange> = shards.collect();
        // The rest is not longer than a shard yet, or it would have been cut.
        let mut known = self.ranges.clone();
        known.extend(&shards[..shards.len() - 1]);
        known.extend(known.last().copied());
        let mut evenness = self.evenness;
        let whole = below(cuts[cuts.len() - 1]);
        let seen = evenness
            .last()
            .map_or(0, |seen| below(seen.saturating_add(1)));
        evenness.observe(&times[seen.min(whole)..whole]);
        let mut facts = self.facts.clone();
        facts.so_far = Some(SoFar {
            evened_out: evenness.is_evened_out(),
            keyframes_apart: keyframes_apart(&known),
        });
        // It is for people, and long.
        facts.description = None;
        let plan = Plan {
            shards,
            keys: keys.to_vec(),
            note: None,
            times,
        };
        Index::new(facts, plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{
            planner::tests::{draw, plan},
            shard_length::ShardLength,
        },
        facts::{
            index::tests::sample,
            times::{MILLISECONDS, Ratio, rescale},
        },
    };
    use reelraft_model::spec::{SpecRequest, resolve};

    const FILM: Ratio = Ratio { num: 1, den: 24 };

    /// What is published early of packets, each batch taken after so many.
    fn early(packets: &[Packet], spec: &Spec, base: Ratio, pause: usize) -> Vec<EarlyShards> {
        let (sink, mut taken) = mpsc::channel(1);
        let length = ShardLength::Asked(rescale(1_000, MILLISECONDS, base));
        let mut planner = Planner::new(length);
        let mut early = EarlyPlan::new(spec, facts(base), 0, &sink);
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

    fn facts(base: Ratio) -> SourceFacts {
        let mut facts = sample().facts;
        facts.source.video.as_mut().unwrap().time_base = base;
        facts
    }

    fn check(packets: &[Packet], spec: &Spec, base: Ratio) {
        let whole = Index::new(facts(base), plan(packets, base, 1_000));
        for pause in [1, 500] {
            let found = early(packets, spec, base, pause);
            let ranges = found.iter().flat_map(|early| early.ranges.clone());
            let ranges: Vec<ShardRange> = ranges.collect();
            let keys = found.iter().flat_map(|early| early.keys.clone());
            assert!(ranges.len() > 5, "{} with {pause}", ranges.len());
            assert_eq!(ranges, whole.shards()[..ranges.len()]);
            let of_all = ranges.iter().map(|range| whole.shard_key(spec, *range));
            assert_eq!(keys.collect::<Vec<_>>(), of_all.collect::<Vec<_>>());
            // Read back, it says the same.
            for early in found {
                let index = Index::from_bytes(&early.index).unwrap();
                let keys = early
                    .ranges
                    .iter()
                    .map(|range| index.shard_key(spec, *range));
                assert_eq!(keys.collect::<Vec<_>>(), early.keys);
            }
        }
    }

    #[test]
    fn early_shards_are_those_of_the_whole_film_by_range_and_key() {
        let group = format!("I{}", "Pbb".repeat(4));
        let open = format!("ibb{}", "Pbb".repeat(7));
        for film in [group.repeat(60), format!("I{}", open.repeat(40))] {
            let packets = draw(&film);
            // A clock too coarse for the frame rate is evened out, if all of it is so.
            let coarse = packets.iter().map(|packet| Packet {
                pts: packet.pts.map(|pts| rescale(pts, FILM, MILLISECONDS)),
                dts: packet.dts.map(|dts| rescale(dts, FILM, MILLISECONDS)),
                ..*packet
            });
            let coarse: Vec<Packet> = coarse.collect();
            for codec in ["h264", "hevc", "av1"] {
                let spec = resolve(&SpecRequest {
                    codec: codec.into(),
                    deinterlace: "on".into(),
                    ..Default::default()
                });
                let spec = spec.unwrap();
                check(&packets, &spec, FILM);
                check(&coarse, &spec, MILLISECONDS);
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
