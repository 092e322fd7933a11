//! Requests counted by route: its template, the method, and the class of the
//! status. Anything else would have no end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};

/// What a request that no route takes is counted as.
const NO_ROUTE: &str = "none";

/// Route, method and class of the status.
pub type Key = (String, &'static str, &'static str);

/// What requests of one key came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    /// Until the answer began: an upload is taken in before that, and a download
    /// goes on after it.
    pub time: Duration,
}

/// The counters of a port since it was opened.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<Key, Count>>);

impl Counts {
    /// All counts as they are.
    pub fn all(&self) -> BTreeMap<Key, Count> {
        // Nothing is left half-done while it is held.
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }

    fn add(&self, key: Key, time: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        count.requests += 1;
        count.time += time;
    }
}

/// Counts a request once its answer begins.
pub async fn count(State(counts): State<Arc<Counts>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(NO_ROUTE, MatchedPath::as_str).to_string();
    let method = method_name(request.method());
    let begun = Instant::now();
    let response = next.run(request).await;
    let class = match response.status().as_u16() {
        0..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    counts.add((route, method, class), begun.elapsed());
    response
}

/// A method's name; whatever HTTP does not have is one.
fn method_name(method: &Method) -> &'static str {
    let known = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ];
    let known = known.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}
