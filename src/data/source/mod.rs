//! A source as one file, sealed or still being uploaded: in memory for whoever
//! reads it here, and over loopback HTTP for ffmpeg.

mod growing;
mod range_request;
pub mod range_server;
mod virtual_file;

pub use virtual_file::Source;
