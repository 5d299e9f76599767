//! Nextcloud's setup-apps job fails on files of old apps (guide, "Upgrading to 0.8", Nextcloud; facts sections 6.2 and 9).
//!
//! "Depending on when you first installed Nextcloud": the apps `onlyoffice` and `sociallogin` are then in the way as they are. Their folders
//! hold code, which the job fetches anew, and no user's data.

use super::{Remedy, hook_failed, suspend_and_resume};
use crate::remote::Command;

pub(super) const REMEDY: Remedy = Remedy {
    id: "sociallogin",
    title: "files of old Nextcloud apps are in the way of its setup-apps job",
    looks_like: |stuck| hook_failed(stuck, "nextcloud") || stuck.message.contains("sociallogin"),
    cure: |stuck, _| {
        let remove = Command::new("k3s kubectl exec -c nextcloud deployment/nc-nextcloud -n")
            .arg(&stuck.namespace)
            .fixed("-- rm -rf /var/www/html/custom_apps/onlyoffice /var/www/html/custom_apps/sociallogin </dev/null")
            .deadline(super::EXEC);
        let mut commands = vec![remove];
        commands.extend(suspend_and_resume(&stuck.namespace, &stuck.name));
        commands
    },
    most: 2,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_a_failed_hook_of_nextcloud_and_removes_those_two_folders_alone() {
        let message = "Helm upgrade failed: post-upgrade hooks failed: timed out waiting for the condition";
        let nextcloud = stuck("HelmRelease", "stackspin-apps", "nextcloud", message);
        assert!((REMEDY.looks_like)(&nextcloud));
        assert!(!(REMEDY.looks_like)(&stuck("HelmRelease", "stackspin-apps", "zulip", message)));
        assert_eq!(
            (REMEDY.cure)(&nextcloud, 1)[0].line(),
            "k3s kubectl exec -c nextcloud deployment/nc-nextcloud -n stackspin-apps -- rm -rf \
             /var/www/html/custom_apps/onlyoffice /var/www/html/custom_apps/sociallogin </dev/null"
        );
    }
}
