//! What a running node costs: its resident memory and its CPU time, as the
//! kernel counts them.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

/// Clock ticks in a second of `/proc/PID/stat`: fixed by Linux's interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields between the program's name and its user time in `/proc/PID/stat`.
const FIELDS_BEFORE_USER_TIME: usize = 11;

/// Resident memory in MiB, now and at its highest; zeros once the process is
/// gone.
pub fn resident_mib(pid: i32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|text| text.parse::<u64>().ok())
    };
    let mib = |name| kib(name).unwrap_or(0) / 1024;
    (mib("VmRSS:"), mib("VmHWM:"))
}

/// CPU seconds that a process has used, without its children's.
pub fn cpu_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_whitespace().skip(FIELDS_BEFORE_USER_TIME);
    let ticks = fields.take(2).filter_map(|text| text.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / TICKS_PER_SECOND
}

/// Percent of one core that each process uses for a while from now.
pub fn cpu_percent(pids: &[i32], duration: Duration) -> Vec<f64> {
    let all = || pids.iter().map(|&pid| cpu_seconds(pid)).collect::<Vec<_>>();
    let (before, begun) = (all(), Instant::now());
    sleep(duration);
    let seconds = begun.elapsed().as_secs_f64();
    let used = all().into_iter().zip(before);
    used.map(|(after, before)| (after - before) / seconds * 100.0)
        .collect()
}
