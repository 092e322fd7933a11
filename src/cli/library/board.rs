//! One bar for many files at once: how many are done, how much of all bytes that
//! is, and what is done to those under way.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use reelraft_proto::v1::{Job, JobState};

use crate::render::{
    format::{clock, percent},
    progress::{BAR_CELLS, bar},
    screen::Screen,
};

/// The files under way, and the sums of those that have ended.
pub struct Board {
    whole: Arc<Screen>,
    /// Lines of progress are drawn where no bar can be, too.
    lines: bool,
    state: RefCell<State>,
}

struct State {
    begun: Instant,
    files_all: u64,
    bytes_all: u64,
    files_ended: u64,
    bytes_ended: u64,
    places: BTreeMap<u64, Place>,
    next: u64,
}

/// A file under way.
struct Place {
    bytes: u64,
    screen: Arc<Screen>,
    job: Job,
}

/// One file's place on the board. Dropped, the file has ended.
pub struct Seat {
    board: Rc<Board>,
    number: u64,
    pub screen: Arc<Screen>,
}

impl Board {
    /// With `lines` it is drawn everywhere, else on a terminal alone: the log of a
    /// service has no use for it.
    pub fn new(whole: Arc<Screen>, lines: bool) -> Rc<Self> {
        Rc::new(Board {
            whole,
            lines,
            state: RefCell::new(State {
                begun: Instant::now(),
                files_all: 0,
                bytes_all: 0,
                files_ended: 0,
                bytes_ended: 0,
                places: BTreeMap::new(),
                next: 0,
            }),
        })
    }

    /// So many more files of so many bytes are to be done.
    pub fn expect(&self, files: u64, bytes: u64) {
        let mut state = self.state.borrow_mut();
        state.files_all += files;
        state.bytes_all += bytes;
    }

    /// A file of so many bytes begins.
    pub fn sit(self: &Rc<Self>, bytes: u64) -> Seat {
        let screen = Arc::new(Screen::part(&self.whole));
        let mut state = self.state.borrow_mut();
        let number = state.next;
        state.next += 1;
        let place = Place {
            bytes,
            screen: screen.clone(),
            job: Job::default(),
        };
        state.places.insert(number, place);
        Seat {
            board: self.clone(),
            number,
            screen,
        }
    }

    /// Draws the bar, if it is time.
    pub fn draw(&self) {
        if (self.lines || self.whole.redraws()) && self.whole.due() {
            let line = self
                .state
                .borrow()
                .line(self.state.borrow().begun.elapsed());
            self.whole.progress(&line);
        }
    }
}

impl Seat {
    /// How far its job is.
    pub fn see(&self, job: &Job) {
        let mut state = self.board.state.borrow_mut();
        if let Some(place) = state.places.get_mut(&self.number) {
            place.job = job.clone();
        }
        drop(state);
        self.board.draw();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.board.state.borrow_mut();
        if let Some(place) = state.places.remove(&self.number) {
            state.files_ended += 1;
            state.bytes_ended += place.bytes;
        }
        drop(state);
        self.board.draw();
    }
}

/// How many thousandths of a file's work have been done when it is uploaded.
const UPLOADED: u64 = 250;

/// The same when all its frames are encoded.
const ENCODED: u64 = 950;

impl Place {
    fn thousandths(&self) -> u64 {
        let part = |done: u64, all: u64, of: u64| {
            let share = u128::from(done.min(all)) * u128::from(of);
            share.checked_div(u128::from(all)).unwrap_or(0) as u64
        };
        let uploaded = part(self.screen.uploaded_bytes(), self.bytes, UPLOADED);
        let frames = (self.job.frames_done, self.job.frames_total);
        let encoded = part(frames.0, frames.1, ENCODED - UPLOADED);
        match self.job.state() {
            JobState::Succeeded => 1000,
            JobState::Assembling => ENCODED,
            JobState::Analyzing | JobState::Encoding => UPLOADED + encoded,
            _ => uploaded,
        }
    }
}

impl State {
    fn line(&self, elapsed: Duration) -> String {
        let running = self.places.values();
        let done: u128 = running
            .map(|place| u128::from(place.bytes) * u128::from(place.thousandths()) / 1000)
            .sum();
        let done = self.bytes_ended.saturating_add(done as u64);
        let share = percent(done, self.bytes_all);
        let files = format!("{} of {} files", self.files_ended, self.files_all);
        let mut parts = vec![bar(share, BAR_CELLS), files];
        let counts = |wanted: &[JobState]| {
            let running = self.places.values();
            running
                .filter(|place| wanted.contains(&place.job.state()))
                .count()
        };
        for (states, word) in [
            (
                &[JobState::Unspecified, JobState::Uploading][..],
                "uploading",
            ),
            (&[JobState::Analyzing, JobState::Encoding], "encoding"),
            (&[JobState::Assembling, JobState::Succeeded], "finishing"),
        ] {
            match counts(states) {
                0 => {}
                count => parts.push(format!("{count} {word}")),
            }
        }
        let left = u128::from(self.bytes_all.saturating_sub(done));
        let left_ms = (elapsed.as_millis() * left).checked_div(u128::from(done));
        if let Some(left_ms) = left_ms.filter(|_| share > 0) {
            let left_ms = u64::try_from(left_ms).unwrap_or(u64::MAX);
            parts.push(format!("ETA {}", clock(Duration::from_millis(left_ms))));
        }
        parts.join("  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bar_says_how_far_all_are() {
        let board = Board::new(Arc::new(Screen::new()), true);
        board.expect(4, 1000);
        let line = |seconds| board.state.borrow().line(Duration::from_secs(seconds));
        assert_eq!(line(1), "[--------------------]   0%  0 of 4 files");
        drop(board.sit(250));
        let (one, two) = (board.sit(250), board.sit(250));
        one.screen.uploaded(125);
        let mut job = Job {
            frames_done: 50,
            frames_total: 100,
            ..Job::default()
        };
        job.set_state(JobState::Encoding);
        two.see(&job);
        assert_eq!(
            line(43),
            "[########------------]  43%  1 of 4 files  1 uploading  1 encoding  ETA 0:56"
        );
    }
}
