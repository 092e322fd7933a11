//! Reports: what an encoding found out, stored beside its bytes and checked by
//! the assembly. Their size is bounded except for the times, which take about a
//! byte per frame. Field names are part of the stored format.

use serde::{Deserialize, Serialize};

use crate::{
    error::MediaError,
    facts::{
        measured::Measured,
        plan::ShardRange,
        record::{self, RecordFormat},
        times::Span,
    },
};

const SHARD: RecordFormat = RecordFormat {
    what: "report",
    magic: b"RRSR",
    version: 2,
};

const SOUND: RecordFormat = RecordFormat {
    what: "report",
    magic: b"RRAR",
    version: 1,
};

const EXTRAS: RecordFormat = RecordFormat {
    what: "report",
    magic: b"RRER",
    version: 1,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardReport {
    pub head: ShardHead,
    /// Times of the frames given to the encoder, in ticks of the encoded video;
    /// zero where a single pass has it.
    pub times: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardHead {
    pub range: ShardRange,
    /// Whether it is the whole film in one plain pass.
    pub single: bool,
    /// Frames in the range that the decoder gave.
    pub decoded: u64,
    /// Packets that the encoder gave.
    pub encoded: u64,
    /// Frames decoded before the range.
    pub lead_in: u64,
    /// Shapes of its pixels, in order, where they change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<String>,
    /// Checksums of the frames at the shard's joints as decoded here: its own
    /// first frame and the next shard's. `None` where the film begins or ends.
    pub opening: Option<String>,
    pub following: Option<String>,
    /// Decoding starts that were tried, including the good one.
    pub tries: u32,
    /// Decoder errors of the good try.
    pub complaints: Vec<String>,
    pub complaints_total: u64,
    /// BLAKE3 of the file, in hex.
    pub blake3: String,
    pub init_blake3: String,
    /// Hash of the pictures' times as one pass read them, in formats whose clock
    /// may leap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// How its frames compare with what its encoder was given, where that was asked
    /// for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

impl ShardReport {
    pub fn to_bytes(&self) -> Vec<u8> {
        record::write(&SHARD, &self.head, &[&self.times])
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MediaError> {
        let (head, [times]) = record::read(&SHARD, bytes)?;
        Ok(ShardReport { head, times })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AudioReport {
    pub packets: u64,
    pub complaints: Vec<String>,
    pub complaints_total: u64,
    pub blake3: String,
    /// Hash of the pictures' times as the pass that made the sound read them, in
    /// formats whose clock may leap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Its place in the film; every version since it was introduced gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

impl AudioReport {
    pub fn to_bytes(&self) -> Vec<u8> {
        record::write(&SOUND, self, &[])
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MediaError> {
        let (head, []) = record::read(&SOUND, bytes)?;
        Ok(head)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExtrasReport {
    /// Cues of each subtitle track.
    pub cues: Vec<u64>,
    pub complaints: Vec<String>,
    pub complaints_total: u64,
    pub blake3: String,
    /// Hash of the pictures' times as the pass that took the extras read them, in
    /// formats whose clock may leap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
}

impl ExtrasReport {
    pub fn to_bytes(&self) -> Vec<u8> {
        record::write(&EXTRAS, self, &[])
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MediaError> {
        let (head, []) = record::read(&EXTRAS, bytes)?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_stay() {
        let shard = r#"{"range":{"from_pts":0,"to_pts":60,"frames":60},"single":false,"decoded":1,"encoded":2,"lead_in":3,"opening":"a","following":null,"tries":1,"complaints":["c"],"complaints_total":1,"blake3":"b","init_blake3":"i","clock":"k"}"#;
        let head: ShardHead = serde_json::from_str(shard).unwrap();
        assert_eq!(serde_json::to_string(&head).unwrap(), shard);
        let audio = r#"{"packets":1,"complaints":[],"complaints_total":0,"blake3":"b","clock":"k","span":{"first_us":1,"last_us":2}}"#;
        let report: AudioReport = serde_json::from_str(audio).unwrap();
        assert_eq!(serde_json::to_string(&report).unwrap(), audio);
        let extras =
            r#"{"cues":[1],"complaints":[],"complaints_total":0,"blake3":"b","clock":"k"}"#;
        let report: ExtrasReport = serde_json::from_str(extras).unwrap();
        assert_eq!(serde_json::to_string(&report).unwrap(), extras);
    }
}
