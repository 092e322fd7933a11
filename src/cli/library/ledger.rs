//! What was done with each file: lines that are only ever added, each with its
//! checksum, in a hidden folder where the outputs are. It goes where they go, and
//! says of a file whose job was deleted long ago that it is done.
//!
//! ```text
//! began ──▶ done      its output is written and synced
//!       ├─▶ larger    the output was not small enough and is not kept
//!       ├─▶ leftout   the output lacks something of its film and is not kept
//!       └─▶ failed    not tried again until the file changes
//! made                this file is itself an output: it replaced its source
//! ```
//! Several programs may add lines at once. A line that is lost costs a question
//! to the cluster, which knows the job by its request id (P5).

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::{ffi::OsStrExt, ffi::OsStringExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{CliError, os_reason},
    file_lock::{try_lock, unlock},
    limits::{LEDGER_BYTES_MAX, LEDGER_LOCK_MS, LEDGER_LOCK_PAUSE_MS},
};

/// The hidden folder beside outputs, which holds the ledger and kept originals.
pub const HIDDEN_FOLDER: &str = ".reelraft";

const FILE: &str = "ledger";

/// Digits of a line's checksum.
const CHECK_DIGITS: usize = 16;

/// How far a file has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    #[default]
    Began,
    Done,
    Larger,
    LeftOut,
    Failed,
    Made,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub key: String,
    pub end: End,
    /// The file, for those who read the ledger.
    pub file: String,
    /// Its output below the ledger's folder; see [`escaped`].
    pub out: String,
    /// Why it failed, or is not kept.
    pub why: String,
    /// Its job was to fail for damage.
    pub strict: bool,
    /// Which file it was when it was done, its inode's last change included.
    /// Of an output in a film's place: the key of that film.
    pub source: String,
    /// The source's, by which one that comes back is told from another film.
    pub fingerprint: String,
    pub request: String,
    pub job: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub unix_ms: u64,
}

impl Record {
    /// The output's path, as it was before it was [`escaped`].
    pub fn out_path(&self) -> PathBuf {
        unescaped(&self.out)
    }
}

/// The lines of one folder, read so far.
#[derive(Debug)]
pub struct Ledger {
    /// The folder of outputs.
    folder: PathBuf,
    path: PathBuf,
    file: File,
    read_to: u64,
    records: HashMap<String, Record>,
    /// Outputs that a file has been given, and the key of that file.
    outputs: HashMap<String, String>,
    /// Whether the file system has locks.
    locks: bool,
}

impl Ledger {
    /// Opens or makes the ledger of a folder.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn open(folder: &Path) -> Result<Self, CliError> {
        let hidden = folder.join(HIDDEN_FOLDER);
        let path = hidden.join(FILE);
        let failed = |error: io::Error| unwritable(&path, &error);
        match std::fs::create_dir(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        if !std::fs::symlink_metadata(&hidden).is_ok_and(|found| found.is_dir()) {
            return Err(failed(io::Error::other("its folder is no folder")));
        }
        let mut options = File::options();
        options.read(true).append(true).create(true);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(&path).map_err(failed)?;
        let mut ledger = Ledger {
            folder: folder.to_path_buf(),
            path,
            file,
            read_to: 0,
            records: HashMap::new(),
            outputs: HashMap::new(),
            locks: true,
        };
        ledger.refresh()?;
        Ok(ledger)
    }

    /// The last line of a file, also one that another program has just added.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`] if the ledger can't be read.
    pub fn find(&mut self, key: &str) -> Result<Option<&Record>, CliError> {
        self.refresh()?;
        Ok(self.records.get(key))
    }

    /// The same of a file whose line may still have the key that a former version gave
    /// it: it is written again under its own.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`] if the ledger can't be read or written.
    pub fn find_or_adopt(
        &mut self,
        key: &str,
        former: Option<&str>,
    ) -> Result<Option<Record>, CliError> {
        self.refresh()?;
        let own = self.records.get(key).cloned();
        let former = former.and_then(|former| self.records.get(former));
        match (own, former.cloned()) {
            (None, Some(former)) => {
                let adopted = Record {
                    key: key.to_string(),
                    ..former
                };
                self.write(adopted.clone())?;
                Ok(Some(adopted))
            }
            (own, _) => Ok(own),
        }
    }

    /// Adds a line, and syncs it.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn write(&mut self, record: Record) -> Result<(), CliError> {
        let locked = self.lock()?;
        let written = self.add(record);
        self.unlock(locked);
        written
    }

    /// Gives a file the output that it was given before, or else the first of
    /// `names` that no other file was given and where nothing is that is `taken`.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`], also where all names are taken.
    pub fn reserve(
        &mut self,
        record: Record,
        names: &[PathBuf],
        taken: impl Fn(&Path) -> bool,
    ) -> Result<PathBuf, CliError> {
        let locked = self.lock()?;
        let given = self.give_name(record, names, taken);
        self.unlock(locked);
        given
    }

    fn give_name(
        &mut self,
        record: Record,
        names: &[PathBuf],
        taken: impl Fn(&Path) -> bool,
    ) -> Result<PathBuf, CliError> {
        self.refresh()?;
        if let Some(before) = self.records.get(&record.key)
            && !before.out.is_empty()
        {
            return Ok(unescaped(&before.out));
        }
        for name in names {
            let text = escaped(name);
            if self.outputs.contains_key(&text) || taken(&self.folder.join(name)) {
                continue;
            }
            self.add(Record {
                out: text,
                ..record
            })?;
            return Ok(name.clone());
        }
        Err(CliError::OutputUnwritable {
            path: self
                .folder
                .join(names.first().map_or(Path::new(""), PathBuf::as_path)),
            cause: "it exists already".into(),
            hint: "give another folder, replace it with --overwrite, or leave such files with \
                   --skip-existing"
                .into(),
        })
    }

    /// Reads what has been added.
    fn refresh(&mut self) -> Result<(), CliError> {
        let read = self.read_on();
        read.map_err(|error| unwritable(&self.path, &error))
    }

    fn read_on(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length > LEDGER_BYTES_MAX {
            return Err(io::Error::other("it is too large: move it away"));
        }
        if length <= self.read_to {
            return Ok(());
        }
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(self.read_to))?;
        (&self.file)
            .take(length - self.read_to)
            .read_to_end(&mut text)?;
        // A line that is not whole yet is read when it is.
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |at| at + 1);
        for line in text[..whole].split(|byte| *byte == b'\n') {
            if let Some(record) = parse(line) {
                if !record.out.is_empty() {
                    self.outputs.insert(record.out.clone(), record.key.clone());
                }
                self.records.insert(record.key.clone(), record);
            }
        }
        self.read_to += whole as u64;
        Ok(())
    }

    fn add(&mut self, record: Record) -> Result<(), CliError> {
        self.refresh()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = now.unwrap_or_default().as_millis() as u64;
        let mut line = written(&Record { unix_ms, ..record });
        let failed = |error| unwritable(&self.path, &error);
        let length = self.file.metadata().map_err(failed)?.len();
        if length > self.read_to {
            // A crash has cut the last line short.
            line.insert(0, b'\n');
        }
        // All of it or, after a crash, a line that its checksum gives away.
        let mut file = &self.file;
        let synced = file.write_all(&line).and_then(|()| file.sync_data());
        synced.map_err(failed)?;
        self.refresh()
    }

    /// Waits a while for the lock; says whether it was had. Where there are no
    /// locks, or another program keeps it, lines are added without.
    fn lock(&mut self) -> Result<bool, CliError> {
        for _ in 0..LEDGER_LOCK_MS / LEDGER_LOCK_PAUSE_MS {
            if !self.locks {
                break;
            }
            match try_lock(&self.file) {
                Ok(true) => return Ok(true),
                Ok(false) => std::thread::sleep(Duration::from_millis(LEDGER_LOCK_PAUSE_MS)),
                Err(_) => self.locks = false,
            }
        }
        Ok(false)
    }

    fn unlock(&self, locked: bool) {
        if locked {
            unlock(&self.file);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::OutputUnwritable {
        path: path.to_path_buf(),
        cause: os_reason(error),
        hint: "the folder of outputs keeps a list of what is done: let it be written to".into(),
    }
}

fn check_of(text: &[u8]) -> String {
    let mut check = blake3::hash(text).to_hex().to_string();
    check.truncate(CHECK_DIGITS);
    check
}

fn written(record: &Record) -> Vec<u8> {
    let text = serde_json::to_string(record).unwrap_or_default();
    format!("{} {text}\n", check_of(text.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Option<Record> {
    let (check, text) = line.split_at_checked(CHECK_DIGITS)?;
    let text = text.strip_prefix(b" ")?;
    if check_of(text).as_bytes() != check {
        return None;
    }
    serde_json::from_slice(text).ok()
}

/// A path as text, also one that is no UTF-8: such bytes, control characters and
/// `%` as `%` and two digits.
pub fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '%' => text.push_str("%25"),
                _ if letter.is_ascii_control() => text.push_str(&format!("%{:02x}", letter as u8)),
                _ => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%');
        let number = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(number.unwrap_or(byte));
        rest = if number.is_some() { &after[2..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(key: &str, end: End) -> Record {
        Record {
            key: key.into(),
            end,
            ..Record::default()
        }
    }

    #[test]
    fn lines_outlive_their_writer_and_a_torn_one_costs_itself_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = Ledger::open(folder.path()).unwrap();
        let mut two = Ledger::open(folder.path()).unwrap();
        one.write(record("a", End::Began)).unwrap();
        assert_eq!(two.find("a").unwrap().unwrap().end, End::Began);
        two.write(record("a", End::Done)).unwrap();
        assert_eq!(one.find("a").unwrap().unwrap().end, End::Done);
        let path = folder.path().join(".reelraft/ledger");
        let whole = std::fs::read(&path).unwrap();
        // Killed in the midst of a line, whichever byte was the last.
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in first + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut after = Ledger::open(folder.path()).unwrap();
            after.write(record("b", End::Failed)).unwrap();
            let mut again = Ledger::open(folder.path()).unwrap();
            // Of the last line only its end may be missing.
            let wanted = if cut == whole.len() - 1 {
                End::Done
            } else {
                End::Began
            };
            assert_eq!(again.find("a").unwrap().unwrap().end, wanted, "{cut}");
            assert_eq!(again.find("b").unwrap().unwrap().end, End::Failed);
        }
        let mut bytes = whole.clone();
        bytes[first + 30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mut rotten = Ledger::open(folder.path()).unwrap();
        assert_eq!(rotten.find("a").unwrap().unwrap().end, End::Began);
    }

    #[test]
    fn a_line_of_a_former_version_is_taken_over_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.find_or_adopt("a", Some("/x a")).unwrap(), None);
        ledger.write(record("/x a", End::Made)).unwrap();
        assert_eq!(ledger.find_or_adopt("a", None).unwrap(), None);
        let adopted = ledger.find_or_adopt("a", Some("/x a")).unwrap().unwrap();
        assert_eq!(adopted, record_at("a", End::Made, adopted.unix_ms));
        // Its folder has moved, so that nobody knows the former key any more.
        let mut later = Ledger::open(folder.path()).unwrap();
        let found = later.find_or_adopt("a", Some("/y a")).unwrap().unwrap();
        assert_eq!(found.end, End::Made);
        let text = std::fs::read_to_string(folder.path().join(".reelraft/ledger")).unwrap();
        later.find_or_adopt("a", Some("/x a")).unwrap();
        let path = folder.path().join(".reelraft/ledger");
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }

    fn record_at(key: &str, end: End, unix_ms: u64) -> Record {
        Record {
            unix_ms,
            ..record(key, end)
        }
    }

    #[test]
    fn two_files_never_get_one_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let mut other = Ledger::open(folder.path()).unwrap();
        let names = ["o0", "o1", "o2"].map(PathBuf::from);
        let taken = |path: &Path| path.ends_with("o1");
        let give = |ledger: &mut Ledger, key: &str| {
            ledger
                .reserve(record(key, End::Began), &names, taken)
                .unwrap()
        };
        assert_eq!(give(&mut ledger, "a"), Path::new("o0"));
        assert_eq!(give(&mut other, "b"), Path::new("o2"));
        assert_eq!(give(&mut other, "a"), Path::new("o0"));
        let full = ledger.reserve(record("c", End::Began), &names, |_| true);
        assert!(full.unwrap_err().to_string().contains("exists already"));
    }

    #[test]
    fn any_path_can_be_written_down() {
        for bytes in [&b"a/b c.mp4"[..], b"100%25 \xff\n%.mp4", "é\t".as_bytes()] {
            let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            let text = escaped(&path);
            assert!(!text.contains(char::is_control), "{text}");
            assert_eq!(unescaped(&text), path);
        }
    }
}
