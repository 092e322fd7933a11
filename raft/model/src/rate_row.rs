//! What a job's row says of its rate factor.

/// How far the search for a job's rate factor has come. Kept in its row.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Rate {
    /// Rounds of probes that were begun.
    #[prost(uint32, tag = "1")]
    pub rounds: u32,
    /// The film's, in hundredths; 0 while it is searched. Encoders that take whole
    /// ones mix the two next to it over the shards.
    #[prost(uint32, tag = "2")]
    pub film_centi: u32,
    /// Rounds of shards that were encoded again.
    #[prost(uint32, tag = "3")]
    pub corrections: u32,
    /// How many shards those were.
    #[prost(uint32, tag = "4")]
    pub shards_again: u32,
    /// Bytes of the file beside its frames, once one was assembled; 0 before.
    #[prost(uint64, tag = "5")]
    pub beside_bytes: u64,
    /// Hundredths of a rate factor that halve the size of this film.
    #[prost(uint32, tag = "6")]
    pub halving_centi: u32,
    /// Of the whole film, in millionths: what its probes promised of the quality, or
    /// what all shards have come to.
    #[prost(uint64, tag = "7")]
    pub reached_micro: u64,
    /// Bytes of all frames, once they were encoded; 0 before.
    #[prost(uint64, tag = "8")]
    pub payload: u64,
}
