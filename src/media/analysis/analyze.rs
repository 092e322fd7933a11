//! The analysis of a source: what it is, its packets, its first frame, the
//! plan. A pure function of the source's bytes and the spec.

use reelraft_model::spec::{Codec, Deinterlace, Denoise, Spec};

use crate::{
    Context,
    analysis::{
        packets, planner as plan,
        planner::Plan,
        probe::{self, Source},
    },
    audio::tracks as sound,
    error::MediaError,
    extras::take as extras,
    facts::{
        color as colour,
        color::{Hdr, Told},
        file_metadata::About,
        index::{Facts, Index, Picture},
        labels::Label,
        times::Ratio,
    },
    ffmpeg::{
        args, log as listen,
        log::{Complaints, Frame},
        process::{Listener, Step},
    },
    limits::ADDRESS_BYTES_PER_PIXEL,
    video::{
        args::fps,
        filters::{has_alpha, is_deep},
        grid::Grid,
    },
};

/// Codecs whose keyframes and packet times are known to be good to cut at.
const CUTTABLE: [&str; 20] = [
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "av1",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "mjpeg",
    "prores",
    "dnxhd",
    "ffv1",
    "rawvideo",
    "huffyuv",
    "ffvhuff",
    "utvideo",
    "png",
    "v210",
    "vc1",
    "wmv3",
];

/// Finds out all that later steps need.
///
/// # Errors
/// [`crate::Class::Final`] when the source itself is refused.
pub async fn analyze(context: &Context<'_>, source_bytes: u64) -> Result<Index, MediaError> {
    if source_bytes == 0 {
        return Err(MediaError::EmptySource);
    }
    let found = probe::probe(context).await?;
    let mut notes = Vec::new();
    let sounds = sound::choose(context, &found, &mut notes).await?;
    let extras = extras::choose(context.spec, &found.streams, &mut notes);
    let about = (!context.spec.strip_metadata).then(|| {
        let sound = sounds.first().map(|sound| sound.stream);
        About::of(&found, sound, context.spec.keep_location, &mut notes)
    });
    let source = found.source;
    let Some(video) = &source.video else {
        return Ok(Index::new(
            Facts {
                source_bytes,
                source,
                label: Label::default(),
                sounds,
                extras,
                about,
                notes,
                picture: Picture::default(),
                rate: None,
                hdr: Hdr::default(),
                told: Told::default(),
                zero: 0,
            },
            Plan::none(),
        ));
    };
    let label = found
        .streams
        .iter()
        .find(|stream| stream.index == video.stream)
        .map(Label::of)
        .unwrap_or_default();
    let mapped: Vec<u32> = sounds
        .iter()
        .map(|sound| sound.stream)
        .chain(extras.iter().map(|extra| extra.stream))
        .collect();
    let packets = packets::scan(context, &source).await?;
    let own = first_frame(context, &source, &mapped, true)
        .await
        .map_err(|error| match error {
            MediaError::NoFrames { .. } if packets.is_empty() => MediaError::NoFrames {
                detail: "the video is declared and has not one packet".into(),
            },
            other => other,
        })?;
    let single = first_frame(context, &source, &mapped, false).await?;
    let zero = match (own.decoded.pts, single.decoded.pts) {
        (Some(own), Some(single)) => own.saturating_sub(single),
        _ => 0,
    };
    let base = source.video().time_base;
    let mut plan = plan::plan(&packets, base, context.spec.shard_ms);
    let objection = plan.note.take().or_else(|| {
        let promised = plan.times.first().copied();
        distrust(&source, &own.decoded, promised)
    });
    if objection.is_some() {
        let shown = packets.iter().filter(|packet| !packet.hidden).count();
        plan = plan::one_shard(plan.times, plan.keys, shown, objection);
    }
    if let Some(grid) = Grid::over(context.spec, base, zero) {
        plan = grid.lay(plan)?;
    }
    let rate = fps(context.spec).or(own.rate);
    let picture = picture(context.spec, own)?;
    let hdr = colour::hdr(context, &source).await?;
    let mut index = Index::new(
        Facts {
            source_bytes,
            source,
            label,
            sounds,
            extras,
            about,
            notes,
            picture,
            rate,
            hdr,
            told: Told::default(),
            zero,
        },
        plan,
    );
    index.head.told = colour::told(context, &index).await?;
    Ok(index)
}

/// Why this source is better not cut, if so.
fn distrust(source: &Source, first: &Frame, promised: Option<i64>) -> Option<String> {
    let codec = source.video().codec.as_str();
    if !CUTTABLE.contains(&codec) {
        return Some(format!("keyframes of {codec} are not known to be clean"));
    }
    if codec == "h264" && source.video().profile.contains("4:4:4") {
        return Some("H.264 4:4:4 depends on a note in its first packet".into());
    }
    if source.demuxer == "ogg" {
        return Some("Ogg pages time frames only now and then".into());
    }
    if first.pts != promised {
        return Some("its first packet gives no frame".into());
    }
    None
}

/// The first frame, decoded and as the encoder would take it.
struct First {
    decoded: Frame,
    filtered: Frame,
    rate: Option<Ratio>,
}

async fn first_frame(
    context: &Context<'_>,
    source: &Source,
    mapped: &[u32],
    copyts: bool,
) -> Result<First, MediaError> {
    let encoder = match context.spec.codec() {
        Codec::Ffv1 => "ffv1",
        _ => "wrapped_avframe",
    };
    let arguments = args::first_frame(context.input, source, mapped, copyts, encoder);
    let mut listener = FrameLines::default();
    context.ffmpeg(&arguments, &mut listener).await?;
    match (listener.decoded, listener.filtered) {
        (Some(decoded), Some(filtered)) => Ok(First {
            decoded,
            filtered,
            rate: listener.rate,
        }),
        _ => Err(MediaError::NoFrames {
            detail: listener.complaints.last_words(),
        }),
    }
}

#[derive(Default)]
struct FrameLines {
    decoded: Option<Frame>,
    filtered: Option<Frame>,
    rate: Option<Ratio>,
    complaints: Complaints,
}

impl Listener for FrameLines {
    fn stdout(&mut self, _: &str) -> Result<Step, MediaError> {
        Ok(Step::Quiet)
    }

    fn stderr(&mut self, line: &str) -> Result<Step, MediaError> {
        if let Some(frame) = listen::frame(line, "decoded") {
            self.decoded.get_or_insert(frame);
        } else if let Some(frame) = listen::frame(line, "filtered") {
            self.filtered.get_or_insert(frame);
            // Nothing more is wanted; a second output might go on for long.
            return Ok(Step::Enough);
        } else if let Some(rate) = listen::rate(line, "decoded") {
            self.rate = Some(rate);
        } else {
            self.complaints.hear(line)?;
        }
        Ok(Step::Quiet)
    }
}

/// Decides the output's size and pixel format.
fn picture(spec: &Spec, first: First) -> Result<Picture, MediaError> {
    let (width, height) = first.decoded.size;
    let mut kept = (width, height);
    if let Some(crop) = spec.crop {
        kept = (crop.width, crop.height);
        if crop.x.saturating_add(crop.width) > width || crop.y.saturating_add(crop.height) > height
        {
            return Err(MediaError::CropMisfit { width, height });
        }
    }
    let scaled = output_size(spec, kept.0, kept.1);
    let output = match (spec.pad_width, spec.pad_height) {
        (0, _) | (_, 0) => scaled,
        canvas => canvas,
    };
    if output.0 < scaled.0 || output.1 < scaled.1 {
        return Err(MediaError::PadMisfit {
            width: scaled.0,
            height: scaled.1,
        });
    }
    if spec.codec() == Codec::Av1 && (output.0 < 64 || output.1 < 64) {
        return Err(MediaError::TooSmall {
            width: output.0,
            height: output.1,
        });
    }
    Ok(Picture {
        source: (width, height),
        output_pix_fmt: pix_fmt(spec, &first),
        source_pix_fmt: first.decoded.pix_fmt,
        scaled,
        output,
    })
}

/// The pixel format that is asked for, else the source's own for FFV1 and one
/// of its depth for the others. FFV1 loses alpha to filters that can't carry
/// it.
fn pix_fmt(spec: &Spec, first: &First) -> String {
    let drops_alpha = spec.deinterlace() != Deinterlace::Off || spec.denoise() != Denoise::Off;
    let own = first.filtered.pix_fmt.as_str();
    let deep = is_deep(&first.decoded.pix_fmt);
    match (spec.pix_fmt.as_str(), spec.codec()) {
        ("", Codec::Ffv1) if has_alpha(own) && drops_alpha && deep => "yuv444p10le",
        ("", Codec::Ffv1) if has_alpha(own) && drops_alpha => "yuv444p",
        ("", Codec::Ffv1) => own,
        ("", _) if deep => "yuv420p10le",
        ("", _) => "yuv420p",
        (asked, _) => asked,
    }
    .to_string()
}

/// One side alone keeps the aspect and gives an even number; without either
/// the source's own size is taken, made even but for FFV1, which takes any.
fn output_size(spec: &Spec, width: u32, height: u32) -> (u32, u32) {
    let keep = |side: u32| {
        if spec.codec() == Codec::Ffv1 {
            side
        } else {
            (side & !1).max(2)
        }
    };
    let side_max = reelraft_model::limits::PICTURE_SIDE_MAX;
    // The nearest even number to `side * other / own`.
    let follow = |side: u32, other: u32, own: u32| {
        let exact = u64::from(side) * u64::from(other);
        let pairs = (exact + u64::from(own)) / (2 * u64::from(own));
        (2 * pairs.clamp(1, u64::from(side_max) / 2)) as u32
    };
    match (spec.width, spec.height) {
        (0, 0) => (keep(width), keep(height)),
        (wide, 0) => (wide, follow(wide, height, width.max(1))),
        (0, high) => (follow(high, width, height.max(1)), high),
        (wide, high) => (wide, high),
    }
}

/// Address space a child needs beyond the base, for the larger picture.
pub(crate) fn address_bytes(index: &Index) -> u64 {
    let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    let picture = &index.head.picture;
    pixels(picture.source).max(pixels(picture.output)) * ADDRESS_BYTES_PER_PIXEL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(width: u32, height: u32) -> Spec {
        Spec {
            width,
            height,
            ..Default::default()
        }
    }

    #[test]
    fn sizes_are_even_and_keep_the_aspect() {
        assert_eq!(output_size(&sized(640, 0), 1280, 720), (640, 360));
        assert_eq!(output_size(&sized(640, 0), 854, 480), (640, 360));
        assert_eq!(output_size(&sized(0, 240), 854, 480), (428, 240));
        assert_eq!(output_size(&sized(0, 0), 161, 121), (160, 120));
        assert_eq!(output_size(&sized(0, 0), 1, 1), (2, 2));
        assert_eq!(output_size(&sized(2, 0), 10_000, 2), (2, 2));
        let mut ffv1 = sized(0, 0);
        ffv1.set_codec(Codec::Ffv1);
        assert_eq!(output_size(&ffv1, 161, 121), (161, 121));
    }
}
