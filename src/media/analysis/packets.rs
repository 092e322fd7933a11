//! Reads the video's packets: their times and which are keyframes. For H.264
//! and HEVC also which keyframes are true IDR pictures, after which nothing
//! before them is needed.

use std::collections::VecDeque;

use crate::{
    analysis::{
        args,
        clean_keys::{CleanKeys, RefreshLines, find_refresh, has_clean_keys},
        early::EarlyPlan,
        packet::{Packet, PacketLog},
        planner::Planner,
        shard_length::ShardLength,
    },
    error::MediaError,
    facts::{
        source::{ProbedSource, ShownPacket, Source},
        times::{MICROSECONDS, Ratio, rescale, seconds},
    },
    ffmpeg::{
        context::Context,
        log::Diagnostics,
        process::{LineEffect, Listener},
    },
    limits::{LOOK_AHEAD_PACKETS, PACKETS_MAX, PICTURES_BEHIND_MAX, UNJUDGED_PACKETS_MAX},
};

/// The packets of a video, folded into a plan as they come.
#[derive(Debug)]
pub(crate) struct Scan {
    pub count: usize,
    pub folded: Folded,
}

#[derive(Debug)]
pub(crate) enum Folded {
    /// The plan in the making, and whether the clock begins anew midway.
    Plan(Box<Planner>, Restarts),
    /// In formats whose clock may leap: what one pass makes of the times is known
    /// only later.
    Packets(PacketLog),
}

/// Reads the packets for shards of this length. First of all it looks for the
/// keyframes that are clean, so that no packet has to be kept. Where shards are
/// wanted early it looks for them meanwhile, and again where that fails.
pub(crate) async fn scan(
    context: &Context<'_>,
    found: &ProbedSource,
    source: &Source,
    length: ShardLength,
    early: Option<EarlyPlan<'_>>,
) -> Result<Scan, MediaError> {
    let known = found.packets.as_deref();
    if let Some(packets) = known.filter(|packets| is_one_shard(packets, source, length)) {
        // What is not cut is decoded from its beginning alone.
        let clean = CleanKeys::At(Vec::new());
        return fold(packets, source, length, clean);
    }
    if let Some(early) = early.filter(|_| known.is_none())
        && let Some(scan) = scan_at_once(context, source, length, early).await?
    {
        return Ok(scan);
    }
    let clean = CleanKeys::find(context, source).await?;
    if let Some(packets) = known {
        return fold(packets, source, length, clean);
    }
    let mut listener = PacketLines::new(source, length, clean, None);
    read_packets(context, source, &mut listener).await?;
    Ok(listener.scan)
}

/// Reads the packets and looks for clean keyframes at the same time; none where
/// the two can't be brought together. What it gives is what [`scan`] gives.
async fn scan_at_once(
    context: &Context<'_>,
    source: &Source,
    length: ShardLength,
    early: EarlyPlan<'_>,
) -> Result<Option<Scan>, MediaError> {
    let types = args::refresh_units(&source.video().codec);
    let types = types.filter(|_| !has_clean_keys(source.video()));
    let Some(types) = types else {
        let clean = CleanKeys::find(context, source).await?;
        let mut listener = PacketLines::new(source, length, clean, Some(early));
        read_packets(context, source, &mut listener).await?;
        return Ok(Some(listener.scan));
    };
    let refresh = RefreshLines::new(source);
    let clean = CleanKeys::SoFar(refresh.found.clone());
    let mut packets = PacketLines::new(source, length, clean, Some(early));
    let found = find_refresh(context, source, types, refresh);
    let read = read_packets(context, source, &mut packets);
    let (found, read) = tokio::join!(found, read);
    read?;
    match found? {
        Some(found) if !packets.overflowed => packets.finish(found),
        _ => Ok(None),
    }
}

async fn read_packets(
    context: &Context<'_>,
    source: &Source,
    listener: &mut PacketLines<'_>,
) -> Result<(), MediaError> {
    let arguments = args::scan_packets(context.input, source);
    let address_bytes = source.video().address_bytes();
    let exit = context
        .ffprobe_with(&arguments, address_bytes, listener)
        .await?;
    listener.diagnostics.check_exit("ffprobe", exit)
}

impl Scan {
    fn new(source: &Source, length: ShardLength) -> Self {
        Scan {
            count: 0,
            folded: match source.discontinuous {
                true => Folded::Packets(PacketLog::default()),
                false => Folded::Plan(Box::new(Planner::new(length)), Restarts::default()),
            },
        }
    }

    fn take(&mut self, packet: Packet) -> Result<(), MediaError> {
        if self.count == PACKETS_MAX {
            return Err(MediaError::OverLimit {
                what: "the number of packets",
                found: PACKETS_MAX as u64 + 1,
                max: PACKETS_MAX as u64,
            });
        }
        self.count += 1;
        match &mut self.folded {
            Folded::Plan(planner, restarts) => {
                // What an edit list hides may lie far back, and nobody sees it.
                if !packet.hidden {
                    restarts.observe(&packet);
                }
                planner.push(packet);
            }
            Folded::Packets(packets) => packets.push(packet),
        }
        Ok(())
    }
}

/// The same of packets that are known.
fn fold(
    packets: &[ShownPacket],
    source: &Source,
    length: ShardLength,
    clean: CleanKeys,
) -> Result<Scan, MediaError> {
    let mut scan = Scan::new(source, length);
    let stream = source.video().stream;
    for shown in packets
        .iter()
        .filter(|packet| packet.stream_index == stream)
    {
        let mut packet = Packet::shown(shown.pts, shown.dts, &shown.flags);
        packet.clean = clean.has(&packet).unwrap_or_default();
        scan.take(packet)?;
    }
    Ok(scan)
}

/// Whether packets would be one shard if all keyframes were clean.
fn is_one_shard(packets: &[ShownPacket], source: &Source, length: ShardLength) -> bool {
    let folded = fold(packets, source, length, CleanKeys::All);
    match folded.map(|scan| scan.folded) {
        Ok(Folded::Plan(planner, _)) => planner.finish().0.shards.len() < 2,
        _ => false,
    }
}

/// Whether the clock of a film begins anew midway, where it must not.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// The highest times up to each of the latest packets.
    highest: VecDeque<i64>,
    /// Packets that come later than any codec reorders.
    behind: usize,
    last: Option<i64>,
    /// How deep the time fell at most, and from where.
    fall: Option<(i64, i64)>,
}

impl Restarts {
    fn observe(&mut self, packet: &Packet) {
        // Matroska stores no decode times, and those that are guessed may fall
        // where nothing is wrong.
        let Some(time) = packet.pts.or(packet.dts) else {
            return;
        };
        let highest = self.highest.back().map_or(time, |&last| last.max(time));
        self.highest.push_back(highest);
        if self.highest.len() > LOOK_AHEAD_PACKETS {
            let earlier = self.highest.pop_front();
            self.behind += usize::from(earlier.is_some_and(|earlier| time < earlier));
        }
        if let Some(last) = self.last.filter(|last| time < *last) {
            let depth = last.saturating_sub(time);
            if self.fall.is_none_or(|(deepest, _)| depth >= deepest) {
                self.fall = Some((depth, last));
            }
        }
        self.last = Some(time);
    }

    /// Refuses such a film.
    ///
    /// # Errors
    /// [`MediaError::ClockRestarts`] names the time at which it does.
    pub fn reject(&self, base: Ratio) -> Result<(), MediaError> {
        if self.behind <= PICTURES_BEHIND_MAX {
            return Ok(());
        }
        let after = self.fall.map_or(i64::MIN, |(_, after)| after);
        Err(MediaError::ClockRestarts {
            after: seconds(rescale(after, base, MICROSECONDS)),
        })
    }
}

/// Parses lines of `pts|dts|flags`.
struct PacketLines<'a> {
    clean: CleanKeys,
    scan: Scan,
    early: Option<EarlyPlan<'a>>,
    /// Packets of which it is not known yet whether they are clean, and those
    /// behind them.
    waiting: VecDeque<Packet>,
    /// Whether too many wait.
    overflowed: bool,
    /// Keyframes by their times, and whether each was taken for a clean one.
    judged: Vec<(i64, bool)>,
    diagnostics: Diagnostics,
}

impl<'a> PacketLines<'a> {
    fn new(
        source: &Source,
        length: ShardLength,
        clean: CleanKeys,
        early: Option<EarlyPlan<'a>>,
    ) -> Self {
        PacketLines {
            clean,
            scan: Scan::new(source, length),
            early,
            waiting: VecDeque::new(),
            overflowed: false,
            judged: Vec::new(),
            diagnostics: Diagnostics::default(),
        }
    }

    /// Takes those packets of which all is known.
    fn take_known(&mut self) -> Result<(), MediaError> {
        while let Some(packet) = self.waiting.front() {
            let Some(clean) = self.clean.has(packet) else {
                return Ok(());
            };
            let mut packet = *packet;
            self.waiting.pop_front();
            packet.clean = clean;
            if let (CleanKeys::SoFar(_), true, Some(pts)) = (&self.clean, packet.key, packet.pts) {
                self.judged.push((pts, clean));
            }
            self.scan.take(packet)?;
            if let (Folded::Plan(planner, _), Some(early)) = (&self.scan.folded, &mut self.early) {
                early.observe(&packet, planner);
            }
        }
        Ok(())
    }

    /// The scan, now that all clean keyframes are known; none if one was taken for
    /// what it is not.
    fn finish(mut self, found: Vec<i64>) -> Result<Option<Scan>, MediaError> {
        let mut judged = self.judged.iter();
        let right = judged.all(|(pts, clean)| found.binary_search(pts).is_ok() == *clean);
        self.clean = CleanKeys::At(found);
        self.early = None;
        self.take_known()?;
        Ok(right.then_some(self.scan))
    }
}

impl Listener for PacketLines<'_> {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if line.is_empty() {
            return Ok(LineEffect::Neutral);
        }
        let packet = parse_packet(line).ok_or_else(|| MediaError::BadOutput {
            tool: "ffprobe".into(),
            detail: line.to_string(),
        })?;
        self.waiting.push_back(packet);
        self.take_known()?;
        if self.waiting.len() > UNJUDGED_PACKETS_MAX {
            self.overflowed = true;
            return Ok(LineEffect::Stop);
        }
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
    Some(Packet::shown(pts, dts, fields.next()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::index::{Index, tests::sample};

    fn restarts(lines: impl Iterator<Item = String>) -> Restarts {
        let mut restarts = Restarts::default();
        lines.for_each(|line| restarts.observe(&parse_packet(&line).unwrap()));
        restarts
    }

    #[test]
    fn a_clock_that_begins_anew_is_refused_and_one_that_stumbles_is_not() {
        let film = Ratio { num: 1, den: 25 };
        let of = |times: Vec<i64>| {
            let lines = times.iter().map(|dts| format!("{dts}|{dts}|K_"));
            restarts(lines)
        };
        let anew = of((0..150).chain(0..150).collect());
        let error = anew.reject(film).unwrap_err();
        assert_eq!(error.kind(), "clock-restarts");
        assert!(error.to_string().contains("after 5.960000 s"), "{error}");
        let stumbling = of((0..150).chain(148..300).collect());
        assert!(stumbling.reject(film).is_ok());
    }

    /// The second part of an edit list begins with a long group of pictures of which only
    /// the last are shown.
    #[test]
    fn what_an_edit_list_hides_means_no_other_clock() {
        let take = |lead_in: &str| {
            let mut scan = Scan::new(&sample().facts.source, ShardLength::Asked(900_000));
            let parts = [(0..300, "__"), (100..300, lead_in), (300..600, "__")];
            let packets = parts.map(|(times, flags)| times.map(move |pts| (pts, flags)));
            for (pts, flags) in packets.into_iter().flatten() {
                let packet = Packet::shown(Some(pts), Some(pts), flags);
                scan.take(packet).unwrap();
            }
            let Folded::Plan(_, restarts) = scan.folded else {
                panic!("a clock that leaps")
            };
            restarts.reject(Ratio { num: 1, den: 25 })
        };
        assert!(take("_D").is_ok());
        assert!(take("__").is_err());
    }

    #[test]
    fn guessed_decode_times_that_fall_mean_no_other_clock() {
        let film = Ratio { num: 1, den: 25 };
        let group = [(0, 0), (5, -2), (3, 1), (2, 2), (1, 3), (4, 4)];
        let lines = (0..1_500)
            .step_by(group.len())
            .flat_map(|from| group.map(|(pts, dts)| format!("{}|{}|__", from + pts, from + dts)));
        assert!(restarts(lines).reject(film).is_ok());
    }

    /// The most memory that this process has had, in MB.
    fn peak_mb() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kb = line.unwrap().split_whitespace().nth(1).unwrap();
        kb.parse::<u64>().unwrap() / 1_000
    }

    /// From ffprobe's lines to the bytes of the index; with other tests beside it
    /// they count as well.
    #[test]
    #[ignore = "long: make test-all"]
    fn ten_million_packets_take_little_memory() {
        const PACKETS: i64 = 10_000_000;
        let before = peak_mb();
        let planner = || Planner::new(ShardLength::Asked(900_000));
        for leaping in [false, true] {
            let folded = match leaping {
                true => Folded::Packets(PacketLog::default()),
                false => Folded::Plan(Box::new(planner()), Restarts::default()),
            };
            let mut lines = PacketLines::new(
                &sample().facts.source,
                ShardLength::Asked(900_000),
                CleanKeys::All,
                None,
            );
            lines.scan.folded = folded;
            for number in 0..PACKETS {
                let flags = if number % 250 == 0 { "K_" } else { "__" };
                // Pairs change places, but for the keyframes'.
                let shown = if number % 250 < 2 { number } else { number ^ 1 };
                let line = format!("{}|{}|{flags}", shown * 1_500 + 3_000, number * 1_500);
                lines.stdout(&line).unwrap();
            }
            let planner = match lines.scan.folded {
                Folded::Plan(planner, _) => *planner,
                Folded::Packets(packets) => {
                    let mut planner = planner();
                    packets.iter().for_each(|packet| planner.push(packet));
                    planner
                }
            };
            let (plan, _) = planner.finish();
            let index = Index::new(sample().facts, plan);
            let bytes = index.to_bytes().len();
            let taken = peak_mb() - before;
            println!("leaping {leaping}: {taken} MB, an index of {bytes} bytes");
            assert!(taken < 800, "{taken} MB");
        }
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
