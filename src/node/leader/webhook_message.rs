//! A webhook's message, by the rules of Standard Webhooks: its id is the same over
//! all attempts, and its signature covers id, time and body.

use base64::{Engine, engine::general_purpose::STANDARD};
use reelraft_model::{Delivery, Job, WEBHOOK_SECRET_PREFIX, shown_url};
use reelraft_proto::utc::rfc3339;
use ring::hmac;
use serde::Serialize;

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'a str,
    timestamp: String,
    data: Data<'a>,
}

/// What a receiver learns of a job; the rest can be asked for by its id.
#[derive(Serialize)]
struct Data<'a> {
    id: &'a str,
    tenant: &'a str,
    request_id: &'a str,
    state: &'a str,
    source_name: &'a str,
    source_bytes: u64,
    source_url: Option<&'a str>,
    output_hash: Option<&'a str>,
    output_bytes: Option<u64>,
    problem: Option<Problem<'a>>,
    created_unix_ms: u64,
    ended_unix_ms: u64,
}

#[derive(Serialize)]
struct Problem<'a> {
    kind: &'a str,
    cause: &'a str,
    hint: &'a str,
}

/// Names a message; the same over all attempts.
pub fn id(job: &Job, delivery: &Delivery) -> String {
    // A job that was deleted and made again has the same id, and another age.
    format!("msg_{}_{}_{}", job.id, job.created_index, delivery.number)
}

/// A message's body.
pub fn body(job: &Job, delivery: &Delivery) -> String {
    let outside = job.outside.as_ref();
    let source_url = outside.map(|outside| shown_url(&outside.source_url));
    let ended_well = !job.output_hash.is_empty();
    let message = Message {
        r#type: &delivery.event,
        timestamp: rfc3339(delivery.unix_ms),
        data: Data {
            id: &job.id,
            tenant: &job.tenant,
            request_id: &job.request_id,
            // The state that the event is about.
            state: delivery.event.trim_start_matches("job."),
            source_name: &job.source_name,
            source_bytes: job.source_bytes,
            source_url: source_url.filter(|url| !url.is_empty()),
            output_hash: ended_well.then_some(&job.output_hash),
            output_bytes: ended_well.then_some(job.output_bytes),
            problem: job.problem.as_ref().map(|problem| Problem {
                kind: &problem.kind,
                cause: &problem.cause,
                hint: &problem.hint,
            }),
            created_unix_ms: job.created_unix_ms,
            ended_unix_ms: job.ended_unix_ms,
        },
    };
    serde_json::to_string(&message).expect("texts and numbers serialize")
}

/// The signatures of a message by each of the secrets, the latest first.
pub fn signatures<'a>(
    secrets: impl Iterator<Item = &'a str>,
    id: &str,
    unix_s: u64,
    body: &str,
) -> String {
    let signed = format!("{id}.{unix_s}.{body}");
    let signatures = secrets.map(|secret| {
        let text = secret.strip_prefix(WEBHOOK_SECRET_PREFIX).unwrap_or(secret);
        // Ours always decode.
        let key = STANDARD.decode(text).unwrap_or_default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let tag = hmac::sign(&key, signed.as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signed = signatures(
            [secret, secret].into_iter(),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed, format!("{one} {one}"));
    }

    #[test]
    fn a_message_says_what_happened_and_no_signed_query() {
        let mut job = Job {
            id: "j1".into(),
            created_index: 7,
            outside: Some(reelraft_model::Outside {
                source_url: "https://h/a.mp4?sig=secret".into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        job.problem = Some(reelraft_model::Problem::new("no-video", "c", "h"));
        let delivery = Delivery {
            number: 2,
            event: "job.failed".into(),
            unix_ms: 1_614_265_330_123,
            ..Default::default()
        };
        assert_eq!(id(&job, &delivery), "msg_j1_7_2");
        let text = body(&job, &delivery);
        assert!(text.starts_with(
            r#"{"type":"job.failed","timestamp":"2021-02-25T15:02:10.123Z","data":{"id":"j1""#
        ));
        assert!(text.contains(r#""state":"failed""#) && text.contains("no-video"));
        assert!(
            text.contains("https://h/a.mp4") && !text.contains("secret"),
            "{text}"
        );
    }
}
