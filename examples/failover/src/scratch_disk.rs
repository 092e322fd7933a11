//! Disks that belong to the experiment: small ext4 file systems in image files
//! on loop devices, which can be cut off as by a power cut, frozen and filled up.
//!
//! They are mounted in a mount namespace that only the experiment and what it
//! starts are in. So the kernel takes them away when the last of these has
//! ended, however it ended, and no other program can keep one busy.
//!
//! A failing sync is injected into a running process, whatever its disk.
//!
//! All harm to a file system goes through [`ScratchDisk::ioctl`], which looks at
//! the very folder that it has opened and refuses one that is not on a loop
//! device of our own image.

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
/// is not on the device by now never gets there.
const EXT4_SHUTDOWN: libc::c_ulong = 0x8004_587d;
const EXT4_SHUTDOWN_NO_LOG_FLUSH: u32 = 2;

/// `FIFREEZE` and `FITHAW`: writers and syncs wait in between.
const FREEZE: libc::c_ulong = 0xc004_5877;
const THAW: libc::c_ulong = 0xc004_5878;

/// How long a file system may stay busy with processes that are being killed.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// One such file system, mounted. Dropped, it is unmounted and deleted.
pub struct ScratchDisk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
    frozen: bool,
}

/// Enters a mount namespace of our own. Must be called before any thread is
/// started.
///
/// # Errors
/// Why this machine does not let us.
pub fn enter_mount_namespace() -> Result<(), String> {
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

impl ScratchDisk {
    /// Makes a file system of `mebibytes` in the file `image` and mounts it at
    /// the folder `mount`.
    ///
    /// # Errors
    /// If this machine can't.
    pub fn create(image: &Path, mount: &Path, mebibytes: u64) -> Result<Self, String> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| format!("{path}: {error}")
        };
        fs::create_dir_all(mount).map_err(failed(mount))?;
        let file = File::create_new(image).map_err(failed(image))?;
        file.set_len(mebibytes << 20).map_err(failed(image))?;
        run(Command::new("mkfs.ext4").arg("-qF").arg(image))?;
        let mut disk = ScratchDisk {
            image: fs::canonicalize(image).map_err(failed(image))?,
            mount: fs::canonicalize(mount).map_err(failed(mount))?,
            mounted: false,
            frozen: false,
        };
        disk.mount()?;
        Ok(disk)
    }

    /// Mounts it where it was before.
    ///
    /// # Errors
    /// If it can't be mounted.
    pub fn mount(&mut self) -> Result<(), String> {
        let mut command = Command::new("mount");
        run(command
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.mount))?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it as soon as nobody uses it any more.
    ///
    /// # Errors
    /// If somebody still does after a while.
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

    /// The power cut: from here on nothing reaches the image. The file system
    /// stays mounted, and every write to it fails.
    ///
    /// # Errors
    /// If it is not ours, or the kernel refuses.
    pub fn cut_power(&self) -> Result<(), String> {
        let flag = EXT4_SHUTDOWN_NO_LOG_FLUSH;
        // SAFETY: the call reads one u32, which lives through it.
        self.ioctl("cut", |folder| unsafe {
            libc::ioctl(folder, EXT4_SHUTDOWN, &raw const flag)
        })
    }

    /// Makes writes and syncs wait until [`ScratchDisk::thaw`].
    ///
    /// # Errors
    /// As [`ScratchDisk::cut_power`].
    pub fn freeze(&mut self) -> Result<(), String> {
        // SAFETY: the call takes no argument and touches no memory of ours.
        self.ioctl("freeze", |folder| unsafe { libc::ioctl(folder, FREEZE, 0) })?;
        self.frozen = true;
        Ok(())
    }

    /// Ends a freeze.
    ///
    /// # Errors
    /// As [`ScratchDisk::cut_power`].
    pub fn thaw(&mut self) -> Result<(), String> {
        // SAFETY: as for the freeze.
        self.ioctl("thaw", |folder| unsafe { libc::ioctl(folder, THAW, 0) })?;
        self.frozen = false;
        Ok(())
    }

    /// Takes all free space, including what is reserved for root, with a file
    /// that [`ScratchDisk::free_space`] removes.
    ///
    /// # Errors
    /// If the disk fails in another way than by being full.
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

    /// Undoes [`ScratchDisk::fill`].
    ///
    /// # Errors
    /// If the file can't be removed.
    pub fn free_space(&self) -> Result<(), String> {
        let path = self.ballast();
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("lost+found").join("ballast")
    }

    /// Calls an ioctl on the file system behind our folder if it is ours.
    fn ioctl(&self, what: &str, call: impl FnOnce(i32) -> i32) -> Result<(), String> {
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

/// Attaches to a process and makes its sync number `which` from now on fail, as
/// on a disk that could not keep what it was given. Returns the tracer, which
/// also follows what the process starts, until it is killed.
///
/// # Errors
/// If strace can't be started.
pub fn fail_nth_sync(pid: i32, which: u64) -> Result<Child, String> {
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

impl Drop for ScratchDisk {
    fn drop(&mut self) {
        if self.frozen {
            let _ = self.thaw();
        }
        if self.mounted && self.unmount().is_err() {
            // It disappears from here now, and from the kernel with its last user.
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
