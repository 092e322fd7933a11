//! Raft's own runtime, with its own threads: whatever else the node does,
//! heartbeats go on. It lives as long as the handle to the cluster, and keeps
//! the data folder locked for as long.

use std::sync::Mutex;

use reelraft_storage::DataFolder;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{error::ConsensusError, limits::RAFT_THREADS};

#[derive(Debug)]
pub struct RaftRuntime {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    folder: Mutex<Option<DataFolder>>,
}

impl RaftRuntime {
    /// # Errors
    /// [`ConsensusError::Stopped`] if its threads can't be started.
    pub fn start() -> Result<Self, ConsensusError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(RAFT_THREADS)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(|error| ConsensusError::Stopped {
                cause: format!("its threads can't be started: {error}"),
            })?;
        Ok(RaftRuntime {
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            folder: Mutex::new(None),
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Keeps the data folder locked until the end.
    pub fn hold(&self, folder: DataFolder) {
        if let Ok(mut held) = self.folder.lock() {
            *held = Some(folder);
        }
    }

    /// Ends all of Raft's tasks, wherever they are.
    pub fn end(&self) {
        let runtime = self.runtime.lock().map(|mut runtime| runtime.take());
        if let Ok(Some(runtime)) = runtime {
            runtime.shutdown_background();
        }
        if let Ok(mut folder) = self.folder.lock() {
            folder.take();
        }
    }
}

impl Drop for RaftRuntime {
    fn drop(&mut self) {
        self.end();
    }
}
