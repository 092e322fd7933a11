//! The analysis of a source: what it is, its packets, its first frame, and the
//! plan. A pure function of the source's bytes and the spec.

use reelraft_model::spec::{Aim, Audio, Spec};

use crate::{
    analysis::{
        clean_keys, color,
        early::{EarlyPlan, EarlySink},
        first_frame::{FirstFrame, first_frame},
        left_out, one_pass,
        packets::{self, Folded},
        picture::picture,
        planner::Planner,
        probe,
        shard_length::ShardLength,
        side_data::{self, STEREO_TAG, SideData},
        timecode,
    },
    audio::tracks,
    error::MediaError,
    extras::choose,
    facts::{
        color::{Hdr, HeaderColorTags},
        declared::{cut_off, shown_us},
        encoder_names,
        extra::Extra,
        file_metadata::FileMetadata,
        index::{Index, SourceFacts},
        labels::Label,
        picture::Picture,
        plan::{Plan, one_shard},
        source::{ProbedSource, Source, Stream, Video},
        times::{MICROSECONDS, rescale},
    },
    ffmpeg::{abilities, context::Context, log::reject_if_strict, showinfo::Frame},
    video::{grid::Grid, timing::fps},
};

/// Codecs with pictures that need others, whose keyframes and packet times are
/// known to be safe to cut at.
const CUTTABLE: [&str; 14] = [
    "h264",
    "hevc",
    "av1",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "vc1",
    "wmv3",
    // Without pictures that need later ones; a keyframe begins all anew.
    "flv1",
    "msmpeg4v2",
    "msmpeg4v3",
    "wmv1",
    "wmv2",
    "theora",
];

/// See [`crate::analyze_early`].
pub(crate) async fn analyze(
    context: &Context<'_>,
    source_bytes: u64,
    sink: Option<&EarlySink>,
) -> Result<Index, MediaError> {
    if source_bytes == 0 {
        return Err(MediaError::EmptySource);
    }
    let encoders = abilities::encoders(context).await?;
    abilities::require(
        &encoders,
        encoder_names::of_pictures(context.spec).into_iter(),
    )?;
    if let Some(Aim::Quality(metric, _)) = context.spec.aim() {
        let filters = abilities::filters(context).await?;
        abilities::require(&filters, std::iter::once(metric.filter()))?;
    }
    let found = probe::probe(context, source_bytes).await?;
    let (mut source, mut notes) = (found.source.clone(), Vec::new());
    let (mut decoder_notes, mut extra_notes) = (Vec::new(), Vec::new());
    settle_decoder(context, &mut source, &mut decoder_notes).await?;
    let extras = choose::choose(context.spec, &found.streams, &mut extra_notes);
    let (audio_tracks, head) = tokio::join!(
        tracks::choose(context, &found, &mut notes),
        GuessedHead::read(context, &found, &source, &extras),
    );
    let audio_tracks = audio_tracks?;
    // A film without sound needs none.
    let sound = encoder_names::audio_encoder(context.spec.audio());
    let needed = sound.filter(|_| !audio_tracks.is_empty());
    abilities::require(&encoders, needed.into_iter())?;
    notes.append(&mut extra_notes);
    let converted = extras.iter().map(|extra| extra.encoder.as_str());
    abilities::require(&encoders, converted.filter(|name| *name != "copy"))?;
    let metadata = (!context.spec.strip_metadata).then(|| {
        let audio = audio_tracks.first().map(|track| track.stream);
        FileMetadata::of(&found, audio, context.spec.keep_location, &mut notes)
    });
    notes.extend(left_out::streams(context.spec, &found));
    notes.append(&mut decoder_notes);
    let label = video_label(context.spec, &found)?;
    let facts = SourceFacts {
        source_bytes,
        source,
        label,
        audio_tracks,
        extras,
        metadata,
        notes,
        picture: Picture::default(),
        rate: None,
        hdr: Hdr::default(),
        color_tags: HeaderColorTags::default(),
        zero: 0,
        clock: None,
        so_far: None,
        description: found.description.clone(),
    };
    match facts.source.video {
        Some(_) => analyze_video(context, &found, facts, head, sink).await,
        None => Ok(Index::new(facts, Plan::empty())),
    }
}

/// Fills in what only jobs with video have: packets, first frame and plan.
async fn analyze_video(
    context: &Context<'_>,
    found: &ProbedSource,
    mut facts: SourceFacts,
    guessed: Option<GuessedHead>,
    sink: Option<&EarlySink>,
) -> Result<Index, MediaError> {
    let audio = facts.audio_tracks.iter().map(|track| track.stream);
    let other_streams = other_streams(audio, &facts.extras);
    let sink = sink.filter(|_| may_be_cut_early(context.spec, &facts.source));
    let guessed = guessed.filter(|guess| guess.other_streams == other_streams);
    let head = match guessed {
        Some(guess) => guess.head,
        // What fails here fails again where it counts.
        None if sink.is_some() => Head::read(context, found, &facts.source, &other_streams)
            .await
            .ok(),
        None => None,
    };
    let early = head.as_ref().zip(sink);
    let early = early.and_then(|(head, sink)| head.early_plan(context.spec, &facts, sink));
    let source = &facts.source;
    let length = shard_length(context, found, source.video());
    let scan = packets::scan(context, found, source, length, early).await?;
    let Head {
        first,
        zero,
        side_data,
    } = match head {
        Some(head) => head,
        None => Head::read(context, found, source, &other_streams)
            .await
            .map_err(|error| match error {
                MediaError::NoFrames { .. } if scan.count == 0 => MediaError::NoFrames {
                    detail: "the video is declared and has not one packet".into(),
                },
                other => other,
            })?,
    };
    let planner = match scan.folded {
        Folded::Plan(planner, restarts) => {
            restarts.reject(source.video().time_base)?;
            *planner
        }
        Folded::Packets(packets) => {
            let compared =
                one_pass::compare(context, &facts, &other_streams, &packets, zero, length).await?;
            facts.source.leaps = compared.clock.is_none();
            facts.clock = compared.clock;
            compared.planner
        }
    };
    let plan = make_plan(context.spec, &facts.source, planner, &first, zero)?;
    facts.zero = zero;
    facts.rate = fps(context.spec).or(first.rate);
    facts.picture = picture(context.spec, first)?;
    settle_timecode(context.spec, found, &mut facts);
    facts.hdr = color::read_hdr(context.spec.codec(), &side_data);
    let early = Vec::from_iter(ends_early(found, &plan));
    reject_if_strict(&early, context.spec.strict)?;
    facts.notes.extend(early);
    let mut index = Index::new(facts, plan);
    let lost = side_data::lost(context, &index, &side_data).await?;
    index.facts.notes.extend(lost);
    index.facts.color_tags = color::reference_color_tags(context, &index).await?;
    Ok(index)
}

/// Whether shards of a source may be certain before all of it is known. At another
/// frame rate they depend on one another.
fn may_be_cut_early(spec: &Spec, source: &Source) -> bool {
    !source.discontinuous && unfit_codec(source).is_none() && fps(spec).is_none()
}

/// What is known of a film by its first frames.
struct Head {
    first: FirstFrame,
    /// What one pass takes off the times of the video.
    zero: i64,
    side_data: SideData,
}

/// The same, read before it was known which tracks of sound can be decoded.
struct GuessedHead {
    /// What it takes for granted.
    other_streams: Vec<u32>,
    /// None where it can't be read: that fails again where it counts.
    head: Option<Head>,
}

impl GuessedHead {
    /// Reads it as if all sound that is asked for were good.
    async fn read(
        context: &Context<'_>,
        found: &ProbedSource,
        source: &Source,
        extras: &[Extra],
    ) -> Option<Self> {
        source.video.as_ref()?;
        let audio = match context.spec.audio() {
            Audio::None => Vec::new(),
            _ => tracks::requested_tracks(context.spec, &found.streams).ok()?,
        };
        let audio = audio.iter().map(|(_, stream)| stream.index);
        let other_streams = other_streams(audio, extras);
        let head = Head::read(context, found, source, &other_streams).await;
        Some(GuessedHead {
            head: head.ok(),
            other_streams,
        })
    }
}

/// The streams that a job uses beside the video.
fn other_streams(audio: impl Iterator<Item = u32>, extras: &[Extra]) -> Vec<u32> {
    audio
        .chain(extras.iter().map(|extra| extra.stream))
        .collect()
}

impl Head {
    async fn read(
        context: &Context<'_>,
        found: &ProbedSource,
        source: &Source,
        others: &[u32],
    ) -> Result<Head, MediaError> {
        let first = first_frame(context, source, others, true).await?;
        let zero = zero_of(context, source, others, first.decoded.pts).await?;
        let tells = video_stream(found).is_some_and(side_data::is_told);
        let side_data = match first.has_side_data || tells {
            true => side_data::read(context, source).await?,
            false => SideData::default(),
        };
        Ok(Head {
            first,
            zero,
            side_data,
        })
    }

    /// A plan that is given away as it comes, where an encoding knows enough.
    fn early_plan<'a>(
        &self,
        spec: &'a Spec,
        known: &SourceFacts,
        sink: &'a EarlySink,
    ) -> Option<EarlyPlan<'a>> {
        let mut facts = known.clone();
        facts.zero = self.zero;
        facts.rate = fps(spec).or(self.first.rate);
        facts.picture = picture(spec, self.first.clone()).ok()?;
        facts.hdr = color::read_hdr(spec.codec(), &self.side_data);
        let first = self.first.decoded.pts?;
        Some(EarlyPlan::new(spec, facts, first, sink))
    }
}

/// Formats of which one pass takes off the start that ffprobe tells, and does
/// nothing else to the times.
const STEADY: [&str; 2] = ["mov", "matroska"];

/// What one pass takes off the times of the video, whose first one this is.
async fn zero_of(
    context: &Context<'_>,
    source: &Source,
    other_streams: &[u32],
    first: Option<i64>,
) -> Result<i64, MediaError> {
    let Some(first) = first else {
        return Ok(0);
    };
    if STEADY.contains(&source.demuxer.as_str()) {
        let start_us = source.start_us.unwrap_or(0);
        return Ok(rescale(start_us, MICROSECONDS, source.video().time_base));
    }
    let single = first_frame(context, source, other_streams, false).await?;
    let shown = single.decoded.pts;
    Ok(shown.map_or(0, |shown| first.saturating_sub(shown)))
}

/// The stream of the video that is taken.
fn video_stream(found: &ProbedSource) -> Option<&Stream> {
    let video = found.source.video.as_ref()?;
    let mut streams = found.streams.iter();
    streams.find(|stream| stream.index == video.stream)
}

/// A note of a video that lasts less than the file declares.
fn ends_early(found: &ProbedSource, plan: &Plan) -> Option<String> {
    let lasts = shown_us(&plan.times, found.source.video().time_base)?;
    cut_off("the video", lasts, declared_us(found))
}

fn shard_length(context: &Context<'_>, found: &ProbedSource, video: &Video) -> ShardLength {
    ShardLength::of(context.spec, video, declared_us(found), found.indexed)
}

/// How long the container says that the video lasts.
fn declared_us(found: &ProbedSource) -> Option<i64> {
    video_stream(found)?.declared_us(&found.source.demuxer)
}

/// Finds out what this build knows of the video's codec, and the decoder that
/// all steps and the reference ask for.
async fn settle_decoder(
    context: &Context<'_>,
    source: &mut Source,
    notes: &mut Vec<String>,
) -> Result<(), MediaError> {
    let Some(video) = &mut source.video else {
        return Ok(());
    };
    let known = abilities::codec(context, &video.codec).await?;
    video.intra_only = known.intra_only;
    // ffmpeg's own decoders of these leave the alpha out.
    let with_alpha = match video.codec.as_str() {
        "vp8" => "libvpx",
        "vp9" => "libvpx-vp9",
        _ => return Ok(()),
    };
    if !video.has_alpha_layer {
        return Ok(());
    }
    if known.decoders.iter().any(|decoder| decoder == with_alpha) {
        video.decoder = with_alpha.into();
    } else {
        notes.push(format!(
            "the alpha of the video is left out: this build of ffmpeg has no decoder {with_alpha}"
        ));
    }
    Ok(())
}

/// Plans the shards, or a single shard if the source can't be cut safely.
fn make_plan(
    spec: &Spec,
    source: &Source,
    planner: Planner,
    first: &FirstFrame,
    zero: i64,
) -> Result<Plan, MediaError> {
    let base = source.video().time_base;
    let (mut plan, shown) = planner.finish();
    let leaps = source.leaps.then(|| "its clock leaps".to_string());
    let note = leaps.or(plan.note.take()).or_else(|| {
        let promised = plan.times.first().copied();
        reason_not_to_cut(source, &first.decoded, promised)
    });
    if note.is_some() {
        plan = one_shard(plan.times, plan.keys, shown, note);
    }
    let Some(grid) = Grid::over(spec, base, zero) else {
        return Ok(plan);
    };
    let cut = plan.shards.len() > 1;
    let mut snapped = grid.snap_plan(plan)?;
    if cut && snapped.shards.len() == 1 {
        snapped.note = Some("at this frame rate it has too few frames to be cut".into());
    }
    Ok(snapped)
}

/// Tags and dispositions of the video that is encoded.
///
/// # Errors
/// [`MediaError::DolbyVisionAlone`] for a video that is not taken unasked.
fn video_label(spec: &Spec, found: &ProbedSource) -> Result<Label, MediaError> {
    let Some(video) = video_stream(found) else {
        return Ok(Label::default());
    };
    side_data::check_dolby_vision(spec, video)?;
    let mut label = Label::of(video);
    if let Some(mode) = side_data::stereo_mode(spec.container(), video) {
        label.tags.insert(STEREO_TAG.into(), mode.into());
    }
    Ok(label)
}

/// The timecode is one of the tags, which may not be wanted.
fn settle_timecode(spec: &Spec, found: &ProbedSource, facts: &mut SourceFacts) {
    let (rate, container) = (facts.rate, spec.container());
    if let Some(metadata) = &mut facts.metadata {
        let (label, notes) = (&mut facts.label, &mut facts.notes);
        timecode::settle(container, found, rate, metadata, label, notes);
    }
}

/// Why this source must not be cut, if so.
fn reason_not_to_cut(source: &Source, first: &Frame, promised: Option<i64>) -> Option<String> {
    if let Some(reason) = unfit_codec(source) {
        return Some(reason);
    }
    if first.pts != promised {
        return Some("its first packet gives no frame".into());
    }
    None
}

/// Why no source of this codec and format may be cut, if so.
fn unfit_codec(source: &Source) -> Option<String> {
    let codec = source.video().codec.as_str();
    if !CUTTABLE.contains(&codec) && !clean_keys::has_clean_keys(source.video()) {
        return Some(format!("keyframes of {codec} are not known to be clean"));
    }
    if codec == "h264" && source.video().profile.contains("4:4:4") {
        return Some("H.264 4:4:4 depends on a note in its first packet".into());
    }
    if source.demuxer == "ogg" {
        return Some("Ogg pages time frames only now and then".into());
    }
    None
}
