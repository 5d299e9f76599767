//! Nextcloud's setup-apps job fails: its ONLYOFFICE app is of the version before (guide, "From 0.8 to 1.0"; facts section 9).
//!
//! The job is a hook of Nextcloud's chart, so all that the release says of it is that a hook failed; what the job itself says is in its
//! log. The cure is harmless where it was something else. The guide's `–all` has lost a dash (facts section 8, trap 6).

use super::{Remedy, hook_failed, suspend_and_resume};
use crate::remote::Command;

pub(super) const REMEDY: Remedy = Remedy {
    id: "onlyoffice",
    title: "Nextcloud's setup-apps job fails, as it does with an older ONLYOFFICE app",
    looks_like: |stuck| hook_failed(stuck, "nextcloud") || stuck.message.contains("ONLYOFFICE"),
    cure: |stuck, _| {
        let occ = Command::new("k3s kubectl exec -c nextcloud deployment/nc-nextcloud -n")
            .arg(&stuck.namespace)
            .fixed(OCC)
            .deadline(super::EXEC);
        let mut commands = vec![occ];
        commands.extend(suspend_and_resume(&stuck.namespace, &stuck.name));
        commands
    },
    most: 3,
};

/// `occ` refuses to run as anybody but the owner of Nextcloud's files; who the container runs as is its image's business.
const OCC: &str = r#"-- sh -c 'cd /var/www/html || exit 1
occ() { if [ "$(id -u)" = 0 ]; then su -s /bin/sh www-data -c "php occ $*"; else php occ "$@"; fi; }
occ app:update --all; occ app:enable onlyoffice' </dev/null"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_a_failed_hook_of_nextcloud_and_the_guides_words_and_no_other() {
        let yes = |name, message| (REMEDY.looks_like)(&stuck("HelmRelease", "stackspin-apps", name, message));
        let hook = "upgrade retries exhausted; its last try: Helm upgrade failed: post-upgrade hooks failed: job failed: \
                    BackoffLimitExceeded";
        assert!(yes("nextcloud", hook));
        assert!(yes(
            "nextcloud",
            "App \"ONLYOFFICE\" cannot be installed because it is not compatible with this version of the server."
        ));
        assert!(!yes("wordpress", hook));
        assert!(!yes("nextcloud", "upgrade retries exhausted"));
    }

    #[test]
    fn both_dashes_of_all_are_there() {
        let nextcloud = stuck("HelmRelease", "stackspin-apps", "nextcloud", "");
        let line = (REMEDY.cure)(&nextcloud, 1)[0].line().to_owned();
        assert!(line.contains("deployment/nc-nextcloud -n stackspin-apps -- sh"), "{line}");
        assert!(line.contains("occ app:update --all; occ app:enable onlyoffice"), "{line}");
    }
}
