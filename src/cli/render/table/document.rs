//! Any JSON document, such as a proof, as cards and grids.

use serde_json::Value;

use super::layout::{card, grid, or_dash};
use crate::render::{format::shell_quoted, screen::printable};

/// Any document (a proof): plain values as a card, lists of objects as tables.
pub fn document(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return format!("{}\n", plain(value));
    };
    let simple: Vec<(&str, String)> = fields
        .iter()
        .filter(|(_, value)| !is_rows(value))
        .map(|(name, value)| (name.as_str(), simple(name, value)))
        .collect();
    let mut text = card(&simple);
    for (name, value) in fields {
        if let Value::Array(items) = value
            && is_rows(value)
        {
            text.push_str(&format!("\n{} ({})\n", printable(name), items.len()));
            text.push_str(&table_of(items));
        }
    }
    text
}

fn is_rows(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
}

fn table_of(items: &[Value]) -> String {
    // What names the row comes first; the rest as the document has it.
    let mut columns: Vec<&str> = ["number", "name"]
        .into_iter()
        .filter(|&name| items.iter().any(|item| item.get(name).is_some()))
        .collect();
    for name in items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|item| item.keys())
    {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| columns.iter().map(|&name| plain(&item[name])).collect())
        .collect();
    grid(&columns, &rows)
}

/// A field of a document: a command line as a shell would be given it.
fn simple(name: &str, value: &Value) -> String {
    match value {
        Value::Array(words) if name == "reference" => {
            let words = words.iter().filter_map(Value::as_str).map(shell_quoted);
            words.collect::<Vec<_>>().join(" ")
        }
        _ => plain(value),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => or_dash(text),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) if !items.iter().any(|item| item.is_object() || item.is_array()) => {
            or_dash(&items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
