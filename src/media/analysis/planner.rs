//! The planner: a fold over the packets in file order with a bounded
//! look-ahead, so the same packets give the same shards.
//!
//! Cuts fall on keyframes: on the first clean one once a shard is long enough,
//! or on any keyframe once it is half as long again. Sources with unreliable
//! packet times become one shard, with a note that says why.

use std::collections::VecDeque;

use reelraft_model::limits::SHARDS_PER_JOB_MAX;

use crate::{
    analysis::{
        packet::{Packet, TimeLog},
        shard_length::ShardLength,
    },
    facts::plan::{Keyframe, Plan, ShardRange, joined, one_shard},
    limits::{KEYS_BEFORE_CUT, LOOK_AHEAD_PACKETS},
};

/// Plans the shards of the packets that are pushed.
#[derive(Debug)]
pub(crate) struct Planner {
    length: ShardLength,
    window: VecDeque<Packet>,
    shown: usize,
    /// Of which up to the last cut.
    shown_before: usize,
    times: TimeLog,
    /// The first keyframe, and those from which a shard may be decoded.
    keys: Vec<Keyframe>,
    /// The latest that are not among them.
    recent: VecDeque<Keyframe>,
    cuts: Vec<i64>,
    highest: Option<i64>,
    last_dts: Option<i64>,
    note: Option<String>,
}

impl Planner {
    pub fn new(length: ShardLength) -> Self {
        Planner {
            length,
            window: VecDeque::with_capacity(LOOK_AHEAD_PACKETS + 1),
            shown: 0,
            shown_before: 0,
            times: TimeLog::default(),
            keys: Vec::new(),
            recent: VecDeque::new(),
            cuts: Vec::new(),
            highest: None,
            last_dts: None,
            note: None,
        }
    }

    fn refuse_cuts(&mut self, why: impl Into<String>) {
        self.note.get_or_insert(why.into());
    }

    pub fn push(&mut self, packet: Packet) {
        self.window.push_back(packet);
        if self.window.len() > LOOK_AHEAD_PACKETS {
            self.take();
        }
    }

    /// Processes the oldest packet in the window, knowing those after it.
    fn take(&mut self) {
        let Some(packet) = self.window.pop_front() else {
            return;
        };
        if !packet.hidden {
            self.shown += 1;
        }
        let Some(pts) = packet.pts else {
            self.refuse_cuts("packets without times");
            return;
        };
        if let (Some(last), Some(dts)) = (self.last_dts, packet.dts)
            && dts < last
        {
            self.refuse_cuts("decode times that fall");
        }
        self.last_dts = packet.dts.or(self.last_dts);
        if self.highest.is_none() && !packet.key {
            self.refuse_cuts("a start without a keyframe");
        }
        if packet.key {
            self.take_key(pts, &packet);
        }
        if !packet.hidden {
            self.times.push(pts);
        }
        self.highest = Some(self.highest.map_or(pts, |highest| highest.max(pts)));
    }

    fn take_key(&mut self, pts: i64, packet: &Packet) {
        let last = self.highest.is_none_or(|highest| highest < pts);
        let first_of_rest = self
            .window
            .iter()
            .all(|later| later.pts.is_none_or(|later| later > pts));
        let before = self.recent.back().or(self.keys.last());
        if !last && before.is_some_and(|key| key.pts >= pts) {
            self.refuse_cuts("keyframes out of order");
            return;
        }
        let clean = packet.clean && last && first_of_rest;
        self.recent.push_back(Keyframe { pts, clean });
        if self.recent.len() > KEYS_BEFORE_CUT {
            self.recent.pop_front();
        }
        if self.keys.is_empty() {
            self.keys.extend(self.recent.drain(..));
        }
        if packet.hidden || !last {
            return;
        }
        let Some(&from) = self.cuts.last() else {
            self.cut(pts);
            return;
        };
        let behind = from.saturating_sub(self.cuts[0]);
        let (length, frames) = (pts.saturating_sub(from), self.shown - self.shown_before);
        if self.length.is_reached(behind, length, frames, !clean) {
            self.cut(pts);
        }
    }

    fn cut(&mut self, pts: i64) {
        self.cuts.push(pts);
        self.shown_before = self.shown;
        self.keys.extend(self.recent.drain(..));
    }

    /// The first times of the shards so far.
    pub fn cuts(&self) -> &[i64] {
        &self.cuts
    }

    /// The keyframes that are kept so far.
    pub fn keys(&self) -> &[Keyframe] {
        &self.keys
    }

    /// Whether the film is known to be one shard.
    pub fn is_single(&self) -> bool {
        self.note.is_some()
    }

    /// The plan, and the number of packets that are shown.
    pub fn finish(mut self) -> (Plan, usize) {
        while !self.window.is_empty() {
            self.take();
        }
        let shown = self.shown;
        (self.into_plan(), shown)
    }

    fn into_plan(mut self) -> Plan {
        let times = std::mem::take(&mut self.times).sorted();
        if times.windows(2).any(|pair| pair[0] == pair[1]) {
            self.refuse_cuts("frames that share a time");
        }
        if times.is_empty() {
            self.refuse_cuts("no packet with a time");
        }
        if let Some(note) = self.note {
            return one_shard(times, self.keys, self.shown, Some(note));
        }
        let mut shards = ranges(&times, &self.cuts);
        while shards.len() > SHARDS_PER_JOB_MAX {
            shards = shards.chunks(2).map(joined).collect();
        }
        if shards.len() < 2 {
            let note = self.why_no_cut(&times).map(str::to_string);
            return one_shard(times, self.keys, self.shown, note);
        }
        Plan {
            times,
            keys: self.keys,
            shards,
            note: None,
        }
    }
}

impl Planner {
    /// Why a film that is long enough for two shards has no cut.
    fn why_no_cut(&self, times: &[i64]) -> Option<&'static str> {
        let (first, last) = (times.first()?, times.last()?);
        if last.saturating_sub(*first) < self.length.target(0) {
            return None;
        }
        Some(match self.keys.len() + self.recent.len() {
            0 | 1 => "its first keyframe is the only one",
            _ => "no keyframe lies where a second shard could begin",
        })
    }
}

/// Cuts ascending times at the given ones; ranges without a frame are dropped.
fn ranges(times: &[i64], cuts: &[i64]) -> Vec<ShardRange> {
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return Vec::new();
    };
    let mut bounds = vec![first];
    bounds.extend(
        cuts.iter()
            .copied()
            .filter(|&cut| cut > first && cut <= last),
    );
    bounds.push(last.saturating_add(1));
    bounds
        .windows(2)
        .map(|pair| ShardRange {
            from_pts: pair[0],
            to_pts: pair[1],
            frames: (times.partition_point(|&time| time < pair[1])
                - times.partition_point(|&time| time < pair[0])) as u64,
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::times::{MILLISECONDS, Ratio, rescale};

    const FILM: Ratio = Ratio { num: 1, den: 24 };

    /// Plans the shards of all packets.
    pub(crate) fn plan(packets: &[Packet], time_base: Ratio, shard_ms: u32) -> Plan {
        let ticks = rescale(shard_ms.into(), MILLISECONDS, time_base);
        let mut planner = Planner::new(ShardLength::Asked(ticks));
        packets.iter().for_each(|packet| planner.push(*packet));
        planner.finish().0
    }

    /// Packets from a drawing of groups in file order: `I` is a clean keyframe,
    /// `i` another one, `P` a frame, and `b` a frame shown before the one to
    /// its left.
    pub(crate) fn draw(text: &str) -> Vec<Packet> {
        let letters: Vec<char> = text.chars().collect();
        let mut packets = Vec::new();
        let mut shown = 0;
        for (place, letter) in letters.iter().enumerate() {
            let behind = letters[place + 1..]
                .iter()
                .take_while(|&&next| next == 'b')
                .count() as i64;
            let pts = match letter {
                'b' => {
                    shown += 1;
                    shown - 1
                }
                _ => shown + behind,
            };
            // An anchor is shown after its `b`s.
            if *letter != 'b' && behind == 0 {
                shown += 1;
            }
            if *letter == 'b' && letters.get(place + 1) != Some(&'b') {
                shown += 1;
            }
            packets.push(Packet {
                pts: Some(pts),
                dts: Some(place as i64 - 2),
                key: matches!(letter, 'I' | 'i'),
                clean: *letter == 'I',
                hidden: false,
            });
        }
        packets
    }

    fn cover(plan: &Plan) {
        let frames: u64 = plan.shards.iter().map(|shard| shard.frames).sum();
        assert_eq!(frames, plan.times.len() as u64);
        assert!(plan.shards.iter().all(|shard| shard.frames > 0));
        for pair in plan.shards.windows(2) {
            assert_eq!(pair[0].to_pts, pair[1].from_pts);
        }
    }

    #[test]
    fn cuts_fall_on_clean_keyframes_when_long_enough() {
        let group = format!("I{}", "Pbb".repeat(4));
        let plan = plan(&draw(&group.repeat(20)), FILM, 1000);
        cover(&plan);
        assert_eq!(plan.note, None);
        // A group has 13 frames; two groups exceed a second of 24.
        assert_eq!(plan.shards.len(), 10);
        assert!(plan.shards.iter().all(|shard| shard.frames == 26));
        assert!(plan.keys.iter().all(|key| key.clean));
    }

    #[test]
    fn an_open_group_is_cut_later_and_its_leading_frames_stay_before() {
        let group = format!("ibb{}", "Pbb".repeat(7));
        let plan = plan(&draw(&format!("I{}", group.repeat(12))), FILM, 1000);
        cover(&plan);
        assert!(plan.shards.len() > 3);
        assert!(plan.keys[1..].iter().all(|key| !key.clean));
        for shard in &plan.shards[1..] {
            let length = shard.to_pts - shard.from_pts;
            assert!(plan.keys.iter().any(|key| key.pts == shard.from_pts));
            assert!(length >= 36 || shard.to_pts == plan.times.last().unwrap() + 1);
        }
    }

    #[test]
    fn sources_with_unreliable_times_become_one_shard_and_say_why() {
        let good = draw(&"IPP".repeat(200));
        let note = |packets: &[Packet]| plan(packets, FILM, 500).note.unwrap();
        let mut packets = good.clone();
        packets[7].pts = None;
        assert_eq!(note(&packets), "packets without times");
        let mut packets = good.clone();
        packets[7].pts = packets[8].pts;
        assert_eq!(note(&packets), "frames that share a time");
        let mut packets = good.clone();
        packets[7].dts = Some(-9);
        assert_eq!(note(&packets), "decode times that fall");
        assert_eq!(note(&good[1..]), "a start without a keyframe");
        assert_eq!(note(&[]), "no packet with a time");
        assert_eq!(plan(&good, FILM, 500).note, None);
    }

    #[test]
    fn a_long_film_without_a_cut_says_why() {
        let note = |text: &str| plan(&draw(text), FILM, 500).note;
        let long = "P".repeat(60);
        let why = note(&format!("I{long}")).unwrap();
        assert_eq!(why, "its first keyframe is the only one");
        let why = note(&format!("IPI{long}")).unwrap();
        assert_eq!(why, "no keyframe lies where a second shard could begin");
        assert_eq!(note("IPPPPPPP"), None, "a short film needs no reason");
    }

    #[test]
    fn hidden_packets_promise_no_frame() {
        let mut packets = draw(&"IPP".repeat(20));
        for packet in &mut packets[..3] {
            packet.hidden = true;
        }
        let plan = plan(&packets, FILM, 500);
        cover(&plan);
        assert_eq!(plan.times.len(), 57);
        assert_eq!(plan.shards[0].from_pts, 3);
    }

    #[test]
    fn of_many_keyframes_those_before_cuts_are_kept() {
        let plan = plan(&draw(&"I".repeat(24_000)), FILM, 10_000);
        cover(&plan);
        assert_eq!(plan.shards.len(), 100);
        assert!(plan.keys.len() <= 100 * (KEYS_BEFORE_CUT + 1));
        for shard in &plan.shards[1..] {
            let at = plan.keys.partition_point(|key| key.pts <= shard.from_pts);
            let near: Vec<i64> = plan.keys[at - 4..at].iter().map(|key| key.pts).collect();
            let from = shard.from_pts;
            assert_eq!(near, [from - 3, from - 2, from - 1, from]);
        }
    }

    #[test]
    fn a_plan_stays_within_its_limit() {
        let packets = draw(&"I".repeat(3 * SHARDS_PER_JOB_MAX));
        let plan = plan(&packets, Ratio { num: 1, den: 2 }, 500);
        cover(&plan);
        assert!(plan.shards.len() <= SHARDS_PER_JOB_MAX);
    }
}
