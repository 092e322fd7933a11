//! Many files of one command: gathered from files, folders and URLs, done a few
//! at a time under one bar, told at the end. One that fails holds up no other.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, stream};
use reelraft_proto::documents;

use crate::{
    client::Client,
    error::{CliError, os_reason},
    library::{
        board::Board,
        ends::{Ended, Existing, Item, Scope, Target, scope_for, scope_of},
        ledger::{Ledger, escaped},
        names::output_below,
        one_file::Plan,
        replace,
        stamp::Stamp,
        tally::{BEFORE, FileEnd, Tally},
        walk::Found,
    },
    limits::ROOM_PAUSE_MS,
    render::{
        Output,
        format::counted,
        json::{self, FileDocument},
        progress::summary,
        screen::print,
    },
    transfer::{local_files::FileId, submit::as_url},
};

/// The files of a command line.
#[derive(Debug, Default)]
pub struct Gathered {
    pub items: Vec<Item>,
    /// Files of folders whose names are no film's or sound's.
    pub passed_over: u64,
    /// Folders in folders that can't be read.
    unread: Vec<(Item, CliError)>,
}

/// Does all files that `sources` stand for.
///
/// # Errors
/// [`CliError::FilesFailed`] if some failed, or what keeps all from being done.
pub async fn run(
    client: &mut Client,
    plan: Plan,
    sources: &[PathBuf],
    at_once: u16,
    output: Output,
) -> Result<(), CliError> {
    let mut plan = plan;
    if let Target::Folder(folder) = &plan.target {
        plan.walk.left_out.extend(FileId::at(folder).ok());
    }
    let screen = client.screen().clone();
    screen.on_interrupt("the jobs continue; the same command goes on where this stopped");
    let Gathered {
        items,
        passed_over,
        unread,
    } = gather(&plan, sources)?;
    if passed_over > 0 {
        let files = counted(passed_over, "file");
        let whose = plan.walk.takes.whose();
        screen.notice(&format!("passed over {files} without {whose} ending"));
    }
    let ledgers = ledgers(&plan, &items, &|text| screen.notice(text))?;
    let board = Board::new(screen.clone(), true);
    let bytes = items.iter().map(|item| item.film.stamp.bytes).sum();
    board.expect(items.len() as u64, bytes);
    let tally = RefCell::new(Tally::default());
    let clashes = clashes(&plan, &items);
    let many = Many {
        client,
        plan: &plan,
        board,
        output,
    };
    let (many, tally, ledgers, clashes) = (&many, &tally, &ledgers, &clashes);
    let mut running = stream::iter(items)
        .map(|item| async move {
            let end = match clashes.get(&item.film.path()) {
                Some(error) => Err(clash(error)),
                None => many.one(&item, &ledgers[home(many.plan, &item)]).await,
            };
            many.tell(&item, end, tally)
        })
        .buffer_unordered(at_once.into());
    let mut first = None;
    for (folder, error) in unread {
        if let Some(error) = many.tell(&folder, Err(error), tally)? {
            first.get_or_insert(error);
        }
    }
    while let Some(end) = running.next().await {
        if let Some(error) = end? {
            first.get_or_insert(error);
        }
    }
    drop(running);
    screen.clear();
    let tally = tally.borrow();
    tally.lines().iter().for_each(|line| screen.notice(line));
    match (first, tally.failed(), tally.all()) {
        (None, ..) => Ok(()),
        (Some(error), 1, 1) => Err(error),
        (Some(_), failed, all) => Err(CliError::FilesFailed { failed, all }),
    }
}

struct Many<'a> {
    client: &'a Client,
    plan: &'a Plan,
    board: Rc<Board>,
    output: Output,
}

impl Many<'_> {
    /// Does one file; waits where the cluster has no room for it.
    async fn one(&self, item: &Item, ledger: &RefCell<Ledger>) -> Result<Ended, CliError> {
        let seat = self.board.sit(item.film.stamp.bytes);
        let mut client = self.client.beside(seat.screen.clone());
        client.follow_job();
        loop {
            let end = self.plan.run(&mut client, ledger, item, &seat).await;
            match end {
                Err(error) if scope_of(&error) == Scope::Room => {
                    seat.screen.notice(&format!("waiting for room: {error}"));
                    tokio::time::sleep(Duration::from_millis(ROOM_PAUSE_MS)).await;
                }
                end => return end,
            }
        }
    }

    /// Says and counts how a file ended; returns its failure, if it is one of this
    /// file alone.
    fn tell(
        &self,
        item: &Item,
        end: Result<Ended, CliError>,
        tally: &RefCell<Tally>,
    ) -> Result<Option<CliError>, CliError> {
        let name = item.name();
        let (ended, failure) = match end {
            Ok(ended) => (ended, None),
            Err(error) if scope_for(&error, &self.plan.target) == Scope::All => {
                return Err(error);
            }
            Err(error) => {
                let why = error.to_string();
                let ended = Ended {
                    end: FileEnd::Failed { why },
                    out: None,
                    job: None,
                };
                (ended, Some(error))
            }
        };
        let failure = match (&ended.end, failure) {
            (FileEnd::Failed { why }, None) => Some(CliError::FileFailedBefore {
                path: name.clone(),
                why: why.clone(),
            }),
            (_, failure) => failure,
        };
        tally
            .borrow_mut()
            .add(name.display().to_string(), &ended.end);
        match self.output {
            Output::Json => print(&json::line(&document(&name, &ended)))?,
            // Of a whole library most are left: they are counted at the end.
            Output::Table if matches!(ended.end, FileEnd::Skipped { .. }) => {}
            Output::Table => {
                let screen = self.client.screen();
                let lines = done_lines(&name, &ended);
                lines.iter().for_each(|line| screen.notice(line));
            }
        }
        Ok(failure)
    }
}

/// What is said of a file that has ended.
pub fn done_lines(name: &Path, ended: &Ended) -> Vec<String> {
    match (&ended.end, &ended.out, &ended.job) {
        (FileEnd::Failed { why }, ..) => vec![format!("{} failed: {why}", name.display())],
        (FileEnd::Skipped { why }, ..) => {
            vec![format!("{} is left as it is: {why}", name.display())]
        }
        (FileEnd::Done { .. }, Some(out), Some(job)) => {
            let (made, hash) = (summary(job), &job.output_hash);
            let mut lines = vec![format!("{} is done: {made}, BLAKE3 {hash}", out.display())];
            if !job.plan_note.is_empty() {
                lines.push(format!("note: {}", job.plan_note));
            }
            lines
        }
        _ => Vec::new(),
    }
}

/// The same for programs.
pub fn document<'a>(name: &'a Path, ended: &'a Ended) -> FileDocument<'a> {
    let (end, why) = match &ended.end {
        FileEnd::Done { .. } => ("done", None),
        FileEnd::Skipped { why } => ("skipped", Some(why.as_str())),
        FileEnd::Before => ("skipped", Some(BEFORE)),
        FileEnd::Gone => ("gone", None),
        FileEnd::Failed { why } => ("failed", Some(why.as_str())),
    };
    FileDocument {
        file: escaped(name),
        end,
        why,
        out: ended.out.as_deref().map(escaped),
        job: ended.job.as_deref().map(documents::Job::from),
    }
}

/// The files that the sources of a command line stand for.
fn gather(plan: &Plan, sources: &[PathBuf]) -> Result<Gathered, CliError> {
    let mut gathered = Gathered::default();
    for source in sources {
        if let Some(url) = as_url(source) {
            gathered.items.push(of_url(url, plan)?);
        } else if source.is_dir() {
            let films = of_folder(source, plan)?;
            gathered.items.extend(films.items);
            gathered.passed_over += films.passed_over;
            gathered.unread.extend(films.unread);
        } else {
            gathered.items.push(of_file(source)?);
        }
    }
    if matches!(plan.target, Target::Source(_)) {
        // One that was named twice has one place.
        let mut places = BTreeSet::new();
        let items = &mut gathered.items;
        items.retain(|item| places.insert(item.film.path()));
    }
    Ok(gathered)
}

fn of_url(url: &str, plan: &Plan) -> Result<Item, CliError> {
    if matches!(plan.target, Target::Source(_)) {
        let hint = "give films or folders with --replace, and URLs with --to";
        return Err(CliError::usage("a URL can't be replaced in place", hint));
    }
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').find(|part| !part.is_empty());
    Ok(Item {
        film: Found {
            root: PathBuf::from(url),
            below: PathBuf::from(name.unwrap_or("film")),
            stamp: Stamp::of_nothing(),
        },
        url: Some(url.to_string()),
        named: true,
    })
}

fn of_folder(folder: &Path, plan: &Plan) -> Result<Gathered, CliError> {
    let unfit = |cause: String| CliError::SourceUnfit {
        path: folder.to_path_buf(),
        cause,
        hint: "name a folder with films in it, or the files themselves; --recursive takes those \
               in its folders, too"
            .into(),
    };
    let root = folder.canonicalize().map_err(|e| unfit(os_reason(&e)))?;
    let seen = plan.walk.films(&root).map_err(|e| unfit(os_reason(&e)))?;
    if seen.films.is_empty() && seen.unread.is_empty() {
        let whose = plan.walk.takes.whose();
        return Err(unfit(format!("no file in it has {whose} name")));
    }
    let films = seen.films.into_iter();
    let unread = seen.unread.into_iter();
    let unread = unread.map(|(path, cause)| {
        let hint = "give yourself permission to read it, or move it away".into();
        let item = Item::found(Found {
            root: root.clone(),
            below: path.strip_prefix(&root).unwrap_or(&path).to_path_buf(),
            stamp: Stamp::of_nothing(),
        });
        (item, CliError::SourceUnfit { path, cause, hint })
    });
    Ok(Gathered {
        unread: unread.collect(),
        items: films.map(Item::found).collect(),
        passed_over: seen.passed_over,
    })
}

/// A file that the user named: also one without a film's ending, and through a
/// link. One that can't be read fails when its turn comes.
fn of_file(path: &Path) -> Result<Item, CliError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let root = parent.unwrap_or(Path::new("."));
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let Some(name) = path.file_name() else {
        let cause = format!("{} names no file", path.display());
        return Err(CliError::usage(cause, "give films, or folders of them"));
    };
    let found = std::fs::metadata(path);
    Ok(Item {
        film: Found {
            root,
            below: PathBuf::from(name),
            stamp: found.map_or(Stamp::of_nothing(), |found| Stamp::of(&found)),
        },
        url: None,
        named: true,
    })
}

/// The folder whose ledger has a file's line.
fn home<'a>(plan: &'a Plan, item: &'a Item) -> &'a Path {
    match &plan.target {
        Target::Folder(folder) => folder,
        Target::Source(_) => &item.film.root,
    }
}

/// The ledgers of all files. Old originals beside them go now.
fn ledgers(
    plan: &Plan,
    items: &[Item],
    notice: &dyn Fn(&str),
) -> Result<BTreeMap<PathBuf, RefCell<Ledger>>, CliError> {
    let mut ledgers = BTreeMap::new();
    for folder in items.iter().map(|item| home(plan, item)) {
        if ledgers.contains_key(folder) {
            continue;
        }
        let ledger = RefCell::new(Ledger::open(folder)?);
        ledgers.insert(folder.to_path_buf(), ledger);
        if matches!(plan.target, Target::Source(_))
            && let Err(error) = replace::remove_old(folder, SystemTime::now())
        {
            notice(&format!("old originals stay: {error}"));
        }
    }
    Ok(ledgers)
}

/// Sources that would have the same output, by their paths, with its name.
fn clashes(plan: &Plan, items: &[Item]) -> BTreeMap<PathBuf, PathBuf> {
    if matches!(plan.target, Target::Source(_)) {
        return clashes_in_place(plan, items);
    }
    if plan.existing == Existing::Number {
        return BTreeMap::new();
    }
    let container = plan.spec.container.as_deref();
    let out = |item: &Item| output_below(&item.film.below, container, 0);
    let mut wanted: BTreeMap<PathBuf, u32> = BTreeMap::new();
    for item in items {
        *wanted.entry(out(item)).or_default() += 1;
    }
    let clashing = items.iter().filter(|item| wanted[&out(item)] > 1);
    clashing.map(|item| (item.film.path(), out(item))).collect()
}

/// The same where outputs take their sources' places: of other endings, two films
/// may get one name, or one the name of another.
fn clashes_in_place(plan: &Plan, items: &[Item]) -> BTreeMap<PathBuf, PathBuf> {
    let out = |item: &Item| {
        let below = replace::target_below(&item.film.below, &plan.container(item));
        item.film.root.join(below)
    };
    let mut taken: BTreeMap<PathBuf, u32> = BTreeMap::new();
    for item in items {
        let (own, out) = (item.film.path(), out(item));
        if out != own {
            *taken.entry(out).or_default() += 1;
        }
        *taken.entry(own).or_default() += 1;
    }
    let outs = items.iter().map(|item| (item.film.path(), out(item)));
    let moved = outs.filter(|(own, out)| own != out);
    moved.filter(|(_, out)| taken[out] > 1).collect()
}

fn clash(out: &Path) -> CliError {
    CliError::usage(
        format!("several sources would be written to {}", out.display()),
        "transcode each of them by itself, to a name of its own",
    )
}
