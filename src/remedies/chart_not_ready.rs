//! The chart of a Helm release was not fetched (facts section 9).
//!
//! Its repository did not answer, often because the host's network was not up yet. Repositories and charts that failed wait their whole
//! interval before they try again.

use super::{Remedy, reconcile, reconcile_all};

pub(super) const REMEDY: Remedy = Remedy {
    id: "chart-not-ready",
    title: "the chart of a Helm release was not fetched",
    looks_like: |stuck| {
        let said = stuck.message.as_str();
        stuck.kind == "HelmRelease" && said.contains("HelmChart '") && said.contains("' is not ready")
    },
    cure: |stuck, _| {
        vec![
            reconcile_all("helmrepositories.source.toolkit.fluxcd.io"),
            reconcile_all("helmcharts.source.toolkit.fluxcd.io"),
            reconcile("helmreleases.helm.toolkit.fluxcd.io", &stuck.namespace, &stuck.name),
        ]
    },
    most: 3,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_controllers_message_and_asks_repositories_before_charts_before_the_release() {
        let loki = stuck("HelmRelease", "oas", "loki", "HelmChart 'flux-system/oas-loki' is not ready");
        assert!((REMEDY.looks_like)(&loki));
        assert!(!(REMEDY.looks_like)(&stuck(
            "HelmRelease",
            "oas",
            "loki",
            "dependency 'oas/x' is not ready"
        )));
        let kinds: Vec<String> = (REMEDY.cure)(&loki, 1)
            .iter()
            .filter_map(|command| command.line().split(' ').nth(4).map(str::to_owned))
            .collect();
        assert_eq!(
            kinds,
            [
                "helmrepositories.source.toolkit.fluxcd.io",
                "helmcharts.source.toolkit.fluxcd.io",
                "helmreleases.helm.toolkit.fluxcd.io"
            ]
        );
    }
}
