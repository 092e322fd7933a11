//! The filters of an audio track: a gain and limiter where its loudness is to
//! change, and the channel layouts that its encoder knows.

use reelraft_model::spec::{Audio, Spec};

use crate::{
    facts::{
        audio_track::{AudioTrack, Loudness},
        text::{milli, strings},
    },
    limits::PEAK_MDB_MAX,
};

impl Loudness {
    /// Filters that bring a track to the loudness a spec asks for.
    pub fn filters(self, spec: &Spec) -> Vec<String> {
        let gain_mdb = spec.loudness_mlufs.saturating_sub(self.integrated_mlufs);
        let mut filters = vec![format!("volume={}dB:precision=double", milli(gain_mdb))];
        if self.peak_mdb.saturating_add(gain_mdb) > PEAK_MDB_MAX {
            // -1.5 dB for its samples keeps what is between them below -1 dB.
            // Without its delay being made up for, the sound would come late.
            filters.push("alimiter=limit=0.841395:level=0:latency=1".into());
        }
        filters
    }
}

/// Filters of one track, as the `number`th of its output.
pub(crate) fn filters(spec: &Spec, sound: &AudioTrack, number: usize) -> Vec<String> {
    let mut chain = match sound.loudness {
        Some(loudness) => loudness.filters(spec),
        None => Vec::new(),
    };
    if spec.audio() == Audio::Opus {
        // Opus knows the layouts of Vorbis alone; "5.1(side)" is not one.
        chain.push("aformat=channel_layouts=mono|stereo|3.0|quad|5.0|5.1|6.1|7.1".into());
    }
    match chain.as_slice() {
        [] => Vec::new(),
        chain => strings(&[&format!("-filter:a:{number}"), &chain.join(",")]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn filters(integrated_mlufs: i32, peak_mdb: i32) -> String {
        let loudness = Loudness {
            integrated_mlufs,
            peak_mdb,
        };
        let spec = Spec {
            loudness_mlufs: -16_000,
            ..Default::default()
        };
        loudness.filters(&spec).join(",")
    }

    #[test]
    fn one_gain_and_a_limiter_only_where_peaks_need_it() {
        assert_eq!(filters(-23_400, -9_000), "volume=7.400dB:precision=double");
        assert_eq!(filters(-9_500, 100), "volume=-6.500dB:precision=double");
        assert!(filters(-23_400, -3_000).contains(",alimiter="));
    }
}
