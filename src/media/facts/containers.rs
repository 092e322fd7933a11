//! ffmpeg's names for the containers of outputs.

use reelraft_model::spec::{Container, Spec};

/// Name of the output in the work folder of the assembly.
pub(crate) fn output_file(spec: &Spec) -> &'static str {
    match spec.container() {
        Container::Mp4 => "output.mp4",
        Container::Mkv => "output.mkv",
        Container::Webm => "output.webm",
        Container::Mov => "output.mov",
        Container::M4a => "output.m4a",
        Container::Opus => "output.opus",
        Container::Flac => "output.flac",
    }
}

pub(crate) fn muxer(spec: &Spec) -> &'static str {
    muxer_of(spec.container())
}

pub(crate) fn muxer_of(container: Container) -> &'static str {
    match container {
        Container::Mp4 => "mp4",
        Container::Mkv => "matroska",
        Container::Webm => "webm",
        Container::Mov => "mov",
        Container::M4a => "ipod",
        Container::Opus => "opus",
        Container::Flac => "flac",
    }
}

pub(crate) fn demuxer(spec: &Spec) -> &'static str {
    match spec.container() {
        Container::Mp4 | Container::Mov | Container::M4a => "mov",
        Container::Mkv | Container::Webm => "matroska",
        Container::Opus => "ogg",
        Container::Flac => "flac",
    }
}

/// Whether a container stores covers as attached files instead of streams.
pub(crate) fn attaches_covers(container: Container) -> bool {
    container == Container::Mkv
}
