//! The disk of the provisioning machine is full while a run goes on: a small one, mounted for `fleet` alone. Needs root, as `machine` does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what cannot be set up fails its test")]

mod lab_support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fleet::event::{Event, Left, Outcome, What};
use fleet::journal;
use fleet::lab::HostSpec;
use lab_support::{Bench, acknowledging, files, replace_program, until};

/// `fleet upgrade --all` of one host after the other, whose folder of runs is a disk of its own, until it is dropped.
struct Small<'a> {
    bench: &'a Bench,
    child: Child,
}

impl<'a> Small<'a> {
    /// Begins it on a disk of this size, as mount takes it.
    fn upgrade(bench: &'a Bench, size: &str) -> Self {
        let words = acknowledging(&["upgrade", "--all", "--parallel", "1"], &[]);
        let fleet = bench.command(&words);
        fs::create_dir_all(bench.path("runs")).unwrap();
        // Whoever reads waits for the shell: with it the disk goes.
        let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" || exit 1
code=$3; shift 3; "$@"; echo $? >"$code.new" && mv "$code.new" "$code"; read -r _"#;
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", size]).arg(bench.path("runs")).arg(bench.path("code"));
        command.arg(fleet.get_program()).args(fleet.get_args()).current_dir(bench.path("")).env_clear();
        command.envs(fleet.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped());
        command.stdout(File::create(bench.path("out")).unwrap());
        command.stderr(File::create(bench.path("err")).unwrap());
        Self { bench, child: command.spawn().unwrap() }
    }

    /// The disk, as only its own processes see it.
    fn disk(&self) -> PathBuf {
        let runs = self.bench.path("runs");
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join("root")
            .join(runs.strip_prefix("/").unwrap())
    }

    /// The exit code, once it has ended, and what was said.
    fn ended(&self) -> (i32, String) {
        let code = self.bench.path("code");
        until("it ends", || code.exists());
        let said = ["out", "err"].map(|name| fs::read_to_string(self.bench.path(name)).unwrap()).concat();
        (fs::read_to_string(code).unwrap().trim().parse().unwrap(), said)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Writes until there is no room for one byte more.
fn fill(disk: &Path) {
    let mut file = File::create(disk.join("of-another-program")).unwrap();
    for size in [1 << 16, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

fn outcome(events: &[Event]) -> &Outcome {
    match events.last().map(|event| &event.what) {
        Some(What::Finished { outcome }) => outcome,
        other => panic!("the journal has no end: {other:?}"),
    }
}

#[test]
fn a_disk_that_is_full_here_stops_the_run_after_what_is_under_way_and_everything_is_in_the_books() {
    let specs = ["first", "second"].map(|name| HostSpec { source_suspended: true, ..HostSpec::new(name) });
    let bench = Bench::new(specs.into());
    let (asked, gate) = (bench.path("asked"), bench.path("gate"));
    // In the middle of the first change.
    let script = format!(
        "case \"$*\" in *'\"branch\":\"v0.7\"'*)\n    : >'{}'\n    while [ ! -e '{}' ]; do sleep 0.02; done ;;\nesac\nexec \"$real\" \"$@\"",
        asked.display(),
        gate.display()
    );
    replace_program(bench.host("first"), "k3s", &script);
    let small = Small::upgrade(&bench, "8m");
    until("the first change is made", || asked.exists());
    fill(&small.disk());
    fs::write(&gate, "").unwrap();
    let (code, said) = small.ended();
    assert_eq!(code, 70, "{said}");
    assert!(
        said.contains("is full. Nothing new was begun; what was under way was brought to a safe end"),
        "{said}"
    );

    // The journals are whole, and tell all of it.
    let elsewhere = bench.path("elsewhere");
    let disk = small.disk();
    for (path, bytes) in files(&disk) {
        let path = elsewhere.join(path.strip_prefix(&disk).unwrap());
        if !path.ends_with("of-another-program") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let mut folders = fs::read_dir(&elsewhere).unwrap().map(|entry| entry.unwrap().path());
    let run = folders.find(|path| path.is_dir()).unwrap();
    let read = |name: &str| journal::read(&run.join(name).join("journal.ndjson")).unwrap();
    let (first, second) = (read("first"), read("second"));
    assert_eq!(*outcome(&first), Outcome::Done, "half a migration is no safe point");
    assert_eq!(*outcome(&second), Outcome::Interrupted { state: Left::Clean });
    assert!(!second.iter().any(|event| matches!(event.what, What::Connected { .. })), "it was never begun");
    assert!(!run.join("ballast").exists());
    let id = run.file_name().unwrap().to_str().unwrap();
    let report = bench.fleet(&["--runs", elsewhere.to_str().unwrap(), "report", id]).ends(7);
    assert!(report.out.contains("interrupted"), "{}", report.out);
    drop(small);

    // Everything temporary is given back, and there is room again: the run is gone on with.
    let host = bench.host("first");
    let source = host.object("gitrepositories", "flux-system", "openappstack").unwrap();
    assert_eq!(source["spec"]["suspend"], true);
    let spool = fs::read_dir(host.folder().join("spool")).unwrap();
    let left: Vec<_> = spool.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let temporary =
        |name: &&String| name.starts_with("job-") || name.starts_with("timer-") || *name == "lock";
    assert_eq!(left.iter().find(temporary), None, "{left:?}");
    bench.fleet(&["--runs", elsewhere.to_str().unwrap(), "resume", id]).ends(0);
    assert_eq!(*outcome(&read("second")), Outcome::Done);
}

#[test]
fn a_disk_without_room_for_the_journals_is_told_before_anything_is_begun() {
    let bench = Bench::new(vec![HostSpec::new("acme")]);
    let small = Small::upgrade(&bench, "512k");
    let (code, said) = small.ended();
    assert_eq!(code, 70, "{said}");
    assert!(said.contains("no room for the journals in"), "{said}");
    assert_eq!(bench.host("acme").connections(), 0);
}
