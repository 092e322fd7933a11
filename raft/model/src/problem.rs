//! Why something is refused, or has failed.

/// A refusal or failure as users see it (P10).
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Problem {
    /// A stable word that users match on, such as `not-found` or `no-video`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// What happened.
    #[prost(string, tag = "2")]
    pub cause: String,
    /// What the user can do next.
    #[prost(string, tag = "3")]
    pub hint: String,
}

impl Problem {
    /// The kind of a failure for want of an encoder, which nodes of another
    /// build may have.
    pub const ENCODER_MISSING: &str = "encoder-missing";

    /// The same for want of a decoder of the source.
    pub const DECODER_MISSING: &str = "no-decoder";

    /// Whether nodes of another build may not have this problem.
    pub fn is_of_build(&self) -> bool {
        [Problem::ENCODER_MISSING, Problem::DECODER_MISSING].contains(&self.kind.as_str())
    }

    /// The kind of a failure of an engine at a shard that members alone may manage.
    pub const NOT_FOR_ENGINES: &str = "not-for-engines";

    /// The kind of a failure where two machines gave different bytes for the same work.
    pub const NOT_REPRODUCIBLE: &str = "not-reproducible";

    /// The kind of the refusal of a node whose program can't read the log.
    pub const OLDER_PROGRAM: &str = "older-program";

    /// The kind of the refusal of a node that was removed.
    pub const NODE_REMOVED: &str = "node-removed";

    /// The refusal of a node that was removed.
    pub fn node_removed(node: u64) -> Self {
        Problem::new(
            Problem::NODE_REMOVED,
            format!("node {node} was removed from the cluster"),
            "to let its machine in again, empty its data folder, and start it with --join and a \
             new --token",
        )
    }

    /// The refusal of what names a node that there is not.
    pub fn no_node(node: u64) -> Self {
        let cause = format!("there is no node {node}");
        Problem::new("not-found", cause, "see `reelraft cluster nodes`")
    }

    const NEW_TOKEN: &str = "make another with `reelraft cluster token create`";

    /// The refusal of a token that nobody has made.
    pub fn unknown_token() -> Self {
        let cause = "this cluster has made no such token";
        Problem::new("bad-token", cause, Problem::NEW_TOKEN)
    }

    /// The refusal of a token that has let a node in.
    pub fn used_token(node: u64) -> Self {
        let cause = format!("the token has let node {node} in, and lets in nobody else");
        Problem::new("token-used", cause, Problem::NEW_TOKEN)
    }

    /// The refusal of a token whose time is over.
    pub fn expired_token() -> Self {
        Problem::new(
            "token-expired",
            "the token's time is over",
            Problem::NEW_TOKEN,
        )
    }

    pub fn new(kind: &str, cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Problem {
            kind: kind.to_string(),
            cause: cause.into(),
            hint: hint.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.cause)
    }
}
