//! Sends what jobs that have ended call for: webhooks, and outputs to where they
//! are to be put. The table says what is due; the leader sends it and writes down
//! what came of it. What was sent and not written down is sent again, by the next
//! leader if need be: at least once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::TryStreamExt;
use reelraft_model::{
    Command, Delivery, DeliveryAttempt, DeliveryKind, DeliveryOutcome, Job, JobEntry, JobState,
    RecordDelivery, State, limits::PARTED_OUTPUTS_LEVEL,
};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tracing::{debug, info};

use super::{
    parted_output::{self, Key, Put, Sent, Uploads},
    webhook_message,
};
use crate::{
    clock::unix_ms,
    data::output::read_output,
    limits::{
        CLUSTER_TICK, DELIVERIES_AT_ONCE, DELIVERIES_TO_HOST, DUTY_TICK, FETCH_LOOK_PAUSE,
        OUTPUT_BYTES_PER_S_MIN, OUTPUT_TIME_MIN, OUTPUTS_AT_ONCE, PLAN_TICK, PLAN_TICK_IDLE,
        WEBHOOK_MAX,
    },
    node::context::NodeContext,
    outside::{
        Answer, Body, Method, OutsideError, check, goes_in_parts,
        header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
        host_of, too_large_for,
    },
};

/// Sends while this node leads; returns when `stop` is set.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut leadership = context.cluster.leadership();
    let mut applied = context.cluster.applied();
    let mut sender = Sender::new(context.clone());
    // The term in which this replica was last known to have all of the log.
    let mut current = None;
    loop {
        let now = leadership.borrow_and_update().clone();
        applied.borrow_and_update();
        // What the former leader sent and wrote down is not sent again.
        if now.leading && current != Some(now.term) && context.cluster.read().await.is_ok() {
            current = Some(now.term);
            sender.uploads.take_over(&context.cluster.local());
        }
        let leads = now.leading && current == Some(now.term);
        if leads {
            sender.send_due();
        }
        let pause = if leads { PLAN_TICK_IDLE } else { DUTY_TICK };
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Some(ended) = sender.tasks.join_next() => Some(ended),
            _ = applied.changed(), if leads => None,
            _ = leadership.changed() => None,
            () = tokio::time::sleep(pause) => None,
        };
        match ended {
            Some(Ok(key)) => drop(sender.in_flight.remove(&key)),
            // One that panicked stays in flight: it would do so again.
            Some(Err(_)) => {}
            None => tokio::time::sleep(FETCH_LOOK_PAUSE).await,
        }
    }
}

/// What is sent, and to which host; none: what is given up there.
type Place = (Option<DeliveryKind>, String);

struct Sender {
    context: Arc<NodeContext>,
    tasks: JoinSet<Key>,
    /// What is being sent, and what is given up.
    in_flight: BTreeMap<Key, Place>,
    /// What of them is put in parts.
    uploads: Uploads,
    clock: Clock,
}

/// The cluster's time, counted on from when it last moved.
struct Clock {
    seen_ms: u64,
    since: Instant,
}

impl Clock {
    fn now_ms(&mut self, state: &State) -> u64 {
        if state.cluster_ms() != self.seen_ms {
            (self.seen_ms, self.since) = (state.cluster_ms(), Instant::now());
        }
        // It stands still while there are no jobs, and is not to jump then.
        let passed = self.since.elapsed().min(CLUSTER_TICK * 2);
        self.seen_ms + passed.as_millis() as u64
    }
}

impl Sender {
    fn new(context: Arc<NodeContext>) -> Self {
        let seen_ms = context.cluster.local().cluster_ms();
        Sender {
            context,
            tasks: JoinSet::new(),
            in_flight: BTreeMap::new(),
            uploads: Uploads::default(),
            clock: Clock {
                seen_ms,
                since: Instant::now(),
            },
        }
    }

    /// Begins what is due, as far as there are places.
    fn send_due(&mut self) {
        let state = self.context.cluster.local();
        let now_ms = self.clock.now_ms(&state);
        self.give_up_ended(&state);
        let due = state.deliveries_due();
        for (_, entry) in due.take_while(|(due_ms, _)| *due_ms <= now_ms) {
            if self.in_flight.len() >= DELIVERIES_AT_ONCE {
                return;
            }
            let due = entry.job.pending_deliveries();
            for delivery in due.filter(|delivery| delivery.due_cluster_ms <= now_ms) {
                self.begin(&state, &entry, delivery, now_ms);
            }
        }
    }

    /// Gives up what was put in parts, and is not to be sent any more, as far as there are
    /// places. A bucket that does not answer keeps few of them.
    fn give_up_ended(&mut self, state: &State) {
        let kinds = self.in_flight.values().map(|(kind, _)| kind);
        let ending = kinds.filter(|kind| kind.is_none()).count();
        let free = DELIVERIES_AT_ONCE.saturating_sub(self.in_flight.len());
        let most = OUTPUTS_AT_ONCE.saturating_sub(ending).min(free);
        let in_flight = |key: &Key| self.in_flight.contains_key(key);
        for (key, (url, upload)) in self.uploads.ended(state, in_flight, most) {
            self.in_flight.insert(key.clone(), (None, host_of(&url)));
            let outside = self.context.outside.clone();
            self.tasks.spawn(async move {
                parted_output::abandon(&outside, &url, &upload).await;
                key
            });
        }
    }

    fn begin(&mut self, state: &State, entry: &Arc<JobEntry>, delivery: &Delivery, now_ms: u64) {
        let key = (entry.job.id.clone(), delivery.number);
        if self.in_flight.contains_key(&key) {
            return;
        }
        let destination = destination(state, &entry.job, delivery);
        let host = destination.map_or_else(|_| String::new(), host_of);
        let kind = delivery.kind();
        let count =
            |like: &dyn Fn(&Place) -> bool| self.in_flight.values().filter(|it| like(it)).count();
        let full_host = count(&|(_, other)| *other == host) >= DELIVERIES_TO_HOST;
        let is_output = |kind: DeliveryKind| kind == DeliveryKind::Output;
        let outputs = count(&|(kind, _)| kind.is_some_and(is_output));
        if full_host || (is_output(kind) && outputs >= OUTPUTS_AT_ONCE) {
            return;
        }
        self.in_flight.insert(key.clone(), (Some(kind), host));
        if is_output(kind) {
            self.uploads.watch(&key);
        }
        let parcel = destination.map(|url| Parcel::of(url, state, entry, delivery, now_ms));
        let context = self.context.clone();
        let record = RecordDelivery {
            job: key.0.clone(),
            number: delivery.number,
            attempts: delivery.attempts,
            cluster_ms: now_ms,
            ..Default::default()
        };
        self.tasks.spawn(async move {
            deliver(&context, parcel, record).await;
            key
        });
    }
}

/// Where a delivery goes now; or why it can't be sent any more.
fn destination<'a>(
    state: &'a State,
    job: &'a Job,
    delivery: &Delivery,
) -> Result<&'a str, &'static str> {
    let own = job.outside.as_ref();
    let webhook = state.webhook(&job.tenant);
    let url = match delivery.kind() {
        DeliveryKind::Output if job.state() != JobState::Succeeded => {
            return Err("the job has no output any more");
        }
        DeliveryKind::Output => return Ok(own.map_or("", |own| &own.output_url)),
        DeliveryKind::JobWebhook => own.map_or("", |own| &own.webhook_url),
        DeliveryKind::TenantWebhook => match webhook.filter(|webhook| webhook.is_on()) {
            Some(webhook) => &webhook.url,
            None => return Err("the tenant's webhook was removed or turned off"),
        },
    };
    match webhook {
        Some(_) => Ok(url),
        None => Err("the tenant has no secret to sign it with any more"),
    }
}

/// What is sent, and where to.
struct Parcel {
    url: String,
    content: Content,
}

enum Content {
    Message {
        id: String,
        body: String,
        secrets: Vec<String>,
    },
    Output(Arc<JobEntry>, Box<Delivery>),
}

impl Parcel {
    /// What a delivery sends to its destination now.
    fn of(
        url: &str,
        state: &State,
        entry: &Arc<JobEntry>,
        delivery: &Delivery,
        now_ms: u64,
    ) -> Self {
        let job = &entry.job;
        let content = match delivery.kind() {
            DeliveryKind::Output => Content::Output(entry.clone(), Box::new(delivery.clone())),
            DeliveryKind::JobWebhook | DeliveryKind::TenantWebhook => {
                let webhook = state.webhook(&job.tenant).into_iter();
                let secrets = webhook.flat_map(|webhook| webhook.secrets_at(now_ms));
                Content::Message {
                    id: webhook_message::id(job, delivery),
                    body: webhook_message::body(job, delivery),
                    secrets: secrets.map(String::from).collect(),
                }
            }
        };
        Parcel {
            url: url.to_string(),
            content,
        }
    }
}

/// Sends once, and writes down what came of it.
async fn deliver(
    context: &NodeContext,
    parcel: Result<Parcel, &'static str>,
    mut record: RecordDelivery,
) {
    let begun = Instant::now();
    let sent = match parcel {
        Ok(parcel) => send(context, parcel).await,
        Err(cause) => Some((DeliveryOutcome::Never, 0, cause.to_string())),
    };
    // Another goes on with it.
    let Some((outcome, status, cause)) = sent else {
        return;
    };
    let took_ms = begun.elapsed().as_millis() as u64;
    let (job, number) = (record.job.clone(), record.number);
    info!(job, number, ?outcome, status, cause, "delivery attempted");
    record.outcome = outcome.into();
    record.cluster_ms = record
        .cluster_ms
        .saturating_add(took_ms.min(CLUSTER_TICK.as_millis() as u64));
    record.attempt = DeliveryAttempt {
        unix_ms: unix_ms(),
        took_ms,
        status: status.into(),
        cause,
    };
    // A leader that is elected just now takes it as well: it is then not sent again.
    let patience = Instant::now() + CLUSTER_TICK;
    while Instant::now() < patience {
        let command = Command::RecordDelivery(record.clone());
        match context.cluster.propose(vec![command]).await {
            Ok(_) => return,
            Err(error) => debug!(job, number, %error, "an attempt could not be written down"),
        }
        tokio::time::sleep(PLAN_TICK).await;
    }
}

/// Sends it once; none where another leader does.
async fn send(context: &NodeContext, parcel: Parcel) -> Option<Sent> {
    let url = match check("url", &parcel.url, true) {
        Ok(url) => url,
        Err(problem) => return Some((DeliveryOutcome::Never, 0, problem.cause)),
    };
    let (method, headers, body, time) = match parcel.content {
        Content::Message { id, body, secrets } => {
            let headers = message_headers(&id, &body, &secrets);
            (Method::POST, headers, Body::from(body), WEBHOOK_MAX)
        }
        Content::Output(entry, delivery) => {
            let bytes = entry.job.output_bytes;
            let time = Duration::from_secs(bytes / OUTPUT_BYTES_PER_S_MIN).max(OUTPUT_TIME_MIN);
            let level = context.cluster.local().feature_level();
            if goes_in_parts(&url, bytes) && level >= PARTED_OUTPUTS_LEVEL {
                let put = parted_output::put(context, &url, &entry, &delivery);
                match tokio::time::timeout(time, put).await {
                    Ok(Put::Ended(sent)) => return Some(sent),
                    Ok(Put::Elsewhere) => return None,
                    Ok(Put::NoParts) => {}
                    Err(_) => return Some(too_late(time)),
                }
            }
            if let Some(cause) = too_large_for(&url, bytes) {
                return Some((DeliveryOutcome::Again, 0, cause));
            }
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(bytes))]);
            let parts = read_output(context.data.clone(), entry, 0);
            let parts = parts.map_err(|error| error.to_string());
            (Method::PUT, headers, Body::wrap_stream(parts), time)
        }
    };
    let sent = context.outside.send(method, &url, headers, Some(body));
    Some(match tokio::time::timeout(time, sent).await {
        Err(_) => too_late(time),
        Ok(Err(error @ OutsideError::Refused(_))) => (DeliveryOutcome::Never, 0, error.to_string()),
        Ok(Err(error)) => (DeliveryOutcome::Again, 0, error.to_string()),
        Ok(Ok(answer)) => judged(&answer),
    })
}

/// It took longer than it may.
fn too_late(time: Duration) -> Sent {
    let cause = format!("no answer within {} s", time.as_secs());
    (DeliveryOutcome::Again, 0, cause)
}

/// What an answer's status says.
fn judged(answer: &Answer) -> Sent {
    let status = answer.status();
    let (outcome, cause) = match status.as_u16() {
        200..=299 => (DeliveryOutcome::Delivered, String::new()),
        300..=399 => (
            DeliveryOutcome::Again,
            format!("it answered {status}, and redirects are not followed"),
        ),
        410 => (DeliveryOutcome::Gone, format!("it answered {status}")),
        _ => (DeliveryOutcome::Again, format!("it answered {status}")),
    };
    (outcome, status.as_u16(), cause)
}

fn message_headers(id: &str, body: &str, secrets: &[String]) -> HeaderMap {
    let unix_s = unix_ms() / 1000;
    let secrets = secrets.iter().map(String::as_str);
    let signature = webhook_message::signatures(secrets, id, unix_s, body);
    let texts = [
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", unix_s.to_string()),
        ("webhook-signature", signature),
    ];
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            USER_AGENT,
            HeaderValue::from_static(concat!("reelraft/", env!("CARGO_PKG_VERSION"))),
        ),
    ]);
    for (name, text) in texts {
        let value = HeaderValue::try_from(text).expect("ids, digits and base64 are plain");
        headers.insert(HeaderName::from_static(name), value);
    }
    headers
}
