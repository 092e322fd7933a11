//! Compares an encoded shard with the frames that its encoder was given: the same
//! decoding and filters, and the frames paired one by one, which is by time, as both
//! have been proven to have the same times.

use std::path::PathBuf;

use reelraft_model::spec::{Aim, Metric, Spec};

use crate::{
    error::MediaError,
    facts::{
        index::Index,
        measured::{Measured, Series},
        plan::ShardRange,
        recipe::SCALER,
        text::strings,
        times::Ratio,
    },
    ffmpeg::{
        args::{clock_rule, global_options},
        context::Context,
        input::{Input, open_input, open_source},
        listeners::ProgressListener,
        log::LOG_ERRORS,
    },
    video::{
        args::{SHARD_FILE, decode_from, seek_to},
        filters::{self, Pass},
    },
};

/// How a shard is opened, whichever muxer has written it.
const SHARD_DEMUXER: &str = "mov";

/// What a job's shards are compared by; nothing where nobody asks.
pub(crate) fn metrics(spec: &Spec) -> Vec<Metric> {
    let asked = spec.amount.as_ref().is_some_and(|amount| amount.measure);
    metrics_if(asked, spec)
}

/// The usual metrics where they are asked for, and that of the quality that a job aims at.
pub(crate) fn metrics_if(asked: bool, spec: &Spec) -> Vec<Metric> {
    let target = match spec.aim() {
        Some(Aim::Quality(metric, _)) => Some(metric),
        _ => None,
    };
    let usual = match asked {
        true => [Metric::Ssim, Metric::Psnr].as_slice(),
        false => &[],
    };
    let others = target.filter(|metric| !usual.contains(metric));
    usual.iter().copied().chain(others).collect()
}

/// The file that a filter writes what it finds of each frame to.
fn log_file(metric: Metric) -> String {
    format!("{}.log", metric.name())
}

/// The filter of a metric between what was given and what was made.
fn filter(metric: Metric, at: usize) -> String {
    let (given, made, log) = (format!("[g{at}]"), format!("[m{at}]"), log_file(metric));
    let name = metric.filter();
    match metric {
        Metric::Ssim | Metric::Psnr | Metric::Xpsnr => format!("{given}{made}{name}=f={log}"),
        Metric::Vmaf => {
            format!("{made}{given}{name}=log_path={log}:log_fmt=csv:n_threads=1")
        }
    }
}

/// The frames that an encoder was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenFrames {
    pub pass: Pass,
    /// From where on the source is decoded: none is its beginning.
    pub start: Option<i64>,
}

impl GivenFrames {
    /// Those of a shard that was decoded from `start`; a film in one pass has none.
    pub fn of(range: ShardRange, start: Option<Option<i64>>) -> Self {
        GivenFrames {
            pass: match start {
                Some(_) => Pass::Compared(range),
                None => Pass::Reference { whole: true },
            },
            start: start.flatten(),
        }
    }
}

/// The frames that it made of them.
#[derive(Clone, Debug)]
pub(crate) struct MadeFrames {
    pub file: PathBuf,
    pub demuxer: &'static str,
    /// First and last of them, where the file has others too, and their clock.
    pub span: Option<(i64, i64, Ratio)>,
}

impl MadeFrames {
    /// Options that open the file, at a keyframe before the frames.
    fn open(&self) -> Vec<String> {
        let mut args = strings(&["-threads", "1"]);
        if let Some((first, _, base)) = self.span {
            args.extend(seek_to(first, base));
        }
        let file = Input::File(self.file.clone());
        args.extend(open_input(&file, Some(self.demuxer)));
        args
    }

    /// A filter that lets these frames through, and no others.
    fn own(&self) -> String {
        self.span.map_or_else(String::new, |(first, last, _)| {
            let end = last.saturating_add(1);
            format!("trim=start_pts={first}:end_pts={end},")
        })
    }
}

/// Opens the source as the encoder's pass did.
fn open_given(context: &Context<'_>, index: &Index, given: GivenFrames) -> Vec<String> {
    let GivenFrames { pass, start } = given;
    let source = &index.facts.source;
    let part = matches!(pass, Pass::Compared(_));
    let mut args = match part {
        true => strings(&["-copyts"]),
        false => clock_rule(source),
    };
    args.extend(decode_from(index, start));
    args.extend(source.video().decoder_args());
    if !part {
        args.extend(filters::through_changes(context.spec, index));
    }
    args.extend(match part {
        true => open_input(context.input, Some(&source.demuxer)),
        false => open_source(context.input, source),
    });
    args
}

/// ffmpeg: both sides, frame by frame, into the files of the metrics.
fn arguments(
    context: &Context<'_>,
    index: &Index,
    (given, made): (GivenFrames, &MadeFrames),
    metrics: &[Metric],
) -> Vec<String> {
    let (spec, source) = (context.spec, &index.facts.source);
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-threads",
        "1",
    ]));
    args.extend(open_given(context, index, given));
    args.extend(made.open());
    // Frames are paired by their number.
    let count = "settb=expr=1/25,setpts=N";
    let format = &index.facts.picture.output_pix_fmt;
    let sides: String = ["g", "m"]
        .iter()
        .zip([
            format!(
                "[0:{}]{}",
                source.video().stream,
                filters::chain(spec, index, given.pass)
            ),
            // Decoders name full range by another format, which changes no sample.
            format!(
                "[1:v:0]{}scale=flags={SCALER}:in_range=full:out_range=full,format={format}",
                made.own()
            ),
        ])
        .map(|(side, chain)| {
            let outs = (0..metrics.len()).map(|at| format!("[{side}{at}]"));
            let outs: String = outs.collect();
            format!("{chain},{count},split={}{outs};", metrics.len())
        })
        .collect();
    let filters: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(at, metric)| format!("{}[out{at}]", filter(*metric, at)))
        .collect();
    args.extend(strings(&["-filter_threads", "1"]));
    args.extend(strings(&[
        "-filter_complex_threads",
        "1",
        "-sws_flags",
        SCALER,
    ]));
    args.extend(["-filter_complex".to_string(), sides + &filters.join(";")]);
    for at in 0..metrics.len() {
        let out = format!("[out{at}]");
        args.extend(strings(&["-map", &out, "-fps_mode:v", "passthrough"]));
        args.extend(strings(&["-f", "null", "-"]));
    }
    args
}

/// Compares the shard in the step's folder, which was decoded from `start`; a film in one
/// pass has none. None where nobody asks, or where the source gives other frames now than it did.
pub(crate) async fn measure(
    context: &Context<'_>,
    index: &Index,
    (range, start): (ShardRange, Option<Option<i64>>),
    frames: u64,
) -> Result<Option<Measured>, MediaError> {
    let metrics = metrics(context.spec);
    if metrics.is_empty() {
        return Ok(None);
    }
    let made = MadeFrames {
        file: context.work_dir.join(SHARD_FILE),
        demuxer: SHARD_DEMUXER,
        span: None,
    };
    let sides = (GivenFrames::of(range, start), &made);
    compare(context, index, sides, &metrics, frames).await
}

/// Compares frames one by one. None where there are not as many on both sides as there
/// should be.
pub(crate) async fn compare(
    context: &Context<'_>,
    index: &Index,
    sides: (GivenFrames, &MadeFrames),
    metrics: &[Metric],
    frames: u64,
) -> Result<Option<Measured>, MediaError> {
    let arguments = arguments(context, index, sides, metrics);
    let mut listener = ProgressListener::new(&|_| {});
    // Frames of both sides, and those between the filters.
    let address_bytes = index.facts.picture.address_bytes().saturating_mul(2);
    let exit = context
        .ffmpeg_for_shard(&arguments, address_bytes, &mut listener)
        .await?;
    listener.diagnostics.check_exit("ffmpeg", exit)?;
    let mut series = Vec::new();
    for &metric in metrics {
        let path = context.work_dir.join(log_file(metric));
        let text = std::fs::read_to_string(&path)
            .map_err(MediaError::disk("reading what was measured"))?;
        let found = values(metric, &text);
        if found.len() as u64 != frames {
            tracing::warn!(found = found.len(), frames, "measured other frames");
            return Ok(None);
        }
        let percentile = context.spec.target_percentile();
        series.push(Series::of(metric.name(), &found, percentile));
    }
    Ok(Some(Measured { frames, series }))
}

/// What a filter found of each frame, in millionths.
fn values(metric: Metric, text: &str) -> Vec<u64> {
    let lines = text.lines();
    match metric {
        Metric::Ssim => lines
            .filter_map(|line| micro_behind(line, "All:"))
            .collect(),
        Metric::Psnr => lines
            .filter_map(|line| micro_behind(line, "psnr_avg:"))
            .collect(),
        Metric::Xpsnr => lines
            .filter(|line| line.trim_start().starts_with("n:"))
            .filter_map(|line| micro_behind(line, "XPSNR y:"))
            .collect(),
        Metric::Vmaf => {
            let mut lines = lines;
            let names = lines.next().unwrap_or_default().split(',');
            let at = names.into_iter().position(|name| name.trim() == "vmaf");
            lines
                .filter_map(|line| micro_of(line.split(',').nth(at?)?))
                .collect()
        }
    }
}

fn micro_behind(line: &str, name: &str) -> Option<u64> {
    let (_, rest) = line.split_once(name)?;
    micro_of(rest.split_whitespace().next()?)
}

/// What no frame can be better than, in dB: equal ones are infinitely good.
const EQUAL_MICRO: u64 = 100_000_000;

/// Millionths of a decimal; what is below zero counts as zero.
fn micro_of(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "inf" {
        return Some(EQUAL_MICRO);
    }
    if text.starts_with('-') {
        return Some(0);
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals = decimals.get(..6).unwrap_or(decimals);
    let micro: u64 = format!("{whole}{decimals:0<6}").parse().ok()?;
    Some(micro.min(EQUAL_MICRO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_filters_write_is_read() {
        let ssim =
            "n:1 Y:0.993 U:0.99 V:0.991 All:0.992123 (21.04)\nn:2 Y:1 U:1 V:1 All:1.000000 (inf)\n";
        assert_eq!(values(Metric::Ssim, ssim), [992_123, 1_000_000]);
        let psnr = "n:1 mse_avg:0.55 mse_y:0.6 psnr_avg:50.71 psnr_y:50.3\nn:2 mse_avg:0.00 psnr_avg:inf psnr_y:inf\n";
        assert_eq!(values(Metric::Psnr, psnr), [50_710_000, EQUAL_MICRO]);
        let vmaf = "Frame,integer_adm2,vmaf,\n0,0.9,95.123456,\n1,0.9,100.000000,\n";
        assert_eq!(values(Metric::Vmaf, vmaf), [95_123_456, EQUAL_MICRO]);
        let xpsnr = "n:    1  XPSNR y: 41.2500  XPSNR u: 44.1  XPSNR v: 45.0\n\nXPSNR average, 1 frames  y: 41.25\n";
        assert_eq!(values(Metric::Xpsnr, xpsnr), [41_250_000]);
        assert_eq!(micro_of("-3.1"), Some(0));
        assert_eq!(micro_of("x"), None);
    }
}
