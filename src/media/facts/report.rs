//! What an encoding tells of itself, kept beside its bytes and checked by the
//! assembly. Bounded but for the times, which take about a byte a frame.

use serde::{Deserialize, Serialize};

use crate::{
    error::MediaError,
    facts::{
        plan::ShardRange,
        record::{self, RecordFormat},
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

/// SourceFacts of one encoded shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardReport {
    pub head: ShardHead,
    /// Times of the frames the encoder was given, in ticks of the encoded
    /// video, zero where a single pass has it.
    pub times: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardHead {
    pub range: ShardRange,
    /// Whether it is the film in one plain pass.
    pub single: bool,
    /// Frames that came out of the decoder and belong to the range.
    pub decoded: u64,
    /// Packets that came out of the encoder.
    pub encoded: u64,
    /// Frames decoded before the range.
    pub lead_in: u64,
    /// Checksums of the frames at the shard's joints, decoded here: its own
    /// first and the next shard's; none where the film begins or ends.
    pub opening: Option<String>,
    pub following: Option<String>,
    /// Starts that were tried, the good one included.
    pub tries: u32,
    /// What the decoder complained of in the good try, and how often.
    pub complaints: Vec<String>,
    pub complaints_total: u64,
    /// BLAKE3 of the file and of its codec header.
    pub blake3: String,
    pub init_blake3: String,
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

/// SourceFacts of the audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AudioReport {
    /// Packets in the file; none if the track has nothing in it.
    pub packets: u64,
    pub complaints: Vec<String>,
    pub complaints_total: u64,
    /// BLAKE3 of the file.
    pub blake3: String,
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

/// SourceFacts of the subtitles, attachments and covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExtrasReport {
    /// Packets with something to show, of each subtitle track.
    pub cues: Vec<u64>,
    pub complaints: Vec<String>,
    pub complaints_total: u64,
    /// BLAKE3 of the file.
    pub blake3: String,
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
