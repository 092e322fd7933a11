//! Runs ffmpeg and ffprobe, and parses what they print.

pub(crate) mod abilities;
pub(crate) mod args;
pub(crate) mod cancel;
pub(crate) mod context;
pub(crate) mod cpu_wait;
pub(crate) mod describe;
pub(crate) mod elsewhere;
pub(crate) mod encoders;
pub(crate) mod failures;
pub(crate) mod fragmented_mp4;
pub(crate) mod given;
pub(crate) mod input;
pub(crate) mod lines;
pub(crate) mod listeners;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod mp4_boxes;
pub(crate) mod packet_scan;
pub(crate) mod picture_clock;
pub(crate) mod process;
pub(crate) mod run_elsewhere;
pub(crate) mod sample_tables;
pub(crate) mod sandbox;
pub(crate) mod sandbox_check;
pub(crate) mod showinfo;
pub(crate) mod tools;
