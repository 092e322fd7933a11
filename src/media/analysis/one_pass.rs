//! How one pass over all streams of the job times the pictures, in formats whose
//! clocks may leap. Shards are read with the source's own times, and that is
//! right only if one pass does nothing but take off the start.

use crate::{
    analysis::{args, packets::Packet},
    error::MediaError,
    facts::source::Source,
    ffmpeg::{
        context::Context,
        log::Diagnostics,
        picture_clock::{self, PictureClock},
        process::{LineEffect, Listener},
    },
};

/// Compares the packets' times with those of one pass, which takes `zero` off,
/// and gives them the latter where it does more. Returns the hash of the times
/// of one pass, or `None` where it does more: then they depend on what is
/// decoded beside.
pub(crate) async fn compare(
    context: &Context<'_>,
    source: &Source,
    other_streams: &[u32],
    packets: &mut [Packet],
    zero: i64,
) -> Result<Option<String>, MediaError> {
    let mut listener = OnePass {
        packets,
        zero,
        seen: 0,
        leaps: false,
        clock: PictureClock::default(),
        diagnostics: Diagnostics::default(),
    };
    let arguments = args::one_pass(context.input, source, other_streams);
    let exit = context.ffmpeg(&arguments, &mut listener).await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    let leaps = listener.leaps || listener.seen != listener.packets.len();
    Ok(listener.clock.digest().filter(|_| !leaps))
}

struct OnePass<'a> {
    packets: &'a mut [Packet],
    zero: i64,
    seen: usize,
    leaps: bool,
    clock: PictureClock,
    diagnostics: Diagnostics,
}

impl Listener for OnePass<'_> {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        let Some(time) = picture_clock::time(line) else {
            return Ok(LineEffect::Progress);
        };
        self.clock.observe(line);
        if let (Some(packet), Some(time)) = (self.packets.get_mut(self.seen), time) {
            let time = time.saturating_add(self.zero);
            self.leaps |= packet.pts != Some(time);
            packet.pts = Some(time);
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

    #[test]
    fn a_film_that_is_only_shifted_does_not_leap() {
        for (second, leaps) in [(3_600, false), (3_601, true)] {
            let mut packets = [9_000, 12_600].map(|pts| Packet {
                pts: Some(pts),
                dts: None,
                key: true,
                clean: true,
                hidden: false,
            });
            let mut pass = OnePass {
                packets: &mut packets,
                zero: 9_000,
                seen: 0,
                leaps: false,
                clock: PictureClock::default(),
                diagnostics: Diagnostics::default(),
            };
            for line in ["#tb 0: 1/90000", "0, 0, 0, 1, 4, 0x1", "1, 0, 9, 1, 4, 0x1"] {
                pass.stdout(line).unwrap();
            }
            pass.stdout(&format!("0, 0, {second}, 1, 4, 0x1")).unwrap();
            assert_eq!((pass.seen, pass.leaps), (2, leaps));
            assert_eq!(packets[1].pts, Some(9_000 + second));
        }
    }
}
