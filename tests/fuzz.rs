//! What reads the output of a host beside the facts (`tests/facts/hostile.rs`): whatever the host says is read or refused, and no message
//! holds what a terminal acts upon.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command as Process;
use std::sync::LazyLock;

use fleet::backup::objects::{kinds, kinds_to_ask};
use fleet::backup::reader::Reader;
use fleet::backup::sums::{self, Sums};
use fleet::plan::Probe;
use fleet::probes::{Progress, judge};
use proptest::prelude::*;

/// A real folder's archive and its list, as the host makes them.
static BACKUP: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("plain"), "hello\n".repeat(200)).unwrap();
    fs::hard_link(path.join("plain"), path.join("twin")).unwrap();
    std::os::unix::fs::symlink("nowhere", path.join("link")).unwrap();
    fs::create_dir(path.join("n".repeat(120))).unwrap();
    fs::write(path.join("n".repeat(120)).join("deep"), "x").unwrap();
    let sparse = fs::File::create(path.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 500_000).unwrap();
    let tar = ["--format=posix", "--sparse", "-cf", "-", "-C"];
    let archive = Process::new("tar").args(tar).arg(path).arg(".").output().unwrap();
    assert!(archive.status.success(), "{archive:?}");
    let list = sums::command(&path.display().to_string());
    let list = Process::new("sh").arg("-c").arg(list.line()).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    (archive.stdout, list.stdout)
});

/// These bytes with something torn out of them and something else in its place.
fn torn(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let put_in = prop::collection::vec(any::<u8>(), 0..20);
    let wound = (any::<prop::sample::Index>(), 0..600_usize, put_in);
    prop::collection::vec(wound, 1..4).prop_map(move |wounds| {
        let mut bytes = bytes.clone();
        for (at, length, put_in) in wounds {
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, put_in);
        }
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..3000)
}

/// A disk that is full after 8 MiB: a header may promise more than there is room for anywhere.
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an archive to its end; the number of its members.
fn read_archive(bytes: &[u8]) -> io::Result<usize> {
    let mut reader = Reader::new(bytes);
    let mut disk = Disk(8 << 20);
    let mut members = 0;
    while let Some(member) = reader.member()? {
        if member.kind == b'f' {
            reader.content(&member, &mut disk)?;
        }
        members += 1;
    }
    Ok(members)
}

fn probes() -> [Probe; 6] {
    let (source, branch) = ("openappstack".to_owned(), "v0.7".to_owned());
    [
        Probe::ClusterReady,
        Probe::SourceWants { source: source.clone(), branch: branch.clone() },
        Probe::SourceAt { source: source.clone(), branch },
        Probe::SourceSuspended { source: source.clone(), suspended: true },
        Probe::ReleaseGone { name: "oas-secrets".to_owned() },
        Probe::Converged { source },
    ]
}

/// No message of any probe holds what a terminal acts upon.
fn harmless(answer: &str) {
    for probe in probes() {
        let said = match judge(&probe, answer) {
            Progress::Reached(said) | Progress::Never(said) => said,
            Progress::NotYet(stuck) => stuck.into_iter().map(|stuck| stuck.message).collect(),
        };
        assert!(!said.chars().any(char::is_control), "{probe}: {said:?}");
    }
}

/// The recorded answers that probes get: nodes, pods, and Flux's objects.
fn recorded() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/facts");
    let of = |fact: &str| {
        fs::read_dir(root.join(fact)).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let paths = ["flux", "nodes", "pods"].into_iter().flat_map(of);
    let texts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    texts
        .map(|path| fs::read_to_string(path).unwrap().split("=== next").next().unwrap().as_bytes().to_vec())
        .collect()
}

#[test]
fn what_is_torn_below_is_whole_to_begin_with() {
    let (archive, list) = &*BACKUP;
    assert_eq!(read_archive(archive).unwrap(), 7);
    assert_eq!(Sums::read(list.as_slice()).unwrap().files(), 4);
    assert!(recorded().len() > 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in any_bytes()) {
        let _ = read_archive(&bytes);
        let _ = Sums::read(bytes.as_slice());
        let _ = kinds_to_ask(&bytes);
        let _ = kinds(&bytes, 1);
        harmless(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_torn_archive_is_read_or_refused(bytes in torn(BACKUP.0.clone())) {
        let _ = read_archive(&bytes);
    }

    #[test]
    fn a_torn_list_of_sums_is_read_or_refused(bytes in torn(BACKUP.1.clone())) {
        let _ = Sums::read(bytes.as_slice());
    }

    #[test]
    fn torn_answers_to_probes_are_judged_without_a_control_character(
        bytes in prop::sample::select(recorded()).prop_flat_map(torn)
    ) {
        harmless(&String::from_utf8_lossy(&bytes));
    }

    // Each kind of list is valid JSON with values of a host's choice.
    #[test]
    fn what_objects_say_of_themselves_is_made_harmless(text in any::<String>()) {
        let condition = serde_json::json!([{"type": "Ready", "status": "False", "reason": text, "message": text}]);
        let item = |kind: &str, version: &str| serde_json::json!({"kind": kind, "apiVersion": version,
            "metadata": {"name": "openappstack", "namespace": "flux-system", "generation": 1},
            "spec": {"ref": {"branch": text}, "sourceRef": {"kind": "GitRepository", "name": "openappstack"}},
            "status": {"conditions": condition, "observedGeneration": 1, "phase": text, "lastAppliedRevision": text}});
        let list = serde_json::json!({"kind": "List", "items": [
            item("GitRepository", "source.toolkit.fluxcd.io/v1beta1"),
            item("Kustomization", "kustomize.toolkit.fluxcd.io/v1beta1"),
            item("HelmRelease", "helm.toolkit.fluxcd.io/v2beta1"),
            item("Node", "v1"), item("Pod", "v1")]});
        harmless(&list.to_string());
    }
}
