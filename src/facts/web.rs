//! The applications' web pages, as the host itself sees them.

use serde::{Deserialize, Serialize};

use super::kubernetes::List;
use crate::remote::Command;

/// One host name of an Ingress, asked over HTTPS at the cluster's own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The host name.
    pub host: String,
    /// The HTTP status at the end of all redirections, as of the login page that an application sends to; 0 where none came.
    pub status: u16,
    /// Whether the certificate was valid for the name.
    pub certificate: bool,
    /// curl's complaint; empty where there was an answer over a valid certificate.
    pub trouble: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IngressSpec {
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    host: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    addresses: Vec<Address>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

/// Host names of the Ingresses, each once, sorted. A wildcard names no page.
pub fn hosts(objects: &List) -> Result<Vec<String>, String> {
    let mut hosts = Vec::new();
    for item in objects.of("Ingress") {
        hosts.extend(item.spec::<IngressSpec>()?.rules.into_iter().map(|rule| rule.host));
    }
    hosts.retain(|host| {
        host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
    });
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

/// The node's own address, at which its ingress listens.
pub fn address(objects: &List) -> Result<String, String> {
    for item in objects.of("Node") {
        let internal = |address: &Address| address.kind == "InternalIP";
        if let Some(found) = item.status::<NodeStatus>()?.addresses.into_iter().find(internal) {
            return Ok(found.address);
        }
    }
    Err("no node tells its address".to_owned())
}

/// Asks for the pages, all at once. Most applications send to single sign-on's login page at once: what counts is the page that one ends at, so
/// redirections are followed, over HTTPS alone, and every host name of the cluster leads to the cluster itself.
#[must_use]
pub fn ask(hosts: &[String], address: &str) -> Command {
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let known =
        hosts.iter().map(|host| format!("--resolve {host}:443:{address}")).collect::<Vec<_>>().join(" ");
    let ask = Command::new(
        r#"command -v curl >/dev/null || { echo "curl is not installed" >&2; exit 1; }
page() { a=$(set -f; curl -q -g -sS -L --max-redirs 8 --proto-redir =https -o /dev/null --noproxy '*' --max-time 15 $known -w 'status %{http_code} %{ssl_verify_result}\n' "https://$1/" 2>&1)
printf '%s %s %s\n' "$1" "$?" "$(printf %s "$a" | tr '\n' ' ')"; }; known="#,
    )
    .joined(&known);
    hosts.iter().fold(ask, |ask, host| ask.fixed("\npage").arg(host).fixed("&")).fixed("\nwait")
}

/// Reads the answer, in the order of the hosts.
pub fn read(hosts: &[String], answer: &str) -> Result<Vec<Page>, String> {
    let of = |host: &String| {
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix(host.as_str())?.strip_prefix(' '))
            .ok_or_else(|| format!("curl told nothing of {host}"))?;
        page(host, line).ok_or_else(|| format!("curl's answer for {host} is strange: {line:?}"))
    };
    hosts.iter().map(of).collect()
}

/// `60 curl: (60) SSL certificate problem: certificate has expired status 000 10`: curl's exit code, complaint and figures.
fn page(host: &str, line: &str) -> Option<Page> {
    let (exit, said) = line.split_once(' ')?;
    let exit: u32 = exit.parse().ok()?;
    let (complaint, figures) = said.rsplit_once("status ")?;
    let (status, verified) = figures.trim().split_once(' ')?;
    let certificate = exit == 0 && verified.trim() == "0";
    let trouble = match complaint.trim() {
        "" if exit != 0 => format!("curl ended with exit status {exit}"),
        "" if !certificate => "the certificate was not valid".to_owned(),
        said => said.to_owned(),
    };
    Some(Page { host: host.to_owned(), status: status.parse().ok()?, certificate, trouble })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The login page is another host's: it must be this cluster's too, whatever DNS says.
    #[test]
    fn every_page_is_asked_with_every_host_name_leading_to_the_cluster() {
        let hosts = ["files.one.example.org".to_owned(), "sso.one.example.org".to_owned()];
        let said = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("curl() {{ echo \"asked $*\"; }}; {}", ask(&hosts, "203.0.113.7").line()))
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.lines().count(), 2, "{said}");
        for line in said.lines() {
            for host in &hosts {
                assert!(line.contains(&format!("--resolve {host}:443:203.0.113.7 ")), "{line}");
            }
            assert!(line.contains(" -L ") && line.contains("--proto-redir =https"), "{line}");
        }
    }
}
