//! What a name, an address, a key or a path must look like. Each rule gives the value in its one spelling, or says
//! what is wrong with it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Kinds of host keys (`sshd_config(5)`, HostKeyAlgorithms, without certificates).
const KEY_KINDS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// Longest name: it becomes part of file names and of unit names on hosts.
const NAME: usize = 64;

/// Clusters, groups and tags: safe as a file name, and free of what means something to `--on`.
pub(super) fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(bad) = text.chars().find(|c| !plain(*c)) {
        let why = if ",@!*?".contains(bad) { ", which means something to `--on`" } else { "" };
        return Err(format!("it holds `{bad}`{why}; only letters, digits, `-`, `_` and `.` may stand there"));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("it must begin with a letter or a digit".to_owned());
    }
    if text.len() > NAME {
        return Err(format!("it has {} characters, {NAME} are allowed", text.len()));
    }
    Ok(text.to_owned())
}

/// The nearest name to any text that keeps the rule for [`name`]s.
pub(super) fn safe_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = text.chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let name: String = name.chars().take(NAME).collect();
    if name.is_empty() { "host".to_owned() } else { name }
}

/// A `Host` of ssh_config, as it is given to `ssh`: never an option, nothing that a shell would understand (OpenSSH refuses it too).
pub(super) fn alias(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && !"'`\"$\\;&<>|(){}@/,!*?[]".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(plain) {
        return Err(
            "it is no alias: one word as it stands behind `Host` in ssh_config, without user and pattern"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// A login on the way to another host, as `ssh -J` takes it: `[user@]host[:port]`.
pub(super) fn login(text: &str) -> Result<Login, String> {
    let (login, place) = text.rsplit_once('@').map_or((None, text), |(login, place)| (Some(login), place));
    let login = login.map(user).transpose()?;
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or("`:PORT` may follow `]`")?)),
        None if place.matches(':').count() == 1 && !place.starts_with('[') => {
            place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
        }
        None if place.starts_with('[') => return Err("`[` is not closed".to_owned()),
        None => (place, None),
    };
    let number = |port: &str| port.parse().ok().filter(|port: &u16| *port > 0);
    let port = port.map(|port| number(port).ok_or("its port is no number from 1 to 65535")).transpose()?;
    if host.is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok((login, (host.to_owned(), port)))
}

/// A user, and a host with its port; `None` where nothing is said.
pub(super) type Login = (Option<String>, (String, Option<u16>));

/// A host name or an IP address, without user, port and brackets.
pub(super) fn address(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains('@') {
        return Err("the user goes into `user`".to_owned());
    }
    if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.split(']').next().unwrap_or_default();
        return Err(format!(
            "an IPv6 address stands without brackets (\"{inside}\"), the port goes into `port`"
        ));
    }
    if text.contains('/') {
        return Err("it is an URL or a path, not a host name".to_owned());
    }
    // A zone (`fe80::1%eth0`) names a network card of this machine.
    let (plain, zone) = text.split_once('%').map_or((text, None), |(plain, zone)| (plain, Some(zone)));
    match (plain.parse::<IpAddr>(), zone) {
        (Ok(ip), None) => return Ok(ip.to_string()),
        (Ok(IpAddr::V6(ip)), Some(zone)) if name(zone).is_ok() => return Ok(format!("{ip}%{zone}")),
        _ => {}
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && !host.contains(':')
        && port.chars().all(|c| c.is_ascii_digit())
    {
        return Err("the port goes into `port`".to_owned());
    }
    if text.contains(':') {
        return Err("it is no IPv6 address".to_owned());
    }
    domain(text)
}

/// A host name (RFC 1123; the underscore is met in the wild).
pub(super) fn domain(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if !text.is_ascii() {
        return Err("write an international name in its ASCII form (xn--…)".to_owned());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err("it is no host name".to_owned());
    }
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err("it is no IPv4 address".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

/// An SSH user.
pub(super) fn user(text: &str) -> Result<String, String> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"@:/".contains(c);
    if text.is_empty() || !text.chars().all(plain) || text.starts_with('-') {
        return Err("it is no user name".to_owned());
    }
    Ok(text.to_owned())
}

/// A UID as Kubernetes gives them: one word.
pub(super) fn uid(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err("it is no UID (`kubectl get namespace kube-system` tells it, in metadata.uid)".to_owned());
    }
    Ok(text.to_owned())
}

/// A machine's id (`machine-id(5)`): 32 hexadecimal digits.
pub(super) fn machine_id(text: &str) -> Result<String, String> {
    if text.len() != 32 || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(
            "it is no machine id: 32 hexadecimal digits, as `cat /etc/machine-id` prints them".to_owned()
        );
    }
    Ok(text.to_ascii_lowercase())
}

/// An absolute path on a host, not its root, without detours.
pub(super) fn host_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("a path on a host is absolute: it begins with `/`".to_owned());
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err("`.` and `..` may not stand in it".to_owned());
    }
    if parts.is_empty() {
        return Err("it is the root of the whole host".to_owned());
    }
    Ok(format!("/{}", parts.join("/")))
}

/// A path on this machine: `~/` is the operator's home, a relative path starts at the file's folder.
pub(super) fn local_path(text: &str, folder: &Path, home: Option<&Path>) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(folder.join(text));
    };
    let home = home.ok_or("`~` is unknown: the variable HOME is not set")?;
    match rest.strip_prefix('/') {
        Some(rest) => Ok(home.join(rest)),
        None if rest.is_empty() => Ok(home.to_owned()),
        None => {
            Err("only `~/` is known, not the home of another user; `./~name` is a file of that name"
                .to_owned())
        }
    }
}

/// A public host key: kind and base64, the comment dropped.
pub(super) fn host_key(text: &str) -> Result<String, String> {
    let hint =
        "`ssh-keyscan -t ed25519 ADDRESS` prints it behind the address; compare it with the host's own first";
    let mut words = text.split_whitespace();
    let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if kind.starts_with("SHA256:") || kind.starts_with("MD5:") {
        return Err(format!("this is a fingerprint, not the key; {hint}"));
    }
    if KEY_KINDS.contains(&data) {
        return Err(format!(
            "leave out what stands before `{data}`; a line of known_hosts goes into known_hosts"
        ));
    }
    if !KEY_KINDS.contains(&kind) {
        return Err(format!("it begins with `{kind}`, not with a kind of key ({})", KEY_KINDS.join(", ")));
    }
    let blob = STANDARD
        .decode(data)
        .map_err(|_| format!("what follows `{kind}` is no base64: was it cut? {hint}"))?;
    // RFC 4253 section 6.6: length (four bytes) and name of the kind, then the key's own numbers.
    let named = blob.get(4..4 + kind.len()) == Some(kind.as_bytes())
        && blob[..4] == u32::try_from(kind.len()).unwrap_or(u32::MAX).to_be_bytes();
    let whole = match kind {
        "ssh-ed25519" => blob.len() == 51,
        _ => blob.len() > 4 + kind.len() + 64,
    };
    if named && whole {
        Ok(format!("{kind} {data}"))
    } else {
        Err(format!("it is no whole {kind} key; {hint}"))
    }
}

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.is_empty() || !text.chars().all(plain) || text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it is no name of an environment variable".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_file_names() {
        for good in ["acme", "a", "7", "acme.example.org", "A-b_c.9"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "..", "-a", ".a", "a/b", "a b", "a,b", "@a", "!a", "web*", "ü", &"a".repeat(65)]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_one_spelling() {
        assert_eq!(address("Web1.Example.org.").as_deref(), Ok("web1.example.org"));
        assert_eq!(address("2001:DB8:0::1").as_deref(), Ok("2001:db8::1"));
        assert_eq!(address("fe80::1%eth0").as_deref(), Ok("fe80::1%eth0"));
        assert_eq!(address("203.0.113.7").as_deref(), Ok("203.0.113.7"));
        for bad in [
            "",
            "a b",
            "root@a",
            "a:22",
            "[::1]",
            "[::1]:22",
            "203.0.113.300",
            "1::2::3",
            "-a",
            "a..b",
            "ü.org",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_paths_are_absolute_and_never_the_root() {
        assert_eq!(host_path("/var//lib/x/").as_deref(), Ok("/var/lib/x"));
        for bad in ["", "/", "//", "/.", "/..", "/var/../..", "var/lib", "~/x", "./x"] {
            assert!(host_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tilde_is_home_and_a_relative_path_starts_at_the_file() {
        let home = Some(Path::new("/home/op"));
        let path = |text| local_path(text, Path::new("/inv"), home);
        assert_eq!(path("~/k"), Ok("/home/op/k".into()));
        assert_eq!(path("keys/k"), Ok("/inv/keys/k".into()));
        assert_eq!(path("/k"), Ok("/k".into()));
        assert!(path("~other/k").is_err() && path("").is_err());
        assert!(local_path("~/k", Path::new("/inv"), None).unwrap_err().contains("HOME"));
    }

    #[test]
    fn a_host_key_is_whole_or_refused_with_the_reason() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        assert_eq!(host_key(&format!("{key} root@host")).as_deref(), Ok(key));
        for (bad, why) in [
            (&key[..key.len() - 4], "no whole"),
            (&key[..key.len() - 1], "base64"),
            (&format!("203.0.113.7 {key}"), "leave out"),
            ("SHA256:abc", "fingerprint"),
            ("ssh-dss AAAA", "kind of key"),
            ("", "kind of key"),
            (&key.replace("ssh-ed25519", "ssh-rsa"), "no whole"),
        ] {
            let told = host_key(bad);
            assert!(told.as_ref().is_err_and(|told| told.contains(why)), "{bad}: {told:?}");
        }
    }
}
