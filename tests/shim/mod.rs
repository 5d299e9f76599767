//! The library between `fleet` and its disk: `mod shim;`, then `shim::strike(&mut command, "after", "the line of the journal")`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where it is, built once by each test program (tests/crash/disk.c tells what it does).
pub(crate) fn library() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (to, half) =
            (folder.join("libcrash.so"), folder.join(format!("libcrash-{}", std::process::id())));
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/disk.c");
        let made =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&half).arg(from).status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "cc, which cargo itself needs, cannot build disk.c"
        );
        // Another test program may use the one that is there.
        assert!(std::fs::rename(&half, &to).is_ok(), "{} cannot be renamed", half.display());
        to
    })
}

/// Lets this command be struck at the first line of a journal that holds this text: `before` or `after` it is on the disk, or `torn` within.
#[allow(dead_code, reason = "the crash table says more")]
pub(crate) fn strike(command: &mut Command, how: &str, line: &str) {
    command.env("LD_PRELOAD", library()).env("CRASH_DO", how).env("CRASH_AT", line);
}
