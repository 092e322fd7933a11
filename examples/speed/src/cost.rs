//! What work takes: CPU time of all processes, and wall time; medians of
//! ratios.

use std::{process::Command, time::Instant};

use libc::{rusage, timeval};

/// CPU time and wall time, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Of all processes, user and system.
    pub cpu_ms: f64,
    /// From start to end.
    pub wall_ms: f64,
}

/// Runs a command to its end; what it took, with all that it has started and
/// waited for.
///
/// # Errors
/// If it does not start, or fails.
pub fn timed(command: &mut Command) -> Result<Cost, String> {
    let started = Instant::now();
    let child = command.spawn();
    let child = child.map_err(|error| format!("{command:?}: {error}"))?;
    let mut status = 0;
    // SAFETY: rusage is a plain C struct for which zeros are a value; the child
    // is our own and waited for by nobody else.
    let (ended, usage) = unsafe {
        let mut usage: rusage = std::mem::zeroed();
        (
            libc::wait4(child.id() as i32, &mut status, 0, &mut usage),
            usage,
        )
    };
    if ended < 0 || status != 0 {
        return Err(format!("{command:?} ended with {status:#x}"));
    }
    let ms = |time: timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    Ok(Cost {
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        wall_ms: started.elapsed().as_secs_f64() * 1e3,
    })
}

/// CPU time of a process and of its children that it has waited for, in
/// milliseconds: fields 14 to 17 of `/proc/PID/stat`, proc(5), in clock ticks.
pub fn cpu_ms_of(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(4);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    // SAFETY: sysconf takes a constant and touches no memory of ours.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    ticks * 1e3 / per_second
}

/// The middle one of some values; the mean of both where two are.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_command_that_fails_is_no_measurement() {
        assert!(timed(&mut Command::new("false")).is_err());
        assert!(timed(&mut Command::new("true")).is_ok());
    }
}
