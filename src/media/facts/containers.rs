//! What ffmpeg calls the containers of outputs, and what each can hold.

use reelraft_model::spec::{Container, Spec};

/// Name of the output in the assembly's work folder.
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

/// ffmpeg's muxer of the output's container.
pub(crate) fn muxer(spec: &Spec) -> &'static str {
    match spec.container() {
        Container::Mp4 => "mp4",
        Container::Mkv => "matroska",
        Container::Webm => "webm",
        Container::Mov => "mov",
        Container::M4a => "ipod",
        Container::Opus => "opus",
        Container::Flac => "flac",
    }
}

/// ffmpeg's demuxer of the output's container.
pub(crate) fn demuxer(spec: &Spec) -> &'static str {
    match spec.container() {
        Container::Mp4 | Container::Mov | Container::M4a => "mov",
        Container::Mkv | Container::Webm => "matroska",
        Container::Opus => "ogg",
        Container::Flac => "flac",
    }
}

/// Whether a container keeps covers as attached files.
pub(crate) fn attaches_covers(container: Container) -> bool {
    container == Container::Mkv
}
