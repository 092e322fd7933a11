//! The clock of the pictures as one pass over the source reads it.
//!
//! Sound and pictures are made by passes of their own. In formats whose clocks
//! may leap, ffmpeg evens out each leap by what it has read before, so each pass
//! must read the same streams, and read them alike. Every such pass copies the
//! pictures' packets into `framecrc` beside its own work, which prints their
//! times. Passes that agree on these placed sound and pictures alike (P3).

/// Options of the output that prints the times; the pictures are its first
/// stream. Each line is written at once, so that `-progress` on the same pipe
/// can't tear it. Packets before the first keyframe are printed too.
pub(crate) const PRINTED: [&str; 8] = [
    "-c",
    "copy",
    "-copyinkf",
    "-flush_packets",
    "1",
    "-f",
    "framecrc",
    "-",
];

/// Hashes the times of the pictures' packets.
#[derive(Debug, Default)]
pub(crate) struct PictureClock {
    hasher: blake3::Hasher,
    packets: u64,
}

impl PictureClock {
    /// Takes a line of stdout, whatever it is.
    pub fn observe(&mut self, line: &str) {
        if let Some(pts) = time(line) {
            self.packets += 1;
            self.hasher.update(&pts.unwrap_or(i64::MIN).to_le_bytes());
        }
    }

    /// The hash of all times, if any was printed.
    pub fn digest(&self) -> Option<String> {
        (self.packets > 0).then(|| self.hasher.finalize().to_hex().to_string())
    }
}

/// The time of a packet of the pictures, if a line shows one: `0, dts, pts, …`.
/// The inner `None` is a packet without a time.
pub(crate) fn time(line: &str) -> Option<Option<i64>> {
    let mut fields = line.strip_prefix("0,")?.split(',').map(str::trim);
    let pts: i64 = fields.nth(1)?.parse().ok()?;
    Some((pts != i64::MIN).then_some(pts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_pictures_alone_are_hashed() {
        assert_eq!(
            time("0,       -512,        512,      512,     4000, 0x1"),
            Some(Some(512))
        );
        assert_eq!(time("0, 1, -9223372036854775808, 1, 4, 0x1"), Some(None));
        for other in [
            "1, 0, 0, 1, 4, 0x1",
            "#tb 0: 1/90000",
            "out_time_us=4",
            "0, torn",
        ] {
            assert_eq!(time(other), None, "{other}");
        }
        let digest = |lines: &[&str]| {
            let mut clock = PictureClock::default();
            lines.iter().for_each(|line| clock.observe(line));
            clock.digest()
        };
        assert_eq!(digest(&["frame=1"]), None);
        let one = digest(&["0, 0, 7, 1, 4, 0x1", "1, 0, 0, 1, 4, 0x1", "progress=end"]);
        assert_eq!(one, digest(&["0, 3, 7, 2, 5, 0x2"]));
        assert_ne!(one, digest(&["0, 0, 8, 1, 4, 0x1"]));
    }
}
