//! Where a setting comes from: a flag, the environment, the file or its default;
//! and how `config show` prints that.

use std::{fmt::Write, path::PathBuf};

use reelraft_model::Problem;
use serde::Deserialize;

use super::log_format::LogFormat;
use crate::toml_cause::toml_cause;

/// The TOML file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub id: Option<u64>,
    pub listen: Option<String>,
    pub http: Option<String>,
    pub http_public: Option<String>,
    pub advertise: Option<String>,
    pub data: Option<PathBuf>,
    pub join: Option<String>,
    pub token: Option<String>,
    pub peers: Option<String>,
    pub voters: Option<String>,
    pub slots: Option<u32>,
    pub scrub_every: Option<u64>,
    pub rehome_after: Option<u64>,
    pub replan_after: Option<u64>,
    pub replace_voter_after: Option<u64>,
    pub uploads_expire_after: Option<u64>,
    pub keep_finished: Option<u64>,
    pub allow_addresses: Option<String>,
    pub s3_buckets: Option<String>,
    pub keep_sources: Option<u64>,
    pub reuse_outputs: Option<bool>,
    pub disk_limit: Option<String>,
    pub copy_rate: Option<String>,
    pub zone: Option<String>,
    pub verify_engines: Option<u32>,
    pub log_format: Option<LogFormat>,
    pub secret: Option<String>,
    pub secret_file: Option<String>,
    pub peer_secret: Option<String>,
    pub peer_secret_file: Option<String>,
    pub tls: Option<bool>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    #[serde(default)]
    pub watch: Vec<toml::Table>,
}

impl File {
    /// Reads the file at `path`, else the one that `REELRAFT_CONFIG` names.
    ///
    /// # Errors
    /// `bad-config` if there is one and it can't be read.
    pub fn read(path: Option<PathBuf>) -> Result<Self, Problem> {
        let named = std::env::var_os("REELRAFT_CONFIG").filter(|name| !name.is_empty());
        let path = path.or_else(|| named.map(PathBuf::from));
        let Some(path) = path else {
            return Ok(File::default());
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            bad(
                format!("{}: {error}", path.display()),
                "name a readable TOML file with --config",
            )
        })?;
        toml::from_str(&text).map_err(|error| {
            let cause = toml_cause(&text, &error);
            bad(
                format!("{}: {cause}", path.display()),
                "see `reelraft node --help` for the settings",
            )
        })
    }
}

/// One setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The setting's name.
    pub key: &'static str,
    /// Its effective value; empty if unset.
    pub value: String,
    /// flag, environment, file, default or unset.
    pub origin: &'static str,
}

/// The settings as aligned lines: name, value, origin.
pub fn table(settings: &[Shown]) -> String {
    let widths = |text: fn(&Shown) -> usize| settings.iter().map(text).max();
    let keys = widths(|shown| shown.key.chars().count()).unwrap_or(0);
    let values = widths(|shown| shown.value.chars().count()).unwrap_or(0);
    let mut text = String::new();
    for Shown { key, value, origin } in settings {
        let _ = writeln!(text, "{key:keys$}  {value:values$}  {origin}");
    }
    text
}

/// The settings as one line of JSON: `{"listen": {"value", "origin"}, …}`.
pub fn json(settings: &[Shown]) -> String {
    let rows: serde_json::Map<String, serde_json::Value> = settings
        .iter()
        .map(|Shown { key, value, origin }| {
            let setting = serde_json::json!({"value": value, "origin": origin});
            (key.to_string(), setting)
        })
        .collect();
    format!("{}\n", serde_json::Value::Object(rows))
}

/// A setting that can't be used.
pub fn bad(cause: impl Into<String>, hint: &str) -> Problem {
    Problem::new("bad-config", cause, hint)
}

/// A file's or folder's name as text. Another name that only looks the same would
/// be another one.
///
/// # Errors
/// `bad-config`.
pub fn utf8(path: Option<PathBuf>) -> Result<Option<String>, Problem> {
    let text = path.map(|path| path.into_os_string().into_string());
    text.transpose().map_err(|name| {
        bad(
            format!("the name {name:?} of a file or folder is not UTF-8"),
            "give it another name",
        )
    })
}

/// A variable of the environment. An empty one is not set; one that is no
/// text is an error, since without it another thing would be done.
///
/// # Errors
/// `bad-config`.
pub fn variable(name: &str) -> Result<Option<String>, Problem> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(bad(format!("{name} is not UTF-8"), "unset or correct it"))
        }
    }
}

fn is_secret(key: &str) -> bool {
    key.ends_with("secret") || key == "token"
}

/// Takes each setting from the first place that has it, and notes which.
#[derive(Default)]
pub struct Picker {
    pub shown: Vec<Shown>,
}

impl Picker {
    /// One setting that always has a value.
    ///
    /// # Errors
    /// As [`Picker::pick`].
    pub fn pick_or<T: std::str::FromStr + std::fmt::Display + Clone>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
        file: Option<T>,
        default: T,
    ) -> Result<T, Problem> {
        let picked = self.pick(key, flag, file, || Some(default.clone()))?;
        Ok(picked.unwrap_or(default))
    }

    /// One setting.
    ///
    /// # Errors
    /// `bad-config` for an environment variable that can't be read.
    pub fn pick<T: std::str::FromStr + std::fmt::Display>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
        file: Option<T>,
        default: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let name = format!("REELRAFT_{}", key.to_uppercase());
        let environment = match variable(&name)? {
            Some(text) => {
                let parsed = text.parse();
                Some(parsed.map_err(|_| {
                    bad(
                        format!("{name}='{text}' can't be read"),
                        "unset or correct it",
                    )
                })?)
            }
            None => None,
        };
        let found = flag
            .map(|value| (value, "flag"))
            .or_else(|| environment.map(|value| (value, "environment")))
            .or_else(|| file.map(|value| (value, "file")))
            .or_else(|| default().map(|value| (value, "default")));
        let value = match &found {
            Some((value, _)) if is_secret(key) && !value.to_string().is_empty() => {
                "(set)".to_string()
            }
            Some((value, _)) => value.to_string(),
            None => String::new(),
        };
        self.shown.push(Shown {
            key,
            value,
            origin: found.as_ref().map_or("unset", |(_, origin)| origin),
        });
        Ok(found.map(|(value, _)| value))
    }
}
