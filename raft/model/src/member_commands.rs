//! The commands that let a node in, and have it go.

use crate::rows::JoinToken;

/// Makes a token.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateToken {
    #[prost(message, required, tag = "1")]
    pub token: JoinToken,
    /// How many there may be.
    #[prost(uint64, tag = "2")]
    pub tokens_max: u64,
}

/// Lets a node in, by a token, and gives it an id. The same disk is given the same
/// one again, as its first answer may have been lost.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AdmitNode {
    /// That of the token.
    #[prost(string, tag = "1")]
    pub digest: String,
    /// Random, drawn for its disk.
    #[prost(string, tag = "2")]
    pub incarnation: String,
    /// Where it listens.
    #[prost(string, tag = "3")]
    pub address: String,
    /// Up to which [`crate::limits::FEATURE_LEVEL`] it can read the log.
    #[prost(uint32, tag = "4")]
    pub feature_level: u32,
    /// The proposer's wall clock, by which the token is judged.
    #[prost(uint64, tag = "5")]
    pub unix_ms: u64,
    /// The highest id that the proposer knows of: of a node that is configured and
    /// has not said anything yet.
    #[prost(uint64, tag = "6")]
    pub above: u64,
    /// How many nodes there may be.
    #[prost(uint64, tag = "7")]
    pub nodes_max: u64,
}

/// Says how many voters there are to be.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetVoters {
    /// 1, 3, 5 or 7.
    #[prost(uint32, tag = "1")]
    pub voters: u32,
}

/// Has a node hand over what it has, or take part again.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DrainNode {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// Whether it drains from here on.
    #[prost(bool, tag = "2")]
    pub draining: bool,
}

/// Removes a node for good.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveNode {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// Whether it is lost, so that it can't hand anything over.
    #[prost(bool, tag = "2")]
    pub dead: bool,
}
