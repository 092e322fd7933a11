//! `reelraft job …`: one function for each subcommand. How answers look is
//! decided in [`crate::render`].

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use reelraft_proto::v1::{GetRequest, Job, JobRef, JobState, ListRequest, Task, TasksRequest};

use crate::{
    client::Client,
    error::{CliError, problem_of},
    fetch::{Target, fetch},
    limits::PAGE_ROWS,
    progress::job_line,
    render::{Output, json, table},
    screen::print,
    spec::SpecArgs,
    submit::{RequestArgs, Submitted, submit},
    watch,
    words::{shell_quoted, size, time_limit},
};

/// The subcommands of `job`.
#[derive(Subcommand, Clone, Debug)]
pub enum JobCommand {
    /// Upload a video and make a job of it; prints the job's id
    Submit(Box<SubmitArgs>),
    /// List jobs, newest first
    List(ListArgs),
    /// Show one job, or the reference command its output is held against
    Show(ShowArgs),
    /// Follow a job, a line for each change, until it has ended
    Watch(JobArgs),
    /// Wait until a job has ended
    Wait(WaitArgs),
    /// Stop a job for good
    Cancel(JobArgs),
    /// Fetch a finished job's output; goes on with a partial file
    Fetch(FetchArgs),
    /// Show the proof of a finished job: every frame once, by count and hash
    Proof(JobArgs),
    /// List a job's tasks, its shards above all: state, node, attempt, times, bytes, hash
    #[command(visible_alias = "shards")]
    Tasks(JobArgs),
    /// Delete a job and its bytes; one that still runs is stopped first
    Delete(JobArgs),
}

/// Arguments of `job submit`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft job submit film.mov --width 1280
  id=$(reelraft job submit film.mov --container mkv --detach)
  reelraft job submit film.mov --request-id film-v1      # safe to repeat")]
pub struct SubmitArgs {
    /// The video to read
    #[arg(value_name = "IN")]
    pub source: PathBuf,
    /// Return as soon as the cluster has the whole file
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    /// What the output shall be.
    pub spec: SpecArgs,
    #[command(flatten)]
    /// Whose job it is.
    pub request: RequestArgs,
}

/// Arguments of `job list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft job list
  reelraft job list --tenant default --all -o json")]
pub struct ListArgs {
    /// Only this tenant's jobs
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Jobs on this page
    #[arg(long, value_name = "ROWS", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Go on after an earlier page, by the token it ended with
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    pub page_token: Option<String>,
    /// All pages at once
    #[arg(long)]
    pub all: bool,
    /// As one node knows them, however old: needs no quorum
    #[arg(long)]
    pub local: bool,
}

/// Arguments of `job show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// The one ffmpeg command whose frames and times the output must have
    #[arg(long)]
    pub reference: bool,
    /// As one node knows it, however old: needs no quorum
    #[arg(long)]
    pub local: bool,
}

/// A job by its id.
#[derive(Args, Clone, Debug)]
pub struct JobArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
}

/// Arguments of `job wait`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 the job succeeded, 5 it failed or was cancelled, 6 the time is up.

Example:
  reelraft job wait ID --timeout 5m && reelraft job fetch ID out.mp4")]
pub struct WaitArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Longest wait, such as 90s, 5m or 2h [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub timeout: Option<Duration>,
}

/// Arguments of `job fetch`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The bytes go to OUT.part, are verified as a whole, and only then become OUT.
After an interruption the same command goes on where it stopped.")]
pub struct FetchArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
}

/// Runs one `job` subcommand.
///
/// # Errors
/// The node's refusal, the job's own failure, or a local one.
pub async fn run(client: &mut Client, command: JobCommand, output: Output) -> Result<(), CliError> {
    match command {
        JobCommand::Submit(args) => submit_job(client, *args, output).await,
        JobCommand::List(args) => list(client, args, output).await,
        JobCommand::Show(args) if args.reference => reference(client, args.job, output).await,
        JobCommand::Show(args) => show(&get(client, &args.job, args.local).await?, output),
        JobCommand::Watch(args) => watch_job(client, &args.job, output).await,
        JobCommand::Wait(args) => wait(client, args, output).await,
        JobCommand::Cancel(JobArgs { job }) => {
            let answer = client
                .call(JobRef { job }, async |mut jobs, request| {
                    jobs.cancel(request).await
                })
                .await?;
            show(&answer, output)
        }
        JobCommand::Delete(JobArgs { job }) => {
            let answer = client
                .call(JobRef { job }, async |mut jobs, request| {
                    jobs.delete(request).await
                })
                .await?;
            show(&answer, output)
        }
        JobCommand::Fetch(args) => fetch_job(client, args, output).await,
        JobCommand::Proof(args) => proof(client, args.job, output).await,
        JobCommand::Tasks(args) => tasks(client, args.job, output).await,
    }
}

async fn get(client: &mut Client, job: &str, local: bool) -> Result<Job, CliError> {
    let request = GetRequest {
        job: job.to_string(),
        local,
    };
    client
        .call(request, async |mut jobs, request| jobs.get(request).await)
        .await
}

/// A job to fetch from. A finished output can be read from a living home
/// without a quorum, so a node's own replica will do where there is none.
async fn get_to_fetch(client: &mut Client, job: &str) -> Result<Job, CliError> {
    let request = GetRequest {
        job: job.to_string(),
        local: false,
    };
    client
        .call(request, async |mut jobs, request| {
            let refused = match jobs.get(request).await {
                Err(status) if problem_of(&status).kind == "no-leader" => status,
                answer => return answer,
            };
            let own = GetRequest {
                job: job.to_string(),
                local: true,
            };
            match jobs.get(own).await {
                Ok(job) if job.get_ref().state() == JobState::Succeeded => Ok(job),
                _ => Err(refused),
            }
        })
        .await
}

fn show(job: &Job, output: Output) -> Result<(), CliError> {
    print(&match output {
        Output::Json => json::line(&json::Job::from(job)),
        Output::Table => table::job(job),
    })
}

async fn submit_job(client: &mut Client, args: SubmitArgs, output: Output) -> Result<(), CliError> {
    let spec = args.spec.to_wire(None)?;
    let Submitted { job, existed } =
        submit(
            client,
            args.source,
            spec,
            &args.request,
            |job| match output {
                Output::Table => print(&format!("{}\n", job.id)),
                Output::Json => Ok(()),
            },
        )
        .await?;
    let id = job.id;
    client.screen().on_interrupt(format!(
        "the job goes on; come back with `reelraft job watch {id}`"
    ));
    let job = if args.detach {
        get(client, &id, false).await?
    } else {
        watch::follow_with_bar(client, &id).await?
    };
    if output == Output::Json {
        print(&json::line(&json::Submitted::new(&job, existed)))?;
    }
    if args.detach {
        return Ok(());
    }
    watch::outcome(&job)?;
    client.screen().notice(&format!(
        "job {id} succeeded: {}; get it with `reelraft job fetch {id} OUT`",
        size(job.output_bytes)
    ));
    Ok(())
}

async fn list(client: &mut Client, args: ListArgs, output: Output) -> Result<(), CliError> {
    let mut request = ListRequest {
        tenant: args.tenant.unwrap_or_default(),
        page_size: if args.all { PAGE_ROWS } else { args.limit },
        page_token: args.page_token.unwrap_or_default(),
        local: args.local,
    };
    let mut rows: Vec<Job> = Vec::new();
    let token = loop {
        let page = client
            .call(request.clone(), async |mut jobs, request| {
                jobs.list(request).await
            })
            .await?;
        rows.extend(page.jobs);
        if !args.all || page.next_page_token.is_empty() {
            break page.next_page_token;
        }
        forward(&request.page_token, &page.next_page_token)?;
        request.page_token = page.next_page_token;
    };
    print(&match output {
        Output::Json => json::line(&json::JobList::new(&rows, &token)),
        Output::Table => table::jobs(&rows),
    })?;
    if output == Output::Table && !token.is_empty() {
        client.screen().notice(&format!(
            "there are more: --page-token {}, or --all",
            shell_quoted(&token)
        ));
    }
    Ok(())
}

/// A page token that stays the same would be asked for without end.
fn forward(before: &str, after: &str) -> Result<(), CliError> {
    if before == after {
        return Err(CliError::Nonsense {
            what: "a page that points to itself".into(),
        });
    }
    Ok(())
}

async fn reference(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let answer = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.reference(request).await
        })
        .await?;
    print(&match output {
        Output::Json => json::line(&json::Reference::from(&answer)),
        Output::Table => {
            let words: Vec<String> = answer.args.iter().map(|word| shell_quoted(word)).collect();
            format!("{}\n", words.join(" "))
        }
    })?;
    if output == Output::Table && !answer.note.is_empty() {
        client.screen().notice(&answer.note);
    }
    Ok(())
}

async fn watch_job(client: &mut Client, job: &str, output: Output) -> Result<(), CliError> {
    client
        .screen()
        .on_interrupt("the job goes on; the same command comes back to it");
    let mut last = String::new();
    let ended = watch::follow(client, job, |event| {
        let line = match (output, &event.job) {
            (Output::Json, _) => json::line(&json::Event::from(event)),
            (Output::Table, Some(job)) => format!("{}\n", job_line(job, 0, usize::MAX)),
            (Output::Table, None) => return Ok(()),
        };
        if line == last {
            return Ok(());
        }
        print(&line)?;
        last = line;
        Ok(())
    })
    .await?;
    watch::outcome(&ended)
}

async fn wait(client: &mut Client, args: WaitArgs, output: Output) -> Result<(), CliError> {
    client
        .screen()
        .on_interrupt("the job goes on; the same command comes back to it");
    let screen = client.screen().clone();
    let following = watch::follow_with_bar(client, &args.job);
    let job = match args.timeout {
        None => following.await?,
        Some(limit) => match tokio::time::timeout(limit, following).await {
            Ok(job) => job?,
            Err(_) => {
                screen.clear();
                return Err(CliError::TimedOut {
                    job: args.job,
                    after: format!("{limit:?}"),
                });
            }
        },
    };
    if output == Output::Json {
        print(&json::line(&json::Job::from(&job)))?;
    }
    watch::outcome(&job)
}

async fn fetch_job(client: &mut Client, args: FetchArgs, output: Output) -> Result<(), CliError> {
    let target = Target::open(&args.out)?;
    client
        .screen()
        .on_interrupt("the same command goes on where it stopped");
    let job = get_to_fetch(client, &args.job).await?;
    fetch(client, &job, target).await?;
    match output {
        Output::Json => print(&json::line(&json::Job::from(&job))),
        Output::Table => {
            client.screen().notice(&format!(
                "{} is fetched: {}, BLAKE3 {}",
                args.out.display(),
                size(job.output_bytes),
                job.output_hash
            ));
            Ok(())
        }
    }
}

async fn proof(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let answer = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.proof(request).await
        })
        .await?;
    let value: serde_json::Value =
        serde_json::from_str(&answer.json).map_err(|error| CliError::Nonsense {
            what: format!("a proof that is no JSON ({error})"),
        })?;
    print(&match output {
        Output::Json => json::line(&value),
        Output::Table => table::document(&value),
    })
}

async fn tasks(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let mut request = TasksRequest {
        job,
        page_size: PAGE_ROWS,
        page_token: String::new(),
    };
    let mut rows: Vec<Task> = Vec::new();
    loop {
        let page = client
            .call(request.clone(), async |mut jobs, request| {
                jobs.tasks(request).await
            })
            .await?;
        rows.extend(page.tasks);
        if page.next_page_token.is_empty() {
            break;
        }
        forward(&request.page_token, &page.next_page_token)?;
        request.page_token = page.next_page_token;
    }
    print(&match output {
        Output::Json => json::line(&json::TaskList::new(&rows)),
        Output::Table => table::tasks(&rows),
    })
}
