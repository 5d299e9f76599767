//! Every `k3s kubectl` command that fleet can issue, through a real kubectl to the lab's API.
//!
//! The lab's own stand-in for kubectl knows what fleet asks because it was written for it; a real kubectl has its own mind about flags,
//! kinds and answers. So a simulated host is given a `k3s` that hands `k3s kubectl …` to the kubectl of this machine, and a whole upgrade
//! with every remedy runs through it. Where no kubectl is installed the tests print that they were not run and pass: the lab does not
//! need one, and neither does fleet. `tests/run` installs it where it may.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fleet::lab::{Fault, Host, HostSpec, Lab, OF_THIS_MACHINE};
use fleet::probes::Stuck;
use fleet::remedies;
use fleet::remote::quote;

const FLEET: &str = env!("CARGO_BIN_EXE_fleet");

/// A `k3s` that hands `kubectl` to a real one and notes each call: its words, each ended by a unit separator, then its exit status and what
/// it said on standard error, ended by a record separator. Everything else is still the lab's.
const REAL: &str = r#"#!/bin/sh
[ "$1" = kubectl ] || exec "$0.lab" "$@"
shift
said=$(mktemp "$HERE/said.XXXXXX")
"$KUBECTL" --kubeconfig="$HERE/etc-rancher/k3s.yaml" --cache-dir="$HERE/cache" "$@" 2>"$said"
code=$?
{ printf '%s\037' "$@" "$code"; cat "$said"; printf '\036'; } >>"$HERE/calls"
cat "$said" >&2
rm -f "$said"
exit $code
"#;

/// One call of the real kubectl.
#[derive(Debug)]
struct Call {
    words: Vec<String>,
    code: String,
    said: String,
}

/// The kubectl of this machine.
fn kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|path| path.is_file());
    if found.is_none() {
        // Not `println!`: what a test prints that passes is kept from the screen.
        let _ = writeln!(std::io::stderr(), "not run: kubectl is not installed (Debian's kubernetes-client)");
    }
    found
}

/// Puts the real kubectl behind the host's `k3s`.
fn install(kubectl: &Path, host: &Host) {
    let k3s = host.folder().join("bin/k3s");
    fs::rename(&k3s, k3s.with_extension("lab")).unwrap();
    let given = format!(
        "#!/bin/sh\nHERE={}\nKUBECTL={}\n",
        quote(&host.folder().to_string_lossy()),
        quote(&kubectl.to_string_lossy())
    );
    fs::write(&k3s, REAL.replace("#!/bin/sh\n", &given)).unwrap();
    fs::set_permissions(&k3s, fs::Permissions::from_mode(0o755)).unwrap();
}

fn calls(host: &Host) -> Vec<Call> {
    let text = fs::read_to_string(host.folder().join("calls")).unwrap();
    text.split_terminator('\u{1e}')
        .map(|record| {
            let mut words: Vec<String> = record.split('\u{1f}').map(str::to_owned).collect();
            let said = words.pop().unwrap();
            let code = words.pop().unwrap();
            Call { words, code, said }
        })
        .collect()
}

fn fleet(lab: &Lab, words: &[&str]) -> Output {
    Command::new(FLEET)
        .arg("--inventory")
        .arg(lab.inventory())
        .arg("--runs")
        .arg(lab.folder().join("runs"))
        .arg("--backups")
        .arg(lab.folder().join("backups"))
        .args(words)
        .output()
        .unwrap()
}

/// What is sent through a real kubectl by another test, `tests/aftermath.rs`, `tests/claims.rs`, `tests/rebuild.rs` or `tests/rungs.rs`.
const ELSEWHERE: [&str; 8] = [
    "facts/old_names.rs",
    "run/claim",
    "run/cleanup.rs",
    "run/disown.rs",
    "run/namespaces.rs",
    "run/stop.rs",
    "migrations/mod.rs",
    "migrations/to_0_8.rs",
];
/// What no API server answers alone: a program in a container is started by the node, which the lab has not.
const OF_THE_NODE: &str = "exec";

/// What the command texts in `src/` begin with: the fixed words after `k3s kubectl`, as far as they are known there. What stands in back
/// quotes or behind `ssh` is advice to people.
fn forms() -> BTreeSet<Vec<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let elsewhere = ELSEWHERE.iter().any(|place| path.starts_with(source.join(place)));
            if path == source.join("lab") || path == source.join("commands") || elsewhere {
                // Neither the lab nor `commands` sends commands to hosts: the one answers them, the other prints advice.
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                files.push(path);
            }
        }
    }
    let text = |file: &PathBuf| fs::read_to_string(file).unwrap();
    let code = |text: String| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let mut forms: BTreeSet<Vec<String>> =
        files.iter().flat_map(|file| forms_of(&code(text(file)))).collect();
    forms.retain(|form| form.first().is_none_or(|verb| verb != OF_THE_NODE));
    forms
}

/// Gives a host the commands of every remedy, as if this release of it wanted them.
fn cure_everything(host: &Host) {
    let stuck = Stuck {
        kind: "HelmRelease",
        namespace: "oas".into(),
        name: "loki".into(),
        message: String::new(),
        terminal: false,
    };
    let path = std::env::join_paths(
        std::iter::once(host.folder().join("bin"))
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.unwrap();
    for remedy in remedies::ALL {
        let cures = (1..=remedy.most).flat_map(|time| (remedy.cure)(&stuck, time));
        for command in cures.filter(|command| !command.line().contains("kubectl exec")) {
            Command::new("sh").arg("-c").arg(command.line()).env("PATH", &path).output().unwrap();
        }
    }
}

fn forms_of(text: &str) -> Vec<Vec<String>> {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let text = text.lines().filter(code).collect::<Vec<_>>().join("\n");
    let mut forms = Vec::new();
    for (at, found) in text.match_indices("k3s kubectl ") {
        if text[..at].ends_with('`') || text[..at].ends_with("ssh ssh://{login} ") {
            continue;
        }
        let rest = &text[at + found.len()..];
        let literal = rest.split('"').next().unwrap();
        // A backslash at a line's end takes the line break and the blanks of the next line away.
        let mut whole = String::new();
        for (index, line) in literal.split("\\\n").enumerate() {
            whole.push_str(if index == 0 { line } else { line.trim_start() });
        }
        let fixed = whole.split_whitespace().take_while(|word| !word.starts_with(['\'', '$', '|', '{']));
        forms.push(fixed.map(str::to_owned).collect());
    }
    forms
}

#[test]
fn the_forms_of_commands_are_found_in_source_text() {
    let text = r##"
        // k3s kubectl in-a-comment
        Command::new("k3s kubectl get nodes,\
             pods -A").arg(name);
        Command::new(r#"for x; do k3s kubectl get --raw "$x" || exit 1; done"#);
        remedy: "Look at `k3s kubectl describe node`"
        patch("k3s kubectl patch thing -p '{}'");
    "##;
    assert_eq!(
        forms_of(text),
        [vec!["get", "nodes,pods", "-A"], vec!["get", "--raw"], vec!["patch", "thing", "-p"]]
    );
}

/// An upgrade with everything that makes fleet say more than usual: a suspended source is resumed and suspended again, Loki wants both
/// uses of its remedy, single sign-on another, and a secret that somebody else has made meanwhile is replaced.
#[test]
fn a_whole_upgrade_with_its_remedies_goes_through_a_real_kubectl() {
    let Some(kubectl) = kubectl() else { return };
    let folder = tempfile::tempdir().unwrap();
    let faults = [Fault::LokiRetries, Fault::SsoEmptyOauth, Fault::SecretsConflict];
    let mut spec = faults.into_iter().fold(HostSpec::new("acme"), HostSpec::fault);
    spec.source_suspended = true;
    let lab = Lab::start(folder.path(), vec![spec], Path::new(FLEET)).unwrap();
    let host = lab.host("acme").unwrap();
    install(&kubectl, host);
    let secrets = |host: &Host| {
        let mut secrets = host.objects("secrets");
        secrets.retain(|secret| {
            let name = secret["metadata"]["name"].as_str().unwrap();
            name.ends_with("-variables") || name.ends_with("-basic-auth")
        });
        let data =
            |secret: &serde_json::Value| (secret["metadata"]["name"].to_string(), secret["data"].clone());
        secrets.iter().map(data).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = secrets(host);

    let trusted = fleet(&lab, &["trust", "--all"]);
    assert_eq!(trusted.status.code(), Some(0), "{}", String::from_utf8_lossy(&trusted.stdout));
    let acks = OF_THIS_MACHINE.iter().flat_map(|id| ["--ack", id]);
    let output = fleet(&lab, &["upgrade", "--all"].into_iter().chain(acks).collect::<Vec<_>>());
    let upgraded = calls(host);
    let failed: Vec<String> = upgraded
        .iter()
        .filter(|call| call.code != "0")
        .map(|call| format!("{} ended with {}: {}", call.words.join(" "), call.code, call.said))
        .collect();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}\nkubectl:\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        failed.join("\n")
    );

    // The cluster is where it should be, and the source as it was found.
    let source = host.object("gitrepositories", "flux-system", "openappstack").unwrap();
    assert_eq!(source["spec"]["ref"]["branch"], "v0.7");
    assert_eq!(source["spec"]["suspend"], true);
    for (name, data) in &before {
        assert_eq!(secrets(host).get(name), Some(data), "{name}");
    }

    // Only the API's absence while k3s starts is a reason to fail.
    let away = |said: &str| said.contains("refused") || said.contains("Unable to connect");
    let strange: Vec<&Call> = upgraded.iter().filter(|call| call.code != "0" && !away(&call.said)).collect();
    assert!(strange.is_empty(), "{strange:#?}");

    cure_everything(host);
    for window in ["window", "k3s-window"] {
        for words in [&["open", "--for", "1h"][..], &["close"]] {
            let output = fleet(&lab, &[&[window], words, &["--on", "acme"]].concat());
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    // An object that a remedy is for need not be there.
    let calls = calls(host);
    let strange: Vec<&Call> = calls[upgraded.len()..]
        .iter()
        .filter(|call| call.code != "0" && !call.said.contains("NotFound"))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");

    // The two said everything that fleet can say.
    let said = |form: &Vec<String>| calls.iter().any(|call| call.words.starts_with(form));
    let forms = forms();
    for verb in ["get", "create", "replace", "patch", "annotate"] {
        assert!(
            forms.iter().any(|form| form.first().is_some_and(|word| word == verb)),
            "no {verb}: {forms:?}"
        );
    }
    let unsaid: Vec<String> = forms.iter().filter(|form| !said(form)).map(|form| form.join(" ")).collect();
    assert!(unsaid.is_empty(), "in src/, but never sent through a real kubectl: {unsaid:#?}");
}
