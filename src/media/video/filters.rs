//! The filter chain of a pass over the video, as a pure function. There are
//! three chains: the reference's, the same with `showinfo` at its ends, and a
//! shard's, which starts early enough for filters with a memory and lets only
//! those frames through that its encoder is given.
//!
//! Order: flatten alpha, deinterlace, crop, denoise, rate, scale, levels, pad,
//! pixel format. Fields are woven before anything mixes their lines, and noise
//! is removed before pictures are repeated or scaled.
//!
//! Not here: where decoding of a shard starts, which is in `facts/index.rs`.

use reelraft_model::spec::{Codec, Deinterlace, Denoise, Spec};

use crate::{
    facts::{
        index::Index,
        plan::ShardRange,
        recipe::SCALER,
        text::{milli, strings},
    },
    limits::{DEINTERLACE_FRAMES, FILTERED_SIDE_MIN},
    video::{grid::Grid, seam::Given},
};

/// In damaged films frame times may fall or repeat, and encoders and muxers
/// would replace them with times of their own. Such a frame is moved to one
/// tick after the previous one. Frames without a time stay without one.
const RISING: &str =
    "setpts=if(isnan(PREV_OUTPTS)+isnan(PTS)+gt(PTS\\,PREV_OUTPTS)\\,PTS\\,PREV_OUTPTS+1)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The reference command; `whole` if the film is one shard.
    Reference {
        whole: bool,
    },
    /// The first frames as the reference makes them, to see what it makes.
    Sample,
    /// The whole film in one process, each frame observed.
    Whole,
    Shard(ShardRange),
    /// The frames of a shard as its encoder is given them, to be compared with what
    /// it made.
    Compared(ShardRange),
}

impl Pass {
    /// The frames that are wanted of a part of the film.
    fn given(self, spec: &Spec, index: &Index) -> Option<ShardRange> {
        match self {
            Pass::Shard(range) => Some(Given::of(spec, index, range).range),
            Pass::Compared(range) => Some(range),
            Pass::Reference { .. } | Pass::Sample | Pass::Whole => None,
        }
    }
}

/// Whether the chain changes times or number of frames, so that both its ends
/// must be observed.
pub(crate) fn retimed(spec: &Spec, index: &Index) -> bool {
    memory_frames(spec, index) > 0 || Grid::of(spec, index).is_some()
}

/// Frames on each side that influence a frame.
pub(crate) fn memory_frames(spec: &Spec, index: &Index) -> usize {
    if deinterlace(spec, index).is_some() {
        DEINTERLACE_FRAMES
    } else {
        0
    }
}

/// The frames that must be decoded for a range: its own, those in the memory of
/// filters, and at a constant rate the frame that ends its last picture.
pub(crate) fn decoded_range(spec: &Spec, index: &Index, range: ShardRange) -> ShardRange {
    let times = &index.times;
    let memory = memory_frames(spec, index);
    let beyond = memory + usize::from(Grid::of(spec, index).is_some());
    let first = times.partition_point(|&time| time < range.from_pts);
    let last = times.partition_point(|&time| time < range.to_pts);
    let (first, last) = (first.saturating_sub(memory), last.saturating_add(beyond));
    ShardRange {
        from_pts: times.get(first).copied().unwrap_or(range.from_pts),
        to_pts: match times.get(last) {
            Some(&time) => time,
            None => times
                .last()
                .map_or(range.to_pts, |time| time.saturating_add(1)),
        },
        frames: range.frames,
    }
}

pub(crate) fn chain(spec: &Spec, index: &Index, pass: Pass) -> String {
    let mut filters = Vec::new();
    // Some versions of ffmpeg forget the frame rate behind this filter.
    let zero = index.facts.zero;
    let given = pass.given(spec, index);
    if given.is_some() && zero != 0 {
        filters.push(format!("setpts=PTS-({zero})"));
    }
    if matches!(pass, Pass::Whole | Pass::Reference { whole: true }) {
        filters.push(RISING.into());
    }
    let watched = matches!(pass, Pass::Whole | Pass::Shard(_));
    if watched {
        filters.push("showinfo@decoded=checksum=0".into());
    }
    if let Pass::Shard(range) = pass {
        filters.extend(joints(index, range));
    }
    if let Some(given) = given {
        filters.extend(trim(index, decoded_range(spec, index, given)));
    }
    filters.extend(flatten(spec, index));
    filters.extend(deinterlace(spec, index));
    filters.extend(spec.crop.map(|crop| {
        format!(
            "crop=w={}:h={}:x={}:y={}",
            crop.width, crop.height, crop.x, crop.y
        )
    }));
    filters.extend(denoise(spec, index));
    match (Grid::of(spec, index), given) {
        (Some(grid), Some(given)) => filters.push(grid.shard_filter(index, given)),
        (Some(grid), None) => filters.push(grid.filter()),
        (None, Some(given)) if memory_frames(spec, index) > 0 => {
            filters.extend(trim(index, given));
        }
        (None, _) => {}
    }
    filters.extend(shape(spec, index));
    if watched && retimed(spec, index) {
        filters.push("showinfo@filtered=checksum=0".into());
    }
    filters.join(",")
}

/// Options before the input of a pass over the whole film: its filters go on where the
/// picture changes its size, as between two pieces of a broadcast. ffmpeg would begin
/// them anew, and they would forget the last time and the constant rate; the scaler takes
/// each size as it comes. Others are made for one size, and have to be begun anew.
pub(crate) fn through_changes(spec: &Spec, index: &Index) -> Vec<String> {
    let of_one_size = spec.crop.is_some()
        || flatten(spec, index).is_some()
        || deinterlace(spec, index).is_some()
        || denoise(spec, index).is_some();
    match of_one_size {
        true => Vec::new(),
        false => strings(&["-reinit_filter:v", "0"]),
    }
}

/// Computes checksums of a shard's first frame and the next shard's, as decoded
/// here: neighbors must agree on the frame at their joint. The branch ends
/// after them, since an open one would make ffmpeg decode the film to its end.
fn joints(index: &Index, range: ShardRange) -> Option<String> {
    let bounds = index.bounds(range);
    let frames: Vec<i64> = bounds.from.into_iter().chain(bounds.to).collect();
    let (first, last) = (frames.first()?, frames.last()?);
    let either: Vec<String> = frames
        .iter()
        .map(|pts| format!("eq(pts\\,{pts})"))
        .collect();
    Some(format!(
        "split[joint][own];[joint]trim=start_pts={first}:end_pts={},select={},showinfo@joint,nullsink;[own]null",
        last + 1,
        either.join("+")
    ))
}

/// Passes the frames of a range. The film's own ends stay open, so that a frame
/// beyond the plan is noticed.
fn trim(index: &Index, range: ShardRange) -> Option<String> {
    let bounds = index.bounds(range);
    let from = bounds.from.map(|from| format!("start_pts={from}"));
    let to = bounds.to.map(|to| format!("end_pts={to}"));
    let ends: Vec<String> = from.into_iter().chain(to).collect();
    (!ends.is_empty()).then(|| format!("trim={}", ends.join(":")))
}

/// Whether a pixel format has alpha.
pub(crate) fn has_alpha(pix_fmt: &str) -> bool {
    [
        "yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya8", "ya16", "ayuv", "pal8",
    ]
    .iter()
    .any(|prefix| pix_fmt.starts_with(prefix))
}

/// Whether a pixel format has more than 8 bits per sample: those that name a
/// byte order, except for packed ones of 16 bits in total.
pub(crate) fn is_deep(pix_fmt: &str) -> bool {
    let packed = pix_fmt
        .strip_prefix("rgb")
        .or_else(|| pix_fmt.strip_prefix("bgr"))
        .is_some_and(|bits| {
            ["444", "555", "565"]
                .iter()
                .any(|few| bits.starts_with(few))
        });
    !packed && (pix_fmt.ends_with("le") || pix_fmt.ends_with("be"))
}

/// Flattens a picture with alpha onto black, unless the codec stores alpha and
/// no requested filter drops it.
fn flatten(spec: &Spec, index: &Index) -> Option<String> {
    let kept = spec.codec() == Codec::Ffv1
        && has_alpha(&index.facts.picture.output_pix_fmt)
        && deinterlace(spec, index).is_none()
        && denoise(spec, index).is_none();
    (has_alpha(&index.facts.picture.source_pix_fmt) && !kept).then(|| {
        "format=yuva444p|yuva444p10le|yuva444p12le|yuva444p16le,premultiply=inplace=1".into()
    })
}

/// One output frame per input frame, at its own time. The filter doubles the
/// time base, which is reverted.
fn deinterlace(spec: &Spec, index: &Index) -> Option<String> {
    let which = match spec.deinterlace() {
        Deinterlace::Off => return None,
        Deinterlace::Auto => "interlaced",
        Deinterlace::On => "all",
    };
    let (width, height) = index.facts.picture.source;
    let base = index.facts.source.video().time_base;
    (width.min(height) >= FILTERED_SIDE_MIN).then(|| {
        format!(
            "bwdif=mode=send_frame:parity=auto:deint={which},settb=expr={}/{}",
            base.num, base.den
        )
    })
}

/// A filter that looks at single pictures, so that none depends on where
/// decoding began. (Temporal denoisers either never forget, or wait forever for
/// more frames than a short film has.)
fn denoise(spec: &Spec, index: &Index) -> Option<String> {
    let threshold = match spec.denoise() {
        Denoise::Off => return None,
        Denoise::Light => "1.5",
        Denoise::Medium => "3",
        Denoise::Strong => "6",
    };
    let (width, height) = match spec.crop {
        Some(crop) => (crop.width, crop.height),
        None => index.facts.picture.source,
    };
    (width.min(height) >= FILTERED_SIDE_MIN)
        .then(|| format!("vaguedenoiser=threshold={threshold}:method=garrote:nsteps=6"))
}

fn shape(spec: &Spec, index: &Index) -> Vec<String> {
    let picture = &index.facts.picture;
    let (width, height) = picture.scaled;
    let mut filters = vec![format!("scale=w={width}:h={height}:flags={SCALER}")];
    let format = format!("format={}", picture.output_pix_fmt);
    // The levels are defined on luma and chroma; other pixel formats pass
    // through a YUV one first.
    let early = picture.output_pix_fmt.starts_with("yuv");
    if early {
        filters.push(format.clone());
    }
    filters.extend(levels(spec));
    if picture.output != picture.scaled {
        let (width, height) = picture.output;
        filters.push(format!(
            "pad=w={width}:h={height}:x=(ow-iw)/2:y=(oh-ih)/2:color=black"
        ));
    }
    if !early {
        filters.push(format);
    }
    filters
}

/// Brightness, contrast and saturation by a lookup table, which is the same for
/// every depth and on every processor. Brightness is an offset over the whole
/// range, contrast pivots about its middle, saturation about gray.
fn levels(spec: &Spec) -> Option<String> {
    let asked = (
        spec.brightness_milli,
        spec.contrast_milli,
        spec.saturation_milli,
    );
    let (brightness, contrast, saturation) = (milli(asked.0), milli(asked.1), milli(asked.2));
    let chroma =
        format!("(val-round((minval+maxval)/2))*{saturation}+round((minval+maxval)/2)+0.5");
    (asked != (0, 1000, 1000)).then(|| {
        format!(
            "lutyuv=y='(val-(minval+maxval)/2)*{contrast}+(minval+maxval)/2+(maxval-minval)*({brightness})+0.5':u='{chroma}':v='{chroma}'"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn spec(change: impl Fn(&mut SpecRequest)) -> Spec {
        let mut request = SpecRequest::default();
        change(&mut request);
        resolve(&request).unwrap()
    }

    #[test]
    fn all_filters_are_in_order() {
        let mut index = sample();
        index.facts.picture.source_pix_fmt = "bgra".into();
        index.facts.picture.output = (640, 480);
        let spec = spec(|request| {
            request.deinterlace = "auto".into();
            request.denoise = "light".into();
            request.crop = Some(reelraft_model::spec::Crop {
                width: 1200,
                height: 700,
                x: 2,
                y: 4,
            });
            request.brightness_milli = Some(-50);
            request.fps = Some((30_000, 1_001));
        });
        assert_eq!(
            chain(&spec, &index, Pass::Reference { whole: false }),
            "format=yuva444p|yuva444p10le|yuva444p12le|yuva444p16le,premultiply=inplace=1,bwdif=mode=send_frame:parity=auto:deint=interlaced,settb=expr=1/24,crop=w=1200:h=700:x=2:y=4,vaguedenoiser=threshold=1.5:method=garrote:nsteps=6,fps=fps=30000/1001:round=near,scale=w=640:h=360:flags=bicubic+accurate_rnd+bitexact,format=yuv420p,lutyuv=y='(val-(minval+maxval)/2)*1.000+(minval+maxval)/2+(maxval-minval)*(-0.050)+0.5':u='(val-round((minval+maxval)/2))*1.000+round((minval+maxval)/2)+0.5':v='(val-round((minval+maxval)/2))*1.000+round((minval+maxval)/2)+0.5',pad=w=640:h=480:x=(ow-iw)/2:y=(oh-ih)/2:color=black"
        );
    }

    #[test]
    fn a_filter_with_a_memory_gets_frames_on_both_sides() {
        let index = sample();
        let spec = spec(|request| request.deinterlace = "on".into());
        let range = index.shards()[0];
        let decoded = decoded_range(&spec, &index, range);
        assert_eq!((decoded.from_pts, decoded.to_pts), (0, 62));
        let range = index.shards()[1];
        let decoded = decoded_range(&spec, &index, range);
        assert_eq!((decoded.from_pts, decoded.to_pts), (58, 100));
        assert!(chain(&spec, &index, Pass::Shard(range)).starts_with(
            "showinfo@decoded=checksum=0,split[joint][own];[joint]trim=start_pts=60:end_pts=61,select=eq(pts\\,60),showinfo@joint,nullsink;[own]null,trim=start_pts=58,bwdif=mode=send_frame:parity=auto:deint=all,settb=expr=1/24,trim=start_pts=60,scale"
        ));
    }

    #[test]
    fn depth_and_alpha_are_read_from_the_format() {
        for deep in ["yuv420p10le", "gray16be", "rgb48le", "p010le", "x2rgb10le"] {
            assert!(is_deep(deep), "{deep}");
        }
        for shallow in [
            "yuv420p", "rgb24", "bgr565le", "rgb555be", "pal8", "gray", "nv12", "",
        ] {
            assert!(!is_deep(shallow), "{shallow}");
        }
        for seen_through in ["bgra", "yuva444p12le", "pal8", "ya8", "rgba64le"] {
            assert!(has_alpha(seen_through), "{seen_through}");
        }
        for opaque in ["yuv420p", "bgr0", "gbrp", "gray"] {
            assert!(!has_alpha(opaque), "{opaque}");
        }
    }
}
