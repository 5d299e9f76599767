//! Quoting, against the shells themselves: whatever a word holds, a shell hands it on byte for byte.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::path::Path;
use std::process::Command as Process;

use fleet::remote::Command;
use proptest::prelude::*;

/// The shells that a host's user may have; `/bin/sh` is always there.
fn shells() -> Vec<&'static str> {
    let known = ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh", "/bin/busybox"];
    assert!(Path::new(known[0]).exists(), "/bin/sh is not here");
    known.into_iter().filter(|shell| Path::new(shell).exists()).collect()
}

/// The words as the shell's `printf` was handed them.
fn through(shell: &str, line: &str) -> Vec<String> {
    let mut process = Process::new(shell);
    if shell.ends_with("busybox") {
        process.arg("sh");
    }
    let output = process.arg("-c").arg(line).current_dir("/").output().unwrap();
    assert!(output.status.success(), "{shell}: {line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// A NUL byte cannot be said to a shell.
fn sayable(words: &[String]) -> Vec<String> {
    words.iter().map(|word| word.replace('\0', "")).collect()
}

/// Words of what shells are fond of, and of anything else.
fn words() -> impl Strategy<Value = Vec<String>> {
    let fond = "[-~=!'\"\\\\`$(){}\\[\\]*?<>|&;#%^ \t\r\n\u{0}a1/.:,@+é]{0,12}";
    let word = prop_oneof![fond, any::<String>(), "(~|=|-|!|#|a=)[a-z/~]{0,4}"];
    prop::collection::vec(word, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_shell_hands_on_every_word_byte_for_byte(words in words()) {
        let command = Command::new(r"printf '%s\0'").args(&words);
        for shell in shells() {
            prop_assert_eq!(through(shell, command.line()), sayable(&words), "{}", shell);
        }
    }

    #[test]
    fn a_word_joined_to_fixed_text_stays_one_word(word in any::<String>()) {
        let command = Command::new(r"printf '%s\0' name=").joined(&word).fixed("end");
        let expected = vec![format!("name={}", word.replace('\0', "")), "end".to_owned()];
        for shell in shells() {
            prop_assert_eq!(through(shell, command.line()), expected.clone(), "{}", shell);
        }
    }

    // A command that is itself a word of another: `sh -c LINE`.
    #[test]
    fn a_quoted_line_can_be_quoted_again(words in words()) {
        let inner = Command::new(r"printf '%s\0'").args(&words);
        let outer = Command::new("sh -c").arg(inner.line());
        for shell in shells() {
            prop_assert_eq!(through(shell, outer.line()), sayable(&words), "{}", shell);
        }
    }
}
