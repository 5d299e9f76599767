//! What the Git repository of each Stackspin version holds: the tree of kustomizations, and the objects of each
//! (facts sections 3.2 to 3.6). Names that the facts do not know are made up in their style.

use serde_json::{Value, json};

use super::spec::HostSpec;
use super::workloads::workloads;
use crate::version::Version;

/// The namespace of Flux and of its variables.
pub(super) const FLUX: &str = "flux-system";
/// The applications that have an OAuth client, as keys of the OAuth variables (facts section 3.4).
pub(super) const CLIENTS: [&str; 6] =
    ["grafana", "nextcloud", "rocketchat", "userpanel", "wekan", "wordpress"];

/// A release of the product: its names, which changed at 0.8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    /// The version.
    pub version: Version,
}

impl Product {
    /// `oas` until 0.7, then `stackspin`: the main namespace, and the beginning of other names.
    #[must_use]
    pub(super) fn prefix(self) -> &'static str {
        if self.version < Version::V0_8 { "oas" } else { "stackspin" }
    }

    /// The namespace of the applications.
    #[must_use]
    pub(super) fn apps(self) -> String {
        format!("{}-apps", self.prefix())
    }

    /// The name of a variables secret: `oas-nextcloud-variables`.
    #[must_use]
    pub(super) fn variables(self, of: &str) -> String {
        format!("{}-{of}-variables", self.prefix())
    }

    /// The name of the Secret with an application's OAuth client.
    #[must_use]
    pub(super) fn oauth(self, app: &str) -> String {
        if self.version < Version::V0_8 {
            self.variables("oauth")
        } else {
            self.variables(&format!("{app}-oauth"))
        }
    }

    /// The GitRepository.
    #[must_use]
    pub(super) fn source(self) -> &'static str {
        self.version.source().unwrap_or("openappstack")
    }

    /// Chart and version of a release. Two are known from the guide, the others grow with the product.
    #[must_use]
    pub(super) fn chart(self, release: &str) -> (String, String) {
        let age = Version::ALL.iter().position(|version| *version == self.version).unwrap_or(0);
        let version = match (release, self.version) {
            ("single-sign-on", Version::V0_7) => "0.2.2".to_owned(),
            ("single-sign-on", Version::V0_6) => "0.2.0".to_owned(),
            ("loki", Version::V0_7) => "2.5.2".to_owned(),
            ("loki", Version::V0_6) => "2.5.0".to_owned(),
            ("kube-prometheus-stack", _) => format!("{}.0.1", 10 + age * 4),
            _ => format!("1.{age}.0"),
        };
        let chart = if release == "nginx" { "ingress-nginx" } else { release };
        (chart.to_owned(), version)
    }

    /// What a kustomization of this name applies; `None` for one that is not of this product.
    #[must_use]
    pub(super) fn objects(self, spec: &HostSpec, kustomization: &str) -> Option<Vec<Value>> {
        let main = self.prefix();
        let release = |name: &str| self.release(main, name, 3);
        let objects = match kustomization {
            "core" => self.core(),
            "cert-manager" => vec![self.release("cert-manager", "cert-manager", 3)],
            "local-path-provisioner" => vec![
                json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local-path"},
                    "provisioner": "cluster.local/local-path-provisioner", "reclaimPolicy": "Delete",
                    "volumeBindingMode": "WaitForFirstConsumer"}),
                self.release("kube-system", "local-path-provisioner", 3),
            ],
            "nginx" => vec![release("nginx")],
            "single-sign-on" => {
                let clients: Vec<String> =
                    CLIENTS.iter().map(|app| format!("  {app}: \"${{{app}_oauth_client_secret}}\"\n")).collect();
                let clients = clients.concat();
                vec![
                    Self::claim(main, "single-sign-on-userdb"),
                    self.values(main, "single-sign-on", &format!("domain: \"${{domain}}\"\noauthClients:\n{clients}")),
                    // A template that fails is tried again and again, so that the guide's message stays to be seen.
                    self.release(main, "single-sign-on", -1),
                ]
            }
            "monitoring" => vec![
                self.kustomization(
                    "kube-prometheus-stack",
                    &["local-path-provisioner", "nginx"],
                    &[&self.variables("kube-prometheus-stack"), &self.oauth("grafana")],
                ),
                self.kustomization("loki", &["local-path-provisioner"], &[]),
                self.kustomization("promtail", &["loki"], &[]),
            ],
            "kube-prometheus-stack" => vec![
                Self::claim(main, "grafana"),
                self.values(
                    main,
                    "kube-prometheus-stack",
                    "domain: \"${domain}\"\ngrafana:\n  password: \"${grafana_admin_password}\"\n  oauth: \"${grafana_oauth_client_secret}\"\n",
                ),
                release("kube-prometheus-stack"),
            ],
            "loki" => vec![Self::claim(main, "loki"), self.release(main, "loki", 1)],
            "kube-system-config" => vec![json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "stackspin-version", "namespace": "kube-system"},
                "data": {"version": self.version.as_str()}})],
            "secrets-controller" => vec![self.release("secrets-controller", "secrets-controller", 3)],
            "promtail" => vec![release("promtail")],
            "system-upgrade-controller" => Self::upgrades(),
            other => match other.strip_prefix("add-") {
                Some(app) if self.has(spec, app) => {
                    vec![self.kustomization(app, &["single-sign-on"], &[&self.variables(app), &self.oauth(app)])]
                }
                None if self.has(spec, other) => self.app(other),
                _ => return None,
            },
        };
        Some(objects)
    }

    /// Whether there is such an application: from 0.8 on a script may install any that the version knows.
    fn has(self, spec: &HostSpec, app: &str) -> bool {
        let known = self.version >= Version::V0_8 && HostSpec::known_apps(self.version).contains(&app);
        known || spec.apps.iter().any(|known| known == app)
    }

    fn core(self) -> Vec<Value> {
        let main = self.prefix();
        let mut objects: Vec<Value> = [main, &self.apps(), "cert-manager", "system-upgrade"]
            .iter()
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .collect();
        objects.extend([
            self.kustomization("cert-manager", &[], &[]),
            self.kustomization("local-path-provisioner", &[], &[]),
            self.kustomization("nginx", &["cert-manager"], &[]),
            self.kustomization(
                "single-sign-on",
                &["local-path-provisioner", "nginx"],
                &[&self.variables("single-sign-on"), &self.oauth("single-sign-on")],
            ),
            self.kustomization("monitoring", &[], &[]),
            self.kustomization("system-upgrade-controller", &[], &[]),
        ]);
        // Facts section 3.5: known of 1.0. The lab has it from 0.8, so that the way to 1.0 changes it.
        if self.version >= Version::V0_8 {
            objects.push(self.kustomization("kube-system-config", &["cert-manager"], &[]));
        }
        if self.version >= Version::V2 {
            objects.push(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "secrets-controller"}}),
            );
            objects.push(self.kustomization("secrets-controller", &[], &[]));
        }
        for (verb, hour) in [("resume", "2"), ("suspend", "4")] {
            let arguments = json!(["flux", verb, "source", "git", self.source()]);
            objects.push(cron_job(
                FLUX,
                &format!("flux-{verb}-source"),
                &format!("0 {hour} * * *"),
                &arguments,
            ));
        }
        // The chart that 0.7 dropped, and with it the secrets that it had made (guide, "Upgrading to 0.7.0").
        if self.version == Version::V0_6 {
            objects.push(self.release(main, "oas-secrets", 3));
        }
        objects
    }

    fn app(self, app: &str) -> Vec<Value> {
        let namespace = self.apps();
        let mut objects: Vec<Value> = workloads(app)
            .iter()
            .filter_map(|workload| workload.claim)
            .map(|claim| Self::claim(&namespace, claim))
            .collect();
        objects.push(self.values(
            &namespace,
            app,
            &format!("domain: \"{app}.${{domain}}\"\npassword: \"${{{app}_password}}\"\noauth: \"${{{app}_oauth_client_secret}}\"\n"),
        ));
        objects.push(self.release(&namespace, app, 3));
        objects
    }

    /// The nightly k3s upgrade (facts sections 3.6 and 3.7).
    fn upgrades() -> Vec<Value> {
        let name = "system-upgrade-controller";
        let mut objects = vec![
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "system-upgrade"},
                "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}},
                    "template": {"metadata": {"labels": {"app": name}},
                        "spec": {"containers": [{"name": name, "image": "rancher/system-upgrade-controller:v0.8.0"}]}}}}),
            json!({"apiVersion": "upgrade.cattle.io/v1", "kind": "Plan",
                "metadata": {"name": "k3s-server", "namespace": "system-upgrade"},
                "spec": {"concurrency": 1, "channel": "https://update.k3s.io/v1-release/channels/v1.21",
                    "serviceAccountName": "system-upgrade", "upgrade": {"image": "rancher/k3s-upgrade"}}}),
        ];
        for (way, hour, replicas) in [("up", "1", "1"), ("down", "2", "0")] {
            let arguments = json!([
                "kubectl",
                "scale",
                "deployment",
                name,
                "-n",
                "system-upgrade",
                format!("--replicas={replicas}")
            ]);
            objects.push(cron_job(
                "system-upgrade",
                &format!("{name}-scale-{way}"),
                &format!("0 {hour} * * *"),
                &arguments,
            ));
        }
        objects
    }

    /// A kustomization that replaces variables from the cluster's secret and from these.
    #[must_use]
    pub(super) fn kustomization(self, name: &str, depends_on: &[&str], variables: &[&str]) -> Value {
        let cluster = self.variables("cluster");
        let mut from: Vec<Value> = vec![json!({"kind": "Secret", "name": cluster})];
        from.extend(variables.iter().map(|name| json!({"kind": "Secret", "name": name})));
        let depends_on: Vec<Value> = depends_on.iter().map(|name| json!({"name": name})).collect();
        json!({"kind": "Kustomization", "metadata": {"name": name, "namespace": FLUX},
            "spec": {"interval": "5m", "retryInterval": "2m", "timeout": "20m", "prune": true,
                "path": format!("./flux2/{name}"), "dependsOn": depends_on,
                "sourceRef": {"kind": "GitRepository", "name": self.source()},
                "postBuild": {"substituteFrom": from}}})
    }

    fn release(self, namespace: &str, name: &str, retries: i64) -> Value {
        let (chart, version) = self.chart(name);
        let of = |what: &str| format!("{}-{name}-{what}", self.prefix());
        let mut release = json!({"kind": "HelmRelease", "metadata": {"name": name, "namespace": namespace},
            "spec": {"interval": "5m", "timeout": "20m",
                "chart": {"spec": {"chart": chart, "version": version,
                    "sourceRef": {"kind": "HelmRepository", "name": "openappstack", "namespace": FLUX}}},
                "install": {"remediation": {"retries": retries}}, "upgrade": {"remediation": {"retries": retries}},
                "valuesFrom": [
                    {"kind": "ConfigMap", "name": of("values"), "optional": true},
                    {"kind": "ConfigMap", "name": of("override"), "optional": true},
                    {"kind": "Secret", "name": of("override"), "optional": true}]}});
        if name == "nextcloud" {
            release["spec"]["releaseName"] = json!("nc");
        }
        release
    }

    fn values(self, namespace: &str, name: &str, text: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("{}-{name}-values", self.prefix()), "namespace": namespace},
            "data": {"values.yaml": text}})
    }

    pub(super) fn claim(namespace: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "volumeMode": "Filesystem",
                "resources": {"requests": {"storage": "1Gi"}}}})
    }

    /// The secrets of variables: namespace, name and keys. Until 0.6 these are what the chart `oas-secrets` makes, the ten
    /// that the guide saves; only those of installed applications.
    #[must_use]
    pub(super) fn secrets(self, apps: &[String]) -> Vec<(String, String, Vec<String>)> {
        let flux = |name: String, keys: Vec<String>| (FLUX.to_owned(), name, keys);
        let strings = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<String>>();
        let mut found = vec![
            flux(
                self.variables("cluster"),
                strings(&[
                    "admin_email",
                    "domain",
                    "ip_address",
                    "outgoing_mail_smtp_host",
                    "outgoing_mail_smtp_password",
                ]),
            ),
            flux(
                self.variables("single-sign-on"),
                strings(&[
                    "hydra_system_secret",
                    "userbackend_admin_password",
                    "userbackend_postgres_password",
                ]),
            ),
            flux(self.variables("kube-prometheus-stack"), strings(&["grafana_admin_password"])),
        ];
        for app in apps {
            let keys = [
                format!("{app}_password"),
                format!("{app}_mariadb_password"),
                format!("{app}_mariadb_root_password"),
            ];
            found.push(flux(self.variables(app), keys.to_vec()));
            if self.version >= Version::V0_8 {
                found.push(flux(self.oauth(app), strings(&["client_id", "client_secret"])));
            }
        }
        if self.version >= Version::V0_8 {
            for app in ["grafana", "single-sign-on"] {
                found.push(flux(self.oauth(app), strings(&["client_id", "client_secret"])));
            }
        } else {
            // 0.7 wants one of wekan's, installed or not; 0.6 did not make it.
            let wekan = self.version >= Version::V0_7 || apps.iter().any(|known| known == "wekan");
            let clients = CLIENTS.iter().filter(|app| wekan || **app != "wekan");
            found.push(flux(
                self.variables("oauth"),
                clients.map(|app| format!("{app}_oauth_client_secret")).collect(),
            ));
        }
        for part in ["alertmanager", "prometheus"] {
            found.push((
                self.prefix().to_owned(),
                format!("{}-{part}-basic-auth", self.prefix()),
                strings(&["auth", "password", "username"]),
            ));
        }
        found
    }
}

fn cron_job(namespace: &str, name: &str, schedule: &str, arguments: &Value) -> Value {
    let pod = json!({"restartPolicy": "OnFailure", "serviceAccountName": name,
        "containers": [{"name": name, "image": "bitnami/kubectl:1.21", "command": arguments}]});
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": namespace},
        "spec": {"schedule": schedule, "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"template": {"spec": pod}}}}})
}
