//! What a build of ffmpeg has, asked of the program itself.
//!
//! Not here: whether what it has also works; see `encoders.rs`.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use reelraft_model::spec::Container;

use crate::{
    error::MediaError,
    facts::{containers::muxer_of, text::strings},
    ffmpeg::{context::Context, input::DEMUXERS, listeners::TextListener, memory::Memory},
};

static ENCODERS: Memory<Arc<BTreeSet<String>>> = Memory::new();
static CODECS: Memory<Arc<str>> = Memory::new();

/// Keeps what a program has said of itself before anything is analyzed: the first
/// analysis need not ask.
pub(crate) fn keep(ffmpeg: &Path, encoders: &str, codecs: String) {
    ENCODERS.keep(ffmpeg, Arc::new(listed(encoders)));
    CODECS.keep(ffmpeg, codecs.into());
}

/// The names of the encoders that a build has.
pub(crate) async fn encoders(context: &Context<'_>) -> Result<Arc<BTreeSet<String>>, MediaError> {
    if let Some(known) = ENCODERS.recall(&context.tools.ffmpeg) {
        return Ok(known);
    }
    let found = Arc::new(listed(&list(context, "-encoders").await?));
    ENCODERS.keep(&context.tools.ffmpeg, found.clone());
    Ok(found)
}

/// The names of the filters that a build has.
pub(crate) async fn filters(context: &Context<'_>) -> Result<Arc<BTreeSet<String>>, MediaError> {
    static FILTERS: Memory<Arc<BTreeSet<String>>> = Memory::new();
    if let Some(known) = FILTERS.recall(&context.tools.ffmpeg) {
        return Ok(known);
    }
    let found = Arc::new(listed_filters(&list(context, "-filters").await?));
    FILTERS.keep(&context.tools.ffmpeg, found.clone());
    Ok(found)
}

/// Parses lines such as ` T.C scale  V->V  Scale the input…`, below a legend.
fn listed_filters(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (name, ends) = (words.next()?, words.next()?);
        ends.contains("->").then(|| name.to_string())
    });
    names.collect()
}

/// One of the lists that ffmpeg gives of what it has.
async fn list(context: &Context<'_>, which: &str) -> Result<String, MediaError> {
    let mut text = TextListener::default();
    let arguments = strings(&["-hide_banner", "-v", "error", which]);
    let exit = context.ffmpeg(&arguments, &mut text).await?;
    text.diagnostics.check_exit("ffmpeg", exit)?;
    Ok(text.out)
}

/// What a build knows of a codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownCodec {
    /// Each of its pictures stands for itself.
    pub intra_only: bool,
    /// Its decoders, the usual one first; empty if there is but that.
    pub decoders: Vec<String>,
}

/// What a build knows of a codec; nothing, if it does not have it.
pub(crate) async fn codec(context: &Context<'_>, name: &str) -> Result<KnownCodec, MediaError> {
    if let Some(known) = CODECS.recall(&context.tools.ffmpeg) {
        return Ok(described(&known, name));
    }
    let found: Arc<str> = list(context, "-codecs").await?.into();
    CODECS.keep(&context.tools.ffmpeg, found.clone());
    Ok(described(&found, name))
}

/// Parses lines such as ` DEVIL. mjpeg  Motion JPEG (decoders: mjpeg mjpeg_qsv
/// ) (encoders: mjpeg )`. The fourth flag is that for pictures alone.
fn described(text: &str, name: &str) -> KnownCodec {
    let mut lines = text.lines().map(str::trim_start);
    let own = lines.find_map(|line| {
        let (flags, rest) = line.split_once(' ')?;
        (flags.len() == 6 && rest.split_whitespace().next() == Some(name)).then_some((flags, rest))
    });
    let Some((flags, rest)) = own else {
        return KnownCodec::default();
    };
    let decoders = rest
        .split_once("(decoders: ")
        .and_then(|(_, list)| list.split_once(')'))
        .map(|(list, _)| list.split_whitespace().map(String::from).collect());
    KnownCodec {
        intra_only: flags.as_bytes()[3] == b'I',
        decoders: decoders.unwrap_or_default(),
    }
}

/// Refuses a job whose encoders the build lacks, by name and before anything
/// else is done for it.
///
/// # Errors
/// [`MediaError::EncoderMissing`] names the first.
pub(crate) fn require<'n>(
    encoders: &BTreeSet<String>,
    mut names: impl Iterator<Item = &'n str>,
) -> Result<(), MediaError> {
    match names.find(|name| !encoders.contains(*name)) {
        Some(name) => Err(MediaError::EncoderMissing {
            encoder: name.to_string(),
        }),
        None => Ok(()),
    }
}

/// The containers that are not in a build's list of muxers, whose lines are such as
/// `  E mp4             MP4 (MPEG-4 Part 14)`.
pub(crate) fn missing_muxers(list: &str) -> impl Iterator<Item = Container> {
    let has = |muxer: &str| {
        let mut lines = list.lines();
        lines.any(|line| line.split_whitespace().nth(1) == Some(muxer))
    };
    Container::all().filter(move |own| !has(muxer_of(*own)))
}

/// The formats that a build can't read, of those that each version has. Lines are
/// such as ` D  mov,mp4,m4a,3gp,3g2,mj2 QuickTime / MOV`.
pub(crate) async fn missing_demuxers(
    context: &Context<'_>,
) -> Result<Vec<&'static str>, MediaError> {
    let mut text = TextListener::default();
    let arguments = strings(&["-hide_banner", "-v", "error", "-demuxers"]);
    let exit = context.ffprobe(&arguments, &mut text).await?;
    text.diagnostics.check_exit("ffprobe", exit)?;
    Ok(unlisted(&text.out))
}

fn unlisted(list: &str) -> Vec<&'static str> {
    let listed: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .flat_map(|names| names.split(','))
        .collect();
    let missing = DEMUXERS.iter().copied();
    missing
        .filter(|name| *name != NEW_DEMUXER && !listed.contains(name))
        .collect()
}

/// Came with 9. What needs it is found out by another way.
const NEW_DEMUXER: &str = "webp_anim";

/// Parses lines such as ` V....D libx264   libx264 H.264 …`. The legend above
/// them has an equals sign for a name.
fn listed(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let flags = words.next()?;
        let name = words.next()?;
        (flags.len() == 6 && name != "=").then(|| name.to_string())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_codecs_is_read() {
        let list = "Codecs:\n D..... = Decoding supported\n ...I.. = Intra frame-only codec\n -------\n DEV.L. vp9                  Google VP9 (decoders: vp9 libvpx-vp9 vp9_qsv ) (encoders: libvpx-vp9 vp9_qsv )\n DEVIL. dvvideo              DV (Digital Video)\n";
        let vp9 = described(list, "vp9");
        assert_eq!(vp9.decoders, ["vp9", "libvpx-vp9", "vp9_qsv"]);
        assert!(!vp9.intra_only);
        let dv = described(list, "dvvideo");
        assert!(dv.intra_only && dv.decoders.is_empty());
        assert_eq!(described(list, "vp10"), KnownCodec::default());
    }

    #[test]
    fn muxers_that_are_not_listed_are_named() {
        let all = ["mp4", "matroska", "webm", "mov", "ipod", "opus", "flac"];
        let list = all.map(|name| format!("  E {name}    words")).join("\n");
        assert_eq!(missing_muxers(&list).count(), 0);
        let fewer = list.replace(" webm ", " other ");
        assert_eq!(
            missing_muxers(&fewer).collect::<Vec<_>>(),
            [Container::Webm]
        );
    }

    #[test]
    fn demuxers_that_are_not_listed_are_named() {
        let known = DEMUXERS.iter().filter(|name| **name != NEW_DEMUXER);
        let list: String = known
            .map(|name| match *name {
                "mov" => " D  mov,mp4,m4a,3gp,3g2,mj2 QuickTime / MOV\n".into(),
                "matroska" => " D  matroska,webm   Matroska / WebM\n".into(),
                name => format!(" D   {name}   words\n"),
            })
            .collect();
        assert!(unlisted(&list).is_empty(), "{:?}", unlisted(&list));
        let fewer = list.replace(" avi ", " other ").replace("matroska,", "");
        assert_eq!(unlisted(&fewer), ["matroska", "avi"]);
    }

    #[test]
    fn the_list_of_filters_is_read() {
        let list = listed_filters(
            "Filters:\n  T.. = Timeline support\n  A = Audio input/output\n ... libvmaf           VV->V      Calculate\n TSC scale V->V Scale\n",
        );
        assert_eq!(list.iter().collect::<Vec<_>>(), ["libvmaf", "scale"]);
    }

    #[test]
    fn the_list_of_encoders_is_read() {
        let list = listed(
            "Encoders:\n V..... = Video\n ------\n V....D libx264              libx264 H.264 (codec h264)\n A..... aac                  AAC\n",
        );
        assert_eq!(list.iter().collect::<Vec<_>>(), ["aac", "libx264"]);
        assert!(require(&list, ["aac", "libx264"].into_iter()).is_ok());
        let missing = require(&list, ["aac", "libsvtav1"].into_iter()).unwrap_err();
        assert_eq!(missing.kind(), "encoder-missing");
        assert!(missing.to_string().contains("libsvtav1"));
    }
}
