//! What is asked of an output for which its source goes: that its film was whole, and
//! that it holds all of it. The source may be its owner's only copy.

use reelraft_proto::v1::Job;

/// What a command asks of its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Care {
    /// A damaged film fails, and is not made as far as it can be decoded.
    pub undamaged: bool,
    /// An output that lacks something of its film is not kept.
    pub whole: bool,
}

/// What the notes of a job say of each thing that its output has not.
const LEFT_OUT: &str = "left out";

impl Care {
    /// Why the output of a job that succeeded is not kept; none if it is.
    pub fn lacks(&self, job: &Job) -> Option<String> {
        let mut notes = job.plan_note.split("; ").filter(|_| self.whole);
        let lost = notes.find(|note| note.contains(LEFT_OUT))?;
        Some(format!(
            "something would be left out (--allow-loss replaces it all the same): {lost}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_lacks_something_is_named_with_it() {
        let care = |whole| Care {
            undamaged: true,
            whole,
        };
        let mut job = Job {
            plan_note: "keyframes of vp8 are not known to be clean".into(),
            ..Job::default()
        };
        assert_eq!(care(true).lacks(&job), None);
        job.plan_note +=
            "; subtitle track 1 (dvd_subtitle) can't be kept in mp4 and is left out; x";
        let why = care(true).lacks(&job).unwrap_or_default();
        assert!(
            why.ends_with(": subtitle track 1 (dvd_subtitle) can't be kept in mp4 and is left out")
        );
        assert_eq!(care(false).lacks(&job), None);
    }
}
