//! Every limit of certificates and of TLS, named once with its reason (P8).

use std::time::Duration;

/// How long a node's certificate is good. A node makes its own, so it could be
/// shorter; but one that was off must be let in again when it is back.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long before its end a certificate is renewed: at two thirds of its life.
pub const RENEWED_BEFORE_END: Duration = Duration::from_secs(10 * 24 * 3600);

/// How long an authority is good. Its place is taken by an operator's word, never
/// by itself: clients hold its certificate.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How far the clocks of two machines may differ: a certificate is good that much
/// earlier than it was made.
pub const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(3600);

/// Rounds of PBKDF2 between the nodes' secret and the key of the authority that a
/// cluster is founded with. Who is shown a certificate of it may try secrets: a
/// random one of 16 letters is out of reach, and this makes a chosen one dear. Costs
/// a node a third of a second at its first start, and none later.
pub const FOUNDING_ROUNDS: u32 = 600_000;

/// How long a handshake may take. It is three messages; a busy machine needs a
/// moment for each.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How often the same refusal is written to the log: whoever is refused tries again,
/// some of them many times a second.
pub const REFUSAL_LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Refusals that are remembered for that.
pub const REFUSALS_KEPT_MAX: usize = 64;

/// Largest file of certificates or keys that is read: chains have a few KiB.
pub const PEM_BYTES_MAX: u64 = 256 << 10;

/// How often the public certificate's files are looked at. Tools that renew them
/// do so days before the end.
pub const PUBLIC_FILES_EVERY: Duration = Duration::from_secs(5);

const _: () = {
    assert!(RENEWED_BEFORE_END.as_secs() * 3 == CERTIFICATE_LIFE.as_secs());
    assert!(CERTIFICATE_LIFE.as_secs() < AUTHORITY_LIFE.as_secs());
    assert!(CLOCKS_DIFFER_MAX.as_secs() < RENEWED_BEFORE_END.as_secs());
};
