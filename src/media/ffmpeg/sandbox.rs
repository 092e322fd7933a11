//! What a child may reach. It decodes hostile files, so a hole in a decoder must
//! give away neither the node's files nor its other processes (P9): Landlock
//! leaves it the system's programs and libraries to read, its inputs, its work
//! folder, and the port that its input comes from; a filter of system calls
//! leaves it one kind of socket, and nothing that touches another process.
//!
//! Both are made before the fork and put on between fork and exec. Where the
//! kernel lacks a part, the rest still holds, and `check_sandbox` says what is
//! missing. Memory, file sizes and priority are `process.rs`'s.

use std::{
    collections::BTreeMap,
    error::Error,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope, make_bitflags, path_beneath_rules,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

/// The newest rights that are asked for; an older kernel gets those it knows.
const NEWEST: ABI = ABI::V6;

/// Programs and libraries, and how the loader finds them. Nothing secret belongs
/// there.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/home/linuxbrew/.linuxbrew",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
];

/// What encoders ask of the processor, and the devices that any program may use.
const READABLE: [&str; 5] = [
    "/proc/cpuinfo",
    "/sys/devices/system",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
];

/// Where a child may read and write beside its work folder.
const WRITABLE: [&str; 1] = ["/dev/null"];

/// What a child is to do, as far as its sandbox depends on it.
pub(crate) struct Need<'a> {
    pub program: &'a Path,
    /// Its arguments; what `open_input` opens is let through.
    pub args: &'a [String],
    /// The folder that it may write to.
    pub work_dir: Option<&'a Path>,
}

/// A sandbox that is ready to be put on.
pub(crate) struct Sandbox {
    /// `None` where the kernel has no Landlock.
    ruleset: Option<OwnedFd>,
    filter: BpfProgram,
}

impl Sandbox {
    /// Prepares the sandbox of one child.
    ///
    /// # Errors
    /// A path of the child's own that can't be opened.
    pub fn new(need: &Need<'_>) -> std::io::Result<Sandbox> {
        let inputs = Inputs::of(need.args);
        Ok(Sandbox {
            ruleset: ruleset(need, &inputs).map_err(std::io::Error::other)?,
            filter: filter(inputs.port.is_some()).map_err(std::io::Error::other)?,
        })
    }

    /// Puts it on. Only system calls: it runs between fork and exec.
    ///
    /// # Errors
    /// The system call that was refused.
    pub fn enter(&self) -> std::io::Result<()> {
        let refused = std::io::Error::last_os_error;
        // SAFETY: plain system calls on integers and on a descriptor that is open.
        unsafe {
            // Also keeps programs with a set-user-id bit from gaining anything.
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(refused());
            }
            // What is open already is beyond Landlock. Kernels before 5.11 do not
            // know the flag, but everything here is opened to be closed at exec.
            libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as i32);
            if let Some(ruleset) = &self.ruleset
                && libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) != 0
            {
                return Err(refused());
            }
        }
        match seccompiler::apply_filter(&self.filter) {
            Ok(()) => Ok(()),
            Err(_) => unless_unknown(refused()),
        }
    }
}

/// Lets a filter be left out where the kernel knows none, as it is with Landlock.
fn unless_unknown(error: std::io::Error) -> std::io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

/// Whether this kernel filters system calls.
pub(crate) fn filters_calls() -> bool {
    // SAFETY: without a program nothing is put on; a kernel that knows filters
    // complains of the address.
    let answer = unsafe {
        let nothing = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, nothing)
    };
    let error = std::io::Error::last_os_error();
    answer == 0 || unless_unknown(error).is_err()
}

/// The version of Landlock that this kernel has; `None` without.
pub(crate) fn landlock_version() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: asks for the version; no structure is read or written.
    let version = unsafe {
        let nothing = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, VERSION)
    };
    u32::try_from(version).ok().filter(|&version| version > 0)
}

/// What a child opens by its arguments, as `open_input` writes them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Inputs {
    files: Vec<PathBuf>,
    /// Of the loopback server.
    port: Option<u16>,
}

impl Inputs {
    fn of(args: &[String]) -> Inputs {
        let mut inputs = Inputs::default();
        for (option, value) in args.iter().zip(args.iter().skip(1)) {
            if option != "-i" {
                continue;
            }
            if let Some(path) = value.strip_prefix("file:/") {
                inputs.files.push(Path::new("/").join(path));
            } else if let Some(rest) = value.strip_prefix("http://127.0.0.1:") {
                let digits = rest.split('/').next().unwrap_or(rest);
                inputs.port = digits.parse().ok().or(inputs.port);
            }
        }
        inputs
    }
}

fn ruleset(
    need: &Need<'_>,
    inputs: &Inputs,
) -> Result<Option<OwnedFd>, Box<dyn Error + Send + Sync>> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let program: BitFlags<AccessFs> = read | AccessFs::Execute;
    let write = read
        | make_bitflags!(AccessFs::{
            WriteFile | Truncate | MakeReg | RemoveFile
        });
    let file = make_bitflags!(AccessFs::{ReadFile});
    // A link in a folder of programs leads to where the program is.
    let real = std::fs::canonicalize(need.program).unwrap_or_else(|_| need.program.into());
    let libraries = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let system = SYSTEM.iter().map(PathBuf::from);
    let system = system.chain(std::env::split_paths(&libraries));
    let system = system.filter(|path| !path.as_os_str().is_empty());
    // A build in a folder of its own has its libraries beside it.
    let beside = real.parent().and_then(Path::parent);
    let beside = beside.map(|folder| ["lib", "lib64"].map(|name| folder.join(name)));
    let system = system.chain(beside.into_iter().flatten());
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(system, program))?
        .add_rules(path_beneath_rules([need.program, &real], program))?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(WRITABLE, read | AccessFs::WriteFile))?;
    for path in &inputs.files {
        // One that is not there is ffmpeg's to report.
        if let Ok(open) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(open, file))?;
        }
    }
    if let Some(folder) = need.work_dir {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(folder)?, write))?;
    }
    if let Some(port) = inputs.port {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(rules.into())
}

/// System calls that reach other processes or the kernel's rarer parts, where
/// its own holes are. No encoder uses them.
const REFUSED: [i64; 37] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kill,
    libc::SYS_tkill,
    // Also what `abort` begins with; it ends by an illegal instruction then.
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
];

/// Kinds of sockets that carry no stream of TCP, by the low bits of `socket`'s
/// type.
const NO_STREAMS: [i32; 6] = [
    libc::SOCK_DGRAM,
    libc::SOCK_RAW,
    libc::SOCK_RDM,
    libc::SOCK_SEQPACKET,
    // DCCP, and packets as of old.
    6,
    10,
];
/// The bits of a socket's type that are not flags.
const SOCKET_TYPE: u64 = 0xf;

/// Ways to have the kernel send a signal to another process once a file is
/// ready, for `fcntl` and for `ioctl`.
const OWNERS: [i32; 3] = [libc::F_SETOWN, F_SETOWN_EX, F_SETSIG];
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const OWNERS_BY_IOCTL: [i32; 2] = [FIOSETOWN, SIOCSPGRP];
const FIOSETOWN: i32 = 0x8901;
const SIOCSPGRP: i32 = 0x8902;

/// Calls that can connect while they send, which Landlock does not see, and
/// where their flags are.
const SENDERS: [(i64, u8); 3] = [
    (libc::SYS_sendto, 3),
    (libc::SYS_sendmsg, 2),
    (libc::SYS_sendmmsg, 3),
];

/// Flags of `clone` that put a child into namespaces of its own, where it would
/// be root before the kernel's rarer parts.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The numbers of system calls from here on are those of x32: the same calls of
/// the same processor by other numbers.
const X32: u32 = 0x4000_0000;

/// A rule that refuses a call where one of its arguments compares so.
fn when(argument: u8, compare: SeccompCmpOp, value: i32) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)
}

/// What of `socket` is refused to who may connect: all but TCP over IPv4. MPTCP
/// is a stream too, but no rule for ports covers it.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = vec![
        SeccompRule::new(vec![when(0, SeccompCmpOp::Ne, libc::AF_INET)?])?,
        SeccompRule::new(vec![
            when(2, SeccompCmpOp::Ne, 0)?,
            when(2, SeccompCmpOp::Ne, libc::IPPROTO_TCP)?,
        ])?,
    ];
    for kind in NO_STREAMS {
        let masked = SeccompCmpOp::MaskedEq(SOCKET_TYPE);
        rules.push(SeccompRule::new(vec![when(1, masked, kind)?])?);
    }
    Ok(rules)
}

fn filter(network: bool) -> Result<BpfProgram, Box<dyn Error + Send + Sync>> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let equal = |argument, values: &[i32]| {
        let rule = |&value| SeccompRule::new(vec![when(argument, SeccompCmpOp::Eq, value)?]);
        values.iter().map(rule).collect::<Result<Vec<_>, _>>()
    };
    // Its own limits and no one else's.
    let others = SeccompRule::new(vec![when(0, SeccompCmpOp::Ne, 0)?])?;
    refused.insert(libc::SYS_prlimit64, vec![others]);
    refused.insert(libc::SYS_fcntl, equal(1, &OWNERS)?);
    refused.insert(libc::SYS_ioctl, equal(1, &OWNERS_BY_IOCTL)?);
    let namespace = |&flag: &i32| {
        let masked = SeccompCmpOp::MaskedEq(u64::from(flag.unsigned_abs()));
        SeccompRule::new(vec![when(0, masked, flag)?])
    };
    let namespaces: Result<Vec<_>, _> = NAMESPACES.iter().map(namespace).collect();
    refused.insert(libc::SYS_clone, namespaces?);
    for (call, flags) in SENDERS {
        let masked = SeccompCmpOp::MaskedEq(u64::from(libc::MSG_FASTOPEN.unsigned_abs()));
        let connects = SeccompRule::new(vec![when(flags, masked, libc::MSG_FASTOPEN)?])?;
        refused.insert(call, vec![connects]);
    }
    let mut sockets_refused = Vec::new();
    if network {
        sockets_refused = sockets()?;
        for call in [libc::SYS_bind, libc::SYS_listen, libc::SYS_accept4] {
            refused.insert(call, Vec::new());
        }
    }
    // Without rules of its own a call is refused whatever its arguments are.
    refused.insert(libc::SYS_socket, sockets_refused);
    let arch = std::env::consts::ARCH.try_into()?;
    let refusal = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, refusal.clone(), arch)?;
    let mut program = BpfProgram::new();
    // Its flags lie in memory, where no filter sees them. The C library takes
    // `clone` where the kernel knows no better.
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let clone3 = u32::try_from(libc::SYS_clone3)?;
    program.extend(answer_when(libc::BPF_JEQ, clone3, unknown));
    if cfg!(target_arch = "x86_64") {
        program.extend(answer_when(libc::BPF_JGE, X32, refusal));
    }
    program.append(&mut filter.try_into()?);
    Ok(program)
}

/// Answers the calls whose numbers compare so with a value in a way of their
/// own, which the rules can't say. It stands before a filter and leaves all
/// others to it.
fn answer_when(compare: u32, value: u32, answer: SeccompAction) -> [sock_filter; 3] {
    let step = |code: u32, jf, k| sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    const NUMBER_OFFSET: u32 = 0;
    [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, NUMBER_OFFSET),
        step(libc::BPF_JMP | compare | libc::BPF_K, 1, value),
        step(libc::BPF_RET | libc::BPF_K, 0, answer.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::text::strings;

    #[test]
    fn a_filter_is_left_out_only_where_the_kernel_has_none() {
        let answer = |number| unless_unknown(std::io::Error::from_raw_os_error(number)).is_ok();
        assert!(answer(libc::ENOSYS) && answer(libc::EINVAL));
        assert!(!answer(libc::EPERM) && !answer(libc::EFAULT) && !answer(libc::EACCES));
        assert!(filters_calls(), "this kernel has them");
    }

    #[test]
    fn a_child_makes_threads_but_no_namespaces() {
        let program = filter(false).unwrap();
        // A filter holds for the thread that puts it on.
        let tried = std::thread::spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            for flag in NAMESPACES {
                // SAFETY: a refused call makes no child; one that was made by
                // mistake ends at once.
                let child = unsafe {
                    let flags = libc::c_long::from(flag | libc::SIGCHLD);
                    let child = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
                    if child == 0 {
                        libc::_exit(0);
                    }
                    child
                };
                let error = std::io::Error::last_os_error();
                assert_eq!((child, error.raw_os_error()), (-1, Some(libc::EPERM)));
            }
            std::thread::spawn(|| 7).join().unwrap()
        });
        assert_eq!(tried.join().unwrap(), 7);
    }

    #[test]
    fn only_what_is_opened_as_an_input_is_let_through() {
        let args = strings(&[
            "-i",
            "file:/data/blobs/a",
            "-i",
            "http://127.0.0.1:4711/token",
            "-metadata",
            "file:/data/IDENTITY",
            "-i",
            "file:joined.mp4",
            "-i",
            "/proc/version",
        ]);
        assert_eq!(
            Inputs::of(&args),
            Inputs {
                files: vec!["/data/blobs/a".into()],
                port: Some(4711)
            }
        );
    }
}
