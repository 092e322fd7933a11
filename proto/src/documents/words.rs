//! States and options as the words of documents and tables.

use utoipa::openapi::{Object, ObjectBuilder, Type};

use crate::v1::{Crop, JobState, TaskState};

/// A job's state as a lower-case word.
pub fn job_state(state: i32) -> &'static str {
    match JobState::try_from(state) {
        Ok(JobState::Uploading) => "uploading",
        Ok(JobState::Analyzing) => "analyzing",
        Ok(JobState::Encoding) => "encoding",
        Ok(JobState::Assembling) => "assembling",
        Ok(JobState::Succeeded) => "succeeded",
        Ok(JobState::Failed) => "failed",
        Ok(JobState::Cancelled) => "cancelled",
        Ok(JobState::Deleted) => "deleted",
        Ok(JobState::Unspecified) | Err(_) => "unknown",
    }
}

/// A job's state in a schema.
pub(super) fn job_states() -> Object {
    let last = JobState::Deleted as i32;
    words((1..=last).map(job_state))
}

/// A task's state in a schema.
pub(super) fn task_states() -> Object {
    let last = TaskState::Done as i32;
    words((1..=last).map(task_state))
}

fn words(words: impl Iterator<Item = &'static str>) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(words)).build()
}

/// A task's state as a lower-case word.
pub fn task_state(state: i32) -> &'static str {
    match TaskState::try_from(state) {
        Ok(TaskState::Pending) => "pending",
        Ok(TaskState::Running) => "running",
        Ok(TaskState::Done) => "done",
        Ok(TaskState::Unspecified) | Err(_) => "unknown",
    }
}

/// The kept part of the picture, as `--crop` takes it.
pub fn crop_option(crop: &Crop) -> String {
    let Crop {
        width,
        height,
        x,
        y,
    } = crop;
    format!("{width}:{height}:{x}:{y}")
}

/// The canvas around the picture, as `--pad` takes it.
pub fn pad_option(width: u32, height: u32) -> Option<String> {
    (width != 0).then(|| format!("{width}:{height}"))
}

/// Thousandths as a decimal: 1280 is "1.28".
pub fn milli(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = (value.unsigned_abs() / 1000, value.unsigned_abs() % 1000);
    let text = format!("{sign}{whole}.{part:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A frame rate as a fraction: "30000/1001".
pub fn fps_fraction(num: u32, den: u32) -> Option<String> {
    (num != 0).then(|| format!("{num}/{den}"))
}

#[cfg(test)]
mod tests {
    use super::milli;

    #[test]
    fn thousandths_are_decimals() {
        let shown = [1280, -50, 2000].map(milli);
        assert_eq!(shown, ["1.28", "-0.05", "2"]);
    }
}
