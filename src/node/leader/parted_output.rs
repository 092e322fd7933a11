//! An output into a bucket in parts. What its server calls the upload stands in the
//! table before the first part is put, so that whoever goes on with the delivery, the
//! next leader or the next attempt, puts only what is missing. What nobody goes on with
//! is given up.

use std::{collections::BTreeMap, sync::Arc};

use futures::TryStreamExt;
use reelraft_model::{
    BucketUpload, Command, Delivery, DeliveryOutcome, DeliveryState, Job, JobEntry, NoteUpload,
    State,
};
use tracing::{debug, info};

use crate::{
    data::output::read_output_range,
    node::context::NodeContext,
    outside::{
        BucketError, Outside, OutsideError, PartedUpload, Resumed, Url, check, part_bytes,
        too_large_for,
    },
};

/// A job's delivery.
pub type Key = (String, u32);

/// What came of an attempt, the status of HTTP, and why it did not succeed.
pub type Sent = (DeliveryOutcome, u16, String);

/// What came of putting it.
pub enum Put {
    Ended(Sent),
    /// By another leader.
    Elsewhere,
    /// Its server takes no parts; it may take the whole.
    NoParts,
}

/// How an output is put.
enum Open {
    /// Behind the parts that are there.
    Going(Box<PartedUpload>, BucketUpload),
    /// It has its name already.
    Done,
    /// By another leader.
    Elsewhere,
}

struct Putting<'a> {
    context: &'a NodeContext,
    url: &'a Url,
    entry: &'a Arc<JobEntry>,
    delivery: &'a Delivery,
}

/// Puts an output, or what is missing of it.
pub async fn put(
    context: &NodeContext,
    url: &Url,
    entry: &Arc<JobEntry>,
    delivery: &Delivery,
) -> Put {
    let putting = Putting {
        context,
        url,
        entry,
        delivery,
    };
    match putting.all().await {
        Ok(true) => Put::Ended((DeliveryOutcome::Delivered, 200, String::new())),
        Ok(false) => Put::Elsewhere,
        Err(BucketError::NoParts) if too_large_for(url, entry.job.output_bytes).is_none() => {
            Put::NoParts
        }
        Err(error) => Put::Ended(failed(&error)),
    }
}

/// Leaves nothing in a bucket of what nobody goes on with, as far as its server answers.
pub async fn abandon(outside: &Outside, url: &str, upload: &BucketUpload) {
    if let Ok(url) = check("url", url, true) {
        PartedUpload::abandon(outside, &url, upload).await;
    }
}

fn failed(error: &BucketError) -> Sent {
    let outcome = match error {
        BucketError::TooManyParts | BucketError::Outside(OutsideError::Refused(_)) => {
            DeliveryOutcome::Never
        }
        _ => DeliveryOutcome::Again,
    };
    let status = match error {
        BucketError::Refused { status, .. } => *status,
        _ => 0,
    };
    (outcome, status, error.to_string())
}

impl Putting<'_> {
    /// Whether the output has its name; else another leader puts it.
    async fn all(&self) -> Result<bool, BucketError> {
        let (mut upload, known) = match self.open().await? {
            Open::Going(upload, known) => (upload, known),
            Open::Done => return Ok(true),
            Open::Elsewhere => return Ok(false),
        };
        let bytes = self.entry.job.output_bytes;
        let part_bytes = known.part_bytes.max(1);
        while upload.parts() < bytes.div_ceil(part_bytes) {
            if !self.is_wanted(&known) {
                return Ok(false);
            }
            let from = upload.parts() * part_bytes;
            let to = bytes.min(from + part_bytes);
            let read = || {
                let (data, entry) = (self.context.data.clone(), self.entry.clone());
                let read = read_output_range(data, entry, from..to);
                read.map_err(|error| error.to_string())
            };
            upload.put_read(to - from, read).await?;
        }
        if !self.is_wanted(&known) {
            return Ok(false);
        }
        match upload.complete().await {
            Ok(()) => Ok(true),
            Err(error) if error.lasts() => {
                // Of these parts no file becomes; the next attempt finds them gone.
                upload.give_up().await;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Goes on with what was begun, or begins.
    async fn open(&self) -> Result<Open, BucketError> {
        let (outside, bytes) = (&self.context.outside, self.entry.job.output_bytes);
        let job = &self.entry.job.id;
        if let Some(known) = &self.delivery.upload {
            match PartedUpload::resume(outside, self.url, known, bytes).await? {
                Resumed::Open(upload) => {
                    info!(job, parts = upload.parts(), "an output goes on in parts");
                    return Ok(Open::Going(upload, known.clone()));
                }
                Resumed::Done => return Ok(Open::Done),
                Resumed::Gone => {}
            }
        }
        let upload = PartedUpload::begin(outside, self.url.clone(), true).await?;
        let known = upload.known(part_bytes(bytes));
        match self.note(known.clone()).await {
            true => {
                if let Some(former) = &self.delivery.upload {
                    PartedUpload::abandon(outside, self.url, former).await;
                }
                Ok(Open::Going(Box::new(upload), known))
            }
            false => {
                upload.give_up().await;
                Ok(Open::Elsewhere)
            }
        }
    }

    /// Has the table know of it; false where it has another by now.
    async fn note(&self, upload: BucketUpload) -> bool {
        let former = self.delivery.upload.as_ref();
        let command = Command::NoteUpload(NoteUpload {
            job: self.entry.job.id.clone(),
            number: self.delivery.number,
            attempts: self.delivery.attempts,
            former: former.map_or_else(String::new, |former| former.id.clone()),
            upload,
        });
        match self.context.cluster.propose(vec![command]).await {
            Ok(committed) => committed.replies.first().is_some_and(|reply| !reply.stale),
            Err(error) => {
                debug!(job = self.entry.job.id, %error, "an upload could not be noted");
                false
            }
        }
    }

    /// Whether this node is still the one that puts it.
    fn is_wanted(&self, upload: &BucketUpload) -> bool {
        let cluster = &self.context.cluster;
        let key = (self.entry.job.id.clone(), self.delivery.number);
        let noted = noted(&cluster.local(), &key);
        let leads = cluster.leadership().borrow().leading;
        leads && noted.is_some_and(|(_, noted)| noted.id == upload.id)
    }
}

/// The uploads of which a leader knows, with where they go: what is to be given up where
/// their deliveries end otherwise.
#[derive(Default)]
pub struct Uploads(BTreeMap<Key, Option<(String, BucketUpload)>>);

impl Uploads {
    /// Takes those over that the table knows.
    pub fn take_over(&mut self, state: &State) {
        self.0.clear();
        for (_, entry) in state.deliveries_due() {
            let pending = entry.job.pending_deliveries();
            for delivery in pending.filter(|delivery| delivery.upload.is_some()) {
                self.watch(&(entry.job.id.clone(), delivery.number));
            }
        }
        self.ended(state, |_| false, 0);
    }

    /// An output is put: an upload of it may be noted.
    pub fn watch(&mut self, key: &Key) {
        self.0.entry(key.clone()).or_default();
    }

    /// Those that were noted once, and that nobody goes on with; `most` of them now.
    pub fn ended(
        &mut self,
        state: &State,
        in_flight: impl Fn(&Key) -> bool,
        most: usize,
    ) -> Vec<(Key, (String, BucketUpload))> {
        let mut ended = Vec::new();
        self.0.retain(|key, known| {
            if let Some(now) = noted(state, key) {
                *known = Some(now);
                return true;
            }
            if in_flight(key) {
                return true;
            }
            let left = known.as_ref().filter(|_| !was_delivered(state, key));
            let Some(upload) = left else {
                return false;
            };
            let takes = ended.len() < most;
            if takes {
                ended.push((key.clone(), upload.clone()));
            }
            !takes
        });
        ended
    }
}

/// The upload that a delivery has, and where it goes.
fn noted(state: &State, (job, number): &Key) -> Option<(String, BucketUpload)> {
    let entry = state.job(job)?;
    let mut pending = entry.job.pending_deliveries();
    let delivery = pending.find(|delivery| delivery.number == *number)?;
    let url = &entry.job.outside.as_ref()?.output_url;
    Some((url.clone(), delivery.upload.clone()?))
}

fn was_delivered(state: &State, (job, number): &Key) -> bool {
    let delivered = |job: &Job| {
        let mut all = job.deliveries().iter();
        let one = all.find(|delivery| delivery.number == *number);
        one.is_some_and(|delivery| delivery.state() == DeliveryState::Delivered)
    };
    state.job(job).is_some_and(|entry| delivered(&entry.job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_goes_on_with_is_given_up_a_few_at_a_time() {
        let key = |number| ("job".to_string(), number);
        let left = ("s3://b/k".to_string(), BucketUpload::default());
        let all = [0, 1, 2, 3].map(|number| (key(number), Some(left.clone())));
        let mut uploads = Uploads(BTreeMap::from(all));
        uploads.watch(&key(4));
        let state = State::default();
        let mut given_up = |most| {
            let ended = uploads.ended(&state, |key| key.1 == 0, most);
            let numbers = ended.iter().map(|((_, number), _)| *number);
            numbers.collect::<Vec<u32>>()
        };
        assert!(given_up(0).is_empty());
        assert_eq!(given_up(2), [1, 2]);
        assert_eq!(given_up(2), [3], "what is sent just now is kept");
        assert!(given_up(2).is_empty());
    }
}
