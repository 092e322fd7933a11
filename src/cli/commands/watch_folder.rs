//! `reelraft watch-folder DIR --to DIR`: transcodes what is put into a folder, each
//! file once, for as long as it runs. What it knows is on disk: the ledger beside
//! the outputs, and the cluster's jobs by their request ids. Ended at any moment
//! and started again, here or on another machine, it goes on.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use futures::{StreamExt, stream::FuturesUnordered};
use reelraft_proto::v1::Spec;

use crate::{
    client::Client,
    commands::{
        duration::duration,
        library_options::{LibraryArgs, folder},
        many::{document, done_lines},
        request_options::RequestArgs,
    },
    error::{CliError, os_reason},
    exit,
    library::{
        board::Board,
        ends::{Ended, Existing, Item, Redo, Scope, Target, scope_of},
        ledger::Ledger,
        moves::{After, after},
        one_file::Plan,
        settle::{Settling, is_written},
        tally::{FileEnd, Tally},
        walk::Found,
    },
    limits::SCAN_MS_MIN,
    render::{Output, json, screen::print},
    spec_options::SpecArgs,
    transfer::{local_files::FileId, on_thread::on_thread},
};

/// Arguments of `watch-folder`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft watch-folder in --to out --codec hevc --preset medium
  reelraft watch-folder in --to out --done move=in/done --failed move=in/failed
  reelraft watch-folder in --to out --once      # what is there now, then end

A file is taken when its size and time have not changed for --settle and, where that
can be told, nobody has it open for writing. Hidden files and partial ones (.part,
.tmp and the like) are passed over, and so are links. Files keep their folders and
names; an output whose name is taken gets a number.")]
pub struct WatchFolderArgs {
    /// The folder to watch, with all folders in it
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The folder for the outputs; it also keeps the list of what is done
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// What becomes of a source that is done: leave, delete or move=DIR
    #[arg(long, value_name = "WHAT", default_value = "leave", value_parser = after)]
    pub done: After,
    /// What becomes of a source whose job failed: leave or move=DIR. Left, it is not
    /// tried again until it changes
    #[arg(long, value_name = "WHAT", default_value = "leave", value_parser = after)]
    pub failed: After,
    /// How long a file must not have changed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub settle: Duration,
    /// How often the folder is looked through
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub scan_every: Duration,
    /// End when all that is there is done
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub library: LibraryArgs,
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub request: RequestArgs,
}

impl WatchFolderArgs {
    /// Refuses what can't be done, whatever is on the disk.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn check(&self) -> Result<(), CliError> {
        if self.request.request_id.is_some() || self.request.output_url.is_some() {
            return Err(CliError::usage(
                "one --request-id or --output-url for many outputs",
                "leave it out: each file has a request of its own",
            ));
        }
        if self.failed == After::Delete {
            let hint = "use leave or move=DIR";
            return Err(CliError::usage("a source that failed is not deleted", hint));
        }
        self.spec.to_wire(None).map(drop)
    }
}

/// Runs `watch-folder`.
///
/// # Errors
/// What keeps all files from being done; with `--once` also
/// [`CliError::FilesFailed`].
pub async fn run(
    client: &mut Client,
    args: WatchFolderArgs,
    output: Output,
) -> Result<(), CliError> {
    let watch = Watch::new(client, args, output)?;
    let screen = client.screen().clone();
    let root = watch.root.display();
    screen.notice(&format!(
        "watching {root}; outputs go to {}",
        watch.to.display()
    ));
    screen.on_interrupt("the jobs continue; the same command goes on where this stopped");
    watch.run().await?;
    screen.clear();
    let tally = watch.tally.borrow();
    tally.lines().iter().for_each(|line| screen.notice(line));
    match (tally.failed(), tally.all()) {
        (0, _) => Ok(()),
        (failed, all) => Err(CliError::FilesFailed { failed, all }),
    }
}

struct Watch<'a> {
    client: &'a Client,
    root: PathBuf,
    to: PathBuf,
    done: After,
    failed: After,
    once: bool,
    at_once: usize,
    scan_every: Duration,
    plan: Plan,
    ledger: RefCell<Ledger>,
    settling: RefCell<Settling>,
    board: Rc<Board>,
    tally: RefCell<Tally>,
    /// Folders that can't be read: each is said once.
    unread: RefCell<BTreeSet<PathBuf>>,
    output: Output,
}

/// A film and how it ended.
type End = (Found, Result<Ended, CliError>);

impl<'a> Watch<'a> {
    fn new(client: &'a Client, args: WatchFolderArgs, output: Output) -> Result<Self, CliError> {
        args.check()?;
        let (root, to) = (folder(&args.folder)?, folder(&args.to)?);
        let (done, failed) = (made(args.done)?, made(args.failed)?);
        let mut walk = args.library.walk(true);
        for place in [Some(&to), moved_to(&done), moved_to(&failed)]
            .into_iter()
            .flatten()
        {
            if *place == root {
                return Err(CliError::usage(
                    format!("{} is the watched folder itself", place.display()),
                    "give a folder beside it, or one in it",
                ));
            }
            walk.left_out.extend(FileId::at(place).ok());
        }
        let redo = match done {
            After::Leave => Redo::Never,
            After::Delete => Redo::BackAndOutputGone { deleted: true },
            After::MoveTo(_) => Redo::BackAndOutputGone { deleted: false },
        };
        Ok(Watch {
            client,
            plan: Plan {
                request: args.request.submission(PathBuf::new(), Spec::default()),
                due_in: args.request.deadline,
                rules: args.library.rules(),
                care: args.library.care(done != After::Leave),
                walk,
                existing: Existing::Number,
                retry_failed: args.library.retry_failed,
                redo,
                delete_jobs: args.library.delete_jobs,
                spec: args.spec,
                target: Target::Folder(to.clone()),
            },
            ledger: RefCell::new(Ledger::open(&to)?),
            settling: RefCell::new(Settling::new(args.settle)),
            board: Board::new(client.screen().clone(), false),
            tally: RefCell::default(),
            unread: RefCell::default(),
            root,
            to,
            done,
            failed,
            once: args.once,
            at_once: args.library.at_once.into(),
            scan_every: args.scan_every.max(Duration::from_millis(SCAN_MS_MIN)),
            output,
        })
    }

    /// Looks through the folder and does what is ready, until there is no more to
    /// do, if it is to end then.
    async fn run(&self) -> Result<(), CliError> {
        let mut running = FuturesUnordered::new();
        let mut scan = tokio::time::interval(self.scan_every);
        scan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((film, end)) = running.next(), if !running.is_empty() => {
                    self.take_end(&film, end).await?;
                }
                _ = scan.tick() => {
                    let free = self.at_once.saturating_sub(running.len());
                    for film in self.scan().await?.into_iter().take(free) {
                        self.settling.borrow_mut().begin(&film);
                        self.board.expect(1, film.stamp.bytes);
                        running.push(self.one(film));
                    }
                    if self.once && running.is_empty() && self.settling.borrow().open() == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The films that may be taken now.
    async fn scan(&self) -> Result<Vec<Found>, CliError> {
        let (walk, root) = (self.plan.walk.clone(), self.root.clone());
        let seen = on_thread("looking through the folder", move || walk.films(&root)).await?;
        let seen = match seen {
            Ok(seen) => seen,
            // A disk that is away for a while: nothing is forgotten meanwhile.
            Err(error) => {
                self.say_unread(&self.root, &os_reason(&error));
                return Ok(Vec::new());
            }
        };
        for (path, why) in &seen.unread {
            self.say_unread(path, why);
        }
        let now = Instant::now();
        let mut settling = self.settling.borrow_mut();
        settling.see(now, &seen.films);
        let mut ready = settling.ready(now, &seen.films);
        ready.retain(|film| {
            let opened = self.plan.walk.open(film);
            !opened.is_ok_and(|file| is_written(&file) == Some(true))
        });
        Ok(ready)
    }

    fn say_unread(&self, path: &Path, why: &str) {
        if self.unread.borrow_mut().insert(path.to_path_buf()) {
            let notice = format!("can't look through {}: {why}", path.display());
            self.client.screen().notice(&notice);
        }
    }

    async fn one(&self, film: Found) -> End {
        let seat = self.board.sit(film.stamp.bytes);
        let mut client = self.client.beside(seat.screen.clone());
        client.follow_job();
        let item = Item::found(film.clone());
        let end = self.plan.run(&mut client, &self.ledger, &item, &seat).await;
        (film, end)
    }

    /// Does with a source what is to be done, and writes nothing down: that was
    /// done before. Killed here, the next run finds the file done and comes here
    /// again.
    async fn take_end(&self, film: &Found, end: Result<Ended, CliError>) -> Result<(), CliError> {
        let (ended, after) = match end {
            Ok(ended) => {
                let after = match &ended.end {
                    FileEnd::Done { .. } | FileEnd::Before => Some(&self.done),
                    FileEnd::Failed { .. } => Some(&self.failed),
                    FileEnd::Skipped { .. } | FileEnd::Gone => None,
                };
                (ended, after)
            }
            Err(error) if error.exit_code() == exit::JOB_FAILED => {
                let why = error.to_string();
                let end = FileEnd::Failed { why };
                let (out, job) = (None, None);
                (Ended { end, out, job }, Some(&self.failed))
            }
            Err(error) => return self.try_again(film, error),
        };
        if let Some(after) = after.filter(|after| **after != After::Leave).cloned() {
            let (walk, source) = (self.plan.walk.clone(), film.clone());
            let moving = move || after.apply(&walk, &source);
            let moved = on_thread("moving the source", moving).await?;
            if let Err(error) = moved {
                self.tell(film, &ended)?;
                return self.try_again(film, error);
            }
        }
        self.settling.borrow_mut().end(film);
        self.tell(film, &ended)
    }

    /// A file that could not be read, sent or written may be later.
    fn try_again(&self, film: &Found, error: CliError) -> Result<(), CliError> {
        let waits = error.exit_code() == exit::UNREACHABLE || scope_of(&error) == Scope::Room;
        if !waits && scope_of(&error) == Scope::All {
            return Err(error);
        }
        if self.once && !waits {
            let why = error.to_string();
            let end = FileEnd::Failed { why };
            self.settling.borrow_mut().end(film);
            let (out, job) = (None, None);
            return self.tell(film, &Ended { end, out, job });
        }
        let first = self.settling.borrow_mut().pause(Instant::now(), film);
        if first {
            let name = film.below.display();
            let notice = format!("{name} is tried again later: {error}");
            self.client.screen().notice(&notice);
        }
        Ok(())
    }

    fn tell(&self, film: &Found, ended: &Ended) -> Result<(), CliError> {
        let name = film.path();
        let mut tally = self.tally.borrow_mut();
        tally.add(name.display().to_string(), &ended.end);
        match (self.output, &ended.end) {
            (Output::Json, _) => print(&json::line(&document(&name, ended))),
            (Output::Table, FileEnd::Before | FileEnd::Gone) => Ok(()),
            (Output::Table, _) => {
                let screen = self.client.screen();
                done_lines(&name, ended)
                    .iter()
                    .for_each(|line| screen.notice(line));
                Ok(())
            }
        }
    }
}

/// Makes the folder that sources are moved to.
fn made(after: After) -> Result<After, CliError> {
    let After::MoveTo(place) = after else {
        return Ok(after);
    };
    let failed = |error: std::io::Error| {
        let cause = format!("{} can't be made: {}", place.display(), os_reason(&error));
        CliError::usage(cause, "name a folder that you may write to")
    };
    std::fs::create_dir_all(&place).map_err(failed)?;
    Ok(After::MoveTo(folder(&place)?))
}

/// The folder that sources are moved to.
pub fn moved_to(after: &After) -> Option<&PathBuf> {
    match after {
        After::MoveTo(place) => Some(place),
        After::Leave | After::Delete => None,
    }
}
