//! Reads the video's packets: their times and which are keyframes. For H.264
//! and HEVC also which keyframes are true IDR pictures, after which nothing
//! before them is needed.

use crate::{
    analysis::args,
    error::MediaError,
    facts::{
        source::{Source, Video},
        times::{MICROSECONDS, Ratio, rescale, seconds},
    },
    ffmpeg::{
        context::Context,
        log::Diagnostics,
        process::{LineEffect, Listener},
    },
    limits::{LOOK_AHEAD_PACKETS, PACKETS_MAX, PICTURES_BEHIND_MAX},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Presentation time in ticks of the stream.
    pub pts: Option<i64>,
    /// Decode time in ticks of the stream.
    pub dts: Option<i64>,
    /// A keyframe, according to the container.
    pub key: bool,
    /// Decoding can start here without anything from before.
    pub clean: bool,
    /// Decoded only because others need it, and not shown (an edit list).
    pub hidden: bool,
}

pub(crate) async fn scan(
    context: &Context<'_>,
    source: &Source,
) -> Result<Vec<Packet>, MediaError> {
    let mut listener = PacketLines::default();
    let arguments = args::scan_packets(context.input, source);
    let address_bytes = source.video().address_bytes();
    let exit = context
        .ffprobe_with(&arguments, address_bytes, &mut listener)
        .await?;
    listener.diagnostics.check_exit("ffprobe", exit)?;
    let mut packets = listener.packets;
    mark_clean(context, source, &mut packets).await?;
    Ok(packets)
}

/// Refuses a film whose clock begins anew midway.
///
/// # Errors
/// [`MediaError::ClockRestarts`] names the time at which it does.
pub(crate) fn reject_restarts(packets: &[Packet], base: Ratio) -> Result<(), MediaError> {
    // Matroska stores no decode times, and those that are guessed may fall where
    // nothing is wrong.
    let times = || {
        packets
            .iter()
            .filter_map(|packet| packet.pts.or(packet.dts))
    };
    let mut highest = i64::MIN;
    let earlier = times().map(|time| {
        highest = highest.max(time);
        highest
    });
    let late = times().skip(LOOK_AHEAD_PACKETS).zip(earlier);
    let behind = late.filter(|(time, highest)| time < highest).count();
    if behind <= PICTURES_BEHIND_MAX {
        return Ok(());
    }
    // Where it falls deepest.
    let mut last = i64::MIN;
    let falls = times().map(|time| (std::mem::replace(&mut last, time), time));
    let after = falls
        .filter(|(before, time)| time < before)
        .max_by_key(|(before, time)| before.saturating_sub(*time))
        .map_or(i64::MIN, |(before, _)| before);
    Err(MediaError::ClockRestarts {
        after: seconds(rescale(after, base, MICROSECONDS)),
    })
}

/// Codecs in which every keyframe is clean, beside those of which ffmpeg says
/// that they have no other pictures. It does not say so of all.
const CLEAN: [&str; 6] = ["vp8", "vp9", "av1", "ffv1", "png", "cfhd"];

/// Whether every keyframe of a video is clean.
pub(crate) fn has_clean_keys(video: &Video) -> bool {
    video.intra_only || CLEAN.contains(&video.codec.as_str())
}

async fn mark_clean(
    context: &Context<'_>,
    source: &Source,
    packets: &mut [Packet],
) -> Result<(), MediaError> {
    let codec = source.video().codec.as_str();
    if has_clean_keys(source.video()) {
        for packet in packets.iter_mut() {
            packet.clean = packet.key;
        }
    } else if let Some(types) = args::refresh_units(codec) {
        let mut listener = RefreshLines {
            time_base: source.video().time_base,
            ..Default::default()
        };
        let arguments = args::scan_refresh(context.input, source, types);
        let address_bytes = source.video().address_bytes();
        let exit = context
            .ffmpeg_with(&arguments, address_bytes, &mut listener)
            .await?;
        match listener.diagnostics.check_exit("ffmpeg", exit) {
            Ok(()) => {}
            // The filter can't read this stream: no keyframe is marked, which
            // costs lead-in. Half of a scan would make the plan depend on where
            // it broke off.
            Err(MediaError::ToolFailed { .. }) => listener.found.clear(),
            Err(error) => return Err(error),
        }
        let found = &mut listener.found;
        found.sort_unstable();
        for packet in packets.iter_mut() {
            let restarts = |pts| found.binary_search(&pts).is_ok();
            packet.clean = packet.key && packet.pts.is_some_and(restarts);
        }
    }
    Ok(())
}

/// Parses lines of `pts|dts|flags`.
#[derive(Default)]
struct PacketLines {
    packets: Vec<Packet>,
    diagnostics: Diagnostics,
}

impl Listener for PacketLines {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if line.is_empty() {
            return Ok(LineEffect::Neutral);
        }
        if self.packets.len() == PACKETS_MAX {
            return Err(MediaError::OverLimit {
                what: "the number of packets",
                found: PACKETS_MAX as u64 + 1,
                max: PACKETS_MAX as u64,
            });
        }
        let packet = parse_packet(line).ok_or_else(|| MediaError::BadOutput {
            tool: "ffprobe".into(),
            detail: line.to_string(),
        })?;
        self.packets.push(packet);
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        Ok(LineEffect::Neutral)
    }
}

fn parse_packet(line: &str) -> Option<Packet> {
    let mut fields = line.split('|');
    let mut time = || -> Option<Option<i64>> {
        match fields.next()? {
            "N/A" => Some(None),
            text => Some(Some(text.parse().ok()?)),
        }
    };
    let (pts, dts) = (time()?, time()?);
    let flags = fields.next()?;
    Some(Packet {
        pts,
        dts,
        key: flags.contains('K'),
        clean: false,
        hidden: flags.contains('D'),
    })
}

/// Parses lines of ffmpeg's `framecrc`: `stream, dts, pts, duration, size,
/// sum`.
struct RefreshLines {
    time_base: Ratio,
    same_base: bool,
    /// Their times, in order once the scan has ended.
    found: Vec<i64>,
    diagnostics: Diagnostics,
}

impl Default for RefreshLines {
    fn default() -> Self {
        RefreshLines {
            time_base: Ratio { num: 1, den: 1 },
            same_base: false,
            found: Vec::new(),
            diagnostics: Diagnostics::default(),
        }
    }
}

impl Listener for RefreshLines {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if let Some(base) = line.strip_prefix("#tb 0: ") {
            self.same_base = Ratio::parse(base) == Some(self.time_base);
        } else if self.same_base && !line.starts_with('#') {
            let pts = line.split(',').nth(2).map(str::trim);
            if let Some(pts) = pts.and_then(|pts| pts.parse().ok()) {
                self.found.push(pts);
            }
        }
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        // The bitstream filter also logs errors about damaged units; they don't
        // matter here.
        Ok(LineEffect::Neutral)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clock_that_begins_anew_is_refused_and_one_that_stumbles_is_not() {
        let film = Ratio { num: 1, den: 25 };
        let of = |times: Vec<i64>| -> Vec<Packet> {
            let lines = times.iter().map(|dts| format!("{dts}|{dts}|K_"));
            lines.map(|line| parse_packet(&line).unwrap()).collect()
        };
        let anew = of((0..150).chain(0..150).collect());
        let error = reject_restarts(&anew, film).unwrap_err();
        assert_eq!(error.kind(), "clock-restarts");
        assert!(error.to_string().contains("after 5.960000 s"), "{error}");
        let stumbling = of((0..150).chain(148..300).collect());
        assert!(reject_restarts(&stumbling, film).is_ok());
    }

    #[test]
    fn guessed_decode_times_that_fall_mean_no_other_clock() {
        let film = Ratio { num: 1, den: 25 };
        let group = [(0, 0), (5, -2), (3, 1), (2, 2), (1, 3), (4, 4)];
        let packets: Vec<Packet> = (0..1_500)
            .step_by(group.len())
            .flat_map(|from| group.map(|(pts, dts)| format!("{}|{}|__", from + pts, from + dts)))
            .map(|line| parse_packet(&line).unwrap())
            .collect();
        assert!(reject_restarts(&packets, film).is_ok());
    }

    #[test]
    fn packets_are_read() {
        let packet = parse_packet("-12|N/A|K_").unwrap();
        assert_eq!((packet.pts, packet.dts), (Some(-12), None));
        assert!(packet.key && !packet.hidden);
        assert!(parse_packet("0|0|_D").unwrap().hidden);
        assert_eq!(parse_packet("0|x|K_"), None);
    }
}
