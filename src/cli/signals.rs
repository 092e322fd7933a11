//! Ctrl-C, SIGTERM and a lost terminal, listened for on a thread of their own:
//! a command whose thread hangs in a write to a dead file system is still
//! told, and still ends.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    error::CliError,
    exit,
    limits::{LAST_WORDS_MS, STOP_PATIENCE_MS},
};

/// The signals that end a command.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// None where whoever started us chose to ignore it, as nohup does.
    hangup: Option<Signal>,
}

impl Stop {
    /// Listens from here on. Called within a runtime.
    ///
    /// # Errors
    /// [`CliError::Local`] if this machine refuses.
    pub fn listen() -> Result<Self, CliError> {
        let open = |kind| {
            signal(kind).map_err(|error| CliError::no_resources("can't listen for signals", &error))
        };
        let hangup = if is_ignored(libc::SIGHUP) {
            None
        } else {
            Some(open(SignalKind::hangup())?)
        };
        Ok(Stop {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Answers at the first signal. If the process then lives on for long, or a
/// second one comes, `last_words` gives the exit code and the process ends.
///
/// # Errors
/// [`CliError::Local`] if this machine refuses.
pub fn on_thread(
    last_words: impl FnOnce() -> u8 + Send + 'static,
) -> Result<oneshot::Receiver<()>, CliError> {
    let failed = |error| CliError::no_resources("can't listen for signals", &error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let mut stop = {
        let _inside = runtime.enter();
        Stop::listen()?
    };
    let (told, first) = oneshot::channel();
    let listening = move || {
        runtime.block_on(async {
            stop.next().await;
            let _ = told.send(());
            tokio::select! {
                () = stop.next() => {}
                () = tokio::time::sleep(Duration::from_millis(STOP_PATIENCE_MS)) => {}
            }
        });
        // They may hang as the command does: on a closed terminal, on its lock.
        let (said, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = said.send(last_words());
        });
        let patience = Duration::from_millis(LAST_WORDS_MS);
        let code = heard.recv_timeout(patience).unwrap_or(exit::INTERRUPTED);
        // SAFETY: ends the process without running anything of it, which is
        // what is wanted: another thread may hold any lock for ever.
        unsafe { libc::_exit(code.into()) }
    };
    let started = std::thread::Builder::new()
        .name("signals".into())
        .spawn(listening);
    started.map(|_| first).map_err(failed)
}

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: an all-zero sigaction is a valid value, and the call only writes
    // to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
