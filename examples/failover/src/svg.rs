//! The parts of an SVG that do not depend on what it shows: sizes, colours,
//! and text.

use std::fmt::Write;

/// Left edge of the lanes, and top of the first one.
pub(crate) const LEFT: f64 = 78.0;
pub(crate) const TOP: f64 = 92.0;

/// Height of one bar.
pub(crate) const BAR: f64 = 13.0;

/// One for each job, in turn.
pub(crate) const HUES: [&str; 6] = [
    "#3b82c4", "#2a9d8f", "#8a6fc2", "#c2783b", "#5b8c3a", "#b0568c",
];

/// Plain classes and no variables, which not every viewer of SVG supports.
pub(crate) const STYLE: &str = "
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

/// Adds a line.
pub(crate) fn put(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{text}");
}

/// Text that may stand between tags.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
