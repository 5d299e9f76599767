//! What runs of each release once it is installed: its workloads, the claims that they mount, its name on the web. Names that
//! the facts do not know are made up in their style.

/// A workload of a release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    /// `Deployment`, `StatefulSet` or `DaemonSet`.
    pub kind: &'static str,
    /// Its name; empty where it is the release's own.
    pub name: &'static str,
    /// The claim that it mounts.
    pub claim: Option<&'static str>,
}

const fn workload(kind: &'static str, name: &'static str, claim: Option<&'static str>) -> Workload {
    Workload { kind, name, claim }
}

/// The workloads of a release, by the HelmRelease's name.
#[must_use]
pub(super) fn workloads(release: &str) -> &'static [Workload] {
    const NEXTCLOUD: &[Workload] = &[
        workload("Deployment", "nc-nextcloud", Some("nextcloud-files")),
        workload("StatefulSet", "nc-mariadb", Some("nextcloud-mariadb")),
    ];
    const ROCKETCHAT: &[Workload] = &[
        workload("Deployment", "rocketchat", Some("rocketchat-data")),
        workload("StatefulSet", "rocketchat-mongodb", Some("rocketchat-mongodb")),
    ];
    const WEKAN: &[Workload] = &[
        workload("Deployment", "wekan", None),
        workload("StatefulSet", "wekan-mongodb", Some("wekan-mongodb")),
    ];
    const WORDPRESS: &[Workload] = &[
        workload("StatefulSet", "wordpress", Some("wordpress-files")),
        workload("StatefulSet", "wordpress-database", Some("wordpress-database")),
    ];
    const ZULIP: &[Workload] = &[
        workload("StatefulSet", "zulip", Some("zulip-data")),
        workload("StatefulSet", "zulip-postgresql", Some("zulip-postgresql")),
    ];
    const HEDGEDOC: &[Workload] = &[workload("Deployment", "hedgedoc", Some("hedgedoc-data"))];
    const SIGN_ON: &[Workload] = &[
        workload("Deployment", "single-sign-on-login", None),
        workload("StatefulSet", "single-sign-on-userdb", Some("single-sign-on-userdb")),
    ];
    const PROMETHEUS: &[Workload] = &[
        workload("Deployment", "kube-prometheus-stack-grafana", Some("grafana")),
        workload("DaemonSet", "kube-prometheus-stack-prometheus-node-exporter", None),
    ];
    const LOKI: &[Workload] = &[workload("StatefulSet", "loki", Some("loki"))];
    const PROMTAIL: &[Workload] = &[workload("DaemonSet", "promtail", None)];
    const SECRETS: &[Workload] =
        &[workload("Deployment", "secrets-controller-kubernetes-secret-generator", None)];
    const OTHER: &[Workload] = &[workload("Deployment", "", None)];
    match release {
        "nextcloud" => NEXTCLOUD,
        "rocketchat" => ROCKETCHAT,
        "wekan" => WEKAN,
        "wordpress" => WORDPRESS,
        "zulip" => ZULIP,
        "hedgedoc" => HEDGEDOC,
        "single-sign-on" => SIGN_ON,
        "kube-prometheus-stack" => PROMETHEUS,
        "loki" => LOKI,
        "promtail" => PROMTAIL,
        "oas-secrets" => &[],
        "secrets-controller" => SECRETS,
        _ => OTHER,
    }
}

/// The workloads whose selector differs at 2 from what it was before. A selector cannot be changed: what is there must go first (facts
/// section 6.4; which ones of Nextcloud and Zulip these are, the guide does not say).
pub(super) const NEW_SELECTORS: [&str; 3] =
    ["kube-prometheus-stack-prometheus-node-exporter", "nc-mariadb", "zulip-postgresql"];

/// The host name under which a release is on the web; `None` for those that are not.
#[must_use]
pub(super) fn web(release: &str, domain: &str) -> Option<String> {
    match release {
        "single-sign-on" => Some(format!("sso.{domain}")),
        "kube-prometheus-stack" => Some(format!("grafana.{domain}")),
        "nextcloud" | "rocketchat" | "wekan" | "wordpress" | "zulip" | "hedgedoc" => {
            Some(format!("{release}.{domain}"))
        }
        _ => None,
    }
}
