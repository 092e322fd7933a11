//! Text cues, one at a time: what MP4 needs, whose subtitle samples follow one
//! another. ffmpeg's muxer ends a cue where the next one begins, so of two that
//! are shown together the first is lost, and it misplaces what lies too far
//! from its neighbour.

use crate::limits::{CUE_GAP_MS_MAX, CUES_AT_ONCE_MAX, CUES_BYTES_MAX, CUES_MAX, UNTIMED_CUE_MS};

/// A cue and when it is shown, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cue {
    pub from_ms: i64,
    pub to_ms: i64,
    pub text: String,
}

/// Shows nothing, and is still written: it keeps its neighbours in place.
const FILLER: &str = "\\h";

/// Parses SubRip as ffmpeg writes it: numbered from 1.
pub(crate) fn parse(srt: &str) -> Vec<Cue> {
    let mut cues: Vec<Cue> = Vec::new();
    let mut lines = srt.lines().peekable();
    while let Some(line) = lines.next() {
        let begins = line.trim() == (cues.len() + 1).to_string();
        match lines.peek().copied().and_then(times) {
            Some((from_ms, to_ms)) if begins => {
                lines.next();
                cues.push(Cue {
                    from_ms,
                    to_ms,
                    text: String::new(),
                });
            }
            _ => {
                // An empty line in a text would end it.
                let own = cues.last_mut().filter(|_| !line.trim().is_empty());
                if let Some(Cue { text, .. }) = own {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(line);
                }
            }
        }
    }
    cues
}

/// Parses `00:00:01,500 --> 00:00:03,000`.
fn times(line: &str) -> Option<(i64, i64)> {
    let mut words = line.split_whitespace();
    let from = time(words.next()?)?;
    let arrow = words.next()?;
    let to = time(words.next()?)?;
    (arrow == "-->").then_some((from, to))
}

fn time(word: &str) -> Option<i64> {
    let (clock, millis) = word.split_once(',')?;
    let mut seconds = 0i64;
    for part in clock.split(':') {
        let part: i64 = part.parse().ok()?;
        seconds = seconds.checked_mul(60)?.checked_add(part)?;
    }
    seconds
        .checked_mul(1_000)?
        .checked_add(millis.parse().ok()?)
}

/// Writes SubRip.
pub(crate) fn write(cues: &[Cue]) -> String {
    let clock = |ms: i64| {
        let (seconds, ms) = (ms / 1_000, ms % 1_000);
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        format!(
            "{:02}:{:02}:{seconds:02},{ms:03}",
            minutes / 60,
            minutes % 60
        )
    };
    let cues = (1..).zip(cues).map(|(number, cue)| {
        let (from, to) = (clock(cue.from_ms), clock(cue.to_ms));
        format!("{number}\n{from} --> {to}\n{}\n\n", cue.text)
    });
    cues.collect()
}

/// Cues with something to read, tags aside.
pub(crate) fn readable(cues: &[Cue]) -> u64 {
    let reads = |cue: &&Cue| {
        let mut tag = None;
        cue.text.chars().any(|letter| match (tag, letter) {
            (None, '<') => {
                tag = Some('>');
                false
            }
            (None, '{') => {
                tag = Some('}');
                false
            }
            (Some(end), _) => {
                tag = (letter != end).then_some(end);
                false
            }
            (None, letter) => !letter.is_whitespace(),
        })
    };
    cues.iter().filter(reads).count() as u64
}

/// Whether a muxer that shows one cue at a time would lose or misplace one.
pub(crate) fn lose_by_turns(cues: &[Cue]) -> bool {
    let mut end = 0;
    cues.iter().any(|cue| {
        let lost = cue.from_ms < end
            || cue.to_ms <= cue.from_ms
            || cue.from_ms - end > CUE_GAP_MS_MAX
            || cue.to_ms - cue.from_ms > CUE_GAP_MS_MAX;
        end = cue.to_ms;
        lost
    })
}

/// Why cues can't be brought into turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// More than [`CUES_AT_ONCE_MAX`] are shown at once.
    AtOnce,
    /// They would be more than [`CUES_MAX`], or longer than [`CUES_BYTES_MAX`].
    InAll,
}

/// Brings cues into turns: those shown together become one, a line each; one
/// without a length is shown until the next; long ones and gaps are divided.
pub(crate) fn in_turn(cues: &[Cue]) -> Result<Vec<Cue>, Crowd> {
    let cues = timed(cues);
    let mut edges: Vec<i64> = cues
        .iter()
        .flat_map(|cue| [cue.from_ms, cue.to_ms])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let mut turns = Turns::default();
    let (mut next, mut end) = (0, 0);
    let mut shown: Vec<&Cue> = Vec::new();
    for pair in edges.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        shown.retain(|cue| cue.to_ms > from);
        while let Some(cue) = cues.get(next).filter(|cue| cue.from_ms <= from) {
            shown.push(cue);
            next += 1;
        }
        if shown.len() > CUES_AT_ONCE_MAX {
            return Err(Crowd::AtOnce);
        }
        if shown.is_empty() {
            continue;
        }
        // Keeps a gap from being too long.
        for (_, to_ms) in pieces(end, from).filter(|&(_, to)| to < from) {
            turns.push(to_ms - 1, to_ms, FILLER)?;
        }
        let text = joined(&shown);
        for (from_ms, to_ms) in pieces(from, to) {
            turns.push(from_ms, to_ms, &text)?;
        }
        end = to;
    }
    Ok(turns.cues)
}

/// The cues in order, each with a length, from the film's beginning on.
fn timed(cues: &[Cue]) -> Vec<Cue> {
    // What ends before the film begins is not shown.
    let shown = |cue: &&Cue| cue.to_ms > 0 || cue.from_ms >= 0;
    let mut cues: Vec<Cue> = cues.iter().filter(shown).cloned().collect();
    for cue in &mut cues {
        cue.from_ms = cue.from_ms.max(0);
    }
    cues.sort_by_key(|cue| cue.from_ms);
    // Where the cue behind begins, and where the first that begins later does.
    let (mut behind, mut later) = (i64::MAX, i64::MAX);
    for cue in cues.iter_mut().rev() {
        if cue.from_ms < behind {
            (behind, later) = (cue.from_ms, behind);
        }
        if cue.to_ms <= cue.from_ms {
            cue.to_ms = cue.from_ms.saturating_add(UNTIMED_CUE_MS).min(later);
        }
    }
    cues
}

/// What came of cues so far, within the limits.
#[derive(Default)]
struct Turns {
    cues: Vec<Cue>,
    bytes: usize,
}

impl Turns {
    fn push(&mut self, from_ms: i64, to_ms: i64, text: &str) -> Result<(), Crowd> {
        self.bytes += text.len();
        if self.cues.len() == CUES_MAX || self.bytes > CUES_BYTES_MAX {
            return Err(Crowd::InAll);
        }
        self.cues.push(Cue {
            from_ms,
            to_ms,
            text: text.to_string(),
        });
        Ok(())
    }
}

/// The texts of cues shown together. Layers of the same text are one.
fn joined(shown: &[&Cue]) -> String {
    let mut texts: Vec<&str> = Vec::new();
    for cue in shown {
        if !texts.contains(&cue.text.as_str()) {
            texts.push(&cue.text);
        }
    }
    texts.join("\n")
}

/// Divides a span into pieces that the muxer accepts.
fn pieces(from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> {
    let step = CUE_GAP_MS_MAX as usize;
    (from..to)
        .step_by(step)
        .map(move |start| (start, (start + CUE_GAP_MS_MAX).min(to)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn cue(from_ms: i64, to_ms: i64, text: &str) -> Cue {
        Cue {
            from_ms,
            to_ms,
            text: text.into(),
        }
    }

    #[test]
    fn subrip_is_read_and_written() {
        let srt = "1\n00:00:01,500 --> 00:00:03,000\nHello\n\n2\n100:00:00,001 --> 100:00:01,000\n2\n\nthere\n\n";
        let cues = parse(srt);
        let wanted = [
            cue(1_500, 3_000, "Hello"),
            cue(360_000_001, 360_001_000, "2\nthere"),
        ];
        assert_eq!(cues, wanted);
        assert_eq!(parse(&write(&cues)), cues);
        assert_eq!(parse("nonsense\n1\n00:00 -> 1\n"), []);
        let tags = [cue(0, 1, "<i></i>{\\an8} "), cue(0, 1, "<i>x</i>")];
        assert_eq!(readable(&tags), 1);
    }

    #[test]
    fn cues_at_one_time_are_joined_and_none_is_lost() {
        let cues = [
            cue(1_000, 3_000, "a"),
            cue(1_000, 3_000, "b"),
            cue(1_000, 3_000, "a"),
            cue(2_000, 4_000, "c"),
            cue(5_000, 5_000, "d"),
            cue(6_000, 6_500, "e"),
        ];
        assert!(lose_by_turns(&cues));
        let turns = in_turn(&cues).unwrap();
        let wanted = [
            cue(1_000, 2_000, "a\nb"),
            cue(2_000, 3_000, "a\nb\nc"),
            cue(3_000, 4_000, "c"),
            cue(5_000, 6_000, "d"),
            cue(6_000, 6_500, "e"),
        ];
        assert_eq!(turns, wanted);
        assert!(!lose_by_turns(&turns));
        assert_eq!(in_turn(&turns).unwrap(), turns);
    }

    #[test]
    fn long_cues_and_gaps_are_divided() {
        let hour = 3_600_000;
        let cues = [
            cue(1_000, hour, "sign"),
            cue(4 * hour, 4 * hour + 1, "late"),
        ];
        assert!(lose_by_turns(&cues));
        let turns = in_turn(&cues).unwrap();
        assert!(!lose_by_turns(&turns), "{turns:?}");
        let sign: i64 = turns
            .iter()
            .filter(|cue| cue.text == "sign")
            .map(|cue| cue.to_ms - cue.from_ms)
            .sum();
        assert_eq!(sign, hour - 1_000);
        assert_eq!(turns.last(), cues.last());
    }

    #[test]
    fn too_many_at_once_are_not_joined() {
        let crowd = vec![cue(0, 9, "x"); CUES_AT_ONCE_MAX + 1];
        assert_eq!(in_turn(&crowd), Err(Crowd::AtOnce));
        assert_eq!(in_turn(&[]), Ok(Vec::new()));
    }

    #[test]
    fn pieces_and_fillers_are_counted() {
        let far = 200_000_000 * 3_600_000;
        for cues in [[cue(far, far + 1, "late")], [cue(0, far, "long")]] {
            assert_eq!(in_turn(&cues), Err(Crowd::InAll));
        }
        let text = "x".repeat(CUES_BYTES_MAX / 2);
        let long = [cue(0, 2 * CUE_GAP_MS_MAX, &text)];
        assert_eq!(in_turn(&long).unwrap().len(), 2);
        let longer = [cue(0, 2 * CUE_GAP_MS_MAX + 1, &text)];
        assert_eq!(in_turn(&longer), Err(Crowd::InAll));
    }

    #[test]
    fn many_cues_without_a_length_take_no_time() {
        let crowd: Vec<Cue> = (0..CUES_MAX as i64)
            .map(|number| cue(number / 8, number / 8, ""))
            .collect();
        let turns = in_turn(&crowd).unwrap();
        assert_eq!(turns.len(), CUES_MAX / 8);
        assert_eq!(turns[0].to_ms, 1);
        let last = turns.last().unwrap();
        assert_eq!(last.to_ms - last.from_ms, UNTIMED_CUE_MS);
    }
}
