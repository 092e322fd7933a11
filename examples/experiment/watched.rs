//! A node whose every sync, rename and table write is counted, and which is
//! killed at the one that was chosen, just before the kernel does it.
//!
//! A seccomp filter sends these calls to this program (user notification),
//! which answers "go on" or kills the process. So the count runs over all
//! threads in the order in which the calls come, and nothing else is slowed.
//! What a kill must not break is not known here.

use std::{
    collections::HashMap,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// One call as it was about to be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The system call's name.
    pub name: &'static str,
    /// What it was done to, below the data folder, with jobs, hashes and
    /// numbers replaced by `JOB`, `HASH` and `N`: with the name, its site.
    pub what: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.what)
    }
}

/// Where to kill.
#[derive(Clone, Debug)]
pub enum Point {
    /// At the n-th call, counted from 1.
    Nth(usize),
    /// At the n-th call of one site.
    Site(Call, usize),
}

#[derive(Default)]
struct Count {
    /// All calls since the last [`Watched::aim`].
    calls: Vec<Call>,
    point: Option<Point>,
    killed_at: Option<Call>,
}

/// A running process under watch. Dropped, it is killed.
pub struct Watched {
    child: Child,
    count: Arc<Mutex<Count>>,
    watcher: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts `command`; `point` counts from its first call on.
    pub fn start(command: &mut Command, data: &Path, point: Option<Point>) -> Result<Self, String> {
        let failed = |what: &str| format!("{what}: {}", io::Error::last_os_error());
        let mut pair = [0; 2];
        // SAFETY: `pair` has room for the two descriptors.
        let made =
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) };
        if made != 0 {
            return Err(failed("socketpair"));
        }
        // SAFETY: both were just made and belong to nobody else.
        let (ours, theirs) =
            unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) };
        let (keep, give) = (ours.as_raw_fd(), theirs.as_raw_fd());
        // SAFETY: between fork and exec only system calls are made; nothing is
        // allocated and no lock is taken.
        unsafe {
            command.pre_exec(move || {
                let listener = install_filter()?;
                send_descriptor(give, listener)?;
                libc::close(listener);
                libc::close(give);
                libc::close(keep);
                Ok(())
            });
        }
        let child = command.spawn().map_err(|error| error.to_string())?;
        drop(theirs);
        let listener = receive_descriptor(keep).ok_or_else(|| failed("no seccomp listener"))?;
        let count = Arc::new(Mutex::new(Count {
            point,
            ..Count::default()
        }));
        let watch = Watch {
            listener,
            node: child.id() as i32,
            data: data.to_path_buf(),
            count: count.clone(),
            ours: HashMap::new(),
        };
        Ok(Watched {
            child,
            count,
            watcher: Some(std::thread::spawn(move || watch.run())),
        })
    }

    /// Counts from now on, and kills at `point`.
    pub fn aim(&self, point: Option<Point>) {
        *self.count() = Count {
            point,
            ..Count::default()
        };
    }

    /// The calls since the last aim.
    pub fn calls(&self) -> Vec<Call> {
        self.count().calls.clone()
    }

    /// At which call it was killed, if it was.
    pub fn killed_at(&self) -> Option<Call> {
        self.count().killed_at.clone()
    }

    /// How the process ended, if it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn count(&self) -> std::sync::MutexGuard<'_, Count> {
        self.count.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// Whether this machine lets a process be watched: the kernel may be too old
/// for it, or a container's own filter may be in the way.
///
/// # Errors
/// The reason why not.
pub fn can_watch() -> Result<(), String> {
    let nowhere = Path::new("/");
    Watched::start(&mut Command::new("true"), nowhere, None)
        .map(drop)
        .map_err(|error| format!("no process can be watched by seccomp here: {error}"))
}

/// The calls that are watched. Of `pwrite64` only those to the table count:
/// they are its commits.
const WATCHED: [(libc::c_long, &str); 9] = [
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_sync_file_range, "sync_file_range"),
    (libc::SYS_msync, "msync"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_pwrite64, "pwrite64"),
];

/// Sends the watched calls of this process and its children to a listener.
fn install_filter() -> io::Result<RawFd> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let mut program = [statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW); WATCHED.len() + 3];
    // The call's number is the first word of what a filter sees.
    program[0] = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let count = WATCHED.len();
    for (at, (number, _)) in WATCHED.iter().enumerate() {
        program[1 + at] = libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: (count - at) as u8,
            jf: 0,
            k: *number as u32,
        };
    }
    program[count + 2] = statement(libc::BPF_RET, libc::SECCOMP_RET_USER_NOTIF);
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to `program`, which outlives both calls.
    let listener = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    match listener {
        0.. => Ok(listener as RawFd),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Room for one descriptor beside a message, aligned as its head must be.
#[repr(C, align(8))]
struct Beside([u8; 24]);

/// Calls `act` with a message of one byte and one descriptor beside it.
fn with_message<T>(beside: &mut Beside, act: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut byte = 0_u8;
    let mut part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: a message header of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = beside.0.as_mut_ptr().cast();
    message.msg_controllen = beside.0.len() as _;
    act(&mut message)
}

fn send_descriptor(socket: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut beside = Beside([0; 24]);
    let sent = with_message(&mut beside, |message| {
        // SAFETY: the header's room holds one control message of one
        // descriptor, which is what is written there.
        unsafe {
            let head = libc::CMSG_FIRSTHDR(message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(head)
                .cast::<RawFd>()
                .write_unaligned(descriptor);
            libc::sendmsg(socket, message, 0)
        }
    });
    match sent {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn receive_descriptor(socket: RawFd) -> Option<OwnedFd> {
    let mut beside = Beside([0; 24]);
    // SAFETY: as in `send_descriptor`; a received descriptor is ours alone.
    with_message(&mut beside, |message| unsafe {
        if libc::recvmsg(socket, message, 0) != 1 {
            return None;
        }
        let head = libc::CMSG_FIRSTHDR(message);
        (!head.is_null())
            .then(|| libc::CMSG_DATA(head).cast::<RawFd>().read_unaligned())
            .map(|descriptor| OwnedFd::from_raw_fd(descriptor))
    })
}

/// The thread that answers the kernel's questions about one process.
struct Watch {
    listener: OwnedFd,
    node: i32,
    data: PathBuf,
    count: Arc<Mutex<Count>>,
    /// Whether a thread is one of the node's own, and not of an encoder.
    ours: HashMap<u32, bool>,
}

impl Watch {
    fn run(mut self) {
        loop {
            let mut poll = libc::pollfd {
                fd: self.listener.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid entry. Nothing is left to be watched once the
            // process and its children are gone: the listener then hangs up.
            let ready = unsafe { libc::poll(&raw mut poll, 1, -1) };
            if ready == 1 && poll.revents & libc::POLLIN == 0 {
                return;
            }
            // SAFETY: all zeros is what the kernel demands before it fills it.
            let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: `asked` is what this request fills.
            let got = unsafe {
                libc::ioctl(
                    self.listener.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_RECV,
                    &raw mut asked,
                )
            };
            // A call whose thread was killed meanwhile asks no more.
            if got != 0 {
                continue;
            }
            self.judge(&asked);
            let mut answer = libc::seccomp_notif_resp {
                id: asked.id,
                val: 0,
                error: 0,
                flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            };
            // SAFETY: `answer` is what this request reads. It fails where the
            // thread has just been killed, which needs no answer.
            unsafe {
                libc::ioctl(
                    self.listener.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_SEND,
                    &raw mut answer,
                )
            };
        }
    }

    /// Counts one call, and kills the node if it is the chosen one.
    fn judge(&mut self, asked: &libc::seccomp_notif) {
        let node = self.node;
        let ours = *self
            .ours
            .entry(asked.pid)
            .or_insert_with(|| group_of(asked.pid) == Some(node));
        let Some(call) = self.call(asked).filter(|_| ours) else {
            return;
        };
        let mut count = self.count.lock().expect("no holder of this lock panics");
        count.calls.push(call.clone());
        let reached = match &count.point {
            Some(Point::Nth(n)) => count.calls.len() == *n,
            Some(Point::Site(site, n)) => {
                call == *site && count.calls.iter().filter(|seen| *seen == site).count() == *n
            }
            None => false,
        };
        if reached && count.killed_at.is_none() {
            count.killed_at = Some(call);
            // SAFETY: takes plain numbers; the process is our own child, and
            // one of its threads waits for our answer, so it is still there.
            unsafe { libc::kill(node, libc::SIGKILL) };
        }
    }

    fn call(&self, asked: &libc::seccomp_notif) -> Option<Call> {
        let number = libc::c_long::from(asked.data.nr);
        let (_, name) = WATCHED.iter().find(|(watched, _)| *watched == number)?;
        let path = match *name {
            "rename" => text_at(asked.pid, asked.data.args[1])?,
            "renameat" | "renameat2" | "linkat" => text_at(asked.pid, asked.data.args[3])?,
            "msync" => self.data.clone(),
            _ => {
                let link = format!("/proc/{}/fd/{}", asked.pid, asked.data.args[0]);
                std::fs::read_link(link).ok()?
            }
        };
        let what = site_of(path.strip_prefix(&self.data).ok()?);
        if *name == "pwrite64" && !what.starts_with("table/") {
            return None;
        }
        Some(Call { name, what })
    }
}

/// The process that a thread belongs to.
fn group_of(thread: u32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

/// The path that lies at an address of another process.
fn text_at(thread: u32, address: u64) -> Option<PathBuf> {
    use std::os::unix::{ffi::OsStringExt, fs::FileExt};
    let memory = std::fs::File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; libc::PATH_MAX as usize];
    // The string may end just before memory that is not there.
    let read = memory.read_at(&mut bytes, address).ok()?;
    bytes.truncate(bytes[..read].iter().position(|byte| *byte == 0)?);
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// A path with what differs from run to run replaced, a numbered attempt's
/// folder included.
fn site_of(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.iter().map(|part| part.to_string_lossy()) {
        let below_blobs = parts == ["blobs"];
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts == ["work"] {
            parts.push("ATTEMPT".to_string());
            continue;
        }
        parts.push(match part.split_once('.') {
            None if below_blobs && !part.starts_with('_') => "JOB".to_string(),
            None if part.len() == 64 && hex(&part) => "HASH".to_string(),
            Some((hash, ending)) if hash.len() == 64 && hex(hash) => format!("HASH.{ending}"),
            _ => numbers_replaced(&part),
        });
    }
    parts.join("/")
}

fn numbers_replaced(part: &str) -> String {
    let mut text = String::new();
    for letter in part.chars() {
        let number = letter.is_ascii_digit();
        if !number {
            text.push(letter);
        } else if !text.ends_with('N') {
            text.push('N');
        }
    }
    text
}
