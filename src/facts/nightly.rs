//! Nightly jobs of Flux and k3s, found by what they do (facts section 3.6).

use serde::{Deserialize, Serialize};

use super::clock::{Clock, offset_seconds};
use super::kubernetes::List;

/// A CronJob that would act on the cluster during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nightly {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its schedule, in the host's time zone unless `zone` says otherwise.
    pub schedule: String,
    /// `spec.timeZone`; empty where absent.
    pub zone: String,
    /// Whether it is suspended.
    pub suspended: bool,
    /// What it does.
    pub does: Does,
}

impl Nightly {
    /// Seconds east of UTC of the clock by which it fires: the host's, unless it names another zone that is known here. None where that
    /// cannot be told.
    #[must_use]
    pub fn offset_seconds(&self, clock: &Clock) -> Option<i64> {
        match self.zone.as_str() {
            "UTC" | "Etc/UTC" => Some(0),
            zone if zone.is_empty() || zone == clock.zone => offset_seconds(&clock.offset),
            _ => None,
        }
    }
}

/// What a nightly job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// Suspends a Flux source.
    SuspendSource,
    /// Resumes a Flux source.
    ResumeSource,
    /// Scales the system-upgrade-controller, but not to nothing.
    ScaleUpgradeController,
    /// Scales the system-upgrade-controller to nothing.
    ShutUpgradeController,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    schedule: String,
    time_zone: String,
    suspend: bool,
    job_template: JobTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    template: PodTemplate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodTemplate {
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    command: Vec<String>,
    args: Vec<String>,
}

/// Reads the CronJobs that would act on Flux or k3s.
pub fn read(objects: &List) -> Result<Vec<Nightly>, String> {
    let mut found = Vec::new();
    for item in objects.of("CronJob") {
        let spec: Spec = item.spec()?;
        let (schedule, zone, suspended) = (spec.schedule.clone(), spec.time_zone.clone(), spec.suspend);
        let said = format!("{} {}", item.metadata.namespace, words(spec).join(" "));
        if let Some(does) = does(&said) {
            found.push(Nightly {
                namespace: item.metadata.namespace.clone(),
                name: item.metadata.name.clone(),
                schedule,
                zone,
                suspended,
                does,
            });
        }
    }
    Ok(found)
}

/// The nightly jobs that act on the Flux source of this name, as `namespace/name`.
pub fn acting_on(objects: &List, source: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for item in objects.of("CronJob") {
        let words = words(item.spec::<Spec>()?).join(" ");
        let named = |word: &str| word.rsplit('/').next() == Some(source);
        let acts = words.split(|c: char| !(c.is_ascii_alphanumeric() || "-._/".contains(c))).any(named);
        if acts && does(&words).is_some() {
            found.push(format!("{}/{}", item.metadata.namespace, item.metadata.name));
        }
    }
    Ok(found)
}

/// The words of a job's containers.
fn words(spec: Spec) -> Vec<String> {
    let pod = spec.job_template.spec.template.spec;
    let containers = pod.init_containers.into_iter().chain(pod.containers);
    containers.flat_map(|container| container.command.into_iter().chain(container.args)).collect()
}

/// What the namespace and the words of a job's containers say that it does. Names of the jobs are not known (facts section 3.6).
fn does(said: &str) -> Option<Does> {
    // `{"spec": {"suspend": true}}`, `suspend:true` in whatever quotes a shell needs.
    let bare: String =
        said.to_lowercase().chars().filter(|c| !matches!(c, '"' | '\'' | '\\' | ' ' | '\n' | '\t')).collect();
    if bare.contains("scale") && bare.contains("system-upgrade") {
        let to_nothing = ["replicas=0", "replicas0", "replicas:0"].iter().any(|zero| bare.contains(zero));
        return Some(if to_nothing { Does::ShutUpgradeController } else { Does::ScaleUpgradeController });
    }
    // `flux suspend source git stackspin`, `kubectl patch gitrepository …`
    let of_source = bare.contains("source") || bare.contains("gitrepo");
    if !of_source {
        None
    } else if bare.contains("resume") || bare.contains("suspend:false") {
        Some(Does::ResumeSource)
    } else if bare.contains("suspend") {
        Some(Does::SuspendSource)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_known_by_what_they_do() {
        for (said, expected) in [
            ("flux-system flux suspend source git stackspin", Some(Does::SuspendSource)),
            ("flux-system flux resume source git stackspin", Some(Does::ResumeSource)),
            (
                r#"flux-system sh -c kubectl patch gitrepository stackspin -p "{\"spec\": {\"suspend\": true}}""#,
                Some(Does::SuspendSource),
            ),
            (
                r#"ops kubectl patch gitrepositories.source.toolkit.fluxcd.io stackspin -p {"spec":{"suspend":false}}"#,
                Some(Does::ResumeSource),
            ),
            (
                "system-upgrade kubectl scale deployment system-upgrade-controller --replicas=1",
                Some(Does::ScaleUpgradeController),
            ),
            (
                "system-upgrade kubectl scale deployment system-upgrade-controller --replicas 0",
                Some(Does::ShutUpgradeController),
            ),
            ("oas-apps php -f /var/www/html/cron.php", None),
            ("oas-apps kubectl scale deployment nc-nextcloud --replicas=0", None),
            ("flux-system flux suspend kustomization core", None),
        ] {
            assert_eq!(does(said), expected, "{said}");
        }
    }
}
