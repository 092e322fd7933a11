//! The clients: what each wants, and how far it has come. What they do is in
//! `uploads` and `requests`.

use std::collections::BTreeMap;

/// Uploads that all clients together may have: fewer than there are clients.
pub const UPLOADING_MAX: u64 = 2;

/// What a client wants to happen in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Fetch,
    FetchAndDelete,
    Cancel,
    Delete,
    /// To upload a part, and then to go away.
    Abandon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The request is sent until it is answered.
    Submit,
    Upload,
    Watch,
    /// Cancelling or deleting, until it is answered.
    End,
    Rest,
}

/// An upload's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Settle,
    Transfer,
    Seal,
    SealProposed,
}

pub struct Upload {
    pub step: Step,
    /// The node that serves it.
    pub via: u64,
    /// Tells the puts of now from earlier ones.
    pub round: u64,
    pub epoch: u64,
    pub log_index: u64,
    pub homes: Vec<u64>,
    /// Chunks on all homes.
    pub safe: u64,
    /// Answers that are missing, for each chunk on its way.
    pub waiting: BTreeMap<u64, usize>,
    pub manifest_waiting: usize,
    pub failed: bool,
}

pub struct Client {
    pub request: String,
    pub chunks: u64,
    pub starts_ms: u64,
    pub wish: Wish,
    /// When a wish to end it early comes.
    pub ends_ms: u64,
    pub phase: Phase,
    /// When something is to be tried again.
    pub again_ms: u64,
    pub job: Option<String>,
    pub upload: Upload,
    /// How often the request was sent.
    pub sent: u32,
    /// Whether it has begun to end the job early.
    pub ended: bool,
    /// Whether it has had a job that failed or was cancelled tried again.
    pub retried: bool,
    /// How often it has asked for its output to be compared.
    pub measured: u8,
}

impl Client {
    pub fn new(request: String, chunks: u64, starts_ms: u64) -> Self {
        Client {
            request,
            chunks,
            starts_ms,
            wish: Wish::Fetch,
            ends_ms: u64::MAX,
            phase: Phase::Submit,
            again_ms: 0,
            job: None,
            upload: Upload {
                step: Step::Settle,
                via: 0,
                round: 0,
                epoch: 0,
                log_index: 0,
                homes: Vec::new(),
                safe: 0,
                waiting: BTreeMap::new(),
                manifest_waiting: 0,
                failed: false,
            },
            sent: 0,
            ended: false,
            retried: false,
            measured: 0,
        }
    }
}
