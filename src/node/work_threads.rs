//! The threads on which attempts run.
//!
//! An attempt reads and writes files as it goes, and removes its folder where
//! it is dropped. A disk that hangs would take the threads along on which that
//! happens, and if those were the ones that serve, the other nodes' Raft
//! messages would wait with them.

use reelraft_model::Problem;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

/// Threads that may wait for the work folder's disk.
pub struct WorkThreads(Option<Runtime>);

impl WorkThreads {
    /// Starts one for each core.
    ///
    /// # Errors
    /// Where no threads can be started.
    pub fn start() -> Result<Self, Problem> {
        let runtime = Builder::new_multi_thread()
            .thread_name("work")
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => Ok(WorkThreads(Some(runtime))),
            Err(error) => Err(Problem::new(
                "no-threads",
                format!("the threads for attempts can't be started: {error}"),
                "see the limits on processes (`ulimit -a`)",
            )),
        }
    }

    /// Runs a task on them.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let runtime = self.0.as_ref();
        runtime.expect("it is taken when dropped").spawn(task)
    }
}

/// Waits for nothing: what is dropped may be dropped on a runtime, and its
/// disk may hang.
impl Drop for WorkThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
