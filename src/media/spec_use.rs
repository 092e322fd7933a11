//! Every option of a spec changes what media does. An option that is added to
//! `Spec` does not compile here until it has a row, and its row fails until
//! some step uses the option.

use reelraft_model::spec::{
    Amount, Audio, Codec, Container, Crop, Deinterlace, Denoise, EncoderChoice, Spec, SpecRequest,
    Subtitles, resolve,
};

use crate::{
    analysis::{
        first_frame::FirstFrame, packet::Packet, picture::picture, planner, select, side_data,
    },
    audio::{args as audio_args, tracks::requested_tracks},
    extras::choose,
    facts::{
        audio_track::Loudness,
        file_metadata::FileMetadata,
        index::{Index, tests::sample},
        source::{ProbedSource, Program, Stream},
        times::Ratio,
    },
    ffmpeg::{input::Input, log::Diagnostics, showinfo::Frame},
    output::args as output_args,
    video::{args as video_args, filter_clock::FilterClock, measure, rate::Rate},
};

/// A spec under which each option matters.
fn base() -> Spec {
    let request = SpecRequest {
        width: Some(640),
        height: Some(360),
        fps: Some((25, 1)),
        pad: Some((1_920, 1_080)),
        loudness_mlufs: Some(-16_000),
        audio_tracks: vec![1],
        encoder_choice: choice(),
        ..Default::default()
    };
    resolve(&request).unwrap()
}

/// Gives each option another value than [`base`] has. The list is complete: it
/// is also a pattern for all fields of `Spec`.
macro_rules! changes {
    ($($field:ident: $value:expr,)*) => {{
        let Spec { $($field: _),* } = base();
        [$((stringify!($field), Spec { $field: $value, ..base() })),*]
    }};
}

#[test]
fn every_option_of_a_spec_is_used() {
    let before = all_steps(&base());
    let changed = changes! {
        width: 320,
        height: 240,
        fps_num: 24,
        fps_den: 2,
        codec: Codec::Hevc.into(),
        crf: 30,
        preset: "fast".into(),
        pix_fmt: "yuv444p".into(),
        brightness_milli: 50,
        contrast_milli: 1_100,
        audio: Audio::Opus.into(),
        audio_bitrate: 96_000,
        container: Container::Mkv.into(),
        shard_ms: 1_000,
        saturation_milli: 1_100,
        deinterlace: Deinterlace::On.into(),
        crop: Some(Crop { width: 640, height: 640, x: 2, y: 4 }),
        pad_width: 2_000,
        pad_height: 1_200,
        denoise: Denoise::Light.into(),
        loudness_mlufs: -23_000,
        audio_tracks: vec![2, 1],
        subtitles: Subtitles::None.into(),
        strip_metadata: true,
        keep_location: true,
        strict: true,
        program: 2,
        video_track: 2,
        ignore_dolby_vision: true,
        amount: Some(Amount { measure: true, ..Default::default() }),
        rate_centi: 2_350,
        encoder_choice: None,
    };
    for (option, spec) in changed {
        assert_ne!(all_steps(&spec), before, "{option} changes nothing");
    }
}

/// What an encoder is told in [`base`].
fn choice() -> EncoderChoice {
    EncoderChoice {
        maxrate: 2_000_000,
        ..Default::default()
    }
}

#[test]
fn every_word_to_the_encoder_is_used() {
    let before = all_steps(&base());
    let (maxrate, bufsize) = base().cap().unwrap();
    let whole = EncoderChoice {
        bufsize,
        ..choice()
    };
    let EncoderChoice {
        maxrate: _,
        bufsize: _,
        tune: _,
        keyint_milli: _,
    } = whole.clone();
    let changed = [
        EncoderChoice {
            maxrate: maxrate + 1_000,
            ..whole.clone()
        },
        EncoderChoice {
            bufsize: bufsize + 1_000,
            ..whole.clone()
        },
        EncoderChoice {
            tune: "film".into(),
            ..whole.clone()
        },
        EncoderChoice {
            keyint_milli: 1_000,
            ..whole
        },
    ];
    for choice in changed {
        let spec = Spec {
            encoder_choice: Some(choice.clone()),
            ..base()
        };
        assert_ne!(all_steps(&spec), before, "{choice:?} changes nothing");
    }
}

/// What each step does under a spec.
fn all_steps(spec: &Spec) -> String {
    let source = source();
    let mut index = sample();
    analyze(spec, &source, &mut index);
    let input = Input::File("s".into());
    let video = video_args::shard(
        &input,
        &index,
        spec,
        index.shards()[1],
        Some(50),
        FilterClock::Muxer,
        &Rate::of_shard(spec, &index, index.shards()[1]),
    );
    let audio = audio_args::track(&input, &index, spec, &index.facts.audio_tracks[0]);
    let output = output_args::assemble(&index, spec, &["a".into()], &[], Some("e".as_ref()));
    let reference = output_args::reference(&index, spec, false, "in", "out");

    let mut diagnostics = Diagnostics::default();
    let error = "[h264 @ 0x5] [error] concealing 40 errors";
    diagnostics.observe(error).unwrap();
    let verdict = diagnostics.reject_if_strict(spec.strict);

    let tracks = requested_tracks(spec, &source.streams).unwrap();
    let tracks: Vec<u32> = tracks.into_iter().map(|(number, _)| number).collect();
    let plan = planner::tests::plan(&packets(), Ratio { num: 1, den: 24 }, spec.shard_ms);
    let chosen = select::video(spec, &source.streams, &source.programs, &[]).unwrap();
    let accepted = side_data::check_dolby_vision(spec, chosen).is_ok();
    let measured = measure::metrics(spec);
    format!(
        "{measured:?} {} {accepted} {video:?} {audio:?} {output:?} {reference:?} {verdict:?} {tracks:?} {:?} {:?}",
        chosen.index, plan.shards, index.facts
    )
}

/// The parts of the analysis that depend on the spec and need no tool.
fn analyze(spec: &Spec, source: &ProbedSource, index: &mut Index) {
    let frame = Frame {
        pts: Some(0),
        pix_fmt: "yuv420p".into(),
        size: (1_280, 720),
        aspect: String::new(),
        checksum: None,
    };
    let first = FirstFrame {
        has_side_data: false,
        decoded: frame.clone(),
        filtered: frame,
        rate: None,
    };
    let mut notes = Vec::new();
    index.facts.picture = picture(spec, first).unwrap();
    index.facts.extras = choose::choose(spec, &source.streams, &mut notes);
    index.facts.metadata = (!spec.strip_metadata)
        .then(|| FileMetadata::of(source, None, spec.keep_location, &mut notes));
    index.facts.audio_tracks[0].loudness = Some(Loudness {
        integrated_mlufs: -20_000,
        peak_mdb: -9_000,
    });
}

/// A source with two audio tracks, subtitles, and a tag that names a place.
fn source() -> ProbedSource {
    let streams: Vec<Stream> = serde_json::from_str(
        r#"[{"index":0,"codec_type":"video","codec_name":"hevc","width":9,"height":9,
        "side_data_list":[{"side_data_type":"DOVI configuration record","dv_profile":5}]},
        {"index":1,"codec_type":"audio","codec_name":"aac"},
        {"index":2,"codec_type":"audio","codec_name":"aac"},
        {"index":3,"codec_type":"subtitle","codec_name":"subrip"},
        {"index":4,"codec_type":"video","codec_name":"h264"}]"#,
    )
    .unwrap();
    ProbedSource {
        indexed: true,
        description: None,
        packets: None,
        source: sample().facts.source,
        streams,
        programs: programs(),
        tags: [("location".to_string(), "+48-100/".to_string())].into(),
        chapters: Vec::new(),
    }
}

/// The larger video is in the first of them.
fn programs() -> Vec<Program> {
    serde_json::from_str(
        r#"[{"program_id":1,"streams":[{"index":0}]},{"program_id":2,"streams":[{"index":4}]}]"#,
    )
    .unwrap()
}

/// Ten seconds of clean keyframes.
fn packets() -> Vec<Packet> {
    let packet = |time| Packet {
        pts: Some(time),
        dts: Some(time),
        key: true,
        clean: true,
        hidden: false,
    };
    (0..240).map(packet).collect()
}
