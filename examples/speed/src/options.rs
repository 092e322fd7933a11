//! The options of a command, each a name and a value.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

/// What was asked for.
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// A word that is no option, or an option without a value.
    pub fn read(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut found = BTreeMap::new();
        let mut args = args;
        while let Some(word) = args.next() {
            let name = word
                .strip_prefix("--")
                .ok_or(format!("{word} is no option"))?;
            let value = args.next().ok_or(format!("{word} needs a value"))?;
            found.insert(name.to_string(), value);
        }
        Ok(Options(found))
    }

    /// The value of an option as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of an option as a number, or what stands for none.
    ///
    /// # Errors
    /// A value that is none.
    pub fn number<N: FromStr>(&self, name: &str, default: N) -> Result<N, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("--{name} takes a number"));
        self.text(name).map_or(Ok(default), parse)
    }

    /// Where the picture of a job goes.
    pub fn svg(&self) -> Option<PathBuf> {
        self.text("svg").map(PathBuf::from)
    }
}
