//! Releases of Helm 2, by the ConfigMaps in which its server Tiller keeps them (guide, "Upgrading to 0.3.0").
//!
//! Tiller keeps each revision of a release as a ConfigMap in kube-system, labelled `OWNER=TILLER`, `NAME`, `VERSION` and `STATUS`; `helm delete
//! --purge` takes away all of a release. What a record holds is not looked at.

use super::flux::Flux;
use super::kubernetes::List;
use super::{Facts, Unknown};

/// Where Tiller keeps its records.
pub const NAMESPACE: &str = "kube-system";

/// The charts of OpenAppStack before 0.3, in the guide's order.
const PARTS: [&str; 5] = ["cert-manager", "local-storage", "prometheus", "proxy", "files"];

/// The names of the releases that have a record, sorted, each once. A name that no release can have is none.
#[must_use]
pub fn read(configmaps: &List) -> Vec<String> {
    let mut names: Vec<String> = configmaps
        .of("ConfigMap")
        .filter(|item| item.metadata.namespace == NAMESPACE)
        .filter(|item| item.metadata.labels.get("OWNER").is_some_and(|owner| owner == "TILLER"))
        .filter_map(|item| item.metadata.labels.get("NAME").cloned())
        .filter(|name| is_name(name))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a release can be called so: it is typed on a command line, and asked for by label.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=53).contains(&name.len()) && name.bytes().all(plain) && name.as_bytes()[0].is_ascii_lowercase()
}

/// The releases of OpenAppStack among them: the five that the guide names, in its order, then others of the same beginning (`oas-test-`). None
/// where one of the five is missing, or two beginnings have all of them.
#[must_use]
pub fn openappstack(releases: &[String]) -> Option<Vec<String>> {
    let there = |name: &String| releases.contains(name);
    let whole = |begin: &&str| PARTS.iter().all(|part| there(&format!("{begin}{part}")));
    let begins = releases.iter().filter_map(|name| name.strip_suffix(PARTS[4]));
    let found: Vec<&str> =
        begins.filter(|begin| begin.starts_with("oas-") && begin.ends_with('-')).filter(whole).collect();
    let [begin] = found[..] else { return None };
    let named: Vec<String> = PARTS.iter().map(|part| format!("{begin}{part}")).collect();
    let others = releases.iter().filter(|name| name.starts_with(begin) && !named.contains(name));
    Some(named.iter().chain(others).cloned().collect())
}

impl Facts {
    /// Whether this is OpenAppStack of before 0.3: no Flux at all, and the releases of Helm 2 that the guide names.
    #[must_use]
    pub fn is_helm_2(&self) -> bool {
        self.flux.get().is_ok_and(|flux| *flux == Flux::default())
            && self.helm_2.get().is_ok_and(|releases| openappstack(releases).is_some())
    }

    /// Whether this is a cluster of before 0.6: it has no source, no kustomizations, and none of the secrets that later versions make. `Err`: what
    /// it has of Flux is not known.
    pub fn is_before_flux_2(&self) -> Result<bool, &Unknown> {
        Ok(self.flux.get()?.is_flux_1() || self.is_helm_2())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(names: &[&str]) -> Option<Vec<String>> {
        openappstack(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn records_of_tiller_alone_name_a_release_and_each_once() {
        let record = |namespace: &str, owner: &str, name: &str, version: u32| {
            json!({"kind": "ConfigMap", "metadata": {"name": format!("{name}.v{version}"), "namespace": namespace,
                "labels": {"OWNER": owner, "NAME": name, "STATUS": "DEPLOYED"}}})
        };
        let list = json!({"items": [
            record("kube-system", "TILLER", "oas-test-proxy", 1),
            record("kube-system", "TILLER", "oas-test-proxy", 2),
            record("kube-system", "TILLER", "oas-test-files", 1),
            record("oas", "TILLER", "elsewhere", 1),
            record("kube-system", "helm", "other", 1),
            record("kube-system", "TILLER", "x; reboot", 1),
            {"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}},
        ]});
        assert_eq!(read(&List::read(&list.to_string()).unwrap()), ["oas-test-files", "oas-test-proxy"]);
    }

    #[test]
    fn only_all_five_of_one_beginning_are_openappstack() {
        let five = [
            "oas-test-cert-manager",
            "oas-test-files",
            "oas-test-local-storage",
            "oas-test-prometheus",
            "oas-test-proxy",
        ];
        let found = of(&[&five[..], &["mine", "oas-test-extra"]].concat()).unwrap();
        assert_eq!(
            found,
            [five[0], five[2], five[3], five[4], five[1], "oas-test-extra"],
            "the guide's order, then the rest; what is somebody else's is left out"
        );
        assert_eq!(of(&five[1..]), None);
        let other = five.map(|name| name.replace("test", "prod"));
        let both: Vec<&str> = five.into_iter().chain(other.iter().map(String::as_str)).collect();
        assert_eq!(of(&both), None, "two of them cannot be told apart");
        assert_eq!(of(&five.map(|name| name.strip_prefix("oas-").unwrap())), None);
    }
}
