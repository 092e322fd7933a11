//! Reads the color metadata of headers: HDR metadata of the source's first
//! frame, and the tags that the reference's header would have.

use reelraft_model::spec::{Codec, Container};
use serde::Deserialize;

use crate::{
    analysis::{
        args,
        side_data::{Side, SideData, ask_ffprobe},
    },
    error::MediaError,
    facts::{
        color::{Hdr, HeaderColorTags, Mastering},
        index::Index,
    },
    ffmpeg::{context::Context, listeners::TextListener},
};

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    streams: Vec<HeaderColorTags>,
}

/// Reads the HDR metadata of the source's first frame, if the encoder supports
/// any.
pub(crate) fn read_hdr(codec: Codec, source: &SideData) -> Hdr {
    match (codec, source.frames.first()) {
        (Codec::Hevc | Codec::Av1, Some(first)) => read(&first.list),
        _ => Hdr::default(),
    }
}

fn read(sides: &[Side]) -> Hdr {
    let mut hdr = Hdr::default();
    for side in sides {
        match side.side_data_type.as_deref() {
            Some("Mastering display metadata") => hdr.mastering = mastering(side),
            Some("Content light level metadata") => {
                hdr.light = Some((side.max_content, side.max_average));
            }
            _ => {}
        }
    }
    hdr
}

fn mastering(side: &Side) -> Option<Mastering> {
    let number = |name: &str, per_unit: i64| {
        let (num, den) = side.rest.get(name)?.as_str()?.split_once('/')?;
        let (num, den): (i64, i64) = (num.parse().ok()?, den.parse().ok()?);
        let scaled = i128::from(num) * i128::from(per_unit);
        let den = i128::from(den);
        // An absurd number describes no display, so the metadata is ignored.
        let whole = (num >= 0 && den > 0).then(|| (scaled + den / 2) / den)?;
        i64::try_from(whole)
            .ok()
            .filter(|&whole| whole <= u32::MAX.into())
    };
    let point = |name: &str| {
        let of = |axis: &str| number(&format!("{name}_{axis}"), 50_000);
        Some((of("x")?, of("y")?))
    };
    Some(Mastering {
        points: [
            point("green")?,
            point("blue")?,
            point("red")?,
            point("white_point")?,
        ],
        luminance: (
            number("max_luminance", 10_000)?,
            number("min_luminance", 10_000)?,
        ),
    })
}

/// Reads the color tags of the reference's header, by encoding its first frame:
/// only for containers where a copy of fragments would lose them.
pub(crate) async fn reference_color_tags(
    context: &Context<'_>,
    index: &Index,
) -> Result<HeaderColorTags, MediaError> {
    if !matches!(context.spec.container(), Container::Mkv | Container::Webm) {
        return Ok(HeaderColorTags::default());
    }
    let sample = context.work_dir.join(args::SAMPLE_FILE);
    let arguments = args::sample(context.input, index, context.spec);
    let mut text = TextListener::default();
    let exit = context
        .ffmpeg_with(&arguments, index.facts.picture.address_bytes(), &mut text)
        .await?;
    text.diagnostics.check_exit("ffmpeg", exit)?;
    let arguments = args::sample_tags();
    let shown: Shown = ask_ffprobe(context, &arguments, 0).await?;
    std::fs::remove_file(&sample).map_err(MediaError::disk("removing a sample"))?;
    Ok(shown.streams.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FRAME: &str = r#"{"frames":[{"side_data_list":[
        {"side_data_type":"Mastering display metadata","red_x":"34000/50000","red_y":"16000/50000","green_x":"13250/50000","green_y":"34500/50000","blue_x":"7500/50000","blue_y":"3000/50000","white_point_x":"20493/65536","white_point_y":"16450/50000","min_luminance":"50/10000","max_luminance":"256000/256"},
        {"side_data_type":"Content light level metadata","max_content":1000,"max_average":400},
        {"side_data_type":"Something else"}]}]}"#;

    #[test]
    fn hdr_is_written_in_each_encoders_units() {
        let shown: SideData = serde_json::from_str(FRAME).unwrap();
        let hdr = read(&shown.frames[0].list);
        assert_eq!(
            hdr.for_x265(),
            ":hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
        );
        assert_eq!(
            hdr.for_svt(),
            ":mastering-display=G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)WP(0.31270,0.32900)L(1000.0000,0.0050):content-light=1000,400"
        );
        assert_eq!(Hdr::default().for_x265() + &Hdr::default().for_svt(), "");
    }

    #[test]
    fn absurd_numbers_are_not_a_display() {
        let wild = FRAME.replace("256000/256", "1/0");
        let shown: SideData = serde_json::from_str(&wild).unwrap();
        assert_eq!(read(&shown.frames[0].list).mastering, None);
    }
}
