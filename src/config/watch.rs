//! The folders that a node watches: each a table of the file, whose settings are the
//! options of `reelraft watch-folder` with `_` for `-`.

use reelraft_model::Problem;
use toml::{Table, Value};

use super::origin::{Shown, bad};
use crate::limits::WATCHES_MAX;

/// One folder, as words of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchWords {
    /// The folder and the options that are given.
    pub words: Vec<String>,
    /// Options that are said to be off.
    pub off: Vec<String>,
}

/// Takes the tables.
///
/// # Errors
/// `bad-config` for what no option can be.
pub fn watch_words(tables: Vec<Table>) -> Result<Vec<WatchWords>, Problem> {
    if tables.len() > WATCHES_MAX {
        return Err(bad(
            format!("{} folders to watch", tables.len()),
            "name at most 16: each takes in all folders below it",
        ));
    }
    tables.into_iter().map(words_of).collect()
}

/// The setting as `config show` prints it, where there is one.
pub fn shown(watched: &[WatchWords]) -> Option<Shown> {
    let folders: Vec<&str> = watched
        .iter()
        .filter_map(|it| Some(it.words.last()?.as_str()))
        .collect();
    (!folders.is_empty()).then(|| Shown {
        key: "watch",
        value: folders.join(", "),
        origin: "file",
    })
}

fn words_of(table: Table) -> Result<WatchWords, Problem> {
    let mut found = WatchWords::default();
    let mut folder = None;
    for (key, value) in table {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !key.bytes().all(plain) {
            return Err(odd(&key, "is no name of an option"));
        }
        if key == "folder" {
            folder = Some(text_of(&key, value)?);
            continue;
        }
        let option = format!("--{}", key.replace('_', "-"));
        match value {
            Value::Boolean(true) => found.words.push(option),
            Value::Boolean(false) => found.off.push(option),
            value => found
                .words
                .push(format!("{option}={}", text_of(&key, value)?)),
        }
    }
    let folder = folder.ok_or_else(|| {
        let hint = "give each [[watch]] a folder, and the one for its outputs as to";
        bad("a [[watch]] names no folder", hint)
    })?;
    found.words.extend(["--".to_string(), folder]);
    Ok(found)
}

fn text_of(key: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Array(values) => {
            let texts: Result<Vec<String>, Problem> = values
                .into_iter()
                .map(|value| match value {
                    Value::Array(_) => Err(odd(key, "is a list of lists")),
                    value => text_of(key, value),
                })
                .collect();
            Ok(texts?.join(","))
        }
        Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            Err(odd(key, "is neither a text nor a number"))
        }
    }
}

fn odd(key: &str, why: &str) -> Problem {
    let hint = "give the options of `reelraft watch-folder`, with _ for -";
    bad(format!("'{key}' in a [[watch]] {why}"), hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::origin::File;

    fn read(text: &str) -> Result<Vec<WatchWords>, Problem> {
        let file: File = toml::from_str(text).unwrap();
        watch_words(file.watch)
    }

    #[test]
    fn tables_become_words_of_a_command_line() {
        let read = read(
            "slots = 2\n[[watch]]\nfolder = '-in'\nto = '/srv/out'\ndone = 'move=/srv/done'\n\
             crf = 20\nloudness = -16.5\nskip_codec = ['hevc', 'av1']\nstrict = true\n\
             once = false\n[[watch]]\nfolder = 'b'\nto = 'c'\n",
        );
        let read = read.unwrap();
        assert_eq!(
            read[0].words,
            [
                "--crf=20",
                "--done=move=/srv/done",
                "--loudness=-16.5",
                "--skip-codec=hevc,av1",
                "--strict",
                "--to=/srv/out",
                "--",
                "-in"
            ]
        );
        assert_eq!(read[0].off, ["--once"]);
        assert_eq!(shown(&read).unwrap().value, "-in, b");
        assert_eq!(shown(&[]), None);
    }

    #[test]
    fn what_is_no_option_is_refused_by_name() {
        for (text, cause) in [
            ("to = 'x'", "names no folder"),
            ("folder = 'x'\n'a b' = 1", "no name of an option"),
            ("folder = 'x'\n[watch.deep]\na = 1", "neither a text"),
            ("folder = true", "neither a text"),
        ] {
            let problem = read(&format!("[[watch]]\n{text}")).unwrap_err();
            assert!(problem.cause.contains(cause), "{problem}");
        }
        let many = "[[watch]]\nfolder = 'x'\n".repeat(WATCHES_MAX + 1);
        assert!(read(&many).is_err());
    }
}
