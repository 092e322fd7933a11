//! Script commands about sources behind URLs, webhooks and deliveries.

use std::{collections::BTreeMap, fmt::Write};

use reelraft_model::{
    BucketUpload, Command, DeliveryAttempt, DeliveryOutcome, FailFetch, Job, NoteUpload, Problem,
    RecordDelivery, RemoveWebhook, SetWebhook, State,
};

use crate::words::{number, option};

/// Job ids by the names that a script gave them.
type Names = BTreeMap<String, String>;

/// `webhook TENANT [url=] [secret=] [rotate] [max=9]`, `unhook TENANT`,
/// `sent JOB NUMBER OUTCOME attempts=0 [ms=0]`, `parts JOB NUMBER id=ID attempts=0 [former=ID]`
/// and `unfetchable JOB`
pub fn change_outside(names: &Names, words: &[&str]) -> Command {
    match words[0] {
        "webhook" => Command::SetWebhook(SetWebhook {
            tenant: words[1].into(),
            url: option(words, "url").unwrap_or_default().into(),
            secret: option(words, "secret").unwrap_or_default().into(),
            rotate: words.contains(&"rotate"),
            webhooks_max: option(words, "max").map_or(9, |_| number(words, "max")),
            ..Default::default()
        }),
        "unhook" => Command::RemoveWebhook(RemoveWebhook {
            tenant: words[1].into(),
        }),
        "sent" => Command::RecordDelivery(attempt(names, words)),
        "parts" => Command::NoteUpload(NoteUpload {
            job: names[words[1]].clone(),
            number: words[2].parse().unwrap(),
            attempts: number(words, "attempts"),
            former: option(words, "former").unwrap_or_default().into(),
            upload: BucketUpload {
                id: option(words, "id").unwrap().into(),
                part_bytes: 16,
                ..Default::default()
            },
        }),
        _ => Command::FailFetch(FailFetch {
            job: names[words[1]].clone(),
            problem: Problem::new("source-refused", "it answers 404", "look"),
            unix_ms: 0,
            epoch: option(words, "epoch").map(|epoch| epoch.parse().unwrap()),
        }),
    }
}

fn attempt(names: &Names, words: &[&str]) -> RecordDelivery {
    let outcome = match words[3] {
        "delivered" => DeliveryOutcome::Delivered,
        "again" => DeliveryOutcome::Again,
        "never" => DeliveryOutcome::Never,
        "gone" => DeliveryOutcome::Gone,
        other => panic!("no outcome {other}"),
    };
    RecordDelivery {
        job: names[words[1]].clone(),
        number: words[2].parse().unwrap(),
        attempts: number(words, "attempts"),
        outcome: outcome.into(),
        attempt: DeliveryAttempt::default(),
        cluster_ms: number(words, "ms"),
    }
}

/// What is due, as the leader sees it: `due MS`
pub fn due(state: &State, words: &[&str]) -> String {
    let now_ms: u64 = words[1].parse().unwrap();
    let due = state.deliveries_due();
    let due = due.take_while(|(due_ms, _)| *due_ms <= now_ms);
    let jobs: Vec<String> = due.map(|(_, entry)| entry.job.id.clone()).collect();
    match jobs.as_slice() {
        [] => "nothing\n".into(),
        jobs => jobs.join(" ") + "\n",
    }
}

/// What of a job has to do with the outside.
pub fn show_outside(job: &Job) -> String {
    let mut text = String::new();
    let Some(outside) = &job.outside else {
        return text;
    };
    if !outside.source_url.is_empty() {
        write!(text, " from {}", outside.source_url).unwrap();
    }
    for delivery in &outside.deliveries {
        let (number, kind, state) = (delivery.number, delivery.kind(), delivery.state());
        let (kind, state, tries) = (kind.name(), state.name(), delivery.attempts);
        let (event, due) = (&delivery.event, delivery.due_cluster_ms);
        write!(
            text,
            " {number}:{kind} of {event} {state} after {tries}, due {due}"
        )
        .unwrap();
        if let Some(upload) = &delivery.upload {
            write!(text, ", in parts as {}", upload.id).unwrap();
        }
    }
    text
}
