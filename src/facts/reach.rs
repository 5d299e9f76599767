//! What the host can reach on the network: where Flux and k3s get their things from.

use serde::{Deserialize, Serialize};

use super::flux::Source;
use crate::remote::Command;

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// What for: `git`, `registry`.
    pub what: String,
    /// The URL that was tried.
    pub url: String,
    /// Empty when an HTTP answer came, whatever it said; otherwise curl's complaint.
    pub trouble: String,
}

/// Where k3s gets images from that name no registry.
const REGISTRY: &str = "https://registry-1.docker.io/v2/";

/// What is worth trying: each Git server that Flux fetches from over HTTP, and the registry. A server that is reached over SSH only
/// cannot be asked by curl and is left out.
#[must_use]
pub fn targets(sources: &[Source]) -> Vec<(&'static str, String)> {
    let mut servers: Vec<String> = sources.iter().filter_map(|source| origin(&source.url)).collect();
    servers.sort();
    servers.dedup();
    servers.into_iter().map(|url| ("git", url)).chain([("registry", REGISTRY.to_owned())]).collect()
}

/// `https://git.example.org/team/repository.git` → `https://git.example.org/`, without any password in it.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-.:[]".contains(c));
    (matches!(scheme, "http" | "https") && plain && !host.is_empty()).then(|| format!("{scheme}://{host}/"))
}

/// Asks the host to try them, all at once.
#[must_use]
pub fn ask(targets: &[(&'static str, String)]) -> Command {
    let ask = Command::new(
        r#"command -v curl >/dev/null || { echo "curl is not installed" >&2; exit 1; }
try() { e=$(curl -q -g -sS -I -o /dev/null --connect-timeout 10 --max-time 20 "$2" 2>&1) && e= || e=${e:-curl failed}
printf '%s %s %s\n' "$1" "$2" "$(printf %s "$e" | tr '\n' ' ')"; }"#,
    );
    targets
        .iter()
        .fold(ask, |ask, (what, url)| ask.fixed("\ntry").fixed(what).arg(url).fixed("&"))
        .fixed("\nwait")
}

/// Reads the answer, in the order of the targets.
pub fn read(targets: &[(&'static str, String)], answer: &str) -> Result<Vec<Reach>, String> {
    let of = |(what, url): &(&'static str, String)| {
        let trouble = answer
            .lines()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(' ')?.strip_prefix(url.as_str()))
            .ok_or_else(|| format!("curl told nothing of {url}"))?;
        Ok(Reach { what: (*what).to_owned(), url: url.clone(), trouble: trouble.trim().to_owned() })
    };
    targets.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_holds_no_path_and_no_password() {
        assert_eq!(origin("https://git.example.org/a/b.git").as_deref(), Some("https://git.example.org/"));
        assert_eq!(
            origin("https://user:word@git.example.org:8443/a").as_deref(),
            Some("https://git.example.org:8443/")
        );
        assert_eq!(origin("ssh://git@git.example.org/a"), None);
        assert_eq!(origin("git@git.example.org:a/b.git"), None);
        assert_eq!(origin("https:///a"), None);
        assert_eq!(origin("https://a b/"), None);
    }

    #[test]
    fn each_target_has_its_own_answer() {
        let targets = [("git", "https://git.example.org/".to_owned()), ("registry", REGISTRY.to_owned())];
        let answer = "registry https://registry-1.docker.io/v2/ \ngit https://git.example.org/ curl: (6) Could not resolve host: git.example.org\n";
        let reach = read(&targets, answer).unwrap();
        assert_eq!(reach[0].trouble, "curl: (6) Could not resolve host: git.example.org");
        assert_eq!(reach[1].trouble, "");
        assert!(read(&targets, "git https://git.example.org/ \n").is_err());
    }
}
