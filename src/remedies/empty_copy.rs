//! kubectl was given an empty file (facts sections 8, trap 4, and 9): in the guide's way to 0.7 that of a Secret that was not there when it
//! was saved.
//!
//! `fleet` saves no Secret that is not there, and takes no other error for that. The words may still stand in the output of a script of
//! upstream's.

use super::Remedy;

pub(super) const REMEDY: Remedy = Remedy {
    id: "empty-copy",
    title: "kubectl was given an empty file",
    looks_like: |stuck| {
        stuck.message.contains("error validating")
            && stuck.message.contains("[apiVersion not set, kind not set]")
    },
    cure: |_, _| Vec::new(),
    most: 0,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedies::tests::stuck;

    #[test]
    fn it_knows_kubectls_words_and_no_other() {
        let yes = |message| (REMEDY.looks_like)(&stuck("Script", "", "upgrade.sh", message));
        assert!(yes(
            "error: error validating \"STDIN\": error validating data: [apiVersion not set, kind not set]; if you choose to ignore these \
             errors, turn validation off with --validate=false"
        ));
        assert!(!yes("error: error validating data: unknown field spec.x"));
    }
}
