//! `reelraft doctor`: checks this machine and says what to fix. Each check does
//! the real thing (an encode, a sync) rather than guess from a version.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::TcpListener,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use reelraft_media::{MediaError, Tools};
use reelraft_model::{Problem, plan::is_files};

use crate::config::variable;

/// A sync slower than this makes every acknowledged step slow.
const SYNC_SLOW: Duration = Duration::from_millis(50);

/// Syncs timed for one figure: the median of so few is stable enough.
const SYNCS: usize = 9;

/// Less than this and the first film fills the disk.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Open files that a busy node needs: connections, chunks, logs, and the pipes
/// of its encoders.
const OPEN_FILES_MIN: u64 = 1024;

/// Less than this and the first encoders of a node may be killed: one of a film
/// in 1080p takes some 500 MiB.
const MEMORY_BYTES_MIN: u64 = 1 << 30;

/// What to check: where a node is, or is to be.
#[derive(Debug)]
pub struct Place {
    /// Its data folder.
    pub data: PathBuf,
    /// The ports that are to be free.
    pub ports: Vec<u16>,
    /// The port that the environment gives to a node here, which may run already.
    pub own_port: Option<u16>,
}

impl Place {
    /// What was asked for, else what the environment says, as in a node's
    /// container, else what `dev` uses.
    ///
    /// # Errors
    /// `bad-config` for a variable that is no text.
    pub fn of(data: Option<PathBuf>, ports: Vec<u16>) -> Result<Self, Problem> {
        let named = variable("REELRAFT_DATA")?.map(PathBuf::from);
        let listen = variable("REELRAFT_LISTEN")?;
        let own_port = listen.and_then(|listen| listen.rsplit(':').next()?.parse().ok());
        let ports = match (ports.is_empty(), own_port) {
            (false, _) => ports,
            (true, Some(port)) => vec![port],
            (true, None) => vec![7401, 7402, 7403],
        };
        Ok(Place {
            data: data.or(named).unwrap_or_else(|| "reelraft-data".into()),
            ports,
            own_port,
        })
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do; empty if it is ok.
    pub hint: String,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Check {
            name: name.into(),
            ok: true,
            found: found.into(),
            hint: String::new(),
        }
    }

    fn bad(name: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Check {
            name: name.into(),
            ok: false,
            found: found.into(),
            hint: hint.into(),
        }
    }
}

/// Checks ffmpeg and its encoders, the disk under the data folder, memory, limits
/// and ports.
pub fn examine(place: &Place) -> BoxFuture<'_, Vec<Check>> {
    Box::pin(examine_all(place))
}

async fn examine_all(place: &Place) -> Vec<Check> {
    let mut checks = Vec::new();
    match Tools::find() {
        Err(error) => checks.push(Check::bad("ffmpeg", error.to_string(), error.hint())),
        Ok(tools) => checks.extend(tool_checks(&tools).await),
    }
    checks.push(disk_kind(&place.data));
    checks.push(disk_sync(&place.data));
    checks.push(open_files());
    checks.extend(std::fs::read_to_string("/proc/meminfo").ok().map(memory));
    let own = |port| place.own_port == Some(port);
    let ports = place.ports.iter();
    checks.extend(ports.map(|&port| port_free(port, own(port))));
    checks
}

/// Checks both programs and what they make. What rests on one that does not work
/// is left out: it would fail in the same way, or hang.
async fn tool_checks(tools: &Tools) -> Vec<Check> {
    let tool = |name: &str, path: &Path, outcome: Result<(), MediaError>| match outcome {
        Ok(()) => Check::ok(name, path.display().to_string()),
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            Check::bad(name, found, error.hint())
        }
    };
    let ffmpeg = reelraft_media::check_ffmpeg(tools).await;
    let ffprobe = reelraft_media::check_ffprobe(tools).await;
    let both_work = ffmpeg.is_ok() && ffprobe.is_ok();
    let mut checks = vec![
        tool("ffmpeg", &tools.ffmpeg, ffmpeg),
        tool("ffprobe", &tools.ffprobe, ffprobe),
    ];
    if !both_work {
        return checks;
    }
    let build = match reelraft_media::probe_build(tools).await {
        Ok(build) => build,
        Err(error) => {
            checks.push(Check::bad("encoder build", error.to_string(), error.hint()));
            return checks;
        }
    };
    for encoder in &build.encoders {
        let name = format!("encoder {}", encoder.name);
        checks.push(match encoder.ok {
            true => Check::ok(name, "encoded ten frames"),
            false => Check::bad(
                name,
                &encoder.detail,
                "install an ffmpeg with this encoder, or don't use its codec",
            ),
        });
    }
    let files = build.lacks.iter();
    for lack in files.filter(|lack| is_files(&lack.what)) {
        checks.push(Check::bad(
            format!("muxer for {}", lack.what),
            &lack.why,
            "install an ffmpeg with this muxer, or don't use its container",
        ));
    }
    checks.extend(trial_jobs(tools, &build.lacks).await);
    let sandbox = reelraft_media::check_sandbox(tools).await;
    checks.push(Check {
        name: "encoder sandbox".into(),
        ok: sandbox.ok,
        found: sandbox.found,
        hint: sandbox.hint.into(),
    });
    let found = format!("{} {}", build.hash, build.words);
    checks.push(Check::ok("encoder build", found));
    checks
}

/// Makes small jobs with all that a job runs: what can't be made here is told
/// for each codec.
async fn trial_jobs(tools: &Tools, lacks: &[reelraft_media::Lack]) -> Vec<Check> {
    let folder = match TrialFolder::new() {
        Ok(folder) => folder,
        Err(error) => {
            return vec![Check::bad(
                "trial jobs",
                error.to_string(),
                "let this user write to the folder for temporary files",
            )];
        }
    };
    let trials = reelraft_media::try_jobs(tools, &folder.0, lacks).await;
    let check = |trial: reelraft_media::Trial| {
        let name = format!("job {}", trial.name);
        match trial.outcome {
            Ok(()) => Check::ok(name, "made and proven"),
            Err(error) => Check::bad(name, error.to_string(), error.hint()),
        }
    };
    trials.into_iter().map(check).collect()
}

/// The folder of the trial jobs; gone with them.
struct TrialFolder(std::path::PathBuf);

impl TrialFolder {
    fn new() -> std::io::Result<Self> {
        let path = std::path::absolute(std::env::temp_dir())?
            .join(format!("reelraft-doctor-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(TrialFolder(path))
    }
}

impl Drop for TrialFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The file that a check writes to; gone with the check.
struct Trial(std::path::PathBuf);

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The folder, or the nearest one above it that exists.
fn existing(data: &Path) -> &Path {
    let mut folders = data.ancestors();
    folders
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."))
}

/// Whether what is written there is still there after a reboot, and how much
/// room there is.
fn disk_kind(data: &Path) -> Check {
    let name = format!("disk of {}", data.display());
    let place = existing(data).as_os_str().as_bytes();
    let Ok(place) = std::ffi::CString::new(place) else {
        return Check::bad(name, "the name has a zero byte", "name another with --data");
    };
    // SAFETY: the call writes one statfs, which `found` is, and an all-zero one
    // is a valid value; the path outlives the call.
    let (answer, found) = unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        (libc::statfs(place.as_ptr(), &mut found), found)
    };
    if answer != 0 {
        let error = std::io::Error::last_os_error().to_string();
        return Check::bad(name, error, "choose a folder on another disk with --data");
    }
    let free_bytes = found.f_bavail * found.f_bsize.unsigned_abs();
    let free = format!("{} MiB free", free_bytes >> 20);
    if found.f_type == libc::TMPFS_MAGIC {
        Check::bad(
            name,
            "it is memory (tmpfs)",
            "a reboot would lose all: choose a folder on a disk with --data",
        )
    } else if found.f_type == libc::OVERLAYFS_SUPER_MAGIC {
        Check::bad(
            name,
            "it is a container's own layer (overlay)",
            "it goes with the container: put the data folder on a volume",
        )
    } else if free_bytes < FREE_BYTES_MIN {
        Check::bad(name, free, "free some space, or choose another disk")
    } else {
        Check::ok(name, free)
    }
}

fn disk_sync(data: &Path) -> Check {
    let name = format!("disk sync in {}", data.display());
    let timed = || -> std::io::Result<Duration> {
        // A check leaves nothing behind: a folder yet to be created will be on the
        // disk of its nearest existing ancestor.
        let place = existing(data);
        let path = place.join(format!(".doctor-{}", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        // Also when a write fails: on a full disk no more room is taken.
        let _trial = Trial(path);
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let begun = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort();
        Ok(times[SYNCS / 2])
    };
    match timed() {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Check::bad(
            name,
            error.to_string(),
            "free some space, or choose a folder on another disk with --data",
        ),
        Err(error) => Check::bad(
            name,
            error.to_string(),
            "choose a folder that this user may write to with --data",
        ),
        Ok(median) if median > SYNC_SLOW => Check::bad(
            name,
            format!("{} ms at the median", median.as_millis()),
            "put the data folder on a faster disk: every acknowledged step waits for a sync",
        ),
        Ok(median) => Check::ok(name, format!("{} µs at the median", median.as_micros())),
    }
}

fn open_files() -> Check {
    let name = "open files";
    // SAFETY: the call writes one rlimit, which `limit` is, and an all-zero one is
    // a valid value.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit
    };
    let found = format!("{} at most", limit.rlim_cur);
    if limit.rlim_cur < OPEN_FILES_MIN {
        Check::bad(
            name,
            found,
            "raise it: `ulimit -n 4096`, LimitNOFILE= of a service",
        )
    } else {
        Check::ok(name, found)
    }
}

/// Memory that can be had, by the kernel's `/proc/meminfo`.
fn memory(meminfo: String) -> Check {
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let bytes = available.unwrap_or(0) << 10;
    let found = format!("{} MiB available", bytes >> 20);
    if bytes < MEMORY_BYTES_MIN {
        let hint = "give the machine more, or its nodes fewer --slots: encoders would be killed";
        Check::bad("memory", found, hint)
    } else {
        Check::ok("memory", found)
    }
}

/// Tried on all addresses: a node may listen beyond loopback. One that the
/// environment gives to a node here may be that node's.
fn port_free(port: u16, own: bool) -> Check {
    let name = format!("port {port}");
    match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => Check::ok(name, "free"),
        Err(error) if own && error.kind() == std::io::ErrorKind::AddrInUse => {
            Check::ok(name, "in use, as by the node of REELRAFT_LISTEN")
        }
        Err(error) => Check::bad(
            name,
            error.to_string(),
            "if it is not a node of yours, stop what runs there or use other ports (`reelraft dev --base-port`)",
        ),
    }
}

/// The checks as a table.
pub fn table(checks: &[Check]) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let verdict = if check.ok { "ok " } else { "BAD" };
        let _ = writeln!(text, "{verdict}  {:width$}  {}", check.name, check.found);
        if !check.hint.is_empty() {
            let _ = writeln!(text, "     {:width$}  hint: {}", "", check.hint);
        }
    }
    text
}

/// The checks as JSON: `{"ok":…,"checks":[{"name","ok","found","hint"}…]}`.
pub fn json(checks: &[Check]) -> String {
    let rows: Vec<serde_json::Value> = checks
        .iter()
        .map(|check| serde_json::json!({"name": check.name, "ok": check.ok, "found": check.found, "hint": check.hint}))
        .collect();
    let ok = checks.iter().all(|check| check.ok);
    format!("{}\n", serde_json::json!({"ok": ok, "checks": rows}))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_port_and_an_unwritable_folder_are_found() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let taken = TcpListener::bind(address).unwrap();
            let port = taken.local_addr().unwrap().port();
            assert!(!port_free(port, false).ok);
            assert!(port_free(port, true).ok, "the node's own");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let check = disk_sync(&file);
        assert!(!check.ok && !check.hint.is_empty(), "{check:?}");
        let memory = disk_kind(Path::new("/dev/shm/not/yet"));
        assert!(!memory.ok || !Path::new("/dev/shm").exists(), "{memory:?}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "the check leaves nothing behind");
        assert!(disk_sync(folder.path()).ok || disk_sync(folder.path()).found.contains("ms"));
    }

    #[test]
    fn too_little_memory_is_found() {
        let of = |kb| memory(format!("MemTotal: 99 kB\nMemAvailable:  {kb} kB\n"));
        assert_eq!(of(8_000_000), Check::ok("memory", "7812 MiB available"));
        assert!(!of(300_000).ok);
    }

    #[test]
    fn what_is_asked_for_is_checked_and_else_the_places_of_dev() {
        let place = Place::of(None, Vec::new()).unwrap();
        assert_eq!(place.ports, [7401, 7402, 7403]);
        assert_eq!(place.data, Path::new("reelraft-data"));
        let place = Place::of(Some("d".into()), vec![9]).unwrap();
        assert_eq!((place.data, place.ports), ("d".into(), vec![9]));
    }

    #[test]
    fn the_table_lines_up_and_shows_hints() {
        let checks = [
            Check::ok("a", "fine"),
            Check::bad("longer", "broken", "mend it"),
        ];
        assert_eq!(
            table(&checks),
            "ok   a       fine\nBAD  longer  broken\n             hint: mend it\n"
        );
    }
}
