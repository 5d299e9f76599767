//! The Flux program refuses what is suspended (facts sections 5.2 and 9): its words, in the output of a script of upstream's.
//!
//! A rung resumes the source that it needs before any script runs. What else is suspended was so before the upgrade, by somebody who had a
//! reason, and only he can say whether it may be resumed.

use super::Remedy;

pub(super) const REMEDY: Remedy = Remedy {
    id: "suspended",
    title: "Flux refuses to reconcile what is suspended",
    looks_like: |stuck| stuck.message.contains("resource is suspended"),
    cure: |_, _| Vec::new(),
    most: 0,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_the_programs_words_and_no_other() {
        let yes =
            |message| (REMEDY.looks_like)(&stuck("Script", "", "install/install-app.sh wekan", message));
        assert!(yes("\u{2717} resource is suspended"));
        assert!(!yes("\u{2717} Kustomization reconciliation failed"));
    }
}
