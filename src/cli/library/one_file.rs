//! One file from its folder to its output: found in the ledger or not, judged by
//! the rules, made by the cluster under its request id, fetched, written down.
//! Killed at any moment, the same call again goes on where this one was.

use std::{
    cell::RefCell,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message;
use reelraft_proto::v1::{Job, JobRef, JobState, Spec};

use crate::{
    client::Client,
    error::{CliError, os_reason},
    exit,
    job_end::outcome,
    library::{
        board::Seat,
        care::Care,
        ends::{Ended, Existing, Item, Redo, Scope, Target, scope_for},
        facts::Facts,
        ledger::{End, Ledger, Record, escaped},
        names::output_below,
        replace,
        rules::Rules,
        settle::is_written,
        stamp::{ledger_key, request_id},
        tally::FileEnd,
        walk::Walk,
    },
    limits::{FILE_NUMBERS_MAX, FILE_TURNS_MAX, REPLACE_SETTLE_MS},
    spec_options::SpecArgs,
    transfer::{
        fetch::fetch,
        follow::follow,
        output_file::{OutputFile, hint_for, unwritable},
        source::Source,
        submit::{Submission, Submitted, submit_opened},
    },
};

/// What is made of each file.
pub struct Plan {
    pub spec: SpecArgs,
    /// All of a submission but source, spec and request id.
    pub request: Submission,
    /// When each job is due, from its own beginning on.
    pub due_in: Option<Duration>,
    pub rules: Rules,
    pub care: Care,
    pub target: Target,
    pub walk: Walk,
    pub existing: Existing,
    /// Files that failed before are tried again.
    pub retry_failed: bool,
    pub redo: Redo,
    /// Jobs are deleted once their output is written.
    pub delete_jobs: bool,
}

/// A file that is to be done, or how it ended.
enum Opened {
    Source(Arc<Source>),
    Ended(Ended),
}

/// One file's names, all of which follow from it and the plan.
struct Names {
    key: String,
    /// The key that former versions gave its line.
    former_key: Option<String>,
    /// The spec, as it is part of the key.
    key_spec: Vec<u8>,
    spec: Spec,
    spec_bytes: Vec<u8>,
    container: String,
}

impl Plan {
    /// The container of a file's output.
    pub fn container(&self, item: &Item) -> String {
        match (&self.spec.container, &self.target) {
            (Some(container), _) => container.clone(),
            (None, Target::Folder(_)) => "mp4".to_string(),
            (None, Target::Source(_)) => replace::container_for(&item.film.below),
        }
    }

    fn names(&self, item: &Item) -> Result<Names, CliError> {
        let container = self.container(item);
        let mut spec = self
            .spec
            .to_wire(Some(Path::new(&format!("o.{container}"))))?;
        // That damage is refused changes no output: what is done stays done.
        let key_spec = spec.encode_to_vec();
        spec.strict |= self.care.undamaged;
        let film = &item.film;
        let key = |root| ledger_key(root, &film.below, &film.stamp, &key_spec);
        let with_root = key(Some(&film.root));
        // In place the ledger lies in the root, and moves with it.
        let (key, former_key) = match &self.target {
            Target::Folder(_) => (with_root, None),
            Target::Source(_) => (key(None), Some(with_root)),
        };
        Ok(Names {
            key,
            former_key,
            spec_bytes: spec.encode_to_vec(),
            key_spec,
            spec,
            container,
        })
    }

    /// Does one file.
    ///
    /// # Errors
    /// Why it could not be done; see [`scope_of`].
    pub async fn run(
        &self,
        client: &mut Client,
        ledger: &RefCell<Ledger>,
        item: &Item,
        seat: &Seat,
    ) -> Result<Ended, CliError> {
        let names = self.names(item)?;
        let former = names.former_key.as_deref();
        let known = ledger.borrow_mut().find_or_adopt(&names.key, former)?;
        if let Some(ended) = self.known_end(known.as_ref(), item)? {
            return Ok(ended);
        }
        let source = match &item.url {
            Some(_) => None,
            None => match self.source(item)? {
                Opened::Source(source) => Some(source),
                Opened::Ended(ended) => return Ok(ended),
            },
        };
        let record = Record {
            key: names.key.clone(),
            file: escaped(&item.film.below),
            strict: names.spec.strict,
            ..Record::default()
        };
        let out = match self.output(ledger, &record, item, &names)? {
            Some(out) => out,
            None => return Ok(Ended::skipped("its output is there")),
        };
        let ended = self
            .make(client, ledger, item, (&names, &record, out), source, seat)
            .await;
        if let Err(error) = &ended
            && scope_for(error, &self.target) == Scope::File
            && matches!(error.exit_code(), exit::JOB_FAILED)
        {
            let why = error.to_string();
            let end = End::Failed;
            ledger.borrow_mut().write(Record { end, why, ..record })?;
        }
        ended
    }

    /// What the ledger says of a file; none if it is to be done.
    fn known_end(&self, known: Option<&Record>, item: &Item) -> Result<Option<Ended>, CliError> {
        let Some(record) = known else { return Ok(None) };
        let ended = match record.end {
            End::Began => return Ok(None),
            End::Made => Ended::skipped("it was made by this command"),
            End::Done => match &self.target {
                Target::Source(keep) => {
                    replace::finish(&item.film, record, *keep)?;
                    Ended::before()
                }
                Target::Folder(folder) => {
                    let out = folder.join(record.out_path());
                    let gone = std::fs::symlink_metadata(out).is_err();
                    let back = record.source != item.film.stamp.text();
                    match self.redo {
                        Redo::OutputGone if gone => return Ok(None),
                        Redo::BackAndOutputGone { .. } if gone && back => return Ok(None),
                        Redo::BackAndOutputGone { deleted: true } if gone => {
                            Ended::skipped("its output is gone, and the source is not deleted")
                        }
                        Redo::BackAndOutputGone { .. } if back && !self.is_done(item, record) => {
                            Ended::skipped("another film came back under its name")
                        }
                        _ if self.care.undamaged && !self.spec.strict && !record.strict => {
                            Ended::skipped(
                                "it was done when nobody asked whether it is damaged, so that it \
                                 stays (--allow-damaged takes it as done)",
                            )
                        }
                        _ => Ended::before(),
                    }
                }
            },
            End::Larger if self.rules.keeps(record.bytes_in, record.bytes_out) => return Ok(None),
            End::Larger => Ended::skipped("its output is not small enough"),
            End::LeftOut if !self.care.whole => return Ok(None),
            End::LeftOut => Ended::skipped(record.why.clone()),
            End::Failed if self.retry_failed => return Ok(None),
            // Damage may have been why, and is no reason any more.
            End::Failed if record.strict && !self.is_strict() => return Ok(None),
            End::Failed => {
                let why = format!("{} (before; --retry-failed tries again)", record.why);
                Ended {
                    end: FileEnd::Failed { why },
                    out: None,
                    job: None,
                }
            }
        };
        Ok(Some(ended))
    }

    /// Whether jobs are to fail for damage.
    fn is_strict(&self) -> bool {
        self.spec.strict || self.care.undamaged
    }

    /// Whether a film that came back begins and ends as the one that was done.
    fn is_done(&self, item: &Item, record: &Record) -> bool {
        let file = self.walk.open(&item.film).ok();
        let source = file.and_then(|file| Source::of(&item.film.path(), file).ok());
        source.is_some_and(|source| source.fingerprint == record.fingerprint)
    }

    /// Opens a film and judges it by the rules; how it ended, if it is not to be
    /// done.
    fn source(&self, item: &Item) -> Result<Opened, CliError> {
        let film = &item.film;
        let path = film.path();
        if let Target::Source(keep) = self.target
            && let Some(why) = replace::unfit(film, keep)
        {
            return Ok(Opened::Ended(Ended::skipped(why)));
        }
        let unfit = |error: std::io::Error| CliError::SourceUnfit {
            path: path.clone(),
            cause: os_reason(&error),
            hint: "check the file, and that you may read it".into(),
        };
        let judge = |file: &File| match self.rules.need_facts() {
            true => Facts::of(file).map_err(unfit),
            false => Ok(Facts::default()),
        };
        if item.named && !matches!(self.target, Target::Source(_)) {
            let source = Source::open(&path)?;
            let facts = judge(source.file())?;
            return Ok(match self.rules.skip(source.bytes, &facts) {
                Some(why) => Opened::Ended(Ended::skipped(why)),
                None => Opened::Source(Arc::new(source)),
            });
        }
        let file = match self.walk.open(film) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !item.named => {
                return Ok(Opened::Ended(Ended {
                    end: FileEnd::Gone,
                    out: None,
                    job: None,
                }));
            }
            opened => opened.map_err(unfit)?,
        };
        if matches!(self.target, Target::Source(_))
            && let Some(why) = unsettled(&file)
        {
            return Ok(Opened::Ended(Ended::skipped(why)));
        }
        let facts = judge(&file)?;
        if let Some(why) = self.rules.skip(film.stamp.bytes, &facts) {
            return Ok(Opened::Ended(Ended::skipped(why)));
        }
        Source::of(&path, file).map(|source| Opened::Source(Arc::new(source)))
    }

    /// The file to write; none if such files are to be left.
    fn output(
        &self,
        ledger: &RefCell<Ledger>,
        record: &Record,
        item: &Item,
        names: &Names,
    ) -> Result<Option<PathBuf>, CliError> {
        let below = |turn| output_below(&item.film.below, Some(&names.container), turn);
        let Target::Folder(folder) = &self.target else {
            return Ok(Some(replace::beside(&item.film, &names.container)));
        };
        let there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
        let turns = if self.existing == Existing::Number {
            FILE_NUMBERS_MAX
        } else {
            1
        };
        let given = match self.existing {
            Existing::Overwrite => below(0),
            _ => {
                let mut ledger = ledger.borrow_mut();
                let own = ledger
                    .find(&record.key)?
                    .is_some_and(|known| !known.out.is_empty());
                if self.existing == Existing::Skip && !own && there(&folder.join(below(0))) {
                    return Ok(None);
                }
                let choices: Vec<PathBuf> = (0..turns).map(below).collect();
                ledger.reserve(record.clone(), &choices, there)?
            }
        };
        let out = folder.join(given);
        let parent = out.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .map_err(|error| unwritable(parent, &os_reason(&error), hint_for(&error)))?;
        Ok(Some(out))
    }

    /// Has it made, fetches it, and writes down that it is done.
    async fn make(
        &self,
        client: &mut Client,
        ledger: &RefCell<Ledger>,
        item: &Item,
        (names, record, out): (&Names, &Record, PathBuf),
        source: Option<Arc<Source>>,
        seat: &Seat,
    ) -> Result<Ended, CliError> {
        let overwrite =
            self.existing == Existing::Overwrite || matches!(self.target, Target::Source(_));
        let origin = source.as_ref().map(|source| source.path.as_path());
        let file = OutputFile::check(&out, overwrite, origin, client.screen())?;
        let job = self.job(client, item, names, source.clone(), seat).await?;
        outcome(&job)?;
        let bytes_in = match item.url {
            Some(_) => job.source_bytes,
            None => item.film.stamp.bytes,
        };
        let record = Record {
            request: job.request_id.clone(),
            job: job.id.clone(),
            bytes_in,
            bytes_out: job.output_bytes,
            ..record.clone()
        };
        if let Some((end, why)) = self.not_kept(bytes_in, &job) {
            let left = Ended::skipped(why.clone());
            ledger.borrow_mut().write(Record { end, why, ..record })?;
            self.forget(client, &job).await;
            return Ok(left);
        }
        fetch(client, &job, file).await?;
        let out = match (&self.target, source) {
            (Target::Source(keep), Some(source)) => {
                let made = replace::Made {
                    film: &item.film,
                    source: &source,
                    new: &out,
                    container: &names.container,
                    spec: &names.key_spec,
                };
                made.replace(*keep, record, ledger)?
            }
            (Target::Folder(folder), source) => {
                let below = out.strip_prefix(folder).unwrap_or(&out);
                ledger.borrow_mut().write(Record {
                    end: End::Done,
                    out: escaped(below),
                    ..of_source(record, item, source.as_deref())
                })?;
                out
            }
            (Target::Source(_), None) => {
                let hint = "give URLs with --to, and --replace with files";
                return Err(CliError::usage("a URL can't be replaced in place", hint));
            }
        };
        self.forget(client, &job).await;
        Ok(Ended {
            end: FileEnd::Done {
                bytes_in,
                bytes_out: job.output_bytes,
            },
            out: Some(out),
            job: Some(Box::new(job)),
        })
    }

    /// Why an output is not kept, if so.
    fn not_kept(&self, bytes_in: u64, job: &Job) -> Option<(End, String)> {
        if !self.rules.keeps(bytes_in, job.output_bytes) {
            return Some((End::Larger, "its output is not small enough".into()));
        }
        let why = self.care.lacks(job)?;
        Some((End::LeftOut, why))
    }

    /// Submits the file under its request id and follows its job to the end.
    async fn job(
        &self,
        client: &mut Client,
        item: &Item,
        names: &Names,
        source: Option<Arc<Source>>,
        seat: &Seat,
    ) -> Result<Job, CliError> {
        let film = &item.film;
        let content = match (&source, &item.url) {
            (Some(source), _) => source.fingerprint.clone(),
            (None, url) => url.clone().unwrap_or_default(),
        };
        let mut last = None;
        for turn in 0..FILE_TURNS_MAX {
            let id = request_id(&film.below, &film.stamp, &content, &names.spec_bytes, turn);
            let submission = Submission {
                source: item.url.as_ref().map_or_else(|| film.path(), PathBuf::from),
                spec: names.spec.clone(),
                request_id: id,
                deadline_unix_ms: self.due_in.map_or(self.request.deadline_unix_ms, from_now),
                ..self.request.clone()
            };
            match submit_opened(client, submission, source.clone(), |_| Ok(())).await {
                Ok(Submitted { job, existed }) => {
                    let ended_badly = matches!(job.state(), JobState::Failed | JobState::Cancelled);
                    if existed && ended_badly && self.retry_failed {
                        last = Some(CliError::JobCancelled { job: job.id });
                        continue;
                    }
                    seat.see(&job);
                    return follow(client, &job.id, |event| {
                        event.job.iter().for_each(|job| seat.see(job));
                        Ok(())
                    })
                    .await;
                }
                Err(error @ CliError::JobDeleted { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(CliError::Nonsense {
            what: "no job of any turn".into(),
        }))
    }

    /// Deletes a job that is of no more use, if wanted. What keeps it costs room on
    /// the nodes and nothing else.
    async fn forget(&self, client: &mut Client, job: &Job) {
        if !self.delete_jobs {
            return;
        }
        let reference = JobRef {
            job: job.id.clone(),
        };
        let deleted = client
            .call(reference, async |mut jobs, request| {
                jobs.delete(request).await
            })
            .await;
        if let Err(error) = deleted {
            let notice = format!("job {} could not be deleted: {error}", job.id);
            client.screen().notice(&notice);
        }
    }
}

/// A record that knows its film again, should one come back under its name.
fn of_source(record: Record, item: &Item, source: Option<&Source>) -> Record {
    match source {
        Some(source) => Record {
            source: item.film.stamp.text(),
            fingerprint: source.fingerprint.clone(),
            ..record
        },
        None => record,
    }
}

/// Why a film is left that may still be written; none if nobody seems to.
fn unsettled(file: &File) -> Option<&'static str> {
    if is_written(file) == Some(true) {
        return Some("somebody has it open to write it");
    }
    let modified = file.metadata().and_then(|found| found.modified()).ok()?;
    // A clock of another machine may be a little ahead.
    let age = match SystemTime::now().duration_since(modified) {
        Ok(age) => age,
        Err(ahead) => ahead.duration(),
    };
    (age < Duration::from_millis(REPLACE_SETTLE_MS)).then_some("it was written just now")
}

fn from_now(time: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.unwrap_or_default() + time).as_millis() as u64
}
