//! Single settings that belong to no group: where the others reach a node, and how it
//! takes results and writes its log.

use reelraft_model::Problem;

use super::{log_format::LogFormat, origin::Picker};

/// Of so many in a hundred results of engines a member makes the same again: beside the
/// first one of each, enough to find out who lies now and then, and little work.
const VERIFY_ENGINES: u32 = 5;

/// Where the others reach this node: where it listens, if nothing else is said.
pub fn pick_advertise(
    picker: &mut Picker,
    given: (Option<String>, Option<String>),
    listen: &str,
) -> Result<String, Problem> {
    picker.pick_or("advertise", given.0, given.1, listen.to_string())
}

/// Whether results are taken from others, how many of engines are made again, and how
/// the log is written.
pub fn pick_ways(
    picker: &mut Picker,
    reuse: (Option<bool>, Option<bool>),
    verify: (Option<u32>, Option<u32>),
    log: (Option<LogFormat>, Option<LogFormat>),
) -> Result<(bool, u32, LogFormat), Problem> {
    let reuse = picker.pick_or("reuse_outputs", reuse.0, reuse.1, true)?;
    let verify = picker.pick_or("verify_engines", verify.0, verify.1, VERIFY_ENGINES)?;
    let log = picker.pick_or("log_format", log.0, log.1, LogFormat::Text)?;
    Ok((reuse, verify, log))
}
