//! The words of a script's commands.

use reelraft_model::{Command, FailureClass, RetryJob, spec::Amount};

/// `key=value` words of a command line.
pub fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// A number behind a word, or its default.
pub fn number<T: std::str::FromStr + Default>(words: &[&str], key: &str) -> T {
    option(words, key)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// The class of failures that a word names.
pub fn failure_class(word: &str) -> FailureClass {
    match word {
        "work" => FailureClass::Work,
        "node" => FailureClass::NodeFault,
        "final" => FailureClass::Final,
        "mismatch" => FailureClass::PlanMismatch,
        "stopped" => FailureClass::Stopped,
        "lost" => FailureClass::NodeLost,
        "reach" => FailureClass::OutOfReach,
        other => panic!("no class {other}"),
    }
}

/// How much a job may spend: `size=BYTES` or `target=METRIC=VALUE`; and `hold`.
pub fn amount(words: &[&str]) -> Amount {
    Amount {
        size_bytes: number(words, "size"),
        target: option(words, "target").unwrap_or_default().into(),
        hold_source: words.contains(&"hold"),
        ..Default::default()
    }
}

/// `retry JOB [replans=]`: how often it had been planned anew when its owner looked.
pub fn retry(job: String, words: &[&str]) -> Command {
    let replans = option(words, "replans").map(|seen| seen.parse().unwrap());
    Command::RetryJob(RetryJob { job, replans })
}
