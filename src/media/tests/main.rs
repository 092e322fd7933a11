//! Media against ffmpeg itself. One program, so that the files' tests run side
//! by side and the same clip is made once.

#![allow(clippy::unwrap_used)]

mod ahead;
mod attached;
mod belongings;
mod builds;
mod changes;
mod codecs;
mod copies;
mod cues;
mod damage;
mod early;
mod headers;
mod live;
mod measured;
mod oracle;
mod pictures;
mod previews;
mod rates;
mod refusals;
mod selection;
mod small;
mod sync;
mod table;
mod tracks;
mod transport;
mod world;
