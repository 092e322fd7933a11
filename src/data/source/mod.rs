//! A sealed source as one file: in memory for whoever reads it here, and over
//! loopback HTTP for ffmpeg.

mod range_request;
pub mod range_server;
mod virtual_file;

pub use virtual_file::Source;
