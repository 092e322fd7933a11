//! Making a job, or finding the one that this request made before (P5).

use reelraft_model::{
    Command, CreateJob, JobBounds, Problem, Scope, State, job_id,
    limits::{
        AIM_LEVEL, DEADLINE_LEVEL, ENCODER_CHOICE_LEVEL, HOUSEKEEPING_LEVEL, JOB_BOUNDS,
        MEASURE_LEVEL, NAME_BYTES_MAX, PERCENTILE_LEVEL, PRIORITY_LEVEL, PRIORITY_MAX, RETRIES_MAX,
        SOURCE_BYTES_MAX, STREAM_CHOICE_LEVEL,
    },
    plan::{encoder_of, home_count},
    spec::{self, Spec, SpecRequest},
};

use super::{
    Api, Consistency, JobView, bad_request,
    jobs::all_know,
    limits::{FINGERPRINT_DIGITS, REFUSAL_PAUSE},
    not_found,
    outside::{Asked, KnownSource},
};
use crate::clock::unix_ms;

/// The tenant of jobs that name none.
pub(super) const DEFAULT_TENANT: &str = "default";

/// A job as a client asks for it.
#[derive(Clone, Debug, Default)]
pub struct SubmitRequest {
    /// Whose job; empty takes the key's tenant, or the default one.
    pub tenant: String,
    /// The client's name for this request: a retry finds the same job.
    pub request_id: String,
    pub spec: SpecRequest,
    /// The file's name, for display.
    pub source_name: String,
    pub source_bytes: u64,
    /// BLAKE3 over length, head and tail, hex: tells two sources apart early.
    pub source_fingerprint: String,
    /// Where a home fetches the source from, in place of an upload: size and
    /// fingerprint are then left out, and the name may be.
    pub source_url: String,
    /// Where the job's end is told; empty: nowhere.
    pub webhook_url: String,
    /// Where its output is put; empty: nowhere.
    pub output_url: String,
    /// From -10 to 10: higher ones go first within their tenant.
    pub priority: i32,
    /// From 0 to 10: how often a task's own failures are tried again.
    pub max_retries: Option<u32>,
    /// When it should be done, by the wall clock; 0: at no such time.
    pub deadline_unix_ms: u64,
}

/// The job of a request.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub job: JobView,
    /// Whether an earlier request had made it.
    pub existed: bool,
}

impl Api {
    /// Refuses a source that would fill the disks before it is whole, as far as
    /// the leader's last report says: a node that it does not name may have
    /// room. A job that exists is not judged again.
    async fn check_room(&self, id: &str, source_bytes: u64) -> Result<(), Problem> {
        let members = self.table().members();
        let voters = members.iter().filter(|member| member.voter).count();
        let homes = home_count(voters as u32);
        // What was made just now has no homes yet, and may come to any node.
        let state = self.table().local();
        let unplaced = state.uploading().filter(|entry| entry.job.epoch == 0);
        let unplaced: u64 = unplaced.map(|entry| entry.job.source_bytes).sum();
        let bytes = source_bytes.saturating_add(unplaced);
        drop(state);
        let cramped = self.context().report.nodes(|nodes| {
            let cramped = nodes.iter().filter(|node| node.room_bytes < bytes);
            cramped.count()
        });
        let Some(cramped) = cramped else {
            return Ok(());
        };
        let able = members.len().saturating_sub(cramped);
        if able >= homes {
            return Ok(());
        }
        if self.exists(id).await? {
            return Ok(());
        }
        Err(Problem::new(
            "disk-full",
            format!("the source has {source_bytes} bytes, and not {homes} nodes have room for it"),
            "delete finished jobs, wait for other uploads, or add a node; see `reelraft cluster status`",
        ))
    }

    /// Whether a job was made before: it is not judged again.
    async fn exists(&self, id: &str) -> Result<bool, Problem> {
        let read = Consistency::Linearizable;
        let seen = self.seen(Scope::Submit, read).await?;
        Ok(seen.remembered(id).is_ok())
    }

    /// Refuses a spec that no node can make, as far as the leader's last report
    /// says: a node that it does not name may be able to. A job that exists is
    /// not judged again.
    async fn check_makers(&self, id: &str, spec: &Spec) -> Result<(), Problem> {
        let Some(makers) = self.makers(spec) else {
            return Ok(());
        };
        let Some((what, why)) = makers.lacking.filter(|_| makers.able.is_empty()) else {
            return Ok(());
        };
        if self.exists(id).await? {
            return Ok(());
        }
        Err(no_maker(&what, &why))
    }

    /// A spec with every default filled in, and how many nodes can make it.
    ///
    /// # Errors
    /// `forbidden`, `bad-spec`, `encoder-missing`, and `mixed-versions` or `too-early`
    /// where some node can't read it.
    pub fn check_spec(&self, request: &SpecRequest) -> Result<(Spec, usize), Problem> {
        self.takes(Scope::Submit)?;
        let spec = resolved(request)?;
        all_know_options(&self.table().local(), &spec)?;
        let Some(makers) = self.makers(&spec) else {
            return Ok((spec, self.table().members().len()));
        };
        match (makers.able.len(), makers.lacking) {
            (0, Some((what, why))) => Err(no_maker(&what, &why)),
            (able, _) => Ok((spec, able)),
        }
    }

    /// Refuses another job of a tenant that has too many without a word in the
    /// log, and not at once.
    async fn check_bounds(
        &self,
        id: &str,
        tenant: &str,
        source_bytes: u64,
        bounds: Option<JobBounds>,
    ) -> Result<(), Problem> {
        let Some(bounds) = bounds else { return Ok(()) };
        let refused = |state: &State| match state.has_job(id) {
            true => None,
            false => state.no_room_for(tenant, source_bytes, bounds),
        };
        // This replica may be behind, and a job that exists is not judged again.
        if refused(&self.table().local()).is_none() {
            return Ok(());
        }
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        match refused(seen.whole()) {
            None => Ok(()),
            Some(problem) => {
                drop(seen);
                tokio::time::sleep(REFUSAL_PAUSE).await;
                Err(problem)
            }
        }
    }

    /// Makes a job; its source is uploaded next.
    ///
    /// # Errors
    /// `bad-request`, `bad-spec`, `forbidden`, `encoder-missing`, `empty-source`, `too-large`,
    /// `request-id-reused`, `too-many-uploads`, `too-many-jobs`, `too-many-bytes`, `disk-full`,
    /// `mixed-versions`, `too-early` while no node has said its version, and what keeps the
    /// cluster from writing; of a source behind a URL, those of [`Api::outside_of`].
    pub async fn submit(&self, mut request: SubmitRequest) -> Result<Submitted, Problem> {
        let named = self.tenant(Scope::Submit, &request.tenant)?;
        let tenant = tenant_of(named).to_string();
        check_names(&request)?;
        let id = job_id(&tenant, &request.request_id);
        let (outside, source) = self.outside_of(asked(&tenant, &id, &request)).await?;
        if let Some(source) = source {
            take_source(&mut request, source)?;
        }
        check_source(&request)?;
        let spec = resolved(&request.spec)?;
        self.check_makers(&id, &spec).await?;
        self.check_room(&id, request.source_bytes).await?;
        let state = self.table().local();
        all_know_options(&state, &spec)?;
        if request.priority != 0 || request.max_retries.is_some() {
            all_know(&state, PRIORITY_LEVEL, "tell jobs' priorities or retries")?;
        }
        if request.deadline_unix_ms != 0 {
            all_know(&state, DEADLINE_LEVEL, "tell jobs' deadlines")?;
        }
        let bounded = state.feature_level() >= HOUSEKEEPING_LEVEL;
        drop(state);
        let bounds = bounded.then_some(JOB_BOUNDS);
        self.check_bounds(&id, &tenant, request.source_bytes, bounds)
            .await?;
        let command = Command::CreateJob(CreateJob {
            tenant: tenant.clone(),
            request_id: request.request_id,
            spec,
            source_name: request.source_name,
            source_bytes: request.source_bytes,
            source_fingerprint: request.source_fingerprint,
            unix_ms: unix_ms(),
            bounds,
            outside,
            priority: request.priority,
            max_retries: request.max_retries,
            deadline_unix_ms: request.deadline_unix_ms,
        });
        let (reply, state) = self.apply(Scope::Submit, &tenant, command).await?;
        let entry = state.job(&reply.job).ok_or_else(|| not_found(&reply.job))?;
        Ok(Submitted {
            job: self.view(&entry),
            existed: reply.existed,
        })
    }
}

/// Refuses a spec with options that some node can't read.
fn all_know_options(state: &State, spec: &Spec) -> Result<(), Problem> {
    if spec.chooses_streams() {
        all_know(state, STREAM_CHOICE_LEVEL, "choose streams")?;
    }
    if spec.directs_encoder() {
        all_know(
            state,
            ENCODER_CHOICE_LEVEL,
            "cap the rate, tune an encoder or set keyframes",
        )?;
    }
    if spec.aims_or_measures() {
        all_know(state, AIM_LEVEL, "find a rate factor or measure an output")?;
    }
    if spec.target_percentile() != 0 {
        all_know(state, PERCENTILE_LEVEL, "aim at a percentile")?;
    }
    if spec.holds_source() {
        all_know(state, MEASURE_LEVEL, "hold the sources of finished jobs")?;
    }
    Ok(())
}

fn resolved(request: &SpecRequest) -> Result<Spec, Problem> {
    let resolved = spec::resolve(request);
    resolved.map_err(|error| Problem::new("bad-spec", error.to_string(), error.hint()))
}

fn no_maker(what: &str, why: &str) -> Problem {
    Problem::new(
        Problem::ENCODER_MISSING,
        format!("no node has {}: {why}", encoder_of(what)),
        "install an ffmpeg with it on a node and start the node again, or choose another codec; \
         `reelraft doctor` says what works",
    )
}

/// What a request says of the outside.
fn asked<'a>(tenant: &'a str, job: &'a str, request: &'a SubmitRequest) -> Asked<'a> {
    Asked {
        tenant,
        job,
        source_url: &request.source_url,
        webhook_url: &request.webhook_url,
        output_url: &request.output_url,
    }
}

/// Fills in what a source behind a URL is.
fn take_source(request: &mut SubmitRequest, source: KnownSource) -> Result<(), Problem> {
    if request.source_bytes != 0 || !request.source_fingerprint.is_empty() {
        return Err(bad_request(
            "both a source_url and what the source is are given",
            "leave the size out: the node asks for it",
        ));
    }
    request.source_bytes = source.bytes;
    request.source_fingerprint = source.fingerprint;
    if request.source_name.is_empty() {
        request.source_name = source.name;
    }
    Ok(())
}

/// The tenant that a request means.
pub(super) fn tenant_of(named: &str) -> &str {
    if named.is_empty() {
        DEFAULT_TENANT
    } else {
        named
    }
}

fn check_names(request: &SubmitRequest) -> Result<(), Problem> {
    for (what, text) in [
        ("tenant", &request.tenant),
        ("request id", &request.request_id),
        ("source name", &request.source_name),
    ] {
        if text.len() > NAME_BYTES_MAX {
            return Err(bad_request(
                format!("the {what} is longer than {NAME_BYTES_MAX} bytes"),
                "shorten it",
            ));
        }
    }
    if request.request_id.is_empty() {
        return Err(bad_request(
            "no request id",
            "send one; the CLI makes one by itself",
        ));
    }
    Ok(())
}

fn check_source(request: &SubmitRequest) -> Result<(), Problem> {
    let mut digits = request.source_fingerprint.bytes();
    let hex = digits.all(|digit| digit.is_ascii_hexdigit());
    if !hex || request.source_fingerprint.len() != FINGERPRINT_DIGITS {
        return Err(bad_request(
            format!("the source's fingerprint is not {FINGERPRINT_DIGITS} hex digits"),
            "send BLAKE3 over the length, the head and the tail of the source",
        ));
    }
    if !(-PRIORITY_MAX..=PRIORITY_MAX).contains(&request.priority) {
        return Err(bad_request(
            format!("a priority of {}", request.priority),
            "give one from -10 to 10",
        ));
    }
    if request
        .max_retries
        .is_some_and(|retries| retries > RETRIES_MAX)
    {
        return Err(bad_request(
            format!("more than {RETRIES_MAX} retries"),
            "give max_retries from 0 to 10",
        ));
    }
    if request.source_bytes == 0 {
        return Err(Problem::new(
            "empty-source",
            "the source is empty",
            "choose a file with video in it",
        ));
    }
    if request.source_bytes > SOURCE_BYTES_MAX {
        return Err(Problem::new(
            "too-large",
            format!("the source is larger than {SOURCE_BYTES_MAX} bytes"),
            "split it first",
        ));
    }
    Ok(())
}
