//! The variables of the environment that mean something here, so that one with
//! a slip of the pen is not ignored in silence.

/// All of them: a node's settings, a client's, where ffmpeg is, and those of our
/// scripts.
pub const KNOWN: &[&str] = &[
    "REELRAFT_ADVERTISE",
    "REELRAFT_ALLOW_ADDRESSES",
    "REELRAFT_BINARY",
    "REELRAFT_CA",
    "REELRAFT_CONFIG",
    "REELRAFT_COPY_RATE",
    "REELRAFT_DATA",
    "REELRAFT_DISK_LIMIT",
    "REELRAFT_ENDPOINTS",
    "REELRAFT_ENGINE_TOKEN",
    "REELRAFT_FFMPEG",
    "REELRAFT_FFPROBE",
    "REELRAFT_FOLDER",
    "REELRAFT_GID",
    "REELRAFT_HTTP",
    "REELRAFT_HTTP_PUBLIC",
    "REELRAFT_ID",
    "REELRAFT_IMAGE",
    "REELRAFT_JOIN",
    "REELRAFT_KEEP_FINISHED",
    "REELRAFT_KEEP_SOURCES",
    "REELRAFT_KEY",
    "REELRAFT_KEY_FILE",
    "REELRAFT_LISTEN",
    "REELRAFT_LOG_FORMAT",
    "REELRAFT_MEDIA",
    "REELRAFT_MEMORY",
    "REELRAFT_PEERS",
    "REELRAFT_PEER_SECRET",
    "REELRAFT_PEER_SECRET_FILE",
    "REELRAFT_PLAINTEXT",
    "REELRAFT_PUBLISH",
    "REELRAFT_REHOME_AFTER",
    "REELRAFT_REPLACE_VOTER_AFTER",
    "REELRAFT_REPLAN_AFTER",
    "REELRAFT_REUSE_OUTPUTS",
    "REELRAFT_S3_BUCKETS",
    "REELRAFT_SCRUB_EVERY",
    "REELRAFT_SECRET",
    "REELRAFT_SECRET_FILE",
    "REELRAFT_SERVER",
    "REELRAFT_SLOTS",
    "REELRAFT_TLS",
    "REELRAFT_TLS_CERT",
    "REELRAFT_TLS_KEY",
    "REELRAFT_TOKEN",
    "REELRAFT_UID",
    "REELRAFT_UPLOADS_EXPIRE_AFTER",
    "REELRAFT_VERIFY_ENGINES",
    "REELRAFT_VOTERS",
    "REELRAFT_ZONE",
];

/// Letters by which a slip may differ from what was meant.
const SLIP_LETTERS: usize = 3;

/// A warning for each of these names that begins like ours and is none of them.
pub fn misspelt(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let ours = |name: &String| name.starts_with("REELRAFT_") && !KNOWN.contains(&name.as_str());
    let warn = |name: String| {
        let nearest = KNOWN
            .iter()
            .map(|known| (strsim::levenshtein(known, &name), known))
            .min();
        match nearest {
            Some((distance, known)) if distance <= SLIP_LETTERS => {
                format!("warning: {name} is ignored; is {known} meant?")
            }
            _ => format!("warning: {name} is ignored: there is no such variable"),
        }
    };
    names.into_iter().filter(ours).map(warn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_told_with_what_was_meant() {
        let names = [
            "PATH",
            "REELRAFT_SLOTS",
            "REELRAFT_SLOT",
            "REELRAFT_COLOUR_OF_IT",
        ];
        let warnings = misspelt(names.map(String::from));
        assert_eq!(
            warnings,
            [
                "warning: REELRAFT_SLOT is ignored; is REELRAFT_SLOTS meant?",
                "warning: REELRAFT_COLOUR_OF_IT is ignored: there is no such variable",
            ]
        );
    }
}
