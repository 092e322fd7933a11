//! The options of a job: as asked for, and resolved.

use std::borrow::Cow;

use super::{
    amount::{Aim, Amount},
    choices::{Audio, Codec, Container, Deinterlace, Denoise, Subtitles},
};

/// The options as a user gives them: `None` or empty means "the default".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecRequest {
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// Frames a second, as numerator and denominator.
    pub fps: Option<(u32, u32)>,
    /// h264, hevc, vp9, av1 or ffv1.
    pub codec: String,
    /// Constant quality factor, in the codec's own scale.
    pub crf: Option<u32>,
    /// The encoder's preset; for VP9 and AV1 its speed as a number.
    pub preset: String,
    /// ffmpeg's pixel format name.
    pub pix_fmt: String,
    /// Thousandths, -1000 to 1000, 0 neutral.
    pub brightness_milli: Option<i32>,
    /// Thousandths, 0 to 2000, 1000 neutral.
    pub contrast_milli: Option<i32>,
    /// aac, opus, flac, copy or none.
    pub audio: String,
    /// Bits a second.
    pub audio_bitrate: Option<u32>,
    /// mp4, mkv, webm, mov, m4a, opus or flac.
    pub container: String,
    /// The shard length to aim at.
    pub shard_ms: Option<u32>,
    /// Thousandths, 0 to 3000, 1000 neutral.
    pub saturation_milli: Option<i32>,
    /// off, auto or on.
    pub deinterlace: String,
    /// The part of the picture that is kept.
    pub crop: Option<Crop>,
    /// Size of a black canvas. The picture is put in its middle.
    pub pad: Option<(u32, u32)>,
    /// off, light, medium or strong.
    pub denoise: String,
    /// The loudness to aim at, in thousandths of LUFS (EBU R 128), below zero.
    pub loudness_mlufs: Option<i32>,
    /// Which audio tracks to take, counted from 1; empty takes all.
    pub audio_tracks: Vec<u32>,
    /// keep or none.
    pub subtitles: String,
    /// Whether tags and chapters are left out.
    pub strip_metadata: bool,
    /// Whether tags that name a place are kept.
    pub keep_location: bool,
    /// Whether a source with decode errors is refused.
    pub strict: bool,
    /// The program of a broadcast to take, by its number.
    pub program: Option<u32>,
    /// Which video track to take, counted from 1.
    pub video_track: Option<u32>,
    /// Whether pictures that only Dolby Vision gives their colors are taken as
    /// they are.
    pub ignore_dolby_vision: bool,
    /// How much is spent, where no rate factor says it.
    pub amount: Amount,
    /// What the encoder is told beside its quality and preset.
    pub encoder_choice: EncoderChoice,
}

/// What an encoder is told beside its quality and preset. Zero and empty mean that
/// it is left to the encoder; in a request, that it is not given.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct EncoderChoice {
    /// The highest rate of the pictures over a full buffer, in bits a second.
    #[prost(uint32, tag = "1")]
    pub maxrate: u32,
    /// The size of that buffer in bits; 0 without a highest rate.
    #[prost(uint32, tag = "2")]
    pub bufsize: u32,
    /// What the encoder is tuned for, in its own word.
    #[prost(string, tag = "3")]
    pub tune: String,
    /// The time from one keyframe to the next, in thousandths of a second.
    #[prost(uint32, tag = "4")]
    pub keyint_milli: u32,
}

/// A part of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Crop {
    #[prost(uint32, tag = "1")]
    pub width: u32,
    #[prost(uint32, tag = "2")]
    pub height: u32,
    /// Pixels left of it.
    #[prost(uint32, tag = "3")]
    pub x: u32,
    /// Pixels above it.
    #[prost(uint32, tag = "4")]
    pub y: u32,
}

/// The resolved spec. Only the pixel format, the size and the frame rate may
/// still say "as the source has it", which the source's bytes then decide. If
/// the container holds sound alone, all picture options are neutral.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Spec {
    /// Pixels. 0 keeps the source's, or the aspect if the other one is given.
    #[prost(uint32, tag = "1")]
    pub width: u32,
    /// Pixels. 0 keeps the source's, or the aspect if the other one is given.
    #[prost(uint32, tag = "2")]
    pub height: u32,
    /// Frames a second, numerator; 0 keeps the source's times (passthrough).
    #[prost(uint32, tag = "3")]
    pub fps_num: u32,
    /// Frames a second, denominator; 0 with `fps_num` 0.
    #[prost(uint32, tag = "4")]
    pub fps_den: u32,
    #[prost(enumeration = "Codec", tag = "5")]
    pub codec: i32,
    /// Constant quality; 0 for FFV1, which has none.
    #[prost(uint32, tag = "6")]
    pub crf: u32,
    /// Encoder preset; empty for FFV1.
    #[prost(string, tag = "7")]
    pub preset: String,
    /// Pixel format; empty follows the source: FFV1 keeps it, the others keep
    /// its depth of 8 or 10 bit at 4:2:0.
    #[prost(string, tag = "8")]
    pub pix_fmt: String,
    /// Thousandths, 0 neutral.
    #[prost(sint32, tag = "9")]
    pub brightness_milli: i32,
    /// Thousandths, 1000 neutral.
    #[prost(sint32, tag = "10")]
    pub contrast_milli: i32,
    /// What becomes of the audio.
    #[prost(enumeration = "Audio", tag = "11")]
    pub audio: i32,
    /// Bits a second; 0 where audio is copied or left out.
    #[prost(uint32, tag = "12")]
    pub audio_bitrate: u32,
    #[prost(enumeration = "Container", tag = "13")]
    pub container: i32,
    /// The shard length to aim at; 0 is chosen by the source.
    #[prost(uint32, tag = "14")]
    pub shard_ms: u32,
    /// Thousandths, 1000 neutral.
    #[prost(sint32, tag = "15")]
    pub saturation_milli: i32,
    /// Whether fields are woven into frames.
    #[prost(enumeration = "Deinterlace", tag = "16")]
    pub deinterlace: i32,
    /// The part of the picture that is kept, before it is scaled.
    #[prost(message, optional, tag = "17")]
    pub crop: Option<Crop>,
    /// Width of the black canvas around the scaled picture; 0 for none.
    #[prost(uint32, tag = "18")]
    pub pad_width: u32,
    /// Height of that canvas; 0 for none.
    #[prost(uint32, tag = "19")]
    pub pad_height: u32,
    /// How much noise is taken out.
    #[prost(enumeration = "Denoise", tag = "20")]
    pub denoise: i32,
    /// Aimed-at loudness in thousandths of LUFS; 0 leaves it alone.
    #[prost(sint32, tag = "21")]
    pub loudness_mlufs: i32,
    /// Which audio tracks to take, counted from 1, in the output's order; empty
    /// takes all.
    #[prost(uint32, repeated, tag = "22")]
    pub audio_tracks: Vec<u32>,
    /// What becomes of subtitles.
    #[prost(enumeration = "Subtitles", tag = "23")]
    pub subtitles: i32,
    /// Whether tags and chapters are left out.
    #[prost(bool, tag = "24")]
    pub strip_metadata: bool,
    /// Whether tags that name a place are kept.
    #[prost(bool, tag = "25")]
    pub keep_location: bool,
    /// Whether a source with decode errors is refused.
    #[prost(bool, tag = "26")]
    pub strict: bool,
    /// Number of the program to take; 0 takes that of the chosen video.
    #[prost(uint32, tag = "27")]
    pub program: u32,
    /// The video track to take, counted from 1; 0 takes the best.
    #[prost(uint32, tag = "28")]
    pub video_track: u32,
    /// Whether pictures that only Dolby Vision gives their colors are taken as
    /// they are.
    #[prost(bool, tag = "29")]
    pub ignore_dolby_vision: bool,
    /// How much is spent; none where a rate factor says it, and nothing is measured.
    #[prost(message, optional, tag = "49")]
    pub amount: Option<Amount>,
    /// The rate factor of one shard in hundredths, where it is found and not asked
    /// for; 0 in the spec of a job.
    #[prost(uint32, tag = "50")]
    pub rate_centi: u32,
    /// What the encoder is told beside; none where that is nothing.
    #[prost(message, optional, tag = "60")]
    pub encoder_choice: Option<EncoderChoice>,
}

impl Spec {
    /// Whether it has an option that nodes below
    /// [`crate::limits::STREAM_CHOICE_LEVEL`] don't know.
    pub fn chooses_streams(&self) -> bool {
        self.program != 0 || self.video_track != 0 || self.ignore_dolby_vision
    }

    /// Whether it has an option that nodes below
    /// [`crate::limits::ENCODER_CHOICE_LEVEL`] don't know.
    pub fn directs_encoder(&self) -> bool {
        self.encoder_choice.is_some()
    }

    /// The highest rate in bits a second and the size of its buffer in bits, if there
    /// is one.
    pub fn cap(&self) -> Option<(u32, u32)> {
        let choice = self.encoder_choice.as_ref()?;
        (choice.maxrate > 0).then_some((choice.maxrate, choice.bufsize))
    }

    /// What the encoder is tuned for; empty for nothing special.
    pub fn tune(&self) -> &str {
        let choice = self.encoder_choice.as_ref();
        choice.map_or("", |choice| choice.tune.as_str())
    }

    /// The time from one keyframe to the next, in thousandths of a second; 0 leaves
    /// it to the encoder.
    pub fn keyint_milli(&self) -> u32 {
        let choice = self.encoder_choice.as_ref();
        choice.map_or(0, |choice| choice.keyint_milli)
    }

    /// Whether it has an option that nodes below [`crate::limits::AIM_LEVEL`] don't
    /// know, and that changes how it is encoded.
    pub fn aims_or_measures(&self) -> bool {
        self.as_made().amount.is_some()
    }

    /// Whether its source is held for a while after its end. Nodes below
    /// [`crate::limits::MEASURE_LEVEL`] don't know it.
    pub fn holds_source(&self) -> bool {
        self.amount
            .as_ref()
            .is_some_and(|amount| amount.hold_source)
    }

    /// The same without what changes nothing in the output: jobs of which this is the
    /// same make the same.
    pub fn as_made(&self) -> Cow<'_, Spec> {
        let Some(amount) = self.amount.as_ref().filter(|_| self.holds_source()) else {
            return Cow::Borrowed(self);
        };
        let amount = Amount {
            hold_source: false,
            ..amount.clone()
        };
        Cow::Owned(Spec {
            amount: Some(amount).filter(|amount| *amount != Amount::default()),
            ..self.clone()
        })
    }

    /// So many hundredths of the frames may be worse than the quality that it aims at;
    /// 0 where their mean counts. Nodes below [`crate::limits::PERCENTILE_LEVEL`] don't know it.
    pub fn target_percentile(&self) -> u32 {
        let amount = self.amount.as_ref();
        amount.map_or(0, |amount| amount.target_percentile)
    }

    /// What its rate factor is to be found by, if it is not asked for.
    pub fn aim(&self) -> Option<Aim> {
        self.amount.as_ref()?.aim()
    }

    /// The same for one shard that is encoded at a rate factor of its own.
    pub fn at_rate(&self, rate_centi: u32) -> Spec {
        Spec {
            rate_centi,
            ..self.clone()
        }
    }
}
