//! The options that identify a request: whose job it is, and under which name a
//! repeated command finds the same job again (P5).

use clap::Args;

/// Whose job it is, and how a retry differs from a new job.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Request")]
pub struct RequestArgs {
    /// Name of the request: repeating it finds the same job again, also after
    /// an interruption [default: a random one]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Whose job it is
    #[arg(long, value_name = "NAME", default_value = "default",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tenant: String,
}

impl RequestArgs {
    /// The request id as given, or 128 random bits: two random ones never
    /// meet by accident.
    pub fn id(&self) -> String {
        match &self.request_id {
            Some(id) => id.clone(),
            None => format!("r{:032x}", rand::random::<u128>()),
        }
    }
}
