//! Upstream's installation refuses a value of the cluster's variables that holds `"` or `$` (facts sections 2.2 and 9).
//!
//! The check `cluster-variables` finds such a value before anything is begun; what somebody has written since, only the script finds.

use super::Remedy;

pub(super) const REMEDY: Remedy = Remedy {
    id: "forbidden-character",
    title: "a value of the cluster's variables holds a character that upstream's installation refuses",
    looks_like: |stuck| {
        stuck.message.contains("-cluster-variables, key ") && stuck.message.contains("the character")
    },
    cure: |_, _| Vec::new(),
    most: 0,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_installations_words_and_no_other() {
        let yes =
            |message| (REMEDY.looks_like)(&stuck("Script", "", "install/install-stackspin.sh", message));
        assert!(yes(
            "In secret stackspin-cluster-variables, key outgoing_mail_smtp_password, the character $ is not allowed"
        ));
        assert!(!yes("secret stackspin-cluster-variables configured"));
    }
}
