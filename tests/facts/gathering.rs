//! Gathering from a host whose questions a real shell answers, with stand-ins for `k3s`, `systemctl`, `sudo` and `curl`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fleet::facts::kubernetes::Groups;
use fleet::facts::{Facts, Installed, Known, gather};
use fleet::inventory::{Cluster, Paths};
use fleet::remote::{Command, Exit, Output, Remote, RemoteError};
use fleet::version::Version;
use tempfile::TempDir;
use tokio::io::AsyncWrite;

use super::folder;

/// Answers as an admin's words are typed; everything else is a fault of the question.
const K3S: &str = r#"#!/bin/sh
echo "$*" >>"$HOST/asked"
cd "$HOST/api" || exit 1
case "$*" in
--version) echo "k3s version v1.20.4+k3s1 (838a906a)"; echo "go version go1.15.8"; exit ;;
esac
[ ! -e away ] || { echo "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?" >&2; exit 1; }
case "$*" in
"kubectl get --raw /apis") exec cat apis.json ;;
"kubectl get nodes,namespaces,persistentvolumes,persistentvolumeclaims,pods,cronjobs,jobs,deployments,ingresses -A -o json") exec cat objects.json ;;
"kubectl get secrets -A --field-selector type!=helm.sh/release.v1 -o json") exec cat secrets.json ;;
"kubectl get secrets -A -l owner=helm,status in (pending-install,pending-upgrade,pending-rollback) -o json") exec cat pending.json ;;
"kubectl get configmaps -A -o json") exec cat maps.json ;;
"kubectl get gitrepositories.source.toolkit.fluxcd.io,kustomizations.kustomize.toolkit.fluxcd.io,helmreleases.helm.toolkit.fluxcd.io -A -o json") exec cat flux.json ;;
"kubectl get certificates.cert-manager.io -A -o json") exec cat issued.json ;;
esac
echo "error: the server doesn't have a resource type in: $*" >&2
exit 1
"#;

const CURL: &str = r#"#!/bin/sh
for last; do :; done
case "$last" in
https://sso.*) echo "status 200 0" ;;
https://files.*) echo "curl: (60) SSL certificate problem: certificate has expired" >&2; echo "status 000 10"; exit 60 ;;
https://registry*) echo "curl: (6) Could not resolve host: registry-1.docker.io" >&2; exit 6 ;;
esac
"#;

/// What goes wrong with the connection.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Everything is printed after a banner, and a goodbye comes at the end.
    Banner,
    /// The second round trip's answer is cut off in the middle of the Secrets.
    Cut,
    /// The connection dies in this round trip, and whenever its question is asked again.
    LostAt(usize),
    /// The connection dies in this round trip, once.
    LostOnceAt(usize),
    /// The login shell runs nothing.
    NoShell,
}

struct Host {
    folder: TempDir,
    fault: Fault,
    asked: Mutex<Vec<Command>>,
}

impl Host {
    fn new(fault: Fault) -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap(), fault, asked: Mutex::new(Vec::new()) };
        for name in ["bin", "api", "volumes/pvc-1_it's $(odd)", "k3s/server/db", "k3s/server/tls"] {
            fs::create_dir_all(host.at(name)).unwrap();
        }
        fs::write(host.at("volumes/pvc-1_it's $(odd)/file"), vec![1; 100_000]).unwrap();
        fs::write(host.at("k3s/server/tls/client-admin.crt"), "").unwrap();
        fs::write(host.at("k3s/server/db/state.db"), vec![1; 10_000]).unwrap();
        for (name, script) in [
            ("k3s", K3S),
            ("k3s-killall.sh", "#!/bin/sh\n"),
            ("curl", CURL),
            ("openssl", "#!/bin/sh\necho 'notAfter=Nov  2 16:58:53 2026 GMT'\n"),
            ("systemctl", "#!/bin/sh\necho active\n"),
            ("sudo", "#!/bin/sh\nexit 0\n"),
        ] {
            let path = host.at("bin").join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let volumes = host.at("volumes").display().to_string();
        for entry in fs::read_dir(folder().join("gather")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap().replace("@VOLUMES@", &volumes);
            fs::write(host.at("api").join(path.file_name().unwrap()), text).unwrap();
        }
        host
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cluster(&self) -> Cluster {
        Cluster {
            paths: Paths {
                k3s_data: self.at("k3s").display().to_string(),
                k3s_config: self.at("etc").display().to_string(),
                spool: self.at("not/there yet").display().to_string(),
            },
            ..Cluster::new("acme", "203.0.113.7")
        }
    }

    async fn gather(&self) -> Result<Facts, RemoteError> {
        gather(self, &self.cluster(), Path::new(env!("CARGO_MANIFEST_DIR"))).await
    }

    fn round_trips(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Remote for Host {
    async fn run(&self, command: &Command, _log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        let round = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(command.clone());
            asked.len()
        };
        let lost = match self.fault {
            Fault::LostAt(from) => round >= from,
            Fault::LostOnceAt(at) => round == at,
            _ => false,
        };
        if lost {
            return Err(RemoteError::Lost("broken pipe".into()));
        }
        if self.fault == Fault::NoShell {
            let stdout = b"This account is not available.\n".to_vec();
            return Ok(Output { exit: Exit::Code(1), stdout, stderr: Vec::new(), dropped: 0 });
        }
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").unwrap());
        let ran = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(command.line())
            .env("PATH", path)
            .env("HOST", self.folder.path())
            .output()
            .await
            .unwrap();
        let (mut stdout, mut stderr, mut dropped) = (ran.stdout, ran.stderr, 0);
        if self.fault == Fault::Banner {
            stdout = [b"Welcome to acme!\nbegin os\n{\"items\": [", &*stdout, b"Goodbye.\n"].concat();
            stderr = [b"bash: warning: setlocale\n", &*stderr].concat();
        }
        if self.fault == Fault::Cut && round == 2 {
            let secrets = fs::read(self.at("api/secrets.json")).unwrap();
            let begin = stdout.windows(100).position(|window| window == &secrets[..100]).unwrap();
            let kept = begin + secrets.len().div_ceil(2);
            dropped = (stdout.len() - kept) as u64;
            stdout.truncate(kept);
        }
        Ok(Output { exit: Exit::Code(ran.status.code().unwrap().cast_unsigned()), stdout, stderr, dropped })
    }

    async fn stream(
        &self,
        _command: &Command,
        _sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        unreachable!("facts are not streamed")
    }
}

#[track_caller]
fn is<T>(fact: &Known<T>) -> &T {
    match fact.get() {
        Ok(fact) => fact,
        Err(why) => panic!("not known: {why}"),
    }
}

#[track_caller]
fn why<T: std::fmt::Debug>(fact: &Known<T>) -> String {
    match fact.get() {
        Ok(fact) => panic!("known: {fact:?}"),
        Err(why) => why.to_string(),
    }
}

/// Every fact's name with why it is not known, where it is not.
fn unknown(facts: &Facts) -> Vec<String> {
    let json = serde_json::to_value(facts).unwrap();
    let facts = json.as_object().unwrap();
    // Two are no answers of the host: whoever made the line knows the host key, and what scripts need is this machine's. One is asked of
    // another version.
    let others = ["host_key", "scripts", "helm_left"];
    let answers = facts.iter().filter(|(name, _)| !others.contains(&name.as_str()));
    answers.filter(|(_, fact)| fact.get("unknown").is_some()).map(|(name, _)| name.clone()).collect()
}

#[tokio::test]
async fn everything_is_learnt_in_three_round_trips() {
    let host = Host::new(Fault::None);
    let facts = host.gather().await.unwrap();
    assert_eq!(unknown(&facts), Vec::<String>::new());
    assert_eq!(host.round_trips(), 3);
    assert_eq!(facts.installed(), Installed::Version(Version::V0_6));
    assert_eq!(facts.apps(), ["nextcloud"]);
    let stored = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&stored).unwrap(), facts);

    let clock = is(&facts.clock);
    assert!(clock.ahead_seconds.abs() <= 1, "{clock:?}");
    assert!(!clock.zone.is_empty());
    assert!(is(&facts.memory).total >= is(&facts.memory).available);
    assert_eq!(is(&facts.k3s).version, "v1.20.4+k3s1");
    assert!((10_000..100_000).contains(&is(&facts.k3s).size), "{:?}", facts.k3s);
    let missing = &is(&facts.tools).missing;
    assert!(
        !missing.iter().any(|tool| ["sh", "k3s", "k3s-killall.sh"].contains(&tool.as_str())),
        "{missing:?}"
    );
    assert!(is(&facts.login).root);

    let volumes = is(&facts.volumes);
    assert!(volumes[0].exists && volumes[0].used >= 100_000, "{volumes:?}");
    assert!(!volumes[1].exists && volumes[1].used == 0, "{volumes:?}");
    let held: Vec<&str> = is(&facts.disks).iter().flat_map(|disk| &disk.holds).map(String::as_str).collect();
    for label in ["root", "k3s-data", "volumes", "spool"] {
        assert_eq!(held.iter().filter(|held| **held == label).count(), 1, "{held:?}");
    }

    let web = is(&facts.web);
    assert_eq!((web[0].host.as_str(), web[0].certificate), ("files.stack.example.org", false));
    assert!(web[0].trouble.contains("expired"));
    assert_eq!((web[1].status, web[1].certificate, web[1].trouble.as_str()), (200, true, ""));
    let reach = is(&facts.reach);
    assert_eq!((reach[0].what.as_str(), reach[0].trouble.as_str()), ("git", ""));
    assert!(reach[1].trouble.contains("Could not resolve"));
    assert_eq!(is(&facts.upgrades).pending_releases, ["oas/loki"]);
    assert_eq!(is(&facts.overrides).len(), 3);
    let ends: Vec<String> =
        is(&facts.certificates).iter().map(|end| format!("{} {}", end.what, end.not_after)).collect();
    assert_eq!(ends, ["k3s client-admin.crt 2026-11-02T16:58:53Z", "oas/sso-tls 2022-06-01T10:00:00Z"]);
}

#[tokio::test]
async fn no_secret_and_no_trace_is_left() {
    let host = Host::new(Fault::None);
    let before = tree(host.folder.path());
    let facts = host.gather().await.unwrap();
    let told = serde_json::to_string(&facts).unwrap() + &format!("{facts:?}");
    assert!(!told.contains("hunter2") && !told.contains("aHVudGVyMg"));
    let asked = host.asked.lock().unwrap();
    let sensitive: Vec<bool> = asked.iter().map(Command::is_sensitive).collect();
    assert_eq!(sensitive, [false, true, false]);
    drop(asked);
    let mut after = tree(host.folder.path());
    // The stand-in's own record.
    after.retain(|path| !path.ends_with("asked"));
    assert_eq!(after, before);
}

fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_banner_is_nobodys_answer() {
    let facts = Host::new(Fault::Banner).gather().await.unwrap();
    assert_eq!(unknown(&facts), Vec::<String>::new());
}

#[tokio::test]
async fn kinds_that_are_not_served_are_known_to_be_absent() {
    let host = Host::new(Fault::None);
    let apis = r#"{"kind":"APIGroupList","groups":[{"name":"apps"},{"name":"helm.fluxcd.io"}]}"#;
    assert!(!Groups::read(apis).unwrap().has("cert-manager.io"));
    fs::write(host.at("api/apis.json"), apis).unwrap();
    let facts = host.gather().await.unwrap();
    assert_eq!(unknown(&facts), Vec::<String>::new());
    assert!(is(&facts.flux).flux_1 && is(&facts.flux).sources.is_empty());
    assert_eq!(is(&facts.certificates).len(), 1);
    assert_eq!(facts.installed(), Installed::Version(Version::V0_5));
    let asked = fs::read_to_string(host.at("asked")).unwrap();
    assert!(!asked.contains("toolkit.fluxcd.io") && !asked.contains("cert-manager.io"), "{asked}");
}

#[tokio::test]
async fn an_api_that_is_away_leaves_the_hosts_own_facts() {
    let host = Host::new(Fault::None);
    fs::write(host.at("api/away"), "").unwrap();
    let facts = host.gather().await.unwrap();
    assert_eq!(
        unknown(&facts),
        [
            "certificates",
            "claims",
            "flux",
            "helm_2",
            "identity",
            "nightly",
            "nodes",
            "overrides",
            "pods",
            "reach",
            "secrets",
            "upgrades",
            "variables",
            "volumes",
            "web"
        ]
    );
    assert!(why(&facts.pods).starts_with("the Kubernetes API does not answer: The connection to the server"));
    assert_eq!(is(&facts.disks).iter().map(|disk| disk.holds.len()).sum::<usize>(), 3);
    assert!(matches!(facts.installed(), Installed::Unknown(_)));
    assert_eq!(host.round_trips(), 2);
}

#[tokio::test]
async fn one_answer_that_fails_leaves_the_others() {
    let host = Host::new(Fault::None);
    fs::remove_file(host.at("api/flux.json")).unwrap();
    let facts = host.gather().await.unwrap();
    assert_eq!(unknown(&facts), ["flux", "reach"]);
    assert!(why(&facts.flux).contains("No such file"), "{}", why(&facts.flux));
    assert_eq!(why(&facts.reach), why(&facts.flux));
}

#[tokio::test]
async fn an_answer_that_did_not_fit_is_not_known() {
    let facts = Host::new(Fault::Cut).gather().await.unwrap();
    let lost = ["certificates", "flux", "helm_2", "overrides", "reach", "secrets", "upgrades", "variables"];
    assert_eq!(unknown(&facts), lost);
    assert!(why(&facts.secrets).contains("too long"), "{}", why(&facts.secrets));
}

#[tokio::test]
async fn a_lost_connection_is_an_error_in_each_round_trip() {
    for round in 1..=3 {
        let error = Host::new(Fault::LostAt(round)).gather().await.unwrap_err();
        assert_eq!(error.kind(), "connection-lost");
    }
}

#[tokio::test]
async fn a_line_that_is_lost_once_costs_one_more_round_trip_and_no_fact() {
    for round in 1..=3 {
        let host = Host::new(Fault::LostOnceAt(round));
        assert!(unknown(&host.gather().await.unwrap()).is_empty());
        assert_eq!(host.round_trips(), 4);
    }
}

#[tokio::test]
async fn a_host_without_a_shell_tells_nothing() {
    let facts = Host::new(Fault::NoShell).gather().await.unwrap();
    assert!(why(&facts.os).contains("exit status 1"), "{}", why(&facts.os));
    assert!(why(&facts.secrets).contains("does not answer"));
}
