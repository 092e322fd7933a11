//! The arguments of each encoder: quality and its cap, preset, tune, threads and
//! keyframes.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{
        encoder_names::video_encoder,
        index::Index,
        recipe::{X264, X265},
        text::{milli, strings},
    },
    limits::{BUFFER_AT_FILM_MILLI, FFV1_SLICED_WIDTH_MIN, KEYFRAMES_APART, X26X_KEYFRAMES_APART},
    video::{
        filters::Pass,
        keyframes,
        rate::Rate,
        seam::{self, Given},
        timing::{fps, is_evened_out},
    },
};

/// The encoder of a pass.
pub(crate) fn encoder(spec: &Spec, index: &Index, pass: Pass, rate: &Rate) -> Vec<String> {
    let mut args = Vec::new();
    if let Some(encoder) = video_encoder(spec.codec()) {
        args.extend(strings(&["-c:v", encoder]));
    }
    args.extend(match spec.codec() {
        Codec::H264 => x26x(
            spec,
            index,
            rate,
            "-x264-params",
            &x264_params(spec, index, pass, rate),
        ),
        Codec::Hevc => x26x(
            spec,
            index,
            rate,
            "-x265-params",
            &x265_params(spec, index, pass, rate),
        ),
        Codec::Vp9 => vp9(spec, index, rate),
        Codec::Av1 => svt_av1(spec, index, rate),
        Codec::Ffv1 => ffv1(index),
        Codec::None => Vec::new(),
    });
    args.extend(strings(&["-threads", "1"]));
    args.extend(keyframes::forced(spec, index, pass));
    args
}

/// A quality factor, which only some encoders take in parts.
fn crf(rate: &Rate) -> String {
    match (rate.crf_centi / 100, rate.crf_centi % 100) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:02}"),
    }
}

/// x264 and x265, which are told much in the same words.
fn x26x(spec: &Spec, index: &Index, rate: &Rate, name: &str, params: &str) -> Vec<String> {
    let mut args = strings(&["-preset", &spec.preset]);
    if !spec.tune().is_empty() {
        args.extend(strings(&["-tune", spec.tune()]));
    }
    args.extend(strings(&["-crf", &crf(rate)]));
    args.extend(strings(&[name, params]));
    // Else they would set their own between those that are wanted far apart.
    let apart = keyframes::frames_apart(spec, index);
    if let Some(apart) = apart.filter(|apart| *apart > X26X_KEYFRAMES_APART) {
        args.extend(strings(&["-g", &apart.to_string()]));
    }
    args
}

fn x264_params(spec: &Spec, index: &Index, pass: Pass, rate: &Rate) -> String {
    let mut params = X264.to_string();
    // Else it would spend more on a frame that a coarse clock shows for longer, and
    // make later keyframes by how long those before them were shown.
    if fps(spec).is_none() && is_evened_out(index) {
        params.push_str(":force-cfr=1");
        // Some versions of ffmpeg forget the rate behind `setpts`, and x264 would
        // take each tick of the clock for a frame.
        if let Some(rate) = index.facts.rate {
            params.push_str(&format!(":fps={}/{}", rate.num, rate.den));
        }
    }
    // Else it would prefer one of two ways by how they fared in the film so far.
    if seam::x264_learns(&spec.preset) {
        params.push_str(":direct=spatial");
    }
    if is_cut(pass) && seam::x264_plans_ahead(&spec.preset) {
        params.push_str(x264_later_keyframe(spec));
    }
    params.push_str(&capped(rate, "level"));
    params
}

/// The cap in the words of x264 and x265, in thousands; ffmpeg would write it into
/// the header of the file, which is the same for all shards.
fn capped(rate: &Rate, level_word: &str) -> String {
    let Some(cap) = rate.cap else {
        return String::new();
    };
    let (maxrate, bufsize) = (cap.maxrate / 1_000, cap.bufsize / 1_000);
    let mut words = format!(":vbv-maxrate={maxrate}:vbv-bufsize={bufsize}");
    // What they take it to be at first.
    if cap.full_milli != BUFFER_AT_FILM_MILLI {
        words.push_str(&format!(":vbv-init={}", milli(cap.full_milli as i32)));
    }
    if let Some(level) = cap.level {
        words.push_str(&format!(":{level_word}={level}"));
    }
    words
}

/// Whether the film is encoded in shards, or is the reference of such a one.
fn is_cut(pass: Pass) -> bool {
    matches!(pass, Pass::Shard(_) | Pass::Reference { whole: false })
}

/// Has the first keyframe be as fine as a later one, by x264's own `ipratio`. That
/// of the film too: later ones are made by the mean of what came before them.
fn x264_later_keyframe(spec: &Spec) -> &'static str {
    match spec.tune() {
        "grain" => ":zones=0,0,b=1.1",
        _ => ":zones=0,0,b=1.4",
    }
}

fn x265_params(spec: &Spec, index: &Index, pass: Pass, rate: &Rate) -> String {
    let mut params = format!("{X265}{}", index.facts.hdr.for_x265());
    if is_cut(pass) {
        params.push_str(X265_LATER_KEYFRAME);
        params.push_str(":no-open-gop=1");
    }
    if let Pass::Shard(range) = pass
        && let Some(frames) = Given::of(spec, index, range).chunk(spec)
    {
        params.push_str(&format!(":chunk-end={frames}"));
    }
    params.push_str(&capped(rate, "level-idc"));
    // Which tier its header names would go by the rate, as the level does.
    if rate.cap.is_some() {
        params.push_str(":high-tier=0");
    }
    params
}

/// The same of x265, which makes later keyframes by the mean of all frames, B
/// frames too: of those with usual numbers of B frames. It knows of no zone of one
/// frame; the second is a B frame, to which zones don't apply.
const X265_LATER_KEYFRAME: &str = ":zones=0,1,b=1.16";

/// libvpx, which takes a quality with a rate for one that is capped.
fn vp9(spec: &Spec, index: &Index, rate: &Rate) -> Vec<String> {
    let mut args = match rate.cap {
        None => strings(&["-b:v", "0"]),
        Some(cap) => {
            let (maxrate, bufsize) = (cap.maxrate.to_string(), cap.bufsize.to_string());
            strings(&["-b:v", &maxrate, "-maxrate", &maxrate, "-bufsize", &bufsize])
        }
    };
    args.extend(strings(&["-crf", &crf(rate), "-deadline", "good"]));
    args.extend(strings(&["-cpu-used", &spec.preset, "-row-mt", "0"]));
    if !spec.tune().is_empty() {
        args.extend(strings(&["-tune-content", spec.tune()]));
    }
    let apart = keyframes::frames_apart(spec, index).unwrap_or(KEYFRAMES_APART);
    args.extend(strings(&["-g", &apart.to_string()]));
    args
}

fn svt_av1(spec: &Spec, index: &Index, rate: &Rate) -> Vec<String> {
    let mut params = format!("lp=1{}", index.facts.hdr.for_svt());
    if let Some(cap) = rate.cap {
        params.push_str(&format!(":mbr={}", cap.maxrate / 1_000));
    }
    match spec.tune() {
        "vq" => params.push_str(":tune=0"),
        "psnr" => params.push_str(":tune=1"),
        _ => {}
    }
    let apart = keyframes::frames_apart(spec, index);
    let apart = apart.unwrap_or_else(|| seam::svt_keyframes_apart(index));
    let (crf, apart) = (crf(rate), apart.to_string());
    let args = [
        "-preset",
        &spec.preset,
        "-crf",
        &crf,
        "-svtav1-params",
        &params,
        "-g",
        &apart,
    ];
    strings(&args)
}

fn ffv1(index: &Index) -> Vec<String> {
    // Left alone, the encoder takes as many slices as the picture needs, four at
    // least; a narrow one has no room for those.
    let mut args = strings(&["-level", "3", "-g", "1"]);
    if index.facts.picture.output.0 < FFV1_SLICED_WIDTH_MIN {
        args.extend(strings(&["-slices", "1"]));
    }
    args
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::{
        index::tests::sample,
        times::{MILLISECONDS, Ratio},
    };
    use reelraft_model::spec::{EncoderChoice, SpecRequest, resolve};

    const CODECS: [(&str, &str); 5] = [
        ("h264", "mp4"),
        ("hevc", "mp4"),
        ("vp9", "webm"),
        ("av1", "mp4"),
        ("ffv1", "mkv"),
    ];

    fn args(request: SpecRequest, pass: Pass) -> String {
        let spec = resolve(&request).unwrap();
        let (index, rate) = (sample(), Rate::of(&spec));
        let rate = match pass {
            Pass::Shard(range) => Rate::of_shard(&spec, &index, range),
            _ => rate,
        };
        encoder(&spec, &index, pass, &rate).join(" ")
    }

    #[test]
    fn x264_is_told_the_rate_that_a_coarse_clock_is_evened_out_to() {
        let mut index = sample();
        index.facts.rate = Some(Ratio { num: 24, den: 1 });
        index.facts.source.video.as_mut().unwrap().time_base = MILLISECONDS;
        index.times = (0..100).map(|frame| (frame * 1000 + 12) / 24).collect();
        let params = |fps| {
            let spec = resolve(&SpecRequest {
                fps,
                ..Default::default()
            });
            let spec = spec.unwrap();
            x264_params(&spec, &index, Pass::Whole, &Rate::of(&spec))
        };
        assert!(params(None).ends_with(":force-cfr=1:fps=24/1"));
        assert!(!params(Some((12, 1))).contains("force-cfr"));
    }

    #[test]
    fn every_encoder_runs_on_one_thread() {
        for (codec, container) in CODECS {
            let request = SpecRequest {
                codec: codec.into(),
                container: container.into(),
                ..Default::default()
            };
            let args = args(request, Pass::Reference { whole: false });
            assert!(args.contains(" -threads 1"), "{codec}: {args}");
        }
    }

    #[test]
    fn a_cap_is_told_in_each_encoders_words() {
        let of = |codec: &str, container: &str, pass| {
            let request = SpecRequest {
                codec: codec.into(),
                container: container.into(),
                encoder_choice: EncoderChoice {
                    maxrate: 2_000_000,
                    ..Default::default()
                },
                ..Default::default()
            };
            args(request, pass)
        };
        let whole = Pass::Reference { whole: false };
        for (codec, container, told) in [
            (
                "h264",
                "mp4",
                "stitchable=1:zones=0,0,b=1.4:vbv-maxrate=2000:vbv-bufsize=4000 ",
            ),
            (
                "hevc",
                "mp4",
                "no-open-gop=1:vbv-maxrate=2000:vbv-bufsize=4000:high-tier=0 ",
            ),
            (
                "vp9",
                "webm",
                "-b:v 2000000 -maxrate 2000000 -bufsize 4000000 -crf 31",
            ),
            ("av1", "mp4", "-svtav1-params lp=1:mbr=2000 "),
        ] {
            let args = of(codec, container, whole);
            assert!(args.contains(told), "{args}");
            assert!(!args.contains("vbv-init"), "{args}");
        }
        let shards = sample().shards().to_vec();
        let of = |shard: usize| of("h264", "mp4", Pass::Shard(shards[shard]));
        assert!(!of(0).contains("vbv-init") && of(1).contains(":vbv-init=0.500"));
    }

    #[test]
    fn no_encoder_sets_keyframes_between_those_that_are_far_apart() {
        for (codec, container) in &CODECS[..4] {
            let request = SpecRequest {
                codec: codec.to_string(),
                container: container.to_string(),
                fps: Some((60, 1)),
                encoder_choice: EncoderChoice {
                    keyint_milli: 10_000,
                    ..Default::default()
                },
                ..Default::default()
            };
            let args = args(request, Pass::Reference { whole: false });
            assert!(args.contains("-g 600 "), "{codec}: {args}");
        }
    }

    #[test]
    fn a_tune_is_told_and_a_later_keyframe_follows_it() {
        let of = |codec: &str, tune: &str| {
            let request = SpecRequest {
                codec: codec.into(),
                encoder_choice: EncoderChoice {
                    tune: tune.into(),
                    ..Default::default()
                },
                ..Default::default()
            };
            args(request, Pass::Reference { whole: false })
        };
        let grain = of("h264", "grain");
        assert!(
            grain.contains("-tune grain") && grain.contains("b=1.1 "),
            "{grain}"
        );
        assert!(of("h264", "film").contains("b=1.4 "));
        assert!(of("hevc", "animation").contains("-tune animation"));
        assert!(of("vp9", "screen").contains("-tune-content screen"));
        assert!(of("av1", "vq").contains(":tune=0"));
    }
}
