//! Watching system calls of a child process, by seccomp's user notification:
//! the kernel asks before it does one of them, and waits for the answer.

use std::{
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
};

/// Most system calls that one filter can look for.
const CALLS_MAX: usize = 16;

/// Where the kernel's questions about one process arrive.
pub(crate) struct Listener(OwnedFd);

/// Starts a command and has those of its system calls, and of its children's,
/// wait for [`Listener::run`].
pub(crate) fn spawn_watched(
    command: &mut Command,
    calls: Vec<libc::c_long>,
) -> Result<(Child, Listener), String> {
    let failed = |what: &str| format!("{what}: {}", io::Error::last_os_error());
    let mut pair = [0; 2];
    // SAFETY: `pair` has room for the two descriptors.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) };
    if made != 0 {
        return Err(failed("socketpair"));
    }
    // SAFETY: both were just made and belong to nobody else.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1])) };
    let (keep, give) = (ours.as_raw_fd(), theirs.as_raw_fd());
    // SAFETY: between fork and exec only system calls are made; nothing is
    // allocated and no lock is taken.
    unsafe {
        command.pre_exec(move || {
            let listener = install_filter(&calls)?;
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
    Ok((child, Listener(listener)))
}

impl Listener {
    /// Calls `before` with each watched call just before the kernel does it,
    /// until the process and its children are gone.
    pub(crate) fn run(self, mut before: impl FnMut(&libc::seccomp_notif)) {
        let listener = self.0.as_raw_fd();
        loop {
            let mut poll = libc::pollfd {
                fd: listener,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid entry. The listener hangs up when the process
            // and its children are gone.
            let ready = unsafe { libc::poll(&raw mut poll, 1, -1) };
            if ready == 1 && poll.revents & libc::POLLIN == 0 {
                return;
            }
            // SAFETY: all zeros is what the kernel demands before it fills it.
            let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: `call` is what this request fills.
            let got =
                unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
            // The thread may have been killed meanwhile and need no answer.
            if got != 0 {
                continue;
            }
            before(&call);
            let mut answer = libc::seccomp_notif_resp {
                id: call.id,
                val: 0,
                error: 0,
                flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            };
            // SAFETY: `answer` is what this request reads. It fails if the
            // thread has just been killed, which then needs no answer.
            unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
        }
    }
}

/// Has these system calls of this process and its children wait for the answer
/// of a listener, which is returned. Allocates nothing.
fn install_filter(calls: &[libc::c_long]) -> io::Result<RawFd> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let count = calls.len().min(CALLS_MAX);
    let mut program = [statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW); CALLS_MAX + 3];
    // The call's number is the first word of what a filter sees.
    program[0] = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    for (at, number) in calls[..count].iter().enumerate() {
        program[1 + at] = libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: (count - at) as u8,
            jf: 0,
            k: *number as u32,
        };
    }
    program[count + 2] = statement(libc::BPF_RET, libc::SECCOMP_RET_USER_NOTIF);
    let filter = libc::sock_fprog {
        len: (count + 3) as u16,
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

/// Room for one descriptor beside a message, aligned as its header must be.
#[repr(C, align(8))]
struct ControlBuffer([u8; 24]);

/// Calls `act` with a message of one byte and one descriptor beside it.
fn with_message<T>(control: &mut ControlBuffer, act: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut byte = 0_u8;
    let mut part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: a message header of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    act(&mut message)
}

fn send_descriptor(socket: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut control = ControlBuffer([0; 24]);
    let sent = with_message(&mut control, |message| {
        // SAFETY: the buffer has room for one control message with one
        // descriptor, which is what is written there.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header)
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
    let mut control = ControlBuffer([0; 24]);
    // SAFETY: as in `send_descriptor`; a received descriptor is ours alone.
    with_message(&mut control, |message| unsafe {
        if libc::recvmsg(socket, message, 0) != 1 {
            return None;
        }
        let header = libc::CMSG_FIRSTHDR(message);
        (!header.is_null())
            .then(|| libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned())
            .map(|descriptor| OwnedFd::from_raw_fd(descriptor))
    })
}
