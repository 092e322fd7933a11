//! Which films are left as they are: those that need nothing done, and those that
//! came out no smaller.

use crate::{library::facts::Facts, render::format, spec_options};

/// What small enough means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Below {
    Bytes(u64),
    BitsPerSecond(u32),
}

/// The rules of one command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Leave films whose pictures have one of these codecs.
    pub skip_codecs: Vec<String>,
    /// Leave films below this.
    pub skip_below: Option<Below>,
    /// Keep only outputs that are smaller by so many percent.
    pub smaller_percent: Option<u32>,
}

impl Rules {
    /// Whether a film's header must be read to judge it.
    pub fn need_facts(&self) -> bool {
        !self.skip_codecs.is_empty() || matches!(self.skip_below, Some(Below::BitsPerSecond(_)))
    }

    /// Why a film is left as it is; none if it is to be done. What is not known
    /// of it is no reason.
    pub fn skip(&self, bytes: u64, facts: &Facts) -> Option<String> {
        if let Some(codec) = &facts.codec
            && self.skip_codecs.contains(codec)
        {
            return Some(format!("it is {codec} already"));
        }
        match self.skip_below? {
            Below::Bytes(limit) if bytes < limit => {
                Some(format!("it is small enough: {}", format::size(bytes)))
            }
            Below::BitsPerSecond(limit) => {
                let found = facts.bitrate(bytes)?;
                let small = found < u64::from(limit);
                small.then(|| format!("its bit rate is low enough: {} kbit/s", found / 1000))
            }
            Below::Bytes(_) => None,
        }
    }

    /// Whether an output is small enough to be kept.
    pub fn keeps(&self, bytes_in: u64, bytes_out: u64) -> bool {
        let Some(percent) = self.smaller_percent else {
            return true;
        };
        let most = u128::from(bytes_in) * u128::from(100 - percent.min(100));
        u128::from(bytes_out) * 100 <= most && bytes_out < bytes_in
    }
}

/// `700M` is a size, `2.5Mbps` a bit rate.
///
/// # Errors
/// What to write instead.
pub fn below(text: &str) -> Result<Below, String> {
    let bad = |_| "use a size such as 700M, or a bit rate such as 2.5Mbps".to_string();
    match text.strip_suffix("bps") {
        Some(rate) => spec_options::bitrate(rate)
            .map(Below::BitsPerSecond)
            .map_err(bad),
        None => spec_options::size(text).map(Below::Bytes).map_err(bad),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_film_is_left_for_its_codec_its_size_or_its_rate() {
        let facts = Facts {
            codec: Some("hevc".into()),
            duration_ms: Some(10_000),
        };
        let mut rules = Rules::default();
        assert!(!rules.need_facts() && rules.skip(1, &facts).is_none());
        rules.skip_codecs = vec!["av1".into(), "hevc".into()];
        assert_eq!(rules.skip(1, &facts).unwrap(), "it is hevc already");
        assert!(rules.skip(1, &Facts::default()).is_none(), "not known");
        rules.skip_codecs.clear();
        rules.skip_below = Some(below("1M").unwrap());
        assert!(rules.skip(999_999, &facts).is_some() && !rules.need_facts());
        assert!(rules.skip(1_000_000, &facts).is_none());
        rules.skip_below = Some(below("800kbps").unwrap());
        assert!(rules.skip(999_999, &facts).is_some() && rules.need_facts());
        assert!(rules.skip(1_000_000, &facts).is_none());
        assert!(rules.skip(5, &Facts::default()).is_none(), "not known");
        assert!(below("fast").is_err() && below("0bps").is_err());
    }

    #[test]
    fn an_output_is_kept_if_it_is_smaller_by_so_much() {
        let rules = |percent| Rules {
            smaller_percent: percent,
            ..Rules::default()
        };
        assert!(rules(None).keeps(10, 20));
        assert!(rules(Some(0)).keeps(10, 9) && !rules(Some(0)).keeps(10, 10));
        assert!(rules(Some(20)).keeps(1000, 800) && !rules(Some(20)).keeps(1000, 801));
        assert!(!rules(Some(100)).keeps(1000, 1));
    }
}
