//! Determines the size and pixel format of the output's pictures.

use reelraft_model::spec::{Codec, Deinterlace, Denoise, Spec};

use crate::{
    analysis::first_frame::FirstFrame,
    error::MediaError,
    facts::picture::Picture,
    limits::{FFV1_SLICED_WIDTH_MIN, FFV1_WHOLE_HEIGHT_MAX},
    video::filters::{has_alpha, is_deep},
};

pub(crate) fn picture(spec: &Spec, first: FirstFrame) -> Result<Picture, MediaError> {
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
    let too_small = match spec.codec() {
        Codec::Av1 => output.0 < 64 || output.1 < 64,
        Codec::Ffv1 => output.0 < FFV1_SLICED_WIDTH_MIN && output.1 > FFV1_WHOLE_HEIGHT_MAX,
        _ => false,
    };
    if too_small {
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

/// The requested pixel format; otherwise the source's own for FFV1, and 4:2:0
/// of the source's depth for other codecs. FFV1 loses alpha if a filter can't
/// carry it.
fn pix_fmt(spec: &Spec, first: &FirstFrame) -> String {
    let drops_alpha = spec.deinterlace() != Deinterlace::Off || spec.denoise() != Denoise::Off;
    let source_fmt = first.filtered.pix_fmt.as_str();
    let deep = is_deep(&first.decoded.pix_fmt);
    match (spec.pix_fmt.as_str(), spec.codec()) {
        ("", Codec::Ffv1) if has_alpha(source_fmt) && drops_alpha && deep => "yuv444p10le",
        ("", Codec::Ffv1) if has_alpha(source_fmt) && drops_alpha => "yuv444p",
        ("", Codec::Ffv1) => source_fmt,
        ("", _) if deep => "yuv420p10le",
        ("", _) => "yuv420p",
        (asked, _) => asked,
    }
    .to_string()
}

/// If one side is given, the other keeps the aspect ratio and becomes even. If
/// none is, the source's size is kept, made even except for FFV1, which accepts
/// any size.
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
    let follow = |side: u32, other: u32, from: u32| {
        let exact = u64::from(side) * u64::from(other);
        let pairs = (exact + u64::from(from)) / (2 * u64::from(from));
        (2 * pairs.clamp(1, u64::from(side_max) / 2)) as u32
    };
    match (spec.width, spec.height) {
        (0, 0) => (keep(width), keep(height)),
        (wide, 0) => (wide, follow(wide, height, width.max(1))),
        (0, high) => (follow(high, width, height.max(1)), high),
        (wide, high) => (wide, high),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
