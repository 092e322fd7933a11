//! The HTTP port: where it listens, and what browsers call it.

use std::net::SocketAddr;

use reelraft_model::Problem;

use super::{
    membership::resolve_address,
    origin::{Picker, bad},
};

/// A setting as a flag and in the file.
type Given = (Option<String>, Option<String>);

/// The address to listen on.
///
/// # Errors
/// `bad-config` for what is none.
pub fn pick_http(picker: &mut Picker, http: Given) -> Result<Option<SocketAddr>, Problem> {
    let http = picker.pick("http", http.0, http.1, || None)?;
    let http = http.filter(|address| !address.is_empty());
    http.as_deref().map(resolve_address).transpose()
}

/// The origin that a browser finds it under.
///
/// # Errors
/// `bad-config` for what is none.
pub fn pick_public(
    picker: &mut Picker,
    public: Given,
    http: Option<SocketAddr>,
    (advertise, tls): (&str, bool),
) -> Result<Option<String>, Problem> {
    let default = || http.map(|address| origin_of(address, advertise, tls));
    let public = picker.pick("http_public", public.0, public.1, default)?;
    let public = public.filter(|url| !url.is_empty());
    public.map(|url| plain_origin(&url)).transpose()
}

/// What a browser calls a port where nothing is said of it.
fn origin_of(http: SocketAddr, advertise: &str, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    if !http.ip().is_unspecified() {
        return format!("{scheme}://{http}");
    }
    // All addresses of the machine, of which the others know one.
    let host = advertise
        .rsplit_once(':')
        .map_or(advertise, |(host, _)| host);
    format!("{scheme}://{host}:{}", http.port())
}

/// A URL that is a scheme, a host and perhaps a port, as a browser names it.
fn plain_origin(url: &str) -> Result<String, Problem> {
    let plain = url.trim_end_matches('/').to_ascii_lowercase();
    let rest = plain.strip_prefix("https://");
    let rest = rest.or_else(|| plain.strip_prefix("http://"));
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
    match rest {
        Some(host) if !host.is_empty() && host.chars().all(is_host) => Ok(plain),
        _ => Err(bad(
            format!("'{url}' is not what a browser calls a port"),
            "write --http-public as https://node1.example.org or http://10.0.0.1:8401, without a path",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_is_called_by_its_address_or_as_the_others_call_the_node() {
        let origin = |http: &str| origin_of(http.parse().unwrap(), "node1:7401", false);
        assert_eq!(origin("127.0.0.1:8401"), "http://127.0.0.1:8401");
        assert_eq!(origin("[::1]:8401"), "http://[::1]:8401");
        assert_eq!(origin("0.0.0.0:8401"), "http://node1:8401");
        let by_tls = origin_of("0.0.0.0:8401".parse().unwrap(), "node1:7401", true);
        assert_eq!(by_tls, "https://node1:8401");
    }

    #[test]
    fn an_origin_has_no_path_and_no_user() {
        for good in [
            "https://a.example",
            "http://10.0.0.1:8401",
            "http://[::1]:8401",
        ] {
            assert_eq!(plain_origin(good).unwrap(), good);
        }
        assert_eq!(
            plain_origin("HTTP://A.example/").unwrap(),
            "http://a.example"
        );
        for bad in [
            "",
            "a.example",
            "http://",
            "ftp://a",
            "http://a/b",
            "http://u@a",
            "http://a b",
            "http://a;script-src *",
            "http://a,b",
            "http://a'",
        ] {
            assert!(plain_origin(bad).is_err(), "{bad}");
        }
    }
}
