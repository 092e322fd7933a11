//! ffmpeg's names of the encoders that a spec asks for.

use reelraft_model::spec::{Audio, Codec, Spec};

/// The encoder of a video codec; `None` without video.
pub(crate) fn video_encoder(codec: Codec) -> Option<&'static str> {
    match codec {
        Codec::H264 => Some("libx264"),
        Codec::Hevc => Some("libx265"),
        Codec::Vp9 => Some("libvpx-vp9"),
        Codec::Av1 => Some("libsvtav1"),
        Codec::Ffv1 => Some("ffv1"),
        Codec::None => None,
    }
}

/// The encoder of an audio codec; `None` where nothing is encoded.
pub(crate) fn audio_encoder(audio: Audio) -> Option<&'static str> {
    match audio {
        Audio::Aac => Some("aac"),
        Audio::Opus => Some("libopus"),
        Audio::Flac => Some("flac"),
        Audio::Copy | Audio::None => None,
    }
}

/// The encoder of the pictures that a spec asks for, whatever the source.
pub(crate) fn of_pictures(spec: &Spec) -> Option<&'static str> {
    match spec.container().sound_alone() {
        true => None,
        false => video_encoder(spec.codec()),
    }
}
