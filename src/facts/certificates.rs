//! Certificates and when they end.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::kubernetes::{Groups, List};
use crate::inventory::Paths;
use crate::remote::Command;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// `k3s client-admin.crt`, or `oas-apps/nextcloud-tls` of cert-manager.
    pub what: String,
    /// Its end.
    pub not_after: Timestamp,
}

/// Asks when k3s' own certificates end. Without `openssl`, or on a host that keeps them elsewhere, there is nothing to tell.
#[must_use]
pub fn ask(paths: &Paths) -> Command {
    Command::new(
        r#"ends() { command -v openssl >/dev/null 2>&1 || return 0
for c in "$1"/*.crt; do [ -r "$c" ] || continue
e=$(openssl x509 -enddate -noout -in "$c" 2>/dev/null) && echo "${c##*/} $e"; done; return 0; }; ends"#,
    )
    .arg(format!("{}/server/tls", paths.k3s_data))
}

/// Asks for cert-manager's certificates; `None` where the cluster has no cert-manager.
#[must_use]
pub fn ask_cert_manager(groups: &Groups) -> Option<Command> {
    let ask = || Command::new("k3s kubectl get certificates.cert-manager.io -A -o json").limit(16 << 20);
    groups.has("cert-manager.io").then(ask)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    not_after: Option<Timestamp>,
}

/// Reads both: k3s' own first, each in order of name. One of cert-manager's that was never issued has no end and is left out.
pub fn read(k3s: &str, cert_manager: &List) -> Result<Vec<Certificate>, String> {
    let mut found =
        k3s.lines().filter(|line| !line.trim().is_empty()).map(own).collect::<Result<Vec<_>, _>>()?;
    let mut issued = Vec::new();
    for item in cert_manager.of("Certificate") {
        if let Some(not_after) = item.status::<Status>()?.not_after {
            let what = format!("{}/{}", item.metadata.namespace, item.metadata.name);
            issued.push(Certificate { what, not_after });
        }
    }
    issued.sort_by(|a, b| a.what.cmp(&b.what));
    found.append(&mut issued);
    Ok(found)
}

/// `serving-kube-apiserver.crt notAfter=Nov  2 16:58:53 2026 GMT`
fn own(line: &str) -> Result<Certificate, String> {
    let strange = || format!("openssl printed a strange line: {line:?}");
    let (file, end) = line.trim().split_once(" notAfter=").ok_or_else(strange)?;
    let words: Vec<&str> = end.split_whitespace().collect();
    let [month, day, time, year, "GMT"] = words[..] else { return Err(strange()) };
    let not_after = DateTime::strptime("%b %d %H:%M:%S %Y", format!("{month} {day:0>2} {time} {year}"))
        .and_then(|end| end.to_zoned(TimeZone::UTC))
        .map_err(|_| strange())?
        .timestamp();
    Ok(Certificate { what: format!("k3s {file}"), not_after })
}
