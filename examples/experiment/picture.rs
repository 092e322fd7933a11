//! The picture of an experiment, as one SVG without scripts: a lane for each
//! node with its encodes as bars, who led, who was dead, every kill and every
//! election; and below, how long the cluster was without a leader at work.
//! It follows the reader's light or dark theme.

use std::{collections::BTreeMap, fmt::Write};

use super::record::{End, Kill, Record, Try, What};

/// From a kill to the first assignment by the next leader.
#[derive(Clone, Copy, Debug)]
pub struct Takeover {
    pub kill: Kill,
    pub elected_us: u64,
    /// When a survivor first finished something, and so had a free slot.
    pub slot_us: u64,
    pub assigned_us: u64,
}

impl Takeover {
    /// How long the new leader had nowhere to put work: from its election to
    /// the first free slot, where that came later.
    pub fn slot_wait_us(&self) -> u64 {
        let free_us = self.slot_us.clamp(self.elected_us, self.assigned_us);
        free_us - self.elected_us
    }

    /// From the kill to the assignment, without the wait for a slot.
    pub fn with_a_free_slot_ms(&self) -> u64 {
        (self.assigned_us - self.kill.at_us - self.slot_wait_us()) / 1_000
    }
}

pub struct Picture<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    pub nodes: u64,
    pub record: &'a Record,
    pub tries: &'a [Try],
    pub kills: &'a [Kill],
    pub takeovers: &'a [Takeover],
    /// Jobs of one-frame shards: drawn as ticks, as bars would be no wider.
    pub probes: &'a [String],
}

const LEFT: f64 = 78.0;
const TOP: f64 = 92.0;
const BAR: f64 = 13.0;
const HUES: [&str; 6] = [
    "#3b82c4", "#2a9d8f", "#8a6fc2", "#c2783b", "#5b8c3a", "#b0568c",
];
/// Plain classes and no variables, which not every viewer of SVG knows.
const STYLE: &str = "
  svg { font: 12px system-ui, sans-serif; background: #fbfaf7; }
  text { fill: #22262b; } .soft { fill: #7b828a; } .h { font-size: 17px; font-weight: 600; }
  .paper { fill: #fbfaf7; } .lane { fill: #f1efe9; } .grid { stroke: #dcd8cd; } .stripe { fill: #d9d5cb; }
  .lead { fill: #e9b44c; } .elected { fill: #e9b44c; stroke: #22262b; stroke-width: .7; }
  .dead { fill: url(#hatch); } .kill { stroke: #c8332b; fill: #c8332b; stroke-width: 1.6; }
  .gap { fill: #c8332b; opacity: .16; } .tick { stroke: #7b828a; stroke-width: .7; opacity: .55; }
  .lost { stroke: #c8332b; stroke-width: 1.4; fill-opacity: .35; } .number { fill: #fff; font-size: 10px; }
  .time { fill: #c8332b; opacity: .8; } .limit { stroke: #7b828a; stroke-dasharray: 4 3; }
  .ms { font-size: 10px; }
  @media (prefers-color-scheme: dark) {
    svg { background: #16191d; } text { fill: #e6e3dc; } .soft { fill: #8d949c; }
    .paper { fill: #16191d; } .lane { fill: #1e2227; } .grid { stroke: #30353b; } .stripe { fill: #3a3f45; }
    .elected { stroke: #e6e3dc; } .number { fill: #fff; }
  }
";

impl Picture<'_> {
    /// Draws all of it.
    pub fn svg(&self) -> String {
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
    rows: BTreeMap<u64, Vec<(usize, &'a Try)>>,
    tops: BTreeMap<u64, (f64, f64)>,
    hues: BTreeMap<&'a str, &'static str>,
    lanes_end: f64,
    width: f64,
    height: f64,
}

impl<'a> Canvas<'a> {
    fn new(picture: &'a Picture) -> Self {
        let from_us = picture.tries.iter().map(|found| found.from_us).min();
        let to_us = picture.tries.iter().map(|found| found.to_us).max();
        let (from_us, to_us) = (from_us.unwrap_or(0), to_us.unwrap_or(1));
        // About 1,500 px wide, but never so dense that a takeover vanishes.
        let us_per_px = ((to_us - from_us) as f64 / 1_500.0).clamp(10_000.0, 200_000.0);
        let mut hues = BTreeMap::new();
        for found in picture.tries {
            let job = found.key.job.as_str();
            if !picture.probes.contains(&found.key.job) {
                let next = HUES[hues.len() % HUES.len()];
                hues.entry(job).or_insert(next);
            }
        }
        let (mut rows, mut tops, mut top) = (BTreeMap::new(), BTreeMap::new(), TOP);
        for node in 1..=picture.nodes {
            let packed = packed(picture, node);
            let deep = packed.iter().map(|(row, _)| row + 1).max().unwrap_or(1);
            let height = 10.0 + deep as f64 * (BAR + 2.0) + 14.0;
            rows.insert(node, packed);
            tops.insert(node, (top, height));
            top += height + 12.0;
        }
        let below = if picture.takeovers.is_empty() {
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

    fn head(&self, picture: &Picture, out: &mut String) {
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
                escaped(picture.title),
                escaped(picture.subtitle),
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

    fn lane(&self, picture: &Picture, node: u64, out: &mut String) {
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
        for (from, to) in self.led(picture, node) {
            let x = self.x(from);
            put(
                out,
                format_args!(
                    "<rect class=\"lead\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"5\"><title>node {node} leads</title></rect>",
                    (self.x(to) - x).max(1.0)
                ),
            );
        }
        for (from, to) in dead(picture, node, self.to_us) {
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
        for (row, found) in &self.rows[&node] {
            self.bar(
                found,
                top + 8.0 + *row as f64 * (BAR + 2.0),
                self.hues.get(found.key.job.as_str()),
                out,
            );
        }
        let mut path = String::new();
        for found in picture
            .tries
            .iter()
            .filter(|found| found.node == node && picture.probes.contains(&found.key.job))
        {
            let _ = write!(
                path,
                "M{:.1} {:.1}v8",
                self.x(found.to_us),
                top + height - 11.0
            );
        }
        put(
            out,
            format_args!("<path class=\"tick\" d=\"{path}\" fill=\"none\"/>"),
        );
    }

    fn bar(&self, found: &Try, y: f64, hue: Option<&&str>, out: &mut String) {
        let (x, to) = (self.x(found.from_us), self.x(found.to_us));
        let lost = if found.end == End::Killed {
            " class=\"lost\""
        } else {
            ""
        };
        let faint = if found.key.kind == "shard" { 1.0 } else { 0.5 };
        let name = format!("{} {}", found.key.kind, found.key.number);
        put(
            out,
            format_args!(
                "<rect{lost} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{}\" opacity=\"{faint}\">\
                 <title>{name} of {}, attempt {}: {:?} after {} ms</title></rect>",
                (to - x - 0.6).max(0.8),
                hue.unwrap_or(&"#888"),
                found.key.job,
                found.key.attempt,
                found.end,
                (found.to_us - found.from_us) / 1_000,
            ),
        );
        if to - x > 22.0 && found.key.kind == "shard" {
            put(
                out,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" class=\"number\">{}</text>",
                    x + 4.0,
                    y + 10.0,
                    found.key.number
                ),
            );
        }
    }

    /// When a node led: from its election to the next one, or to its death.
    fn led(&self, picture: &Picture, node: u64) -> Vec<(u64, u64)> {
        let mut spans = Vec::new();
        let mut since = None;
        for event in &picture.record.events {
            match event.what {
                What::Leads { .. } => {
                    if let Some(from) = since.take() {
                        spans.push((from, event.at_us));
                    }
                    since = (event.node == node).then_some(event.at_us);
                }
                What::LeadsNoMore if event.node == node => {
                    if let Some(from) = since.take() {
                        spans.push((from, event.at_us));
                    }
                }
                _ => {}
            }
        }
        spans.extend(since.map(|from| (from, self.to_us)));
        for span in &mut spans {
            let death = picture
                .kills
                .iter()
                .filter(|kill| kill.node == node && (span.0..span.1).contains(&kill.at_us));
            span.1 = death.map(|kill| kill.at_us).min().unwrap_or(span.1);
        }
        spans
    }

    fn gaps(&self, picture: &Picture, out: &mut String) {
        for takeover in picture.takeovers {
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

    fn marks(&self, picture: &Picture, out: &mut String) {
        for kill in picture.kills {
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
        for event in &picture.record.events {
            if let What::Leads { term } = event.what
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
    fn takeovers(&self, picture: &Picture, out: &mut String) {
        if picture.takeovers.is_empty() {
            return;
        }
        let (base, tall) = (self.lanes_end + 112.0, 80.0);
        let ms = |takeover: &Takeover| (takeover.assigned_us - takeover.kill.at_us) / 1_000;
        let highest = picture
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
        for takeover in picture.takeovers {
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

    fn legend(&self, picture: &Picture, out: &mut String) {
        let y = self.height - 22.0;
        let ticks = if picture.probes.is_empty() {
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

/// A node's tries but the probes', each in the first row that is free.
fn packed<'a>(picture: &'a Picture, node: u64) -> Vec<(usize, &'a Try)> {
    let mut tries: Vec<&Try> = picture
        .tries
        .iter()
        .filter(|found| found.node == node && !picture.probes.contains(&found.key.job))
        .collect();
    tries.sort_by_key(|found| found.from_us);
    let mut free_from: Vec<u64> = Vec::new();
    let mut placed = Vec::new();
    for found in tries {
        let row = match free_from.iter().position(|&free| free <= found.from_us) {
            Some(row) => row,
            None => {
                free_from.push(0);
                free_from.len() - 1
            }
        };
        free_from[row] = found.to_us;
        placed.push((row, found));
    }
    placed
}

/// When a node was dead: from each kill until it said that it is ready.
fn dead(picture: &Picture, node: u64, end_us: u64) -> Vec<(u64, u64)> {
    let kills = picture.kills.iter().filter(|kill| kill.node == node);
    kills
        .map(|kill| {
            let back = picture.record.events.iter().find(|event| {
                event.node == node && event.at_us > kill.at_us && event.what == What::Ready
            });
            let to_us = back.map_or(end_us, |event| event.at_us);
            (kill.at_us, to_us.max(kill.at_us))
        })
        .collect()
}

fn put(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{text}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
