//! The analysis of a source: what it is, its packets, its first frame, the
//! plan. A pure function of the source's bytes and the spec.

use crate::{
    analysis::{color, first_frame::first_frame, packets, picture::picture, planner, probe},
    audio::tracks,
    error::MediaError,
    extras::choose,
    facts::{
        color::{Hdr, Told},
        file_metadata::About,
        index::{Facts, Index},
        labels::Label,
        picture::Picture,
        plan::{Plan, one_shard},
        source::Source,
    },
    ffmpeg::{context::Context, showinfo::Frame},
    video::{grid::Grid, timing::fps},
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
/// [`crate::error::Class::Final`] when the source itself is refused.
pub async fn analyze(context: &Context<'_>, source_bytes: u64) -> Result<Index, MediaError> {
    if source_bytes == 0 {
        return Err(MediaError::EmptySource);
    }
    let found = probe::probe(context).await?;
    let mut notes = Vec::new();
    let sounds = tracks::choose(context, &found, &mut notes).await?;
    let extras = choose::choose(context.spec, &found.streams, &mut notes);
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
    let mut plan = planner::plan(&packets, base, context.spec.shard_ms);
    let objection = plan.note.take().or_else(|| {
        let promised = plan.times.first().copied();
        distrust(&source, &own.decoded, promised)
    });
    if objection.is_some() {
        let shown = packets.iter().filter(|packet| !packet.hidden).count();
        plan = one_shard(plan.times, plan.keys, shown, objection);
    }
    if let Some(grid) = Grid::over(context.spec, base, zero) {
        plan = grid.lay(plan)?;
    }
    let rate = fps(context.spec).or(own.rate);
    let picture = picture(context.spec, own)?;
    let hdr = color::hdr(context, &source).await?;
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
    index.head.told = color::told(context, &index).await?;
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

#[cfg(test)]
mod tests {}
