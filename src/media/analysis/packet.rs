//! A packet of the video, and what keeps many of them in little memory: a film
//! of a day has ten million, whose times rise by much the same steps.

use crate::facts::record::{read_step, write_step};

/// What a container says of a packet.
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

impl Packet {
    /// A packet by ffprobe's flags.
    pub fn shown(pts: Option<i64>, dts: Option<i64>, flags: &str) -> Self {
        Packet {
            pts,
            dts,
            key: flags.contains('K'),
            clean: false,
            hidden: flags.contains('D'),
        }
    }
}

/// Times in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct TimeLog {
    steps: Vec<u8>,
    last: i64,
    count: usize,
}

impl TimeLog {
    pub fn push(&mut self, time: i64) {
        write_step(&mut self.steps, self.last, time);
        self.last = time;
        self.count += 1;
    }

    /// The times in ascending order.
    pub fn sorted(&self) -> Vec<i64> {
        let mut times = Vec::with_capacity(self.count);
        let (mut rest, mut last) = (self.steps.as_slice(), 0);
        while let Some(time) = read_step(&mut rest, last) {
            times.push(time);
            last = time;
        }
        times.sort_unstable();
        times
    }
}

/// Packets in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct PacketLog {
    bytes: Vec<u8>,
    /// The latest times.
    pts: i64,
    dts: i64,
    count: usize,
}

/// Bits of a packet's first byte.
const KEY: u8 = 1;
const CLEAN: u8 = 2;
const HIDDEN: u8 = 4;
const WITH_PTS: u8 = 8;
const WITH_DTS: u8 = 16;

impl PacketLog {
    pub fn push(&mut self, packet: Packet) {
        let bit = |bit, set: bool| if set { bit } else { 0 };
        self.bytes.push(
            bit(KEY, packet.key)
                | bit(CLEAN, packet.clean)
                | bit(HIDDEN, packet.hidden)
                | bit(WITH_PTS, packet.pts.is_some())
                | bit(WITH_DTS, packet.dts.is_some()),
        );
        let times = [(packet.pts, &mut self.pts), (packet.dts, &mut self.dts)];
        for (time, last) in times {
            if let Some(time) = time {
                write_step(&mut self.bytes, *last, time);
                *last = time;
            }
        }
        self.count += 1;
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn iter(&self) -> PacketIter<'_> {
        PacketIter {
            rest: &self.bytes,
            pts: 0,
            dts: 0,
        }
    }
}

/// The packets of a [`PacketLog`].
#[derive(Debug)]
pub(crate) struct PacketIter<'a> {
    rest: &'a [u8],
    pts: i64,
    dts: i64,
}

impl Iterator for PacketIter<'_> {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let (&bits, rest) = self.rest.split_first()?;
        self.rest = rest;
        let mut packet = Packet {
            pts: None,
            dts: None,
            key: bits & KEY != 0,
            clean: bits & CLEAN != 0,
            hidden: bits & HIDDEN != 0,
        };
        if bits & WITH_PTS != 0 {
            self.pts = read_step(&mut self.rest, self.pts)?;
            packet.pts = Some(self.pts);
        }
        if bits & WITH_DTS != 0 {
            self.dts = read_step(&mut self.rest, self.dts)?;
            packet.dts = Some(self.dts);
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_takes_a_few_bytes() {
        let mut log = PacketLog::default();
        let mut packets: Vec<Packet> = (0..1_000)
            .map(|number| Packet {
                pts: Some(number * 3_600 + 900_000),
                dts: Some(number * 3_600),
                key: number % 12 == 0,
                clean: number % 24 == 0,
                hidden: number < 3,
            })
            .collect();
        packets[7].pts = None;
        packets[8].dts = None;
        packets[9].pts = Some(i64::MIN);
        packets[10].dts = Some(i64::MAX);
        let mut times = TimeLog::default();
        for packet in &packets {
            log.push(*packet);
            packet.pts.into_iter().for_each(|pts| times.push(pts));
        }
        assert_eq!(log.iter().collect::<Vec<Packet>>(), packets);
        assert_eq!(log.len(), 1_000);
        assert!(log.bytes.len() < 6_000, "{}", log.bytes.len());
        let mut sorted: Vec<i64> = packets.iter().filter_map(|packet| packet.pts).collect();
        sorted.sort_unstable();
        assert_eq!(times.sorted(), sorted);
        assert!(times.steps.len() < 2_100, "{}", times.steps.len());
    }
}
