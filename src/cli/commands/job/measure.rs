//! `reelraft job measure`: how an output compares with its source. A job that was not
//! compared as it was encoded is compared now, if its source is held.

use std::path::PathBuf;

use clap::Args;
use reelraft_proto::v1::{JobRef, MeasureResponse, Problem};

use crate::{
    client::Client,
    commands::document::print_document,
    error::{CliError, os_reason},
    limits::{MEASURE_LOOK, MEASURE_TRIES},
    render::{
        Output, measured,
        measured::MeasuredFilm,
        screen::{eprint, print},
    },
};

#[derive(Args, Clone, Debug)]
pub struct MeasureArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Write a drawing over time too, with the joints between shards marked; an
    /// existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Runs `job measure`.
///
/// # Errors
/// The node's refusal, a comparison that came to nothing, or a file that can't be written.
pub async fn run(client: &mut Client, args: MeasureArgs, output: Output) -> Result<(), CliError> {
    let shards = measure(client, &args.job).await?;
    let film = MeasuredFilm::of_shards(&shards).map_err(|error| CliError::Nonsense {
        what: format!("a comparison that can't be read ({error})"),
    })?;
    if let Some(path) = &args.svg {
        std::fs::write(path, measured::svg(&film)).map_err(|error| CliError::Local {
            what: format!("{} can't be written", path.display()),
            cause: os_reason(&error),
            hint: "choose another file for --svg".into(),
        })?;
    }
    match output {
        Output::Json => print_document(&film, output),
        Output::Table => print(&measured::table(&film)),
    }
}

/// Has the output compared, and waits for what comes of it.
async fn measure(client: &mut Client, job: &str) -> Result<String, CliError> {
    let named = JobRef { job: job.into() };
    let mut told = None;
    let mut begun = 1;
    let mut answer = begin(client, &named).await?;
    loop {
        match answer.state.as_str() {
            "measured" => return Ok(answer.shards),
            "measuring" => {}
            // Forgotten meanwhile, as by a cluster that was restored.
            "not-measured" if begun < MEASURE_TRIES => {
                begun += 1;
                tokio::time::sleep(MEASURE_LOOK).await;
                answer = begin(client, &named).await?;
                continue;
            }
            state => return Err(unmeasured(job, state, answer.problem)),
        }
        let MeasureResponse { done, total, .. } = answer;
        if told != Some(done) {
            eprint(&format!(
                "compares the output with its source: {done} of {total} parts\n"
            ));
            told = Some(done);
        }
        tokio::time::sleep(MEASURE_LOOK).await;
        answer = client
            .call(named.clone(), async |mut jobs, request| {
                jobs.measured(request).await
            })
            .await?;
    }
}

fn unmeasured(job: &str, state: &str, problem: Option<Problem>) -> CliError {
    let Problem { kind, cause, hint } = problem.unwrap_or_else(|| Problem {
        kind: "not-measured".into(),
        cause: format!("the node says no more than {state}"),
        hint: "ask again".into(),
    });
    CliError::node(kind, format!("job {job} was not measured: {cause}"), hint)
}

/// Asks for it. A job that has just succeeded may need a moment.
async fn begin(client: &mut Client, named: &JobRef) -> Result<MeasureResponse, CliError> {
    let mut tries = 0;
    loop {
        let answer = client
            .call(named.clone(), async |mut jobs, request| {
                jobs.measure(request).await
            })
            .await;
        match answer {
            Err(CliError::Refused { problem, .. })
                if problem.kind == "not-settled" && tries < MEASURE_TRIES =>
            {
                tries += 1;
                tokio::time::sleep(MEASURE_LOOK).await;
            }
            answer => return answer,
        }
    }
}
