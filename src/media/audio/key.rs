//! What determines the bytes of an audio track, beside the source's and the encoder
//! build.

use reelraft_model::spec::Spec;

use crate::{audio::args, facts::index::Index, ffmpeg::input::Input};

impl Index {
    /// A hash over all that the index says to an encoding of a track: its command,
    /// and the facts that it is judged by. Two indexes with the same key give the
    /// same track.
    pub fn audio_key(&self, spec: &Spec, track: u32) -> String {
        let facts = &self.facts;
        let own = facts.audio_tracks.get(track as usize);
        // Where it is read from is the same for all.
        let input = Input::File("source".into());
        let command = own.map(|own| args::track(&input, self, spec, own));
        let source = serde_json::to_string(&(&facts.source, own)).expect("facts are plain data");
        let (address, strict) = (facts.picture.address_bytes(), spec.strict);
        let said = format!("{command:?} {address} {strict} {source}");
        blake3::hash(said.as_bytes()).to_hex().to_string()
    }
}
