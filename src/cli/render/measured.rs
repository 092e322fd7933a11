//! How an output compares with its source: as a table by shards, and as a drawing
//! over time.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::table::measured_rows;

/// A film, shard by shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeasuredFilm {
    /// In their order.
    #[serde(default, rename = "measured")]
    pub shards: Vec<MeasuredShard>,
}

/// One shard, with its place in the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeasuredShard {
    pub shard: u64,
    pub from_us: i64,
    pub to_us: i64,
    pub frames: u64,
    pub series: Vec<Series>,
}

/// What was found by one metric, in millionths of its scale.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    pub metric: String,
    pub mean_micro: u64,
    pub least_micro: u64,
    /// Of the first frames behind a joint, and the last before one.
    pub head_micro: u64,
    pub tail_micro: u64,
    /// Of equally long parts, in order.
    pub points_micro: Vec<u64>,
}

impl MeasuredFilm {
    /// # Errors
    /// What is no list of shards.
    pub fn of_shards(json: &str) -> Result<Self, serde_json::Error> {
        let shards = serde_json::from_str(json)?;
        Ok(MeasuredFilm { shards })
    }

    /// The metrics, in order.
    fn metrics(&self) -> Vec<&str> {
        let first = self.shards.first();
        let series = first.into_iter().flat_map(|shard| &shard.series);
        series.map(|series| series.metric.as_str()).collect()
    }
}

impl MeasuredShard {
    fn series(&self, metric: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.metric == metric)
    }
}

/// A value on a metric's scale: SSIM with five decimals, dB and the like with two.
fn value(metric: &str, micro: u64) -> String {
    let decimals = if metric == "ssim" { 5 } else { 2 };
    let unit = 10_u64.pow(6 - decimals);
    let rounded = (micro + unit / 2) / unit;
    let whole = 10_u64.pow(decimals);
    let places = decimals as usize;
    format!("{}.{:0places$}", rounded / whole, rounded % whole)
}

/// Seconds with a decimal.
fn seconds(us: i64) -> String {
    format!("{}.{}", us / 1_000_000, us % 1_000_000 / 100_000)
}

/// The film as a whole, then shard by shard.
pub fn table(film: &MeasuredFilm) -> String {
    let metrics = film.metrics();
    let mut headings: Vec<String> = [">SHARD", ">FROM s", ">TO s", ">FRAMES"]
        .map(str::to_string)
        .to_vec();
    for metric in &metrics {
        let name = metric.to_uppercase();
        headings.extend(["", " LEAST", " HEAD", " TAIL"].map(|what| format!(">{name}{what}")));
    }
    let mut rows = vec![whole(film, &metrics)];
    for shard in &film.shards {
        let mut row = vec![
            shard.shard.to_string(),
            seconds(shard.from_us),
            seconds(shard.to_us),
            shard.frames.to_string(),
        ];
        for metric in &metrics {
            let found = shard.series(metric);
            let found =
                found.map(|of| [of.mean_micro, of.least_micro, of.head_micro, of.tail_micro]);
            let found = found.unwrap_or_default();
            row.extend(found.map(|micro| value(metric, micro)));
        }
        rows.push(row);
    }
    measured_rows(&headings, &rows)
}

/// Means over all frames, and the worst of them.
fn whole(film: &MeasuredFilm, metrics: &[&str]) -> Vec<String> {
    let (first, last) = (film.shards.first(), film.shards.last());
    let frames: u64 = film.shards.iter().map(|shard| shard.frames).sum();
    let mut row = vec![
        "all".to_string(),
        seconds(first.map_or(0, |shard| shard.from_us)),
        seconds(last.map_or(0, |shard| shard.to_us)),
        frames.to_string(),
    ];
    for metric in metrics {
        let all = || {
            let shards = film.shards.iter();
            shards.filter_map(|shard| Some((shard.frames, shard.series(metric)?)))
        };
        let mean = |of: fn(&Series) -> u64, weight: fn(u64) -> u64| {
            let sums = all().map(|(frames, series)| (weight(frames), of(series)));
            let (weights, sum) = sums.fold((0_u128, 0_u128), |(weights, sum), (weight, value)| {
                let weight = u128::from(weight);
                (weights + weight, sum + weight * u128::from(value))
            });
            value(metric, (sum / weights.max(1)) as u64)
        };
        let least = all().map(|(_, series)| series.least_micro).min();
        row.push(mean(|series| series.mean_micro, |frames| frames));
        row.push(value(metric, least.unwrap_or(0)));
        // A joint counts once, however long its shards are.
        row.push(mean(|series| series.head_micro, |_| 1));
        row.push(mean(|series| series.tail_micro, |_| 1));
    }
    row
}

/// Sizes of the drawing, in its own units.
const WIDTH: i64 = 1_200;
const HEIGHT: i64 = 220;
const MARGIN: i64 = 60;

/// A drawing over time: one panel for each metric, a line for each shard, and a mark at
/// each joint.
pub fn svg(film: &MeasuredFilm) -> String {
    let metrics = film.metrics();
    let height = MARGIN + metrics.len() as i64 * (HEIGHT + MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + 2 * MARGIN
    );
    for (panel, metric) in (0..).zip(&metrics) {
        let top = MARGIN + panel * (HEIGHT + MARGIN);
        text.push_str(&draw_panel(film, metric, top));
    }
    text.push_str("</svg>\n");
    text
}

fn draw_panel(film: &MeasuredFilm, metric: &str, top: i64) -> String {
    let end = film.shards.iter().map(|shard| shard.to_us).max();
    let end = i128::from(end.unwrap_or(1).max(1));
    let points = film.shards.iter().filter_map(|shard| shard.series(metric));
    let points: Vec<u64> = points
        .flat_map(|series| series.points_micro.clone())
        .collect();
    let low = points.iter().copied().min().unwrap_or(0);
    let high = points.iter().copied().max().unwrap_or(1).max(low + 1);
    let x = |us: i128| i128::from(MARGIN) + us * i128::from(WIDTH) / end;
    let y = |micro: u64| {
        let above = i128::from(micro.saturating_sub(low)) * i128::from(HEIGHT);
        i128::from(top + HEIGHT) - above / i128::from(high - low)
    };
    let mut text = String::new();
    let bottom = top + HEIGHT;
    for shard in &film.shards {
        let at = x(shard.from_us.into());
        let _ = writeln!(
            text,
            "<line class=\"joint\" x1=\"{at}\" x2=\"{at}\" y1=\"{top}\" y2=\"{bottom}\" \
             stroke=\"#cccccc\"/>"
        );
    }
    for shard in &film.shards {
        let Some(series) = shard.series(metric) else {
            continue;
        };
        let (from, to) = (i128::from(shard.from_us), i128::from(shard.to_us));
        let parts = 2 * series.points_micro.len().max(1) as i128;
        let places = (0..).zip(&series.points_micro).map(|(at, micro)| {
            let us = from + (to - from) * (2 * at + 1) / parts;
            format!("{},{}", x(us), y(*micro))
        });
        let places: Vec<String> = places.collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fae\" stroke-width=\"1.5\"/>",
            places.join(" ")
        );
    }
    for (micro, at) in [(high, top), (low, bottom)] {
        let words = value(metric, micro);
        let _ = writeln!(text, "<text x=\"2\" y=\"{at}\">{words}</text>");
    }
    let name = metric.to_uppercase();
    let (title, right) = (top - 8, WIDTH + MARGIN);
    let until = seconds(end as i64);
    let _ = writeln!(text, "<text x=\"{MARGIN}\" y=\"{title}\">{name}</text>");
    let _ = writeln!(
        text,
        "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{until} s</text>",
        bottom + 16
    );
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHARDS: &str = r#"[
        {"shard":0,"from_us":0,"to_us":2000000,"frames":50,"series":[
            {"metric":"ssim","mean_micro":980000,"least_micro":970000,"head_micro":975000,
             "tail_micro":985000,"points_micro":[975000,985000]}]},
        {"shard":1,"from_us":2000000,"to_us":3000000,"frames":25,"series":[
            {"metric":"ssim","mean_micro":950000,"least_micro":900000,"head_micro":940000,
             "tail_micro":960000,"points_micro":[950000]}]}]"#;

    #[test]
    fn a_film_is_told_as_a_whole_and_by_shards() {
        let film = MeasuredFilm::of_shards(SHARDS).unwrap();
        let table = table(&film);
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "all", "0.0", "3.0", "75", "0.97000", "0.90000", "0.95750", "0.97250"
            ]
        );
        assert_eq!(lines[3][..5], ["1", "2.0", "3.0", "25", "0.95000"]);
        assert_eq!(value("psnr", 41_256_000), "41.26");
    }

    #[test]
    fn a_drawing_has_a_line_for_each_shard_and_a_mark_for_each_joint() {
        let film = MeasuredFilm::of_shards(SHARDS).unwrap();
        let drawn = svg(&film);
        assert_eq!(drawn.matches("class=\"joint\"").count(), 2);
        assert_eq!(drawn.matches("<polyline").count(), 2);
        assert!(drawn.contains(">0.98500<") && drawn.contains(">0.95000<"));
        assert!(MeasuredFilm::of_shards("[]").unwrap().shards.is_empty());
    }
}
