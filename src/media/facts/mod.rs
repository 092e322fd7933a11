//! What passes between steps and is stored: types, and pure functions of them.

pub(crate) mod audio_track;
pub(crate) mod color;
pub(crate) mod complaints;
pub(crate) mod containers;
pub(crate) mod declared;
pub(crate) mod encoded;
pub(crate) mod encoder_names;
pub(crate) mod extra;
pub(crate) mod file_metadata;
pub(crate) mod index;
pub(crate) mod labels;
pub(crate) mod measured;
pub(crate) mod picture;
pub(crate) mod plan;
pub(crate) mod recipe;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod source;
pub(crate) mod text;
pub(crate) mod times;
