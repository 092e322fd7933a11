//! The records of a backup. Like all that is stored they evolve by adding tags.

use prost::Message;

/// What a file begins with. A reader refuses one of a later format.
pub const HEAD: u8 = 1;
/// Begins a blob; its bytes follow.
pub const BLOB: u8 = 2;
/// Bytes of the blob that was begun last.
pub const PIECE: u8 = 3;
/// Ends that blob.
pub const BLOB_END: u8 = 4;
/// Rows of the table.
pub const ROWS: u8 = 5;
/// What the rows are of.
pub const TABLE: u8 = 6;

/// The newest format that this version reads, and the one that it writes.
pub const FORMAT_NEWEST: u32 = 1;

#[derive(Clone, PartialEq, Message)]
pub struct Head {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The cluster that it is of.
    #[prost(string, tag = "2")]
    pub cluster_id: String,
    /// When it was begun, by the wall clock of the node that made it.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
    /// The program that made it.
    #[prost(string, tag = "4")]
    pub version: String,
    /// Which bytes were asked for: none, outputs or all.
    #[prost(string, tag = "5")]
    pub media: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Blob {
    #[prost(string, tag = "1")]
    pub job: String,
    /// BLAKE3 of its bytes, hex.
    #[prost(string, tag = "2")]
    pub hash: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct BlobEnd {
    /// Whether all of it came before; if not, what came is to be forgotten.
    #[prost(bool, tag = "1")]
    pub whole: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct Row {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Rows {
    #[prost(message, repeated, tag = "1")]
    pub rows: Vec<Row>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Table {
    /// The last log index that is in it.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub rows: u64,
    /// The table's hash, as all replicas had it there.
    #[prost(string, tag = "3")]
    pub hash: String,
}
