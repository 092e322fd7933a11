//! How long a node rests before it tries whole jobs.

use std::time::Duration;

use crate::limits::TRIAL_REST_MAX;

/// The rest after a trial that shows nothing that lasts. Only one that ran to its
/// end says that there is no hurry: a cluster with much work would otherwise end
/// trials until none is ever made.
pub fn rest_after(rest: Duration, ended: bool) -> Duration {
    match ended {
        true => rest.saturating_mul(2).min(TRIAL_REST_MAX),
        false => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TRIAL_REST;

    #[test]
    fn a_rest_grows_with_trials_that_ended_and_not_without_end() {
        let again = |ended| (0..100).fold(TRIAL_REST, |rest, _| rest_after(rest, ended));
        assert_eq!(again(false), TRIAL_REST);
        assert_eq!(rest_after(TRIAL_REST, true), 2 * TRIAL_REST);
        assert_eq!(again(true), TRIAL_REST_MAX);
    }
}
