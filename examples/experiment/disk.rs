//! Disks of an experiment's own: small ext4 file systems in image files on
//! loop devices, which can be cut off as by a power cut, frozen and filled up.
//!
//! They are mounted in a mount namespace that only the experiment and what it
//! starts are in. So the kernel takes them away when the last of these has
//! ended, however it ended, and no other program can keep one busy.
//!
//! A sync that fails is injected into a running process, whatever its disk.
//!
//! What harms a file system is done through [`Disk::harm`] alone, which looks
//! at the very folder it has opened: one that is not on a loop device of our
//! own image is refused. Which node uses a disk is not known here.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Block devices of this major number are loop devices.
const LOOP_MAJOR: u32 = 7;

/// `EXT4_IOC_SHUTDOWN`, and its flag for "without flushing the journal": what
/// is not on the device by now never comes there.
const EXT4_SHUTDOWN: libc::c_ulong = 0x8004_587d;
const EXT4_SHUTDOWN_NO_LOG_FLUSH: u32 = 2;

/// `FIFREEZE` and `FITHAW`: writers and syncs wait in between.
const FREEZE: libc::c_ulong = 0xc004_5877;
const THAW: libc::c_ulong = 0xc004_5878;

/// How long a file system may stay busy with processes that are being killed.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// One file system of our own.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
    frozen: bool,
}

/// Enters a mount namespace of our own. To be called before any thread is
/// there; gives the reason where this machine does not let us.
pub fn own_mounts() -> Result<(), String> {
    let refused = |what: &str| format!("{what}: {}", io::Error::last_os_error());
    // SAFETY: takes a number and touches no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(refused("a mount namespace (it takes root)"));
    }
    // SAFETY: the strings end with zero bytes and live through the call; the
    // other pointers may be null for a change of propagation.
    let changed = unsafe {
        libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        )
    };
    if changed != 0 {
        return Err(refused("private mounts"));
    }
    Ok(())
}

impl Disk {
    /// Makes a file system of `mebibytes` in the file `image` and mounts it at
    /// the folder `mount`.
    pub fn make(image: &Path, mount: &Path, mebibytes: u64) -> Result<Self, String> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| format!("{path}: {error}")
        };
        fs::create_dir_all(mount).map_err(failed(mount))?;
        let file = File::create_new(image).map_err(failed(image))?;
        file.set_len(mebibytes << 20).map_err(failed(image))?;
        run(Command::new("mkfs.ext4").arg("-qF").arg(image))?;
        let mut disk = Disk {
            image: fs::canonicalize(image).map_err(failed(image))?,
            mount: fs::canonicalize(mount).map_err(failed(mount))?,
            mounted: false,
            frozen: false,
        };
        disk.mount()?;
        Ok(disk)
    }

    /// The folder where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.mount
    }

    pub fn mount(&mut self) -> Result<(), String> {
        let mut command = Command::new("mount");
        run(command
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.mount))?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it, as soon as nobody uses it any more.
    pub fn unmount(&mut self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            match run(Command::new("umount").arg(&self.mount)) {
                Ok(()) => {
                    self.mounted = false;
                    return Ok(());
                }
                Err(error) if started.elapsed() > UNMOUNT_PATIENCE => return Err(error),
                Err(_) => sleep(Duration::from_millis(50)),
            }
        }
    }

    /// The power cut: from here on nothing reaches the image any more. The
    /// file system stays mounted, and every write to it fails.
    pub fn cut(&self) -> Result<(), String> {
        let flag = EXT4_SHUTDOWN_NO_LOG_FLUSH;
        // SAFETY: the call reads one u32, which lives through it.
        self.harm("cut", |folder| unsafe {
            libc::ioctl(folder, EXT4_SHUTDOWN, &raw const flag)
        })
    }

    /// Makes writes and syncs wait until [`Disk::thaw`].
    pub fn freeze(&mut self) -> Result<(), String> {
        // SAFETY: the call takes no argument and touches no memory of ours.
        self.harm("freeze", |folder| unsafe { libc::ioctl(folder, FREEZE, 0) })?;
        self.frozen = true;
        Ok(())
    }

    pub fn thaw(&mut self) -> Result<(), String> {
        // SAFETY: as for the freeze.
        self.harm("thaw", |folder| unsafe { libc::ioctl(folder, THAW, 0) })?;
        self.frozen = false;
        Ok(())
    }

    /// Takes all free space, also what is kept for root, by a file that
    /// [`Disk::free`] removes.
    pub fn fill(&self) -> Result<(), String> {
        let path = self.ballast();
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut file = File::create(&path).map_err(failed)?;
        let block = vec![0x5a; 1 << 20];
        // Ever smaller blocks, until not even a small one fits.
        let mut bytes = block.len();
        while bytes >= 512 {
            match io::Write::write_all(&mut file, &block[..bytes]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => bytes /= 2,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    pub fn free(&self) -> Result<(), String> {
        let path = self.ballast();
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("lost+found").join("ballast")
    }

    /// Does harm to the file system behind our folder, and only if it is ours.
    fn harm(&self, what: &str, call: impl FnOnce(i32) -> i32) -> Result<(), String> {
        let path = self.mount.display();
        let refused = |error: io::Error| format!("{what} {path}: {error}");
        let folder = File::open(&self.mount).map_err(refused)?;
        let device = folder.metadata().map_err(refused)?.dev();
        let (major, minor) = (libc::major(device), libc::minor(device));
        let behind = format!("/sys/dev/block/{major}:{minor}/loop/backing_file");
        let behind = fs::read_to_string(behind).unwrap_or_default();
        if major != LOOP_MAJOR || Path::new(behind.trim_end()) != self.image {
            return Err(format!(
                "{what} {path}: refused, for device {major}:{minor} is not our image {}",
                self.image.display()
            ));
        }
        if call(folder.as_raw_fd()) != 0 {
            return Err(refused(io::Error::last_os_error()));
        }
        Ok(())
    }
}

/// Attaches to a process and has its sync number `which` from now on fail, as
/// on a disk that could not keep what it was given. Gives the tracer, which
/// follows what the process starts until it is ended.
pub fn fail_sync(pid: i32, which: u64) -> Result<Child, String> {
    let fault = format!("inject=fsync,fdatasync:error=EIO:when={which}");
    Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", &fault])
        .args(["-o", "/dev/null", "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("strace: {error}"))
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.frozen {
            let _ = self.thaw();
        }
        if self.mounted && self.unmount().is_err() {
            // Gone from here at once, and from the kernel with its last user.
            let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        }
        let _ = fs::remove_file(&self.image);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{command:?}: {} {}",
        output.status,
        error.trim_end()
    ))
}
