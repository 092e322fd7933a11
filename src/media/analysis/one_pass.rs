//! How one pass over all streams of the job times the pictures, in formats whose
//! clocks may leap. Shards are read with the source's own times, and that is
//! right only if one pass does nothing but take off the start.

use reelraft_model::spec::Audio;

use crate::{
    analysis::{
        args,
        packet::{PacketIter, PacketLog},
        planner::Planner,
        shard_length::ShardLength,
    },
    error::MediaError,
    facts::{audio_track::AudioTrack, index::SourceFacts},
    ffmpeg::{
        context::Context,
        log::Diagnostics,
        picture_clock::{self, PictureClock},
        process::{LineEffect, Listener},
    },
};

/// What one pass makes of the packets.
pub(crate) struct Compared {
    /// The hash of its times, or `None` where it does more than to take off the
    /// start: then they depend on what is decoded beside.
    pub clock: Option<String>,
    /// The plan in the making, by its times.
    pub planner: Planner,
}

/// Compares the packets' times with those of one pass, which takes `zero` off,
/// and plans by the latter where it does more.
///
/// # Errors
/// [`MediaError::AudioMisfit`] for a track that is to be copied and changes its
/// sample rate: a file has one rate for each track.
pub(crate) async fn compare(
    context: &Context<'_>,
    facts: &SourceFacts,
    other_streams: &[u32],
    packets: &PacketLog,
    zero: i64,
    length: ShardLength,
) -> Result<Compared, MediaError> {
    let audio: Vec<u32> = facts
        .audio_tracks
        .iter()
        .map(|track| track.stream)
        .collect();
    let spec = context.spec;
    let mut listener = OnePass {
        packets: packets.iter(),
        planner: Planner::new(length),
        zero,
        seen: 0,
        leaps: false,
        clock: PictureClock::default(),
        rates: vec![RateWatch::default(); audio.len()],
        diagnostics: Diagnostics::default(),
    };
    let arguments = args::one_pass(context.input, &facts.source, spec, &audio, other_streams);
    let address_bytes = facts.source.address_bytes();
    let exit = context
        .ffmpeg_with(&arguments, address_bytes, &mut listener)
        .await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    let mut tracks = facts.audio_tracks.iter().zip(&listener.rates);
    let changing = |(track, rate): &(&AudioTrack, &RateWatch)| {
        FIXED.contains(&track.codec.as_str()) && rate.changes
    };
    if let Some((track, _)) = tracks
        .find(changing)
        .filter(|_| spec.audio() == Audio::Copy)
    {
        return Err(MediaError::AudioMisfit {
            track: track.number,
            codec: track.codec.clone(),
            container: spec.container().name(),
            detail: "its sample rate changes midway".into(),
        });
    }
    let leaps = listener.leaps || listener.seen != packets.len();
    let mut planner = listener.planner;
    // Those that it did not come to.
    listener.packets.for_each(|packet| planner.push(packet));
    Ok(Compared {
        clock: listener.clock.digest().filter(|_| !leaps),
        planner,
    })
}

/// Codecs whose packets all have the same number of samples.
const FIXED: [&str; 4] = ["aac", "mp2", "mp3", "ac3"];

/// Notices a change of the sample rate: the demuxer gives all packets the length
/// of the first, but then they come steadily faster or slower.
#[derive(Clone, Debug, Default)]
struct RateWatch {
    /// First time of the present window, and its packets so far.
    from: i64,
    packets: i64,
    /// By how much the last window was off, and how many in a row were alike.
    off: i64,
    alike: u32,
    changes: bool,
}

impl RateWatch {
    /// Packets of a window: about a second.
    const WINDOW: i64 = 50;

    fn observe(&mut self, pts: i64, duration: i64) {
        if self.packets == 0 {
            self.from = pts;
        }
        self.packets += 1;
        if self.packets <= Self::WINDOW {
            return;
        }
        let promised = Self::WINDOW.saturating_mul(duration);
        let off = pts.saturating_sub(self.from).saturating_sub(promised);
        // The nearest rates, 44.1 and 48 kHz, differ by 8 percent. Damage is never
        // as steady.
        let drifts = off.saturating_abs() > promised / 25;
        let steady = off.abs_diff(self.off) < promised.unsigned_abs() / 100;
        self.alike = if drifts && steady { self.alike + 1 } else { 0 };
        self.changes |= self.alike >= 2;
        (self.off, self.from, self.packets) = (off, pts, 1);
    }
}

/// Number, time and duration of an audio packet: `1, dts, pts, duration, …`.
fn audio_packet(line: &str) -> Option<(usize, i64, i64)> {
    let mut fields = line.split(',').map(str::trim);
    let number: usize = fields.next()?.parse().ok()?;
    let pts: i64 = fields.nth(1)?.parse().ok()?;
    let duration: i64 = fields.next()?.parse().ok()?;
    (pts != i64::MIN).then_some((number, pts, duration))
}

struct OnePass<'a> {
    packets: PacketIter<'a>,
    planner: Planner,
    zero: i64,
    seen: usize,
    leaps: bool,
    clock: PictureClock,
    /// Of each audio track.
    rates: Vec<RateWatch>,
    diagnostics: Diagnostics,
}

impl Listener for OnePass<'_> {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        let Some(time) = picture_clock::time(line) else {
            if let Some((number, pts, duration)) = audio_packet(line)
                && let Some(rate) = number.checked_sub(1).and_then(|at| self.rates.get_mut(at))
            {
                rate.observe(pts, duration);
            }
            return Ok(LineEffect::Progress);
        };
        self.clock.observe(line);
        if let Some(mut packet) = self.packets.next() {
            if let Some(time) = time.map(|time| time.saturating_add(self.zero)) {
                self.leaps |= packet.pts != Some(time);
                packet.pts = Some(time);
            }
            self.planner.push(packet);
        }
        self.seen += 1;
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        Ok(LineEffect::Neutral)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::analysis::packet::Packet;

    #[test]
    fn a_rate_that_changes_is_noticed_and_gaps_are_not() {
        let changes = |steps: &[(i64, usize)]| {
            let (mut rate, mut pts) = (RateWatch::default(), 0);
            for &(step, count) in steps {
                for _ in 0..count {
                    rate.observe(pts, 2089);
                    pts += step;
                }
            }
            rate.changes
        };
        assert!(changes(&[(2090, 100), (1920, 250)]));
        assert!(changes(&[
            (2090, 100),
            (2089, 15),
            (0, 1),
            (1293, 1),
            (1920, 230)
        ]));
        assert!(!changes(&[(2090, 500)]));
        assert!(!changes(&[
            (2090, 70),
            (90_000, 1),
            (2090, 70),
            (-50_000, 1),
            (2090, 90)
        ]));
        assert_eq!(audio_packet("2, 5, 7, 2089, 4, 0x1"), Some((2, 7, 2089)));
    }

    #[test]
    fn a_film_that_is_only_shifted_does_not_leap() {
        for (second, leaps) in [(3_600, false), (3_601, true)] {
            let mut packets = PacketLog::default();
            for pts in [9_000, 12_600] {
                packets.push(Packet {
                    pts: Some(pts),
                    dts: None,
                    key: true,
                    clean: true,
                    hidden: false,
                });
            }
            let mut pass = OnePass {
                packets: packets.iter(),
                planner: Planner::new(ShardLength::Asked(90_000)),
                zero: 9_000,
                seen: 0,
                leaps: false,
                clock: PictureClock::default(),
                rates: Vec::new(),
                diagnostics: Diagnostics::default(),
            };
            for line in ["#tb 0: 1/90000", "0, 0, 0, 1, 4, 0x1", "1, 0, 9, 1, 4, 0x1"] {
                pass.stdout(line).unwrap();
            }
            pass.stdout(&format!("0, 0, {second}, 1, 4, 0x1")).unwrap();
            assert_eq!((pass.seen, pass.leaps), (2, leaps));
            let (plan, shown) = pass.planner.finish();
            assert_eq!((plan.times, shown), (vec![9_000, 9_000 + second], 2));
        }
    }
}
