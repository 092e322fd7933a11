//! The picture of an experiment, as one SVG without scripts: a lane for each
//! node with its attempts as bars, who led, who was dead, every kill and every
//! election; and below, how long the cluster was without a leader at work.
//! It follows the reader's light or dark theme.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    event_log::EventLog,
    events::{Attempt, AttemptEnd, EventKind, Kill},
    svg::{BAR, HUES, LEFT, STYLE, TOP, escaped, put},
    takeover::Takeover,
};

pub struct Timeline<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub nodes: u64,
    pub log: &'a EventLog,
    pub attempts: &'a [Attempt],
    pub kills: &'a [Kill],
    pub takeovers: &'a [Takeover],
    /// Jobs of one-frame shards, drawn as ticks: bars would be no wider.
    pub probes: &'a [String],
}

impl Timeline<'_> {
    /// Draws all of it.
    pub(crate) fn to_svg(&self) -> String {
        let canvas = Canvas::new(self);
        let mut out = String::new();
        canvas.head(self, &mut out);
        for node in 1..=self.nodes {
            canvas.lane(self, node, &mut out);
        }
        canvas.gaps(self, &mut out);
        canvas.marks(self, &mut out);
        canvas.takeovers(self, &mut out);
        canvas.legend(self, &mut out);
        out.push_str("</svg>\n");
        out
    }
}

/// Where things stand.
struct Canvas<'a> {
    from_us: u64,
    to_us: u64,
    us_per_px: f64,
    /// For each node: its bars, each with the row it stands in.
    rows: BTreeMap<u64, Vec<(usize, &'a Attempt)>>,
    tops: BTreeMap<u64, (f64, f64)>,
    hues: BTreeMap<&'a str, &'static str>,
    lanes_end: f64,
    width: f64,
    height: f64,
}

impl<'a> Canvas<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        let from_us = timeline
            .attempts
            .iter()
            .map(|attempt| attempt.from_us)
            .min();
        let to_us = timeline.attempts.iter().map(|attempt| attempt.to_us).max();
        let (from_us, to_us) = (from_us.unwrap_or(0), to_us.unwrap_or(1));
        // About 1,500 px wide, but never so dense that a takeover vanishes.
        let us_per_px = ((to_us - from_us) as f64 / 1_500.0).clamp(10_000.0, 200_000.0);
        let mut hues = BTreeMap::new();
        for attempt in timeline.attempts {
            let job = attempt.key.job.as_str();
            if !timeline.probes.contains(&attempt.key.job) {
                let next = HUES[hues.len() % HUES.len()];
                hues.entry(job).or_insert(next);
            }
        }
        let (mut rows, mut tops, mut top) = (BTreeMap::new(), BTreeMap::new(), TOP);
        for node in 1..=timeline.nodes {
            let packed = packed(timeline, node);
            let deep = packed.iter().map(|(row, _)| row + 1).max().unwrap_or(1);
            let height = 10.0 + deep as f64 * (BAR + 2.0) + 14.0;
            rows.insert(node, packed);
            tops.insert(node, (top, height));
            top += height + 12.0;
        }
        let below = if timeline.takeovers.is_empty() {
            0.0
        } else {
            130.0
        };
        Canvas {
            width: LEFT + (to_us - from_us) as f64 / us_per_px + 24.0,
            height: top + below + 62.0,
            lanes_end: top,
            from_us,
            to_us,
            us_per_px,
            rows,
            tops,
            hues,
        }
    }

    fn x(&self, at_us: u64) -> f64 {
        LEFT + (at_us.clamp(self.from_us, self.to_us) - self.from_us) as f64 / self.us_per_px
    }

    fn head(&self, timeline: &Timeline, out: &mut String) {
        let (width, height) = (self.width.max(900.0), self.height);
        put(
            out,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
                 width=\"{width:.0}\" height=\"{height:.0}\">\n<style>{STYLE}</style>\n\
                 <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\
                 <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
                 patternTransform=\"rotate(45)\"><rect class=\"lane\" width=\"6\" height=\"6\"/>\
                 <rect class=\"stripe\" width=\"2.4\" height=\"6\"/></pattern></defs>\n\
                 <text class=\"h\" x=\"20\" y=\"32\">{}</text>\n<text class=\"soft\" x=\"20\" y=\"54\">{}</text>",
                escaped(timeline.title),
                escaped(timeline.subtitle),
            ),
        );
        let seconds = (self.to_us - self.from_us) / 1_000_000;
        let step = if seconds > 400 {
            60
        } else if seconds > 90 {
            15
        } else {
            5
        };
        for second in (0..=seconds).step_by(step) {
            let x = self.x(self.from_us + second * 1_000_000);
            put(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{:.0}\"/>\
                     <text class=\"soft\" x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{second} s</text>",
                    TOP - 12.0,
                    self.lanes_end,
                    TOP - 18.0
                ),
            );
        }
    }

    fn lane(&self, timeline: &Timeline, node: u64, out: &mut String) {
        let (top, height) = self.tops[&node];
        let end = self.x(self.to_us);
        put(
            out,
            format_args!(
                "<rect class=\"lane\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"3\"/>\
                 <text x=\"20\" y=\"{:.1}\" font-weight=\"600\">node {node}</text>",
                end - LEFT,
                top + height / 2.0 + 4.0
            ),
        );
        for (from, to) in self.led(timeline, node) {
            let x = self.x(from);
            put(
                out,
                format_args!(
                    "<rect class=\"lead\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"5\"><title>node {node} leads</title></rect>",
                    (self.x(to) - x).max(1.0)
                ),
            );
        }
        for (from, to) in dead(timeline, node, self.to_us) {
            let x = self.x(from);
            put(
                out,
                format_args!(
                    "<rect class=\"dead\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>node {node} is dead for {} ms</title></rect>",
                    (self.x(to) - x).max(1.0),
                    (to - from) / 1_000
                ),
            );
        }
        for (row, attempt) in &self.rows[&node] {
            self.bar(
                attempt,
                top + 8.0 + *row as f64 * (BAR + 2.0),
                self.hues.get(attempt.key.job.as_str()),
                out,
            );
        }
        let mut path = String::new();
        for attempt in timeline
            .attempts
            .iter()
            .filter(|attempt| attempt.node == node && timeline.probes.contains(&attempt.key.job))
        {
            let _ = write!(
                path,
                "M{:.1} {:.1}v8",
                self.x(attempt.to_us),
                top + height - 11.0
            );
        }
        put(
            out,
            format_args!("<path class=\"tick\" d=\"{path}\" fill=\"none\"/>"),
        );
    }

    fn bar(&self, attempt: &Attempt, y: f64, hue: Option<&&str>, out: &mut String) {
        let (x, to) = (self.x(attempt.from_us), self.x(attempt.to_us));
        let lost = if attempt.end == AttemptEnd::Killed {
            " class=\"lost\""
        } else {
            ""
        };
        let faint = if attempt.key.kind == "shard" {
            1.0
        } else {
            0.5
        };
        let name = format!("{} {}", attempt.key.kind, attempt.key.number);
        put(
            out,
            format_args!(
                "<rect{lost} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\" opacity=\"{faint}\">\
                 <title>{name} of {}, attempt {}: {:?} after {} ms</title></rect>",
                (to - x - 0.6).max(0.8),
                hue.unwrap_or(&"#888"),
                attempt.key.job,
                attempt.key.attempt,
                attempt.end,
                (attempt.to_us - attempt.from_us) / 1_000,
            ),
        );
        if to - x > 22.0 && attempt.key.kind == "shard" {
            put(
                out,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" class=\"number\">{}</text>",
                    x + 4.0,
                    y + 10.0,
                    attempt.key.number
                ),
            );
        }
    }

    /// When a node led: from its election to the next one, or to its death.
    fn led(&self, timeline: &Timeline, node: u64) -> Vec<(u64, u64)> {
        let mut spans = Vec::new();
        let mut since = None;
        for event in &timeline.log.events {
            match event.kind {
                EventKind::BecameLeader { .. } => {
                    if let Some(from) = since.take() {
                        spans.push((from, event.at_us));
                    }
                    since = (event.node == node).then_some(event.at_us);
                }
                EventKind::LostLeadership if event.node == node => {
                    if let Some(from) = since.take() {
                        spans.push((from, event.at_us));
                    }
                }
                _ => {}
            }
        }
        spans.extend(since.map(|from| (from, self.to_us)));
        for span in &mut spans {
            let death = timeline
                .kills
                .iter()
                .filter(|kill| kill.node == node && (span.0..span.1).contains(&kill.at_us));
            span.1 = death.map(|kill| kill.at_us).min().unwrap_or(span.1);
        }
        spans
    }

    fn gaps(&self, timeline: &Timeline, out: &mut String) {
        for takeover in timeline.takeovers {
            let x = self.x(takeover.kill.at_us);
            put(
                out,
                format_args!(
                    "<rect class=\"gap\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    (self.x(takeover.assigned_us) - x).max(1.0),
                    self.lanes_end - TOP - 12.0
                ),
            );
        }
    }

    fn marks(&self, timeline: &Timeline, out: &mut String) {
        for kill in timeline.kills {
            let Some((top, height)) = self.tops.get(&kill.node) else {
                continue;
            };
            let (x, y) = (self.x(kill.at_us), top + 3.0);
            put(
                out,
                format_args!(
                    "<g class=\"kill\"><path d=\"M{x:.1} {top:.1}v{height:.1}\"/><path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>\
                     <title>SIGKILL to node {}</title></g>",
                    x - 4.0,
                    y - 4.0,
                    kill.node
                ),
            );
        }
        for event in &timeline.log.events {
            if let EventKind::BecameLeader { term } = event.kind
                && (self.from_us..self.to_us).contains(&event.at_us)
            {
                let (top, _) = self.tops[&event.node];
                put(
                    out,
                    format_args!(
                        "<path class=\"elected\" d=\"M{:.1} {:.1}l5 5l-5 5l-5 -5z\"><title>node {} elected, term {term}</title></path>",
                        self.x(event.at_us),
                        top - 3.0,
                        event.node
                    ),
                );
            }
        }
    }

    /// Each takeover as a column under its kill, against one second.
    fn takeovers(&self, timeline: &Timeline, out: &mut String) {
        if timeline.takeovers.is_empty() {
            return;
        }
        let (base, tall) = (self.lanes_end + 112.0, 80.0);
        let ms = |takeover: &Takeover| (takeover.assigned_us - takeover.kill.at_us) / 1_000;
        let highest = timeline
            .takeovers
            .iter()
            .map(ms)
            .max()
            .unwrap_or(0)
            .max(1_000);
        let y = |ms: u64| base - tall * ms as f64 / highest as f64;
        put(
            out,
            format_args!(
                "<text class=\"soft\" x=\"{LEFT}\" y=\"{:.1}\">from SIGKILL to the next leader's first assignment, ms (dark: until elected)</text>\
                 <line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{base:.1}\" y2=\"{base:.1}\"/>\
                 <line class=\"limit\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">1 s</text>",
                self.lanes_end + 14.0,
                self.x(self.to_us),
                self.x(self.to_us),
                y(1_000),
                y(1_000),
                LEFT - 8.0,
                y(1_000) + 4.0,
            ),
        );
        for takeover in timeline.takeovers {
            let (x, all) = (self.x(takeover.kill.at_us), ms(takeover));
            let elected = (takeover.elected_us - takeover.kill.at_us) / 1_000;
            put(
                out,
                format_args!(
                    "<g class=\"time\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"{:.1}\" opacity=\".5\"/>\
                     <rect x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"{:.1}\"/><title>{elected} ms to the election, {all} ms to the assignment</title></g>\
                     <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" class=\"ms\">{all}</text>",
                    x - 4.5,
                    y(all),
                    base - y(all),
                    x - 4.5,
                    y(elected),
                    base - y(elected),
                    base + 13.0,
                ),
            );
        }
    }

    fn legend(&self, timeline: &Timeline, out: &mut String) {
        let y = self.height - 22.0;
        let ticks = if timeline.probes.is_empty() {
            ""
        } else {
            " · ticks: one-frame shards finished"
        };
        put(
            out,
            format_args!(
                "<text class=\"soft\" x=\"20\" y=\"{y:.0}\">bars: one attempt at a shard, a colour for each job, pale for analysis, sound and assembly, \
                 red edge where its node died{ticks} · amber: this node leads, ◆ elected · ✕ SIGKILL, hatched until it is back</text>"
            ),
        );
    }
}

/// A node's attempts but the probes', each in the first row that is free.
fn packed<'a>(timeline: &'a Timeline, node: u64) -> Vec<(usize, &'a Attempt)> {
    let mut attempts: Vec<&Attempt> = timeline
        .attempts
        .iter()
        .filter(|attempt| attempt.node == node && !timeline.probes.contains(&attempt.key.job))
        .collect();
    attempts.sort_by_key(|attempt| attempt.from_us);
    let mut free_from: Vec<u64> = Vec::new();
    let mut placed = Vec::new();
    for attempt in attempts {
        let row = match free_from.iter().position(|&free| free <= attempt.from_us) {
            Some(row) => row,
            None => {
                free_from.push(0);
                free_from.len() - 1
            }
        };
        free_from[row] = attempt.to_us;
        placed.push((row, attempt));
    }
    placed
}

/// When a node was dead: from each kill until it said that it is ready.
fn dead(timeline: &Timeline, node: u64, end_us: u64) -> Vec<(u64, u64)> {
    let kills = timeline.kills.iter().filter(|kill| kill.node == node);
    kills
        .map(|kill| {
            let back = timeline.log.events.iter().find(|event| {
                event.node == node && event.at_us > kill.at_us && event.kind == EventKind::Ready
            });
            let to_us = back.map_or(end_us, |event| event.at_us);
            (kill.at_us, to_us.max(kill.at_us))
        })
        .collect()
}
