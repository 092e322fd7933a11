//! Whether the sandbox of the children holds on this machine, found out by
//! having ffmpeg try to get out of it.
//!
//! Not here: what ffmpeg has no option for, such as MPTCP, fast open and signals.
//! A test of `process.rs` has another program try those.

use tokio::net::TcpListener;

use crate::{
    error::MediaError,
    facts::text::strings,
    ffmpeg::{
        encoders::output_of,
        log::LOG_ERRORS,
        sandbox::{filters_calls, landlock_version},
        tools::Tools,
    },
};

/// A file that every machine has and every user may read, and no encoder needs.
/// It is named without the protocol by which `open_input` names an input, so
/// that the sandbox does not let it through.
const FORBIDDEN_FILE: &str = "/proc/version";

/// The first version of Landlock that knows of ports.
const LANDLOCK_WITH_PORTS: u32 = 4;

/// What ffmpeg could not do from inside its sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxCheck {
    /// Whether files and network are closed to it.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do; empty if it is ok.
    pub hint: &'static str,
}

const NO_LANDLOCK: &str = "a hole in a decoder would reach all that this user can read: use Linux 5.13 or later with Landlock enabled (`lsm=landlock,…`), and a container engine whose seccomp profile allows it";
const NO_FILTERS: &str = "a hole in a decoder would reach more of the kernel and of the network: use a kernel with CONFIG_SECCOMP_FILTER, and no emulation of another processor";
const NOT_TRIED: &str = "see the cause; `ffmpeg -version` must work for this user";
const LEAKS: &str = "don't take films of strangers here, and report this: it should not happen";

/// See [`crate::check_sandbox`].
pub(crate) async fn check_sandbox(tools: &Tools) -> SandboxCheck {
    let bad = |found: String, hint| SandboxCheck {
        ok: false,
        found,
        hint,
    };
    let Some(version) = landlock_version() else {
        return bad(
            "this kernel or container has no Landlock".into(),
            NO_LANDLOCK,
        );
    };
    if !filters_calls() {
        let found = "this kernel or container has no filters of system calls (seccomp)";
        return bad(found.into(), NO_FILTERS);
    }
    match leaks(tools).await {
        Err(error) => bad(format!("it could not be tried: {error}"), NOT_TRIED),
        Ok(Some(leak)) => bad(leak, LEAKS),
        Ok(None) if version < LANDLOCK_WITH_PORTS => SandboxCheck {
            ok: true,
            found: format!(
                "files are closed to encoders (Landlock {version}); before Linux 6.7 those that read their source from other nodes can connect to any host over IPv4"
            ),
            hint: "",
        },
        Ok(None) => SandboxCheck {
            ok: true,
            found: format!(
                "files are closed to encoders, and all ports but that of their source (Landlock {version})"
            ),
            hint: "",
        },
    }
}

/// What ffmpeg got at, if anything.
async fn leaks(tools: &Tools) -> Result<Option<String>, MediaError> {
    // Inside the sandbox it must still work.
    output_of(&tools.ffmpeg, &strings(&["-version"])).await?;
    if read(tools, FORBIDDEN_FILE).await? {
        return Ok(Some(format!("ffmpeg could read {FORBIDDEN_FILE}")));
    }
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(MediaError::disk("listening on loopback"))?;
    let address = listener
        .local_addr()
        .map_err(MediaError::disk("listening on loopback"))?;
    let address = format!("tcp://{address}");
    tokio::select! {
        accepted = listener.accept() => Ok(accepted.ok().map(|_| "ffmpeg could reach a port".into())),
        reached = read(tools, &address) => {
            Ok(reached?.then(|| "ffmpeg could reach a port".into()))
        }
    }
}

/// Whether ffmpeg could open an address and read from it.
async fn read(tools: &Tools, address: &str) -> Result<bool, MediaError> {
    let mut args = strings(&["-nostdin", "-hide_banner", "-v", LOG_ERRORS]);
    args.extend(strings(&["-f", "u8", "-i", address]));
    args.extend(strings(&["-t", "1", "-f", "null", "-"]));
    match output_of(&tools.ffmpeg, &args).await {
        Ok(_) => Ok(true),
        Err(MediaError::ToolFailed { .. } | MediaError::SourceLost { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ffmpeg_can_not_get_out() {
        let check = check_sandbox(&Tools::find().unwrap()).await;
        assert_eq!(check.ok, landlock_version().is_some(), "{check:?}");
    }
}
