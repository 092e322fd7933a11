//! The filters of an audio track: a gain and a limiter if its loudness is to
//! change, and the channel layouts that its encoder supports.

use reelraft_model::spec::{Audio, Spec};

use crate::{
    facts::{
        audio_track::{AudioTrack, Loudness},
        encoder_names::audio_encoder,
        text::{milli, strings},
    },
    limits::PEAK_MDB_MAX,
};

impl Loudness {
    /// Filters that bring a track to the spec's loudness: one gain for the
    /// whole track, and a limiter if the gain would drive its peaks too high.
    pub fn filters(self, spec: &Spec) -> Vec<String> {
        let gain_mdb = spec.loudness_mlufs.saturating_sub(self.integrated_mlufs);
        let mut filters = vec![format!("volume={}dB:precision=double", milli(gain_mdb))];
        if self.peak_mdb.saturating_add(gain_mdb) > PEAK_MDB_MAX {
            // A limit of -1.5 dB for samples keeps the true peak below -1 dB.
            // Without latency compensation the sound would be late.
            filters.push("alimiter=limit=0.841395:level=0:latency=1".into());
        }
        filters
    }
}

/// Renames the channels of a track to those of a standard layout, where one
/// has as many of them in the same places. A single channel is mono, whichever
/// it is called: encoders refuse or mix others. AAC has numbers for speakers
/// behind the listener and none for those at the sides; a layout that it must
/// describe in words is what few players read.
fn standard_layout(spec: &Spec, track: &AudioTrack) -> Option<&'static str> {
    audio_encoder(spec.audio())?;
    match (spec.audio(), track.channels, track.layout.as_str()) {
        (_, 1, "" | "mono") => None,
        (_, 1, _) => Some("pan=mono|c0=c0"),
        (_, 2, "downmix") => Some("pan=stereo|c0=c0|c1=c1"),
        (Audio::Aac, 5, "5.0(side)") => Some("aformat=channel_layouts=5.0"),
        (Audio::Aac, 6, "5.1(side)") => Some("aformat=channel_layouts=5.1"),
        _ => None,
    }
}

/// Filters of the `number`th track of its output.
pub(crate) fn filters(spec: &Spec, track: &AudioTrack, number: usize) -> Vec<String> {
    let mut chain = match track.loudness {
        Some(loudness) => loudness.filters(spec),
        None => Vec::new(),
    };
    chain.extend(standard_layout(spec, track).map(String::from));
    if spec.audio() == Audio::Opus {
        // Opus supports only the layouts of Vorbis; "5.1(side)" is none of
        // them.
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
    fn channels_are_renamed_where_a_standard_layout_has_as_many() {
        let named = |audio: Audio, channels, layout: &str| {
            let mut spec = Spec::default();
            spec.set_audio(audio);
            let track = AudioTrack {
                channels,
                layout: layout.into(),
                ..crate::facts::index::tests::sample().facts.audio_tracks[0].clone()
            };
            standard_layout(&spec, &track)
        };
        let surround = "aformat=channel_layouts=5.1";
        assert_eq!(named(Audio::Aac, 6, "5.1(side)"), Some(surround));
        assert_eq!(named(Audio::Aac, 6, "5.1"), None);
        assert_eq!(named(Audio::Aac, 6, "hexagonal"), None);
        assert_eq!(named(Audio::Flac, 6, "5.1(side)"), None);
        for audio in [Audio::Aac, Audio::Opus, Audio::Flac] {
            let right = named(audio, 1, "1 channels (FR)");
            assert_eq!(right, Some("pan=mono|c0=c0"));
            assert_eq!(named(audio, 1, "mono"), None);
        }
        assert_eq!(named(Audio::Copy, 1, "1 channels (FR)"), None);
    }

    #[test]
    fn one_gain_and_a_limiter_only_where_peaks_need_it() {
        assert_eq!(filters(-23_400, -9_000), "volume=7.400dB:precision=double");
        assert_eq!(filters(-9_500, 100), "volume=-6.500dB:precision=double");
        assert!(filters(-23_400, -3_000).contains(",alimiter="));
    }
}
