//! `reelraft debug bundle`: all that helps whoever is asked for help, as one file that
//! may be shown to them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reelraft_proto::{
    documents,
    v1::{DiagnoseRequest, StatusRequest},
};
use serde_json::json;

use super::request_options::ReplaceArgs;
use crate::{
    client::Client,
    error::CliError,
    render::{Output, format::counted, json, screen::print},
    transfer::{
        on_thread::on_thread, output_file::OutputFile, private_file::PrivateFile, tar::Tar,
    },
};

/// The subcommands of `debug`.
#[derive(Subcommand, Clone, Debug)]
pub enum DebugCommand {
    /// Gather status, settings, counters, logs and checks of all nodes in one file
    Bundle(BundleArgs),
}

/// Arguments of `debug bundle`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Every node of --endpoints is asked, and one that does not answer is named in the
file. Secrets, keys, certificates' keys and queries of URLs are left out, and names
of films, unless --names is given. Look through it before you pass it on: it is a tar
file of plain texts.")]
pub struct BundleArgs {
    /// The file to write, such as bundle.tar
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Leave the names of films in
    #[arg(long)]
    pub names: bool,
    #[command(flatten)]
    pub replace: ReplaceArgs,
}

/// A text for the bundle, by its name.
pub type Text = (String, String);

/// Gathers a bundle from these nodes, each by its own client, beside what this machine
/// knows itself.
///
/// # Errors
/// A file that can't be written. That nodes don't answer is told in it.
pub async fn run(
    clients: Vec<(String, Client)>,
    args: &BundleArgs,
    (own, unix_ms): (Vec<Text>, u64),
    output: Output,
) -> Result<(), CliError> {
    let Some((_, first)) = clients.first() else {
        return Err(CliError::usage(
            "there are no endpoints",
            "give --endpoints",
        ));
    };
    let screen = first.screen().clone();
    let file = OutputFile::check(&args.file, args.replace.overwrite, None, &screen)?;
    let into = PrivateFile::begin(file)?;
    let mut texts = own;
    let mut silent = Vec::new();
    for (endpoint, mut client) in clients {
        screen.progress(&format!("asking {endpoint}"));
        let folder = endpoint.replace(['/', ':'], "_");
        match of_node(&mut client, args.names).await {
            Ok(found) => {
                texts.extend(found.into_iter().filter_map(|text| within(&folder, text)));
            }
            Err(error) => {
                let said = format!("{}: {error}\n", error.kind());
                texts.push((format!("{folder}/no-answer.txt"), said));
                silent.push(endpoint);
            }
        }
    }
    screen.clear();
    let mut tar = Tar::new(unix_ms);
    for (name, text) in &texts {
        tar.add(&format!("reelraft-bundle/{name}"), text);
    }
    let bytes = tar.finish();
    let size = bytes.len();
    let written = move || into.write(&bytes).and_then(|()| into.finish());
    on_thread("writing the bundle", written).await??;
    for endpoint in &silent {
        screen.notice(&format!("{endpoint} did not answer"));
    }
    let file = args.file.display();
    print(&match output {
        Output::Json => json::line(&json!({
            "file": file.to_string(),
            "bytes": size,
            "texts": texts.len(),
            "silent": silent,
        })),
        Output::Table => format!(
            "{file} has {}; look through it before you pass it on\n",
            counted(texts.len() as u64, "text")
        ),
    })
}

/// A node's text in its folder. What a node says is no name of a file outside of it.
fn within(folder: &str, (name, text): Text) -> Option<Text> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter == '.';
    let fit = name.chars().all(plain) && name.starts_with(|first: char| first != '.');
    fit.then(|| (format!("{folder}/{name}"), text))
}

/// What a node says of the cluster, and of itself.
async fn of_node(client: &mut Client, names: bool) -> Result<Vec<Text>, CliError> {
    let request = StatusRequest { local: false };
    let status = client.call_cluster(request, async |mut cluster, request| {
        cluster.status(request).await
    });
    let status = status.await?;
    let request = DiagnoseRequest { names };
    let found = client.call_cluster(request, async |mut cluster, request| {
        cluster.diagnose(request).await
    });
    let sections = found.await?.sections.into_iter();
    let mut texts = vec![(
        "status.json".to_string(),
        json::line(&documents::Status::from(&status)),
    )];
    texts.extend(sections.map(|section| (section.name, section.text)));
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_files_of_its_own_folder_alone() {
        let of = |name: &str| within("n1", (name.to_string(), String::new()));
        let named = of("log.txt").map(|text| text.0);
        assert_eq!(named.as_deref(), Some("n1/log.txt"));
        for name in ["../x", "..", ".", "", "/etc/x", "a/b", "x y", "A"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
