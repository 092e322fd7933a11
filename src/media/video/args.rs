//! Argument lists for encoding video: pure functions of the index and the spec.
//! Whatever determines the output's bytes is fixed here and in
//! `output/args.rs`: threads, encoder options, scaler, bit-exact muxing.
//!
//! A change in either that changes bytes raises `RECIPE`.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{
        index::Index,
        plan::ShardRange,
        recipe::SCALER,
        text::strings,
        times::{MICROSECONDS, Ratio, rescale_up, seconds},
    },
    ffmpeg::{
        args::{clock_rule, global_options, pass_along},
        input::{Input, open_input, open_source},
        log::LOG,
    },
    limits::SHIFT_SECONDS,
    video::{
        encoder::encoder,
        filter_clock::FilterClock,
        filters::{self, Pass},
        grid::Grid,
        rate::Rate,
        timing::{encoded_base, fps, reordered_frames},
    },
};

/// Name of a shard in the work folder.
pub(crate) const SHARD_FILE: &str = "shard.mp4";

/// Stream, filters, timing and encoder of a pass.
pub(crate) fn video(spec: &Spec, index: &Index, pass: Pass, rate: &Rate) -> Vec<String> {
    let mut args = strings(&[
        "-map",
        &format!("0:{}", index.facts.source.video().stream),
        "-filter_threads",
        "1",
        "-sws_flags",
        SCALER,
        "-vf",
        &filters::chain(spec, index, pass),
        "-fps_mode:v",
        "passthrough",
    ]);
    if fps(spec).is_none() {
        // The demuxer's own, as a number: ffmpeg's word for it changed.
        let base = index.facts.source.video().time_base;
        let base = format!("{}:{}", base.num, base.den);
        args.extend(strings(&["-enc_time_base:v", &base]));
    }
    args.extend(encoder(spec, index, pass, rate));
    args
}

/// One fragmented file with absolute times, shifted by `SHIFT_SECONDS`.
fn fragmented(spec: &Spec) -> Vec<String> {
    // MP4 proper does not define FFV1; ffmpeg's QuickTime muxer accepts it.
    let format = match spec.codec() {
        Codec::Ffv1 => "mov",
        _ => "mp4",
    };
    let mut args = strings(&[
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-output_ts_offset",
        &SHIFT_SECONDS.to_string(),
        "-movflags",
        "+frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer",
        "-use_editlist",
        "0",
        "-avoid_negative_ts",
        "disabled",
    ]);
    // A shard may be made at another rate than the others and has their header.
    if spec.cap().is_some() {
        args.extend(strings(&["-write_btrt", "0"]));
    }
    args.extend(strings(&["-f", format, SHARD_FILE]));
    args
}

/// Has the source be decoded from a time of it, or from the beginning.
pub(crate) fn decode_from(index: &Index, start: Option<i64>) -> Vec<String> {
    let Some(start) = start else {
        return Vec::new();
    };
    seek_to(start, index.facts.source.video().time_base)
}

/// Has a file be read from its keyframe at or before a time on.
pub(crate) fn seek_to(start: i64, base: Ratio) -> Vec<String> {
    let start_us = rescale_up(start, base, MICROSECONDS);
    strings(&[
        "-seek_timestamp",
        "1",
        "-noaccurate_seek",
        "-ss",
        &seconds(start_us),
    ])
}

/// One shard, decoded from the source time `start`, or from the beginning.
pub(crate) fn shard(
    input: &Input,
    index: &Index,
    spec: &Spec,
    range: ShardRange,
    start: Option<i64>,
    clock: FilterClock,
    rate: &Rate,
) -> Vec<String> {
    let source = &index.facts.source;
    let mut args = global_options(LOG);
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-debug_ts",
        "-copyts",
        "-threads",
        "1",
    ]));
    args.extend(decode_from(index, start));
    args.extend(source.video().decoder_args());
    args.extend(open_input(input, Some(&source.demuxer)));
    args.extend(video(spec, index, Pass::Shard(range), rate));
    if let Some(expression) = decode_times(index, spec, range, clock) {
        args.extend(["-bsf:v".to_string(), expression]);
    }
    args.extend(fragmented(spec));
    args
}

/// Sets a shard's first decode times to what they would be if its encoder had
/// continued from the previous shard. The encoder can't know them, and with a
/// variable frame rate its guess would make decode times fall at joints.
fn decode_times(
    index: &Index,
    spec: &Spec,
    range: ShardRange,
    clock: FilterClock,
) -> Option<String> {
    let delay = reordered_frames(spec);
    let ticks = clock.ticks(encoded_base(spec, index));
    let decoded: Vec<i64> = match Grid::of(spec, index) {
        // Every grid point is a frame, so the frames before it are known.
        Some(grid) => {
            let (from, _) = grid.points(index, range);
            (0..delay as i64)
                .map(|frame| from + frame - delay as i64)
                .collect()
        }
        None => {
            let times = &index.times;
            let first = times.partition_point(|&time| time < range.from_pts);
            let count = index.times_in(range).len().min(delay);
            let run_up = times.get(delay.min(times.len() - 1))? - times[0];
            (first..first + count)
                .map(|frame| match frame.checked_sub(delay) {
                    Some(behind) => times[behind] - index.facts.zero,
                    None => times[frame] - run_up - index.facts.zero,
                })
                .collect()
        }
    };
    if decoded.is_empty() {
        return None;
    }
    let mut expression = "DTS".to_string();
    for (frame, time) in decoded.iter().enumerate().rev() {
        let dts = time * ticks;
        expression = format!("if(eq(N\\,{frame})\\,{dts}\\,{expression})");
    }
    Some(format!("setts=pts=PTS:dts={expression}"))
}

/// The whole film in one plain pass, without seeking or trimming.
pub(crate) fn single(input: &Input, index: &Index, spec: &Spec, rate: &Rate) -> Vec<String> {
    let source = &index.facts.source;
    let mut args = global_options(LOG);
    args.extend(clock_rule(source));
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-debug_ts",
        "-threads",
        "1",
    ]));
    args.extend(source.video().decoder_args());
    args.extend(filters::through_changes(spec, index));
    args.extend(open_source(input, source));
    args.extend(video(spec, index, Pass::Whole, rate));
    args.extend(fragmented(spec));
    args.extend(pass_along(index, spec, &[source.video().stream]));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn source() -> Input {
        Input::File("s".into())
    }

    #[test]
    fn shard_arguments_are_pinned() {
        let index = sample();
        let spec = resolve(&SpecRequest::default()).unwrap();
        let range = index.shards()[1];
        assert_eq!(
            shard(
                &source(),
                &index,
                &spec,
                range,
                Some(50),
                FilterClock::Muxer,
                &Rate::of(&spec)
            )
            .join(" "),
            "-nostdin -hide_banner -y -v repeat+level+info -max_error_rate 1 -progress pipe:1 -nostats -debug_ts -copyts -threads 1 -seek_timestamp 1 -noaccurate_seek -ss 2.083334 -flags:0 +bitexact -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:0 -filter_threads 1 -sws_flags bicubic+accurate_rnd+bitexact -vf showinfo@decoded=checksum=0,split[joint][own];[joint]trim=start_pts=60:end_pts=61,select=eq(pts\\,60),showinfo@joint,nullsink;[own]null,trim=start_pts=60,scale=w=640:h=360:flags=bicubic+accurate_rnd+bitexact,format=yuv420p -fps_mode:v passthrough -enc_time_base:v 1:24 -c:v libx264 -preset medium -crf 23 -x264-params cpu-independent=1:stitchable=1:zones=0,0,b=1.4 -threads 1 -bsf:v setts=pts=PTS:dts=if(eq(N\\,0)\\,29696\\,if(eq(N\\,1)\\,30208\\,DTS)) -map_metadata -1 -map_chapters -1 -fflags +bitexact -flags:v +bitexact -output_ts_offset 10 -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer -use_editlist 0 -avoid_negative_ts disabled -f mp4 shard.mp4"
        );
    }

    #[test]
    fn the_first_shard_does_not_seek_and_has_a_run_up() {
        let index = sample();
        let spec = resolve(&SpecRequest::default()).unwrap();
        let args = shard(
            &source(),
            &index,
            &spec,
            index.shards()[0],
            None,
            FilterClock::Muxer,
            &Rate::of(&spec),
        )
        .join(" ");
        assert!(!args.contains("-ss"), "{args}");
        // The encoder is given what it looks ahead at, which is all of the rest.
        assert!(!args.contains(",trim="), "{args}");
        assert!(
            args.contains("-force_key_frames:v expr:eq(n,60) -flush_packets 1"),
            "{args}"
        );
        // Two frames before zero; the shift keeps them positive.
        assert!(
            args.contains("dts=if(eq(N\\,0)\\,-1024\\,if(eq(N\\,1)\\,-512\\,DTS))"),
            "{args}"
        );
    }

    #[test]
    fn one_pass_neither_seeks_nor_trims() {
        let index = sample();
        let request = SpecRequest {
            codec: "ffv1".into(),
            container: "mkv".into(),
            ..Default::default()
        };
        let spec = resolve(&request).unwrap();
        assert_eq!(
            single(&source(), &index, &spec, &Rate::of(&spec)).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+info -max_error_rate 1 -progress pipe:1 -nostats -debug_ts -threads 1 -flags:0 +bitexact -reinit_filter:v 0 -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:0 -filter_threads 1 -sws_flags bicubic+accurate_rnd+bitexact -vf setpts=if(isnan(PREV_OUTPTS)+isnan(PTS)+gt(PTS\\,PREV_OUTPTS)\\,PTS\\,PREV_OUTPTS+1),showinfo@decoded=checksum=0,scale=w=640:h=360:flags=bicubic+accurate_rnd+bitexact,format=yuv420p -fps_mode:v passthrough -enc_time_base:v 1:24 -c:v ffv1 -level 3 -g 1 -threads 1 -map_metadata -1 -map_chapters -1 -fflags +bitexact -flags:v +bitexact -output_ts_offset 10 -movflags +frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer -use_editlist 0 -avoid_negative_ts disabled -f mov shard.mp4"
        );
    }
}
