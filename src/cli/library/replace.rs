//! An output in place of its source. At every moment there is a whole film under
//! the name: the output is complete and synced under a hidden name, the original
//! gets a second name where it is kept, and then one rename puts the output in
//! its place.
//!
//! ```text
//! fetched ─▶ owner, mode, times ─▶ "made" in the ledger ─▶ original linked
//!         ─▶ renamed onto the name ─▶ "done" in the ledger
//! ```
//! Killed between any two, the next run begins with the same job, finds what was
//! fetched, and goes on. A new ending is a new name: the original's own goes
//! last, when the ledger says that the output is there.

use std::{
    ffi::{CString, OsString},
    fs::{File, FileTimes, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt, fchown},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reelraft_proto::utc;

use crate::{
    error::{CliError, os_reason},
    library::{
        ledger::{End, HIDDEN_FOLDER, Ledger, Record, escaped},
        names::numbered,
        settle::is_written,
        stamp::{Stamp, ledger_key},
        walk::Found,
    },
    limits::{ATTRIBUTE_BYTES_MAX, FILE_NUMBERS_MAX},
    transfer::{
        local_files::{FileId, rename, sync_folder, sync_folders},
        output_file::{hint_for, unwritable},
        source::Source,
    },
};

/// Below the hidden folder: one folder for each last day.
const ORIGINALS: &str = "originals";

/// What becomes of originals.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// How long they are kept; zero: not at all.
    pub time: Duration,
    /// Films with more names than one are replaced, too: the other names keep the
    /// original.
    pub hard_links: bool,
}

/// The container that a film keeps, or that fits it best.
pub fn container_for(below: &Path) -> String {
    let ending = below.extension().unwrap_or_default().to_string_lossy();
    match ending.to_lowercase().as_str() {
        known @ ("mp4" | "mkv" | "webm" | "mov" | "m4a" | "opus" | "flac") => known.into(),
        "m4v" => "mp4".into(),
        "qt" => "mov".into(),
        _ => "mkv".into(),
    }
}

/// The hidden name under which an output is fetched.
pub fn beside(film: &Found, container: &str) -> PathBuf {
    let path = film.path();
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".reelraft-new.{container}"));
    path.with_file_name(name)
}

/// Where the output of a film will be, below its folder.
pub fn target_below(below: &Path, container: &str) -> PathBuf {
    let ending = below.extension().unwrap_or_default();
    match ending.eq_ignore_ascii_case(container) {
        true => below.to_path_buf(),
        false => below.with_extension(container),
    }
}

/// Why a film can't be replaced; none if it can.
pub fn unfit(film: &Found, keep: Keep) -> Option<String> {
    let found = std::fs::symlink_metadata(film.path()).ok()?;
    if found.is_symlink() {
        return Some("it is a link, which is not replaced".into());
    }
    // A kept original of a run that was killed is a name of ours.
    let ours = kept_names(&film.root, &film.below, FileId::of(&found));
    if found.nlink() > 1 + ours && !keep.hard_links {
        return Some("it has other names (hard links)".into());
    }
    None
}

/// A fetched output, and the film that it is to replace.
pub struct Made<'a> {
    pub film: &'a Found,
    pub source: &'a Source,
    /// The output, whole and synced, in the film's own folder.
    pub new: &'a Path,
    pub container: &'a str,
    /// The spec, as it is part of a ledger's key.
    pub spec: &'a [u8],
}

impl Made<'_> {
    /// Puts the output in the film's place; returns where it is then.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`], or [`CliError::SourceUnfit`] for a film that
    /// is no longer what the output was made from. It stays as it is.
    pub fn replace(
        &self,
        keep: Keep,
        record: Record,
        ledger: &std::cell::RefCell<Ledger>,
    ) -> Result<PathBuf, CliError> {
        let Found { root, below, .. } = self.film;
        let path = self.film.path();
        let out_below = target_below(below, self.container);
        let out = root.join(&out_below);
        let failed = |error: io::Error| unwritable(&out, &os_reason(&error), hint_for(&error));
        self.take_after_original().map_err(failed)?;
        self.refuse_changed(&path)?;

        let new = std::fs::symlink_metadata(self.new).map_err(failed)?;
        let key =
            |found: &std::fs::Metadata| ledger_key(None, &out_below, &Stamp::of(found), self.spec);
        let there = std::fs::symlink_metadata(&out).ok();
        let ours = match &there {
            Some(found) => is_ours(&record, &key(found), ledger)?,
            None => false,
        };
        // Before the line, which might be that of another film's output.
        if out != path && there.is_some() && !ours {
            return Err(taken(&out));
        }
        ledger.borrow_mut().write(Record {
            key: key(&new),
            end: End::Made,
            file: escaped(&out_below),
            source: record.key.clone(),
            job: record.job.clone(),
            ..Record::default()
        })?;
        if !keep.time.is_zero() {
            keep_original(self.film, &path, keep.time)?;
        }
        self.refuse_changed(&path)?;
        rename(self.new, &out, out == path || ours).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(&out),
            _ => failed(error),
        })?;
        sync_folder_of(&out).map_err(failed)?;
        let left = match out == path {
            true => None,
            false => self.own_stamp(&path),
        };
        ledger.borrow_mut().write(Record {
            end: End::Done,
            out: escaped(&out_below),
            source: left.map_or(String::new(), |stamp| stamp.text()),
            ..record
        })?;
        // Another film that has come there meanwhile is not ours to remove.
        if left.is_some() && self.own_stamp(&path) == left {
            std::fs::remove_file(&path).map_err(failed)?;
            sync_folder_of(&path).map_err(failed)?;
        }
        Ok(out)
    }

    /// Gives the output the owner, mode, times and attributes of the original. An
    /// owner that this user can't give is no failure.
    fn take_after_original(&self) -> io::Result<()> {
        let original = self.source.file().metadata()?;
        let new = File::options().read(true).write(true).open(self.new)?;
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (original.uid(), original.gid())
            && fchown(&new, Some(original.uid()), Some(original.gid())).is_err()
        {
            let _ = fchown(&new, None, Some(original.gid()));
        }
        copy_attributes(self.source.file(), &new);
        new.set_permissions(Permissions::from_mode(original.mode() & 0o777))?;
        let times = FileTimes::new()
            .set_modified(original.modified()?)
            .set_accessed(original.accessed()?);
        new.set_times(times)?;
        new.sync_all()
    }

    fn refuse_changed(&self, path: &Path) -> Result<(), CliError> {
        let how = match self.source.unchanged() {
            Err(change) => Some(change.0),
            Ok(()) if !is_film(path, self.film) => Some("became another file".to_string()),
            Ok(()) if is_written(self.source.file()) == Some(true) => {
                Some("was opened to be written".to_string())
            }
            Ok(()) => None,
        };
        let Some(how) = how else { return Ok(()) };
        let _ = std::fs::remove_file(self.new);
        Err(changed(path, &how))
    }

    /// What lies at the film's name, if it is the film, as it was when it was taken.
    fn own_stamp(&self, path: &Path) -> Option<Stamp> {
        let found = std::fs::symlink_metadata(path).ok()?;
        let stamp = Stamp::of(&found);
        (stamp.id == self.film.stamp.id && self.source.unchanged().is_ok()).then_some(stamp)
    }
}

/// Whether an output with this key is one of the film of `record`: a run was killed
/// after its rename.
fn is_ours(
    record: &Record,
    key: &str,
    ledger: &std::cell::RefCell<Ledger>,
) -> Result<bool, CliError> {
    let mut ledger = ledger.borrow_mut();
    let known = ledger.find(key)?;
    Ok(known.is_some_and(|known| known.end == End::Made && known.source == record.key))
}

/// Whether the film itself lies at a path.
fn is_film(path: &Path, film: &Found) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| FileId::of(&found) == film.stamp.id)
}

fn taken(out: &Path) -> CliError {
    unwritable(
        out,
        "another file has the name that the output would get",
        "move it away, or give --container so that the name stays",
    )
}

fn changed(path: &Path, how: &str) -> CliError {
    CliError::SourceUnfit {
        path: path.to_path_buf(),
        cause: format!("it {how} while it was transcoded, and is left as it is"),
        hint: "run the command again once nothing writes to it".into(),
    }
}

/// What a killed run left to do of a film that is done: the original's own name,
/// where the output has another. A film that has come back since is left.
///
/// # Errors
/// [`CliError::OutputUnwritable`].
pub fn finish(film: &Found, record: &Record, keep: Keep) -> Result<(), CliError> {
    let out = film.root.join(record.out_path());
    let path = film.path();
    let now = || std::fs::symlink_metadata(&path).map(|found| Stamp::of(&found));
    let left = now().is_ok_and(|now| record.source == now.text());
    let made = std::fs::symlink_metadata(&out);
    if out == path || !left || !made.is_ok_and(|found| found.len() == record.bytes_out) {
        return Ok(());
    }
    let kept = kept_names(&film.root, &film.below, film.stamp.id);
    if !keep.time.is_zero() && kept == 0 {
        keep_original(film, &path, keep.time)?;
    }
    if !now().is_ok_and(|now| now.same_content(&film.stamp)) {
        return Ok(());
    }
    let removed = std::fs::remove_file(&path).and_then(|()| sync_folder_of(&path));
    removed.map_err(|error| unwritable(&path, &os_reason(&error), hint_for(&error)))
}

/// Gives the original a second name below the folder of its last day.
fn keep_original(film: &Found, path: &Path, time: Duration) -> Result<(), CliError> {
    let folder = originals(&film.root).join(last_day(SystemTime::now(), time));
    for turn in 0..FILE_NUMBERS_MAX {
        let name = folder.join(numbered(&film.below, turn));
        let linked = std::fs::create_dir_all(name.parent().unwrap_or(&folder))
            .and_then(|()| std::fs::hard_link(path, &name));
        match linked {
            Ok(()) if !is_film(&name, film) => {
                let _ = std::fs::remove_file(&name);
                return Err(changed(path, "became another file"));
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !is_film(&name, film) {
                    continue;
                }
            }
            Err(error) => return Err(unkept(&name, &error)),
        }
        let synced = sync_folders(&name, &film.root);
        return synced.map_err(|error| unkept(&name, &error));
    }
    let error = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(unkept(&folder, &error))
}

fn unkept(name: &Path, error: &io::Error) -> CliError {
    CliError::OutputUnwritable {
        path: name.to_path_buf(),
        cause: format!("the original can't be kept there: {}", os_reason(error)),
        hint: "originals are kept as hard links on the disk of their folder: give each disk's \
               folder by itself, or --keep-original 0"
            .into(),
    }
}

fn originals(root: &Path) -> PathBuf {
    root.join(HIDDEN_FOLDER).join(ORIGINALS)
}

/// How many of a file's names are kept originals of ours.
fn kept_names(root: &Path, below: &Path, id: FileId) -> u64 {
    let days = std::fs::read_dir(originals(root)).into_iter().flatten();
    let kept = days.flatten().filter(|day| {
        let name = day.path().join(below);
        std::fs::symlink_metadata(name).is_ok_and(|found| FileId::of(&found) == id)
    });
    kept.count() as u64
}

/// The day after which an original may go, as its folder is called: 2026-12-04.
fn last_day(now: SystemTime, time: Duration) -> String {
    let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + time;
    let [year, month, day, ..] = utc::fields(until.as_millis() as u64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Removes the originals whose time is over; returns how many days' they were.
///
/// # Errors
/// [`CliError::OutputUnwritable`].
pub fn remove_old(root: &Path, now: SystemTime) -> Result<u64, CliError> {
    let today = last_day(now, Duration::ZERO);
    let mut removed = 0;
    let folder = originals(root);
    // A link would lead to days that are not ours.
    if !std::fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
        return Ok(0);
    }
    for day in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = day.file_name().to_string_lossy().into_owned();
        let is_folder = day.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || !is_day(&name) || name >= today {
            continue;
        }
        std::fs::remove_dir_all(day.path())
            .map_err(|error| unwritable(&day.path(), &os_reason(&error), "remove it by hand"))?;
        removed += 1;
    }
    Ok(removed)
}

/// Whether a name is a day, as [`last_day`] writes it.
fn is_day(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let number = |text: &str, digits: usize| {
        let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| plain)
    };
    number(year, 4).is_some()
        && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// Copies extended attributes, access lists among them, as far as this user may.
fn copy_attributes(from: &File, to: &File) {
    let mut names = vec![0_u8; ATTRIBUTE_BYTES_MAX];
    // SAFETY: the kernel writes at most so many bytes to the buffer.
    let length =
        unsafe { libc::flistxattr(from.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    let Ok(length) = usize::try_from(length) else {
        return;
    };
    let mut value = vec![0_u8; ATTRIBUTE_BYTES_MAX];
    for name in names[..length].split(|byte| *byte == 0) {
        let Ok(name) = CString::new(name) else {
            continue;
        };
        if name.as_bytes().is_empty() {
            continue;
        }
        // SAFETY: the name outlives both calls; the first writes at most so many
        // bytes to the buffer, the second reads what was written.
        unsafe {
            let buffer = value.as_mut_ptr().cast::<libc::c_void>();
            let length = libc::fgetxattr(from.as_raw_fd(), name.as_ptr(), buffer, value.len());
            if let Ok(length) = usize::try_from(length) {
                libc::fsetxattr(to.as_raw_fd(), name.as_ptr(), buffer, length, 0);
            }
        }
    }
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
