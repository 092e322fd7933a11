//! Text cues, one at a time: what MP4 needs, whose subtitle samples follow one
//! another. ffmpeg's muxer ends a cue where the next one begins, so of two that
//! are shown together the first is lost, and it misplaces what lies too far
//! from its neighbour.

use crate::limits::{CUE_GAP_MS_MAX, CUES_AT_ONCE_MAX, CUES_BYTES_MAX, UNTIMED_CUE_MS};

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

/// Brings cues into turns: those shown together become one, a line each; one
/// without a length is shown until the next; long ones and gaps are divided.
/// `None` if there are too many at once.
pub(crate) fn in_turn(cues: &[Cue]) -> Option<Vec<Cue>> {
    let mut cues = cues.to_vec();
    // What ends before the film begins is not shown.
    cues.retain(|cue| cue.to_ms > 0 || cue.from_ms >= 0);
    for cue in &mut cues {
        cue.from_ms = cue.from_ms.max(0);
    }
    cues.sort_by_key(|cue| cue.from_ms);
    for at in 0..cues.len() {
        let from_ms = cues[at].from_ms;
        if cues[at].to_ms <= from_ms {
            let next = cues[at + 1..].iter().map(|cue| cue.from_ms);
            let next = next.into_iter().find(|&next| next > from_ms);
            let longest = from_ms.saturating_add(UNTIMED_CUE_MS);
            cues[at].to_ms = next.map_or(longest, |next| next.min(longest));
        }
    }
    let mut edges: Vec<i64> = cues
        .iter()
        .flat_map(|cue| [cue.from_ms, cue.to_ms])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let (mut turns, mut bytes) = (Vec::new(), 0);
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
            return None;
        }
        if shown.is_empty() {
            continue;
        }
        fill(&mut turns, end, from);
        let text = joined(&shown);
        for (from_ms, to_ms) in pieces(from, to) {
            bytes += text.len();
            let text = text.clone();
            turns.push(Cue {
                from_ms,
                to_ms,
                text,
            });
        }
        if bytes > CUES_BYTES_MAX {
            return None;
        }
        end = to;
    }
    Some(turns)
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

/// Keeps a gap from being too long.
fn fill(turns: &mut Vec<Cue>, end: i64, next: i64) {
    for (_, to_ms) in pieces(end, next).filter(|&(_, to)| to < next) {
        turns.push(Cue {
            from_ms: to_ms - 1,
            to_ms,
            text: FILLER.into(),
        });
    }
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
        assert_eq!(in_turn(&crowd), None);
        assert_eq!(in_turn(&[]), Some(Vec::new()));
    }
}
