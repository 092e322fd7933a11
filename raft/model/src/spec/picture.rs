//! The picture's options: size, frame rate and filters.

use super::{
    bounds::{BRIGHTNESS, Bounds, CONTRAST, SATURATION, SIDE_MIN, even, in_range, word},
    choices::{Deinterlace, Denoise},
    error::SpecError,
    options::Crop,
};
use crate::limits::FPS_MAX;

pub(super) struct PictureOptions<'a> {
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<(u32, u32)>,
    pub crop: Option<Crop>,
    pub pad: Option<(u32, u32)>,
    pub brightness_milli: Option<i32>,
    pub contrast_milli: Option<i32>,
    pub saturation_milli: Option<i32>,
    pub deinterlace: &'a str,
    pub denoise: &'a str,
}

pub(super) struct Picture {
    /// Width and height; 0 keeps the source's.
    pub size: (u32, u32),
    /// Numerator and denominator; 0 keeps the source's times.
    pub fps: (u32, u32),
    pub crop: Option<Crop>,
    /// Width and height of the canvas; 0 for none.
    pub pad: (u32, u32),
    pub brightness_milli: i32,
    pub contrast_milli: i32,
    pub saturation_milli: i32,
    pub deinterlace: Deinterlace,
    pub denoise: Denoise,
}

impl Picture {
    /// Changes nothing: for a job without a picture.
    pub fn neutral() -> Self {
        Picture {
            size: (0, 0),
            fps: (0, 0),
            crop: None,
            pad: (0, 0),
            brightness_milli: 0,
            contrast_milli: 1000,
            saturation_milli: 1000,
            deinterlace: Deinterlace::Off,
            denoise: Denoise::Off,
        }
    }
}

pub(super) fn resolve_picture(options: PictureOptions) -> Result<Picture, SpecError> {
    check_geometry(&options)?;
    if let Some((num, den)) = options.fps {
        let range = "a rate above 0 and up to 300, as 25 or 30000/1001";
        in_range("fps denominator", den.into(), 1, 1_000_000, range)?;
        let high = i64::from(FPS_MAX) * i64::from(den);
        in_range("fps", num.into(), 1, high, range)?;
    }
    let milli = |bounds: Bounds, asked: Option<i32>, neutral: i32| {
        let value = asked.unwrap_or(neutral);
        bounds.check(value).map(|()| value)
    };
    let (brightness, contrast) = (options.brightness_milli, options.contrast_milli);
    let saturation = options.saturation_milli;
    Ok(Picture {
        size: (options.width.unwrap_or(0), options.height.unwrap_or(0)),
        fps: options.fps.unwrap_or((0, 0)),
        crop: options.crop,
        pad: options.pad.unwrap_or((0, 0)),
        brightness_milli: milli(BRIGHTNESS, brightness, 0)?,
        contrast_milli: milli(CONTRAST, contrast, 1000)?,
        saturation_milli: milli(SATURATION, saturation, 1000)?,
        deinterlace: word(options.deinterlace, Deinterlace::Off)?,
        denoise: word(options.denoise, Denoise::Off)?,
    })
}

/// Sizes are even, as chroma has half the samples, and the picture fits its
/// canvas.
fn check_geometry(options: &PictureOptions) -> Result<(), SpecError> {
    let (pad_width, pad_height) = options.pad.unzip();
    for (what, side) in [
        ("width", options.width),
        ("height", options.height),
        ("pad width", pad_width),
        ("pad height", pad_height),
    ] {
        if let Some(side) = side {
            even(what, side, SIDE_MIN)?;
        }
    }
    if let Some(crop) = options.crop {
        even("crop width", crop.width, SIDE_MIN)?;
        even("crop height", crop.height, SIDE_MIN)?;
        even("crop x", crop.x, 0)?;
        even("crop y", crop.y, 0)?;
    }
    let too_small = |side: Option<u32>, pad| side.zip(pad).is_some_and(|(side, pad)| pad < side);
    if too_small(options.width, pad_width) || too_small(options.height, pad_height) {
        return Err(SpecError::Clash {
            wish: "a padded canvas that is smaller than the picture",
            other: "--width and --height".into(),
            hint: "make the canvas at least as large as the picture",
        });
    }
    Ok(())
}
