//! A stand-in for upstream's Stackspin repository: `mod upstream_repo;`, then `upstream_repo::make(folder)`.
//!
//! Its branches v0.8, v1.0 and v2 hold scripts of upstream's names and interface (facts section 2.1). They talk to the cluster through the
//! `KUBECONFIG` that they are given, and write into `clusters/NAME/ran.log` that they ran.

pub(crate) mod bench;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// `python -m stackspin CLUSTER install`: upstream's playbook. There is no host to play it on; what it is given is looked at.
const PLAYBOOK: &str = r#"import os, sys

cluster, command = sys.argv[1:]
folder = os.path.join("clusters", cluster)
if command != "install" or not os.path.exists(os.path.join(folder, "kube_config_cluster.yml")):
    sys.exit(f"there is no cluster {cluster} to {command}")
with open(os.environ["KUBECONFIG"]) as kubeconfig:
    assert "server: " in kubeconfig.read()
with open(os.path.join(folder, "ran.log"), "a") as log:
    log.write("install\n")
print(f"PLAY RECAP: {cluster} ok=42 changed=3 failed=0")
"#;

/// What the scripts share. A cluster's folder with a file `fails` in it makes them fail, and with a file `waits` wait, two minutes at most.
const BEGIN: &str = r#"#!/bin/sh
set -eu
cluster=$1
cd "$(dirname "$0")/../../.."
[ -d "clusters/$cluster" ] || { echo "there is no cluster $cluster" >&2; exit 1; }
echo "$(basename "$0" .sh)${2:+ $2}" >> "clusters/$cluster/ran.log"
[ ! -e "clusters/$cluster/fails" ] || { echo "it was told to fail" >&2; exit 1; }
tries=0
while [ -e "clusters/$cluster/waits" ] && [ "$tries" -lt 1200 ]; do tries=$((tries + 1)); sleep 0.1; done
follow() {
  kubectl -n flux-system patch gitrepositories.source.toolkit.fluxcd.io stackspin --type merge -p "{\"spec\":{\"ref\":{\"branch\":\"$1\"}}}"
}
release() { kubectl -n "$1" get helmreleases.helm.toolkit.fluxcd.io "$2" -o "jsonpath=$3"; }
"#;

/// What the scripts of 0.8 share: no cluster is named to them, they find the one that `KUBECONFIG` leads to. What is there stays.
const INSTALL: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")/.."
cluster=$(kubectl get nodes -o name)
cluster=${cluster#node/}
[ -d "clusters/$cluster" ] || { echo "there is no cluster $cluster" >&2; exit 1; }
echo "$(basename "$0" .sh)${1:+ $1}" >> "clusters/$cluster/ran.log"
[ ! -e "clusters/$cluster/fails" ] || { echo "it was told to fail" >&2; exit 1; }
version() {
  kubectl get --raw "/apis/$1" | tr -d ' \n' | sed 's/.*"preferredVersion":{"groupVersion":"\([^"]*\)".*/\1/'
}
there() { [ -n "$(kubectl -n "$2" get "$1" "$3" --ignore-not-found -o name)" ]; }
secret() {
  namespace=$1 name=$2 data=
  shift 2
  if there secrets "$namespace" "$name"; then return; fi
  for key in "$@"; do
    data="$data${data:+,}\"$key\":\"$(head -c 24 /dev/urandom | base64 | tr -d '/+=')\""
  done
  printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","namespace":"%s"},"stringData":{%s}}' \
    "$name" "$namespace" "$data" | kubectl create --validate=false -f -
}
kustomization() {
  if there kustomizations.kustomize.toolkit.fluxcd.io flux-system "$1"; then return; fi
  printf '{"apiVersion":"%s","kind":"Kustomization","metadata":{"name":"%s","namespace":"flux-system"},"spec":{"interval":"5m","retryInterval":"2m","timeout":"20m","prune":true,"path":"./flux2/%s","dependsOn":[%s],"sourceRef":{"kind":"GitRepository","name":"stackspin"},"postBuild":{"substituteFrom":[{"kind":"Secret","name":"stackspin-cluster-variables"}]}}}' \
    "$(version kustomize.toolkit.fluxcd.io)" "$1" "$1" "$2" | kubectl create --validate=false -f -
}
"#;

/// Upstream's takes branch and address from the repository that it stands in.
const INSTALL_STACKSPIN: &str = r#"there secrets flux-system stackspin-cluster-variables || { echo "there are no cluster variables" >&2; exit 1; }
branch=$(git rev-parse --abbrev-ref HEAD)
there gitrepositories.source.toolkit.fluxcd.io flux-system stackspin ||
  printf '{"apiVersion":"%s","kind":"GitRepository","metadata":{"name":"stackspin","namespace":"flux-system"},"spec":{"interval":"5m","url":"https://git.example.org/stackspin/stackspin","ref":{"branch":"%s"}}}' \
    "$(version source.toolkit.fluxcd.io)" "$branch" | kubectl create --validate=false -f -
kubectl -n flux-system patch gitrepositories.source.toolkit.fluxcd.io stackspin --type merge -p "{\"spec\":{\"ref\":{\"branch\":\"$branch\"}}}"
secret flux-system stackspin-single-sign-on-variables hydra_system_secret userbackend_admin_password userbackend_postgres_password
secret flux-system stackspin-kube-prometheus-stack-variables grafana_admin_password
for app in grafana single-sign-on; do secret flux-system "stackspin-$app-oauth-variables" client_id client_secret; done
for part in alertmanager prometheus; do secret stackspin "stackspin-$part-basic-auth" auth password username; done
kustomization core ''
"#;

const INSTALL_APP: &str = r#"case $1 in hedgedoc | nextcloud | wekan | wordpress | zulip) ;; *) echo "nothing is known of $1" >&2; exit 1 ;; esac
secret flux-system "stackspin-$1-variables" "${1}_password" "${1}_mariadb_password" "${1}_mariadb_root_password"
secret flux-system "stackspin-$1-oauth-variables" client_id client_secret
kustomization "add-$1" '{"name":"core"}'
"#;

const TO_1_0: &str = "follow v1.0\n";

/// Fails as the guide says it may; run again it goes on.
const TO_2: &str = r#"follow v2
tries=0
while [ "$tries" -lt 200 ]; do
  said=$(release stackspin kube-prometheus-stack '{.metadata.generation}/{.status.observedGeneration}/{.status.lastAppliedRevision}/{.status.conditions}')
  seen=${said#*/}
  if [ "${said%%/*}" = "${seen%%/*}" ]; then
    case $said in
      */38.0.1/*) exit 0 ;;
      *'retries exhausted'*) echo "Helm upgrade failed: $said" >&2; exit 1 ;;
    esac
  fi
  tries=$((tries + 1))
  sleep 0.3
done
echo "kube-prometheus-stack is not upgraded: $said" >&2
exit 1
"#;

const FIX_APP: &str = r#"command -v helm > /dev/null || { echo "helm is needed" >&2; exit 1; }
case $2 in nextcloud) old=nc-mariadb ;; zulip) old=zulip-postgresql ;; *) echo "nothing is known of $2" >&2; exit 1 ;; esac
suspend() {
  kubectl -n stackspin-apps patch helmreleases.helm.toolkit.fluxcd.io "$app" --type merge -p "{\"spec\":{\"suspend\":$1}}"
}
app=$2
suspend true
kubectl -n stackspin-apps delete statefulsets.apps "$old" --ignore-not-found
suspend false
tries=0
while [ "$tries" -lt 200 ]; do
  case $(release stackspin-apps "$app" '{.status.lastAppliedRevision}') in 1.7.0) exit 0 ;; esac
  tries=$((tries + 1))
  sleep 0.3
done
echo "$app is not installed" >&2
exit 1
"#;

/// A python whose virtual environments are made at once and without the network: what upstream requires is not needed here.
const PYTHON: &str = r#"#!/bin/sh
case "$1 $2" in
  '-m venv')
    mkdir -p "$3/bin"
    printf '#!/bin/sh\n[ "$1 $2" = "-m pip" ] && exit 0\nexec python3 "$@"\n' > "$3/bin/python"
    chmod +x "$3/bin/python" ;;
  *) exec python3 "$@" ;;
esac
"#;

/// Makes the repository in `checkout`, beside the `clusters` that may be there, and in `bin` the programs that a provisioning machine has: a
/// python, `kubectl`, `flux` and `helm`.
pub(crate) fn make(checkout: &Path, bin: &Path) {
    fs::create_dir_all(bin).unwrap();
    program(&bin.join("python"), PYTHON);
    let kubectl = format!(
        "#!/bin/sh\nexec '{}' lab stand-in --host /nonexistent k3s kubectl \"$@\"\n",
        env!("CARGO_BIN_EXE_fleet")
    );
    program(&bin.join("kubectl"), &kubectl);
    for name in ["flux", "helm"] {
        program(&bin.join(name), "#!/bin/sh\nexit 0\n");
    }
    git(checkout, &["init", "-q"]);
    fs::write(checkout.join(".gitignore"), "/clusters\n").unwrap();
    fs::write(checkout.join("requirements.txt"), "").unwrap();
    release(
        checkout,
        "v0.8",
        &[
            ("install/install-stackspin.sh", [INSTALL, INSTALL_STACKSPIN].concat()),
            ("install/install-app.sh", [INSTALL, INSTALL_APP].concat()),
        ],
    );
    release(
        checkout,
        "v1.0",
        &[
            ("stackspin/__main__.py", PLAYBOOK.to_owned()),
            ("bin/upgrade-scripts/to-1.0/upgrade.sh", [BEGIN, TO_1_0].concat()),
        ],
    );
    release(
        checkout,
        "v2",
        &[
            ("bin/upgrade-scripts/to-2.0/upgrade.sh", [BEGIN, TO_2].concat()),
            ("bin/upgrade-scripts/to-2.0/fix-app.sh", [BEGIN, FIX_APP].concat()),
        ],
    );
    // The operator has something else checked out, and goes on having it.
    git(checkout, &["checkout", "-q", "--orphan", "main"]);
    git(checkout, &["commit", "-q", "-m", "main"]);
}

fn release(checkout: &Path, branch: &str, files: &[(&str, String)]) {
    for (name, text) in files {
        let path = checkout.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        program(&path, text);
    }
    git(checkout, &["checkout", "-q", "-B", branch]);
    git(checkout, &["add", "-A"]);
    git(checkout, &["commit", "-q", "-m", branch]);
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Git with nothing of this machine's own settings.
pub(crate) fn git(checkout: &Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=upstream", "-c", "user.email=upstream@example.org"])
        .args(words)
        .current_dir(checkout)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
