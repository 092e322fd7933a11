//! How a command ends: the exit codes, as documented in the README, and the one
//! table that gives each kind of problem its exit code and its hint.

use tonic::Code;

/// Success.
pub const OK: u8 = 0;
/// A failure that no other code names.
pub const FAILED: u8 = 1;
/// A wrong command line, or a wrong spec in it.
pub const USAGE: u8 = 2;
/// No node reachable, or no leader.
pub const UNREACHABLE: u8 = 3;
/// There is no such job.
pub const NOT_FOUND: u8 = 4;
/// The job itself failed or was cancelled.
pub const JOB_FAILED: u8 = 5;
/// A time limit passed.
pub const TIMED_OUT: u8 = 6;
/// A node that its cluster takes no more, however often it is started.
pub const NO_MEMBER: u8 = 7;
/// Stopped by Ctrl-C or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// What a kind of problem means to the user: how the command exits, and what
/// to do next if the problem itself does not say.
pub(crate) struct Meaning {
    kinds: &'static [&'static str],
    pub exit: u8,
    pub hint: &'static str,
}

/// Kinds of the client and of the nodes, and names of gRPC codes.
const MEANINGS: [Meaning; 17] = [
    Meaning {
        kinds: &["usage", "bad-config", "invalid-argument", "speaks-https"],
        exit: USAGE,
        hint: "see the command's --help",
    },
    Meaning {
        kinds: &["unreachable"],
        exit: UNREACHABLE,
        hint: "start a local cluster with `reelraft dev`, or name your nodes with --endpoints \
               or REELRAFT_ENDPOINTS; where they speak by TLS, give --ca too",
    },
    Meaning {
        kinds: &["unavailable"],
        exit: UNREACHABLE,
        hint: "most voters must be running; see `reelraft cluster status`",
    },
    Meaning {
        kinds: &["too-busy", "too-many-requests"],
        exit: UNREACHABLE,
        hint: "try again in a while, or name more nodes with --endpoints",
    },
    Meaning {
        kinds: &["not-found"],
        exit: NOT_FOUND,
        hint: "list the jobs with `reelraft job list`",
    },
    Meaning {
        kinds: &["job-deleted"],
        exit: NOT_FOUND,
        hint: "list the other jobs with `reelraft job list`; to make this one again, give \
               another --request-id",
    },
    Meaning {
        kinds: &["job-failed", "job-cancelled"],
        exit: JOB_FAILED,
        hint: "submit it again, with another --request-id if you gave one",
    },
    Meaning {
        kinds: &["timed-out", "deadline-exceeded"],
        exit: TIMED_OUT,
        hint: "try again; see `reelraft cluster status`",
    },
    Meaning {
        kinds: &["node-removed", "other-incarnation"],
        exit: NO_MEMBER,
        hint: "let the machine join again, with an empty folder and a new token",
    },
    Meaning {
        kinds: &["interrupted"],
        exit: INTERRUPTED,
        hint: "run the command again",
    },
    Meaning {
        kinds: &["output-closed"],
        exit: OK,
        hint: "",
    },
    Meaning {
        kinds: &["source-changed"],
        exit: FAILED,
        hint: "give the file the job was made with, or submit under another --request-id",
    },
    Meaning {
        kinds: &["files-failed"],
        exit: FAILED,
        hint: "each is named above; the same command tries those again that can be read by then, \
               and with --retry-failed those whose job failed",
    },
    Meaning {
        kinds: &["failed-before"],
        exit: FAILED,
        hint: "--retry-failed tries it again",
    },
    Meaning {
        kinds: &["already-exists"],
        exit: FAILED,
        hint: "use another --request-id for another job",
    },
    Meaning {
        kinds: &["unauthenticated", "permission-denied"],
        exit: FAILED,
        hint: "set REELRAFT_KEY to a key, or REELRAFT_SECRET to the cluster's secret",
    },
    Meaning {
        kinds: &["unimplemented", "nonsense"],
        exit: FAILED,
        hint: "check that client and nodes are the same version (`reelraft cluster nodes`)",
    },
];

/// Of every other kind.
const OTHER: Meaning = Meaning {
    kinds: &[],
    exit: FAILED,
    hint: "see the node's log",
};

/// What a kind means. A kind without a row takes the meaning of the code that
/// it came with.
pub(crate) fn meaning_of(kind: &str, code: Code) -> &'static Meaning {
    let row = |kind: &str| {
        MEANINGS
            .iter()
            .find(|meaning| meaning.kinds.contains(&kind))
    };
    row(kind).or_else(|| row(&kind_of(code))).unwrap_or(&OTHER)
}

/// The name of a status code in the form of a kind: `NotFound` is `not-found`.
pub(crate) fn kind_of(code: Code) -> String {
    let mut kind = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !kind.is_empty() {
            kind.push('-');
        }
        kind.push(letter.to_ascii_lowercase());
    }
    kind
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_one_meaning() {
        let kinds: Vec<&str> = MEANINGS.iter().flat_map(|row| row.kinds).copied().collect();
        let distinct: BTreeSet<&str> = kinds.iter().copied().collect();
        assert_eq!(kinds.len(), distinct.len(), "{kinds:?}");
    }

    #[test]
    fn an_unknown_kind_takes_the_meaning_of_its_code() {
        let exit = |kind, code| meaning_of(kind, code).exit;
        assert_eq!(exit("not-found", Code::Unknown), NOT_FOUND);
        assert_eq!(exit("bad-spec", Code::InvalidArgument), USAGE);
        assert_eq!(exit("no-leader", Code::Unavailable), UNREACHABLE);
        assert_eq!(exit("from-a-newer-node", Code::DeadlineExceeded), TIMED_OUT);
        assert_eq!(exit("from-a-newer-node", Code::Internal), FAILED);
        assert_eq!(exit("node-removed", Code::PermissionDenied), NO_MEMBER);
    }
}
