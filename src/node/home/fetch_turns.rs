//! Whose source a home fetches next, and when it gives one up: what the loop of
//! `fetch` goes by, without a network.

use std::{collections::BTreeMap, time::Duration};

use reelraft_model::{Command, Job, State, home_rules::touch_due, limits::FETCH_PATIENCE_MS};
use tokio::time::Instant;

use crate::{
    limits::{
        FETCH_REFUSALS_MAX, FETCH_RETRY_MAX, FETCH_RETRY_MIN, FETCH_TRIES_MIN, FETCHES_AT_ONCE,
        FETCHES_OF_TENANT, FETCHES_TOUCHED,
    },
    outside::SourceError,
};

const PATIENCE: Duration = Duration::from_millis(FETCH_PATIENCE_MS);

/// Tries at one source that failed, with nothing fetched since. They are known to
/// this home alone: how long a job has been there says nothing about its server.
#[derive(Default)]
pub(super) struct Failures {
    tries: u32,
    /// How many of them in a row the server refused with a status below 500.
    refusals: u32,
    /// When the first of them failed, without the time in which it waited for a place.
    since: Option<Instant>,
    /// It is not tried before.
    until: Option<Instant>,
    /// Since when it has waited for a place.
    in_line: Option<Instant>,
}

impl Failures {
    /// Until when it is not tried, if that is to come.
    pub fn pauses_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// It is due, and there is no place for it.
    pub fn wait(&mut self, now: Instant) {
        self.in_line.get_or_insert(now);
    }

    /// It is tried.
    pub fn begin(&mut self, now: Instant) {
        self.until = None;
        // It is no fault of its server that others are fetched first.
        let waited = self.in_line.take().map(|from| now.duration_since(from));
        self.since = self.since.map(|since| since + waited.unwrap_or_default());
    }

    /// A try has failed, after some progress or none. Says whether the job is given up.
    pub fn note(&mut self, now: Instant, progress: bool, error: &SourceError) -> bool {
        if progress {
            *self = Failures::default();
        }
        let refused = matches!(error, SourceError::Status(400..=499));
        let passes = matches!(error, SourceError::Status(408 | 425 | 429));
        self.refusals = match refused && !passes {
            true => self.refusals + 1,
            false => 0,
        };
        let pause = FETCH_RETRY_MIN * 2_u32.saturating_pow(self.tries.min(16));
        self.until = Some(now + pause.min(FETCH_RETRY_MAX));
        self.tries += 1;
        let since = *self.since.get_or_insert(now);
        let late = self.tries >= FETCH_TRIES_MIN && now.duration_since(since) >= PATIENCE;
        let never = matches!(error, SourceError::Never(_));
        late || never || self.refusals >= FETCH_REFUSALS_MAX
    }
}

/// Which of the jobs that are due get a place, where `held` says how many places each
/// tenant has: who has fewest is next, and of a tenant's jobs the oldest.
pub(super) fn chosen<'a>(due: &[&'a Job], mut held: BTreeMap<String, usize>) -> Vec<&'a Job> {
    let mut left = due.to_vec();
    let mut chosen = Vec::new();
    while held.values().sum::<usize>() < FETCHES_AT_ONCE {
        let of = |job: &Job| held.get(&job.tenant).copied().unwrap_or(0);
        let may = left.iter().enumerate();
        let may = may.filter(|(_, job)| of(job) < FETCHES_OF_TENANT);
        let next = may.min_by_key(|(_, job)| (of(job), job.created_index));
        let Some((at, _)) = next else { break };
        let job = left.swap_remove(at);
        *held.entry(job.tenant.clone()).or_default() += 1;
        chosen.push(job);
    }
    chosen
}

/// The stamps that jobs in line are due: nobody has abandoned what only waits for a
/// place. A few at once.
pub(super) fn stamps<'a>(state: &State, in_line: impl Iterator<Item = &'a Job>) -> Vec<Command> {
    let due = in_line.filter_map(|job| touch_due(state, job));
    let stamps = due.take(FETCHES_TOUCHED).map(Command::TouchUpload);
    stamps.collect()
}

const _: () = assert!(FETCH_RETRY_MIN.as_millis() < FETCH_RETRY_MAX.as_millis());
const _: () = assert!(FETCH_RETRY_MAX.as_millis() < PATIENCE.as_millis());
const _: () = assert!(FETCHES_OF_TENANT < FETCHES_AT_ONCE);

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> SourceError {
        SourceError::Later("it does not answer".to_string())
    }

    #[test]
    fn only_tries_that_failed_for_long_give_a_source_up() {
        let start = Instant::now();
        let mut failures = Failures::default();
        // It has waited for long, which says nothing.
        failures.wait(start);
        let first = start + 5 * PATIENCE;
        failures.begin(first);
        assert!(!failures.note(first, false, &later()), "the first hiccup");
        assert!(failures.pauses_until(first).is_some());
        assert!(
            !failures.note(first + PATIENCE, false, &later()),
            "few tries"
        );
        assert!(failures.note(first + PATIENCE, false, &later()));
    }

    #[test]
    fn progress_and_a_line_count_for_a_source() {
        let start = Instant::now();
        let mut failures = Failures::default();
        let some = PATIENCE / 4;
        for try_no in 0..3 {
            assert!(!failures.note(start + try_no * some, false, &later()));
        }
        failures.wait(start + 3 * some);
        failures.wait(start + 4 * some);
        failures.begin(start + 6 * some);
        assert!(
            !failures.note(start + 6 * some, false, &later()),
            "it waited"
        );
        assert!(
            !failures.note(start + 9 * some, true, &later()),
            "some came"
        );
        assert!(!failures.note(start + 10 * some, false, &later()));
        assert!(failures.note(start + 13 * some, false, &later()));
    }

    #[test]
    fn what_is_refused_again_and_again_is_given_up_soon() {
        let now = Instant::now();
        let mut failures = Failures::default();
        for status in [404, 404, 503, 404, 404, 429, 404, 404] {
            assert!(!failures.note(now, false, &SourceError::Status(status)));
        }
        assert!(failures.note(now, false, &SourceError::Status(404)));
    }

    fn jobs(tenant: &str, ages: std::ops::RangeInclusive<u64>) -> Vec<Job> {
        let job = |created_index| Job {
            id: format!("{tenant}{created_index}"),
            tenant: tenant.to_string(),
            created_index,
            ..Default::default()
        };
        ages.map(job).collect()
    }

    fn names(due: &[Job], held: &[(&str, usize)]) -> Vec<String> {
        let held = held
            .iter()
            .map(|(tenant, held)| (tenant.to_string(), *held));
        let due: Vec<&Job> = due.iter().collect();
        let chosen = chosen(&due, held.collect());
        chosen.iter().map(|job| job.id.clone()).collect()
    }

    #[test]
    fn no_tenant_holds_all_places() {
        let mut due = jobs("a", 1..=9);
        assert_eq!(names(&due, &[]), ["a1", "a2", "a3", "a4"]);
        due.extend(jobs("b", 10..=12));
        assert_eq!(names(&due, &[("a", 4)]), ["b10"]);
        assert_eq!(names(&due, &[]), ["a1", "b10", "a2", "b11", "a3"]);
        assert_eq!(names(&due, &[("a", 2), ("c", 3)]), [] as [&str; 0]);
    }

    #[test]
    fn jobs_in_line_are_stamped_and_no_others() {
        use reelraft_model::{
            CreateJob, Entry, JobBounds, RegisterNode, Tick,
            limits::{FEATURE_LEVEL, UPLOAD_TOUCH_MS},
            spec::Spec,
        };
        let mut state = State::default();
        let create = |request: u32| {
            Command::CreateJob(CreateJob {
                tenant: "t".into(),
                request_id: request.to_string(),
                spec: Spec::default(),
                source_bytes: 1_000,
                bounds: Some(JobBounds {
                    jobs: 1_000,
                    uploading: 1_000,
                    rows: 1_000,
                }),
                ..Default::default()
            })
        };
        let register = Command::RegisterNode(RegisterNode {
            node: 1,
            feature_level: FEATURE_LEVEL,
            ..Default::default()
        });
        let many = FETCHES_TOUCHED as u32 + 2;
        let tick = |cluster_ms| Command::Tick(Tick { cluster_ms });
        let first = [register, tick(1)].into_iter();
        state.apply(1, &Entry::new(first.chain((0..many).map(create)).collect()));
        let in_line: Vec<Job> = state.uploading().map(|it| it.job.clone()).collect();
        assert_eq!(in_line.len(), many as usize);
        assert_eq!(stamps(&state, in_line.iter()), []);
        state.apply(2, &Entry::new(vec![tick(UPLOAD_TOUCH_MS + 1)]));
        let due = stamps(&state, in_line.iter());
        assert_eq!(due.len(), FETCHES_TOUCHED);
        state.apply(3, &Entry::new(due));
        let now: Vec<Job> = state.uploading().map(|it| it.job.clone()).collect();
        assert_eq!(stamps(&state, now.iter()).len(), 2);
    }
}
