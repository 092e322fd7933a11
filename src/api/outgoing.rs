//! A stream towards a client that may stop reading. While nothing is taken
//! from it, the stream and all that it holds wait inside this node; after a
//! while they are let go of.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use reelraft_model::Problem;
use tokio::time::Instant;

use super::{
    Welcome,
    doors::{Guest, Pass},
};
use crate::data::upload::Turn;

type Item<T> = Result<T, Problem>;

/// How much later than its limit a stall may be noticed, as a part of it.
const STALL_LOOKS: u32 = 4;

/// A stream that ends by itself when its reader stalls.
pub struct Outgoing<T> {
    shared: Arc<Mutex<Shared<T>>>,
}

struct Shared<T> {
    /// None once it has ended.
    stream: Option<BoxStream<'static, Item<T>>>,
    /// Held as long as the stream.
    pass: Option<Pass>,
    /// Whether its reader may read on.
    welcome: Welcome,
    /// Since when the reader has not asked for more; none while it waits.
    idle_since: Option<Instant>,
    on_stall: Option<Box<dyn FnOnce() + Send>>,
    /// Of a stream that waits for what the client says: whether it does.
    turn: Turn,
    stalled: bool,
}

impl<T> Shared<T> {
    /// Lets go of the stream, as its client does nothing; the action to take.
    fn stall(&mut self) -> Stalled<T> {
        self.stalled = true;
        Stalled {
            _held: (self.stream.take(), self.pass.take()),
            action: self.on_stall.take(),
        }
    }
}

/// What is left of a stream that has stalled. To be dropped without the lock.
struct Stalled<T> {
    _held: (Option<BoxStream<'static, Item<T>>>, Option<Pass>),
    action: Option<Box<dyn FnOnce() + Send>>,
}

impl<T: Send + 'static> Guest for Mutex<Shared<T>> {
    fn idle(&self) -> Option<Duration> {
        let state = lock(self);
        let waits = [state.idle_since, state.turn.since()];
        let since = waits.into_iter().flatten().min();
        state
            .stream
            .as_ref()
            .and(since)
            .map(|since| since.elapsed())
    }

    fn give_way(&self) {
        let Stalled { _held, action } = lock(self).stall();
        if let Some(action) = action {
            action();
        }
    }
}

impl<T: Send + 'static> Outgoing<T> {
    /// Hands a stream on until its reader takes nothing for `limit`, or may not
    /// have it any more.
    pub fn new(
        stream: impl Stream<Item = Item<T>> + Send + 'static,
        pass: Pass,
        welcome: Welcome,
        limit: Duration,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            stream: Some(stream.boxed()),
            pass: Some(pass),
            welcome,
            idle_since: Some(Instant::now()),
            on_stall: None,
            turn: Turn::default(),
            stalled: false,
        }));
        if let Some(pass) = &lock(&shared).pass {
            let guest: Weak<Mutex<Shared<T>>> = Arc::downgrade(&shared);
            pass.belongs_to(guest);
        }
        tokio::spawn(watch(Arc::downgrade(&shared), limit));
        Outgoing { shared }
    }

    /// The same, of items that answer what the client says. One that says
    /// nothing in its turn gives way as one that reads nothing.
    pub fn that_waits(self, turn: Turn) -> Self {
        lock(&self.shared).turn = turn;
        self
    }

    /// Has something done when the reader stalls: whoever carries the stream
    /// may hold buffers of its own.
    pub fn on_stall(&self, action: impl FnOnce() + Send + 'static) {
        lock(&self.shared).on_stall = Some(Box::new(action));
    }
}

fn lock<T>(shared: &Mutex<Shared<T>>) -> MutexGuard<'_, Shared<T>> {
    // What was locked while a stream panicked is a stream that is never used
    // again.
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Ends a stream whose reader stalls.
async fn watch<T: Send + 'static>(shared: Weak<Mutex<Shared<T>>>, limit: Duration) {
    loop {
        tokio::time::sleep(limit / STALL_LOOKS).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let state = lock(&shared);
        if state.stream.is_none() {
            return;
        }
        if state.idle_since.is_some_and(|at| at.elapsed() >= limit) {
            drop(state);
            shared.give_way();
            return;
        }
    }
}

impl<T> Stream for Outgoing<T> {
    type Item = Item<T>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item<T>>> {
        let mut state = lock(&self.shared);
        if std::mem::take(&mut state.stalled) {
            return Poll::Ready(Some(Err(Problem::new(
                "client-lost",
                "the client did nothing for too long".to_string(),
                "ask again, and read what comes without a pause",
            ))));
        }
        if state.stream.is_some()
            && let Poll::Ready(refusal) = state.welcome.0.poll_unpin(context)
        {
            (state.stream, state.pass) = (None, None);
            return Poll::Ready(Some(Err(refusal)));
        }
        let Some(stream) = &mut state.stream else {
            return Poll::Ready(None);
        };
        let polled = stream.poll_next_unpin(context);
        match &polled {
            Poll::Pending => state.idle_since = None,
            Poll::Ready(Some(_)) => state.idle_since = Some(Instant::now()),
            Poll::Ready(None) => (state.stream, state.pass) = (None, None),
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::api::doors::Door;

    const LIMIT: Duration = Duration::from_millis(300);

    /// An endless stream, and the door that it went through.
    fn endless(pause: Duration) -> (Outgoing<u64>, Door) {
        let door = Door::new("streams", 1);
        let numbers = futures::stream::unfold(0, move |number| async move {
            tokio::time::sleep(pause).await;
            Some((Ok(number), number + 1))
        });
        let stream = Outgoing::new(numbers, door.enter(1).unwrap(), Welcome::for_good(), LIMIT);
        (stream, door)
    }

    #[tokio::test]
    async fn one_that_is_not_read_is_let_go_of() {
        let (mut stream, door) = endless(Duration::ZERO);
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        stream.on_stall(move || tell.store(true, Ordering::SeqCst));
        assert_eq!(stream.next().await.unwrap().unwrap(), 0);
        assert_eq!(door.enter(1).map(drop).unwrap_err().kind, "too-busy");
        tokio::time::sleep(2 * LIMIT).await;
        assert!(told.load(Ordering::SeqCst));
        assert!(door.enter(1).is_ok(), "its room is free again");
        assert_eq!(
            stream.next().await.unwrap().unwrap_err().kind,
            "client-lost"
        );
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn one_that_was_never_read_is_let_go_of() {
        let (_stream, door) = endless(Duration::ZERO);
        tokio::time::sleep(2 * LIMIT).await;
        assert!(door.enter(1).is_ok());
    }

    /// A reader that waits for a slow source does not stall.
    #[tokio::test]
    async fn one_that_is_waited_for_goes_on() {
        let (mut stream, door) = endless(3 * LIMIT);
        for number in 0..3 {
            assert_eq!(stream.next().await.unwrap().unwrap(), number);
        }
        drop(stream);
        assert!(door.enter(1).is_ok());
    }

    /// A client that does nothing keeps no other out.
    #[tokio::test]
    async fn the_longest_idle_gives_way() {
        let door = Door::new("streams", 3).with_patience(LIMIT);
        let hour = Duration::from_secs(3_600);
        let stream = |stream| {
            let pass = door.enter(1).unwrap();
            Outgoing::<u64>::new(stream, pass, Welcome::for_good(), hour)
        };
        let ready = || futures::stream::repeat_with(|| Ok(1)).boxed();
        let mut unread = stream(ready());
        unread.next().await.unwrap().unwrap();
        tokio::time::sleep(LIMIT / 4).await;
        let (turn, not_yet) = (Turn::default(), Turn::default());
        turn.begin();
        let mut silent = stream(futures::stream::pending().boxed()).that_waits(turn);
        let mut waited_for = stream(futures::stream::pending().boxed()).that_waits(not_yet);
        for stream in [&mut silent, &mut waited_for] {
            assert!(stream.next().now_or_never().is_none());
        }
        tokio::time::sleep(2 * LIMIT).await;
        let taken = door.enter(1).unwrap();
        assert_eq!(
            unread.next().await.unwrap().unwrap_err().kind,
            "client-lost"
        );
        assert!(silent.next().now_or_never().is_none());
        let _both = (taken, door.enter(1).unwrap());
        tokio::time::sleep(2 * LIMIT).await;
        assert_eq!(door.enter(1).map(drop).unwrap_err().kind, "too-busy");
    }
}
