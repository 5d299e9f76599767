//! The copy and the proof against real shell lines: GNU tar, find and sha256sum in a folder of this machine, with small stand-ins for
//! `systemctl`, `k3s` and `k3s-killall.sh`. Needs GNU tar and coreutils; run as root it also covers owners.

#![expect(
    clippy::unwrap_used,
    reason = "a test says its fault by panicking, in the functions that it shares too"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleet::backup::manifest::{Manifest, What};
use fleet::backup::{self, Folder, Proven, prove};
use fleet::event::Failure;
use fleet::jobs::Timer;
use fleet::journal::Journal;
use fleet::plan::{Backup, Prove, VolumeCopy};
use fleet::remote::{Command, Exit, Output, Remote, RemoteError};
use fleet::run::copy::copy;
use fleet::run::{Scribe, Trouble};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

const SECRET: &str = "aHVudGVyMg-planted";

/// A host in a folder: real shell, real tar, stand-ins for what needs a real host.
struct Host {
    root: TempDir,
    /// The part of a line that has no answer, and why.
    fault: Mutex<Option<(&'static str, RemoteError)>>,
    dead: AtomicBool,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            root: tempfile::tempdir().unwrap(),
            fault: Mutex::new(None),
            dead: AtomicBool::new(false),
        };
        for folder in ["bin", "api", "k3s/server/db", "k3s/server/tls", "etc", "volumes"] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        fs::write(host.path("state"), "active\n").unwrap();
        host.program(
            "systemctl",
            "[ \"$1\" != show ] || exit 1\necho \"$*\" >>$HOST/systemctl.log\ncase $1 in\nstop) echo inactive >$HOST/state ;;\n\
             start) [ ! -e $HOST/broken ] || { echo 'Job for k3s.service failed.' >&2; exit 1; }; echo active >$HOST/state ;;\n\
             is-active) cat $HOST/state; grep -q '^active' $HOST/state || exit 3 ;;\n*) exit 64 ;;\nesac",
        );
        host.program("k3s-killall.sh", "echo killall >>$HOST/systemctl.log");
        host.program(
            "k3s",
            "case \"$*\" in\n--version) echo 'k3s version v1.21.5+k3s2 (724ef700)' ;;\n\
             'kubectl get --raw '*) exec cat \"$HOST/api/$(echo \"$4\" | tr / _)\" ;;\n*) exit 64 ;;\nesac",
        );
        host.api();
        host.datastore();
        fs::write(host.path("k3s/server/token"), "K10-token").unwrap();
        fs::write(host.path("k3s/server/tls/ca.key"), "key").unwrap();
        fs::write(host.path("etc/k3s.yaml"), "kubeconfig").unwrap();
        host
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn program(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\nHOST={}\n{body}\n", self.root.path().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn answer(&self, path: &str, json: &serde_json::Value) {
        fs::write(self.path("api").join(path.replace('/', "_")), json.to_string()).unwrap();
    }

    fn api(&self) {
        let kind = |name: &str| serde_json::json!({"name": name, "verbs": ["list"]});
        self.answer(
            "/apis",
            &serde_json::json!({"groups": [{"name": "source.toolkit.fluxcd.io",
            "versions": [{"version": "v1beta1"}], "preferredVersion": {"version": "v1beta1"}}]}),
        );
        self.answer("/api/v1", &serde_json::json!({"groupVersion": "v1", "resources":
            [kind("secrets"), kind("persistentvolumes"), kind("persistentvolumeclaims"), kind("configmaps")]}));
        self.answer(
            "/apis/source.toolkit.fluxcd.io/v1beta1",
            &serde_json::json!({"groupVersion": "source.toolkit.fluxcd.io/v1beta1", "resources": [kind("gitrepositories")]}),
        );
        let list = |api: &str, kind: &str, items: serde_json::Value| serde_json::json!({"kind": format!("{kind}List"), "apiVersion": api, "items": items});
        let object = |namespace: &str, name: &str| serde_json::json!({"metadata": {"name": name, "namespace": namespace}});
        let mut secret = object("oas", "first");
        secret["data"] = serde_json::json!({"password": SECRET});
        self.answer(
            "/api/v1/secrets",
            &list("v1", "Secret", serde_json::json!([secret, object("oas", "second")])),
        );
        self.answer(
            "/api/v1/persistentvolumes",
            &list(
                "v1",
                "PersistentVolume",
                serde_json::json!([
            {"metadata": {"name": "pvc-1"}, "spec": {"hostPath": {"path": self.path("volumes/a b")}}}]),
            ),
        );
        self.answer(
            "/api/v1/persistentvolumeclaims",
            &list("v1", "PersistentVolumeClaim", serde_json::json!([object("oas-apps", "files")])),
        );
        self.answer("/api/v1/configmaps", &list("v1", "ConfigMap", serde_json::Value::Null));
        self.answer(
            "/apis/source.toolkit.fluxcd.io/v1beta1/gitrepositories",
            &list(
                "source.toolkit.fluxcd.io/v1beta1",
                "GitRepository",
                serde_json::json!([object("flux-system", "openappstack")]),
            ),
        );
    }

    fn datastore(&self) {
        let writer = rusqlite::Connection::open(self.path("k3s/server/db/state.db")).unwrap();
        writer
            .execute_batch(
                "CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, deleted INTEGER)",
            )
            .unwrap();
        for key in [
            "secrets/oas/first",
            "secrets/oas/second",
            "persistentvolumes/pvc-1",
            "persistentvolumeclaims/oas-apps/files",
            "source.toolkit.fluxcd.io/gitrepositories/flux-system/openappstack",
        ] {
            writer
                .execute("INSERT INTO kine (name, deleted) VALUES (?1, 0)", [format!("/registry/{key}")])
                .unwrap();
        }
    }

    /// Everything that has broken a copy of a volume somewhere.
    fn odd_volume(&self) -> PathBuf {
        let volume = self.path("volumes/a b");
        fs::create_dir_all(volume.join("deep/empty")).unwrap();
        let file = |name: &[u8], content: &[u8]| {
            let path = volume.join(OsStr::from_bytes(name));
            fs::write(&path, content).unwrap();
            path
        };
        file(b"plain", b"content");
        file(b"with blank", b"");
        file(b"-rf", b"leading dash");
        file(b"line\nend", b"a name of two lines");
        file(b"not-utf8-\xff\xfe", b"bytes");
        file(&[b"long".repeat(60).as_slice(), b"\n\xff"].concat(), b"longer than a tar header's field");
        let set_uid = file(b"set-uid", b"#!/bin/sh");
        fs::set_permissions(&set_uid, fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(volume.join("plain"), volume.join("deep/hard")).unwrap();
        symlink("../plain", volume.join("deep/soft")).unwrap();
        symlink("/no/where\nat all", volume.join("dangling")).unwrap();
        let mut sparse = fs::File::create(volume.join("sparse")).unwrap();
        sparse.write_all(&[1; 5000]).unwrap();
        sparse.seek(SeekFrom::Start(3_000_001)).unwrap();
        sparse.write_all(&vec![2; 70_000]).unwrap();
        sparse.set_len(9_000_000).unwrap();
        fs::hard_link(volume.join("sparse"), volume.join("sparse too")).unwrap();
        drop(UnixListener::bind(volume.join("socket")).unwrap());
        let fifo = std::process::Command::new("mkfifo").arg(volume.join("fifo")).status().unwrap();
        assert!(fifo.success());
        // A binary attribute with a line end in it; not every filesystem takes one.
        let _ = rustix::fs::setxattr(
            volume.join("plain"),
            "user.odd",
            b"a\nb\0c",
            rustix::fs::XattrFlags::empty(),
        );
        if rustix::process::getuid().is_root() {
            let owner = |path: &Path, id| std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
            owner(&volume.join("with blank"), 33);
            owner(&volume.join("deep/soft"), 3_000_000);
            owner(&volume.join("deep/empty"), 33);
        }
        volume
    }

    fn what(&self) -> Backup {
        let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
        Backup {
            k3s_data: text(self.path("k3s")),
            k3s_config: text(self.path("etc")),
            spool: text(self.path("spool")),
            volumes: vec![VolumeCopy {
                volume: "pvc-1".into(),
                namespace: "oas-apps".into(),
                claim: "files".into(),
                folder: text(self.path("volumes/a b")),
                used: 100_000,
            }],
            cluster_dir: None,
        }
    }

    fn systemctl_log(&self) -> String {
        fs::read_to_string(self.path("systemctl.log")).unwrap_or_default()
    }

    fn k3s_runs(&self) -> bool {
        fs::read_to_string(self.path("state")).unwrap() == "active\n"
    }

    fn shell(&self, command: &Command) -> tokio::process::Command {
        let mut shell = tokio::process::Command::new("sh");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin", self.path("bin").display());
        shell.arg("-c").arg(command.line()).env("PATH", path).stdin(Stdio::null()).stderr(Stdio::piped());
        shell
    }

    /// Why there is no answer. A connection that was lost once stays so.
    fn fault(&self, command: &Command) -> Result<(), RemoteError> {
        let fault = self.fault.lock().unwrap();
        let hit = fault.as_ref().filter(|(part, _)| command.line().contains(part));
        let lost = hit.is_some_and(|(_, error)| matches!(error, RemoteError::Lost(_)));
        if self.dead.fetch_or(lost, Ordering::SeqCst) || lost {
            return Err(RemoteError::Lost("cut".into()));
        }
        hit.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }
}

fn output(done: &std::process::Output) -> Output {
    let exit = Exit::Code(done.status.code().unwrap_or(255).unsigned_abs());
    Output { exit, stdout: done.stdout.clone(), stderr: done.stderr.clone(), dropped: 0 }
}

impl Remote for Host {
    async fn run(&self, command: &Command, log: &mut (dyn Write + Send)) -> Result<Output, RemoteError> {
        self.fault(command)?;
        let done = self.shell(command).output().await.unwrap();
        if !command.is_sensitive() {
            log.write_all(&done.stdout).unwrap();
        }
        Ok(output(&done))
    }

    async fn stream(
        &self,
        command: &Command,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Output, RemoteError> {
        let mut child = self.shell(command).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut chunk = vec![0; 10_000];
        loop {
            let read = stdout.read(&mut chunk).await.unwrap();
            if read == 0 {
                break;
            }
            if let Err(error) = sink.write_all(&chunk[..read]).await {
                return Err(RemoteError::Here(error.to_string()));
            }
            self.fault(command)?;
        }
        drop(stdout);
        let done = child.wait_with_output().await.unwrap();
        Ok(output(&done))
    }
}

/// A host, its backup folder, and what the copy came to.
struct Copied {
    host: Host,
    backups: TempDir,
    folder: Folder,
    result: Result<(), Trouble>,
}

async fn copy_of(host: Host, what: Backup, prepare: impl FnOnce(&Folder)) -> Copied {
    copy_within(Duration::from_secs(3600), host, what, prepare).await
}

async fn copy_within(time: Duration, host: Host, what: Backup, prepare: impl FnOnce(&Folder)) -> Copied {
    let backups = tempfile::tempdir().unwrap();
    let folder = Folder::create(backups.path(), "acme", "20261122T101500Z-abcd").unwrap();
    prepare(&folder);
    let mut journal = Journal::create(&backups.path().join("journal.ndjson"), "acme", None).unwrap();
    let mut scribe = Scribe::new(&mut journal, "backup/copy", &backups.path().join("step.log")).unwrap();
    let result = copy(&host, &what, &folder, time, &mut scribe).await;
    Copied { host, backups, folder, result }
}

async fn whole() -> Copied {
    let host = Host::new();
    host.odd_volume();
    let mut what = host.what();
    let directory = host.path("clusters/acme");
    fs::create_dir_all(directory.join("group_vars/all")).unwrap();
    fs::write(directory.join(".flux.env"), "domain=acme.example.org").unwrap();
    fs::write(directory.join("x".repeat(120)), "long name").unwrap();
    symlink(".flux.env", directory.join("link")).unwrap();
    what.cluster_dir = Some(directory);
    let copied = copy_of(host, what, |_| {}).await;
    assert_eq!(copied.result, Ok(()));
    copied
}

fn proof_of(folder: &Folder) -> Result<Proven, Failure> {
    prove(folder, &Prove { volumes: vec!["pvc-1".into()] })
}

fn cause(result: &Result<(), Trouble>) -> &str {
    match result {
        Ok(()) => "none",
        Err(Trouble::Failed(failure) | Trouble::InDoubt(failure)) => &failure.cause,
    }
}

#[tokio::test]
async fn a_cluster_with_every_odd_file_is_copied_and_proven_and_left_running() {
    let copied = whole().await;
    let log = copied.host.systemctl_log();
    let order: Vec<&str> = log.lines().filter(|line| !line.starts_with("is-active")).collect();
    assert_eq!(order, ["stop k3s", "killall", "start k3s"]);
    assert!(copied.host.k3s_runs());
    assert!(!copied.host.path("spool").exists(), "the watchdog's folder is gone");

    let proven = proof_of(&copied.folder).unwrap();
    let proof = copied.folder.proof().unwrap();
    assert_eq!((proof.files, proof.objects), (proven.files, 5));
    // In the volume (two of them hard links), in k3s' folder, the kubeconfig, in the cluster's directory.
    assert_eq!(proven.files, 10 + 3 + 1 + 2);
    assert_eq!(copied.folder.manifest().unwrap().k3s, "v1.21.5+k3s2");
    let left: Vec<_> = fs::read_dir(copied.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') || name.contains(".new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_archive_of_a_volume_gives_the_volume_back_with_plain_tar() {
    let copied = whole().await;
    let back = tempfile::tempdir().unwrap();
    let archive = fs::File::open(copied.folder.path().join("volumes/pvc-1.tar.zst")).unwrap();
    let mut tar = std::process::Command::new("tar")
        .args([
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--same-owner",
            "-xpf",
            "-",
            "-C",
        ])
        .arg(back.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    zstd::stream::copy_decode(archive, tar.stdin.take().unwrap()).unwrap();
    assert!(tar.wait().unwrap().success());
    let list = |folder: &Path| {
        let line = fleet::backup::sums::command(folder.to_str().unwrap());
        let done = std::process::Command::new("sh").arg("-c").arg(line.line()).output().unwrap();
        assert!(done.status.success());
        let mut strings: Vec<Vec<u8>> = done.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        strings.sort();
        strings
    };
    let (there, here) = (list(&copied.host.path("volumes/a b")), list(back.path()));
    // The socket alone is not in the archive: its three strings are.
    let lacking: Vec<&Vec<u8>> = there.iter().filter(|string| !here.contains(string)).collect();
    assert_eq!(
        lacking.len(),
        2,
        "{:?}",
        lacking.iter().map(|s| String::from_utf8_lossy(s)).collect::<Vec<_>>()
    );
    assert!(lacking.iter().any(|string| string.ends_with(b"socket")));
    let mut restored = [1; 10];
    let mut sparse = fs::File::open(back.path().join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(1_000_000)).unwrap();
    sparse.read_exact(&mut restored).unwrap();
    assert_eq!(restored, [0; 10]);
}

#[tokio::test]
async fn nothing_secret_is_in_the_journal_or_the_log_and_no_file_is_open_to_others() {
    let copied = whole().await;
    for name in ["journal.ndjson", "step.log"] {
        let text = fs::read_to_string(copied.backups.path().join(name)).unwrap();
        assert!(text.contains("kubectl get --raw"), "{name}");
        assert!(!text.contains(SECRET), "{name}");
    }
    let saved = fs::read_to_string(copied.folder.path().join("objects/secrets.json")).unwrap();
    assert!(saved.contains(SECRET));
    let find = std::process::Command::new("find")
        .arg(copied.folder.path())
        .args(["-perm", "/077"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&find.stdout), "");
}

fn sums(bytes: &[u8]) -> String {
    let words: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    words.concat()
}

/// Changes a file of the backup and makes the manifest agree, as a copy would that went wrong unseen.
fn reseal(folder: &Folder, file: &str, bytes: &[u8]) {
    fs::write(folder.path().join(file), bytes).unwrap();
    let mut manifest = folder.manifest().unwrap();
    let sha256 = sums(bytes);
    let length = bytes.len() as u64;
    for part in &mut manifest.parts {
        for sealed in [&mut part.archive, &mut part.sums] {
            if sealed.file == file {
                (sealed.bytes, sealed.sha256) = (length, sha256.clone());
            }
        }
    }
    if let Some(objects) = file.strip_prefix("objects/").and_then(|file| manifest.objects.get_mut(file)) {
        (objects.bytes, objects.sha256) = (length, sha256);
    }
    write_manifest(folder, &manifest);
}

fn write_manifest(folder: &Folder, manifest: &Manifest) {
    fs::write(folder.path().join("manifest.json"), serde_json::to_vec(manifest).unwrap()).unwrap();
}

/// Unpacks an archive, changes what was in it, packs and reseals it.
fn repack(folder: &Folder, stem: &str, change: &str) {
    let there = tempfile::tempdir().unwrap();
    let archive = folder.path().join(format!("{stem}.tar.zst"));
    fs::write(there.path().join("tar"), zstd::decode_all(fs::File::open(archive).unwrap()).unwrap()).unwrap();
    let line = format!(
        "mkdir x && cd x && tar --numeric-owner -xpf ../tar && touch ../t && touch -r . ../now && {change} && touch -r ../now . && \
         tar --format=posix --sort=name --numeric-owner --sparse -cf ../tar ."
    );
    let done =
        std::process::Command::new("sh").arg("-c").arg(&line).current_dir(there.path()).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    let tar = fs::read(there.path().join("tar")).unwrap();
    reseal(folder, &format!("{stem}.tar.zst"), &zstd::encode_all(&tar[..], 1).unwrap());
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table, a fault a line")]
async fn every_fault_of_a_backup_is_found() {
    type Change = Box<dyn Fn(&Folder)>;
    fn cut(file: &'static str, keep: usize) -> Change {
        Box::new(move |folder| {
            let path = folder.path().join(file);
            let whole = fs::read(&path).unwrap();
            fs::write(path, &whole[..keep.min(whole.len() - 1)]).unwrap();
        })
    }
    fn packed(change: &'static str) -> Change {
        Box::new(move |folder| repack(folder, "volumes/pvc-1", change))
    }
    fn plain(file: &'static str, change: fn(Vec<u8>) -> Vec<u8>) -> Change {
        Box::new(move |folder| {
            let old = zstd::decode_all(fs::File::open(folder.path().join(file)).unwrap()).unwrap();
            reseal(folder, file, &zstd::encode_all(&change(old)[..], 1).unwrap());
        })
    }
    fn manifest(change: fn(&mut Manifest)) -> Change {
        Box::new(move |folder| {
            let mut manifest = folder.manifest().unwrap();
            change(&mut manifest);
            write_manifest(folder, &manifest);
        })
    }
    const TAR: &str = "volumes/pvc-1.tar.zst";
    const SUMS: &str = "volumes/pvc-1.sums.zst";
    let mut table: Vec<(&str, Change, &str)> = vec![
        (
            "no manifest",
            Box::new(|f| fs::remove_file(f.path().join("manifest.json")).unwrap()),
            "no manifest.json",
        ),
        ("half a manifest", cut("manifest.json", 100), "the manifest cannot be read"),
        ("newer manifest", manifest(|m| m.schema = 99), "newer fleet"),
        (
            "another cluster's",
            manifest(|m| m.cluster = "other".into()),
            "that of 20261122T101500Z-abcd of other",
        ),
        (
            "volume not copied",
            manifest(|m| m.parts.retain(|p| !matches!(p.what, What::Volume(_)))),
            "volume pvc-1 has no archive",
        ),
        (
            "server not copied",
            manifest(|m| m.parts.retain(|p| p.what != What::Server)),
            "server folder has no archive",
        ),
        ("archive is gone", Box::new(|f| fs::remove_file(f.path().join(TAR)).unwrap()), "No such file"),
        ("empty archive", cut(TAR, 0), "has 0 bytes"),
        ("short archive", cut(TAR, 900), "has 900 bytes"),
        ("short list", cut(SUMS, 300), "has 300 bytes"),
        (
            "bit flipped",
            Box::new(|f| {
                let mut file = fs::read(f.path().join(TAR)).unwrap();
                let middle = file.len().midpoint(0);
                file[middle] ^= 1;
                fs::write(f.path().join(TAR), file).unwrap();
            }),
            "its hash differs",
        ),
        (
            "holed archive",
            plain(TAR, |mut tar| {
                let end = tar.len();
                tar[2048..end - 1024].fill(0);
                tar
            }),
            "volumes/pvc-1: ",
        ),
        (
            "archive without its end",
            plain(TAR, |mut tar| {
                tar.truncate(4096);
                tar
            }),
            "cut short",
        ),
        (
            "something behind the end",
            plain(TAR, |mut tar| {
                tar.extend(b"more");
                tar
            }),
            "behind the archive's end",
        ),
        (
            "list without its end",
            plain(SUMS, |mut list| {
                list.truncate(list.len() - 5);
                list
            }),
            "the host's list",
        ),
        (
            "list without hashes",
            plain(SUMS, |list| {
                let at = list.windows(6).position(|w| w == b"\0sums\0").unwrap() + 6;
                [&list[..at], b"\0end\0"].concat()
            }),
            "files have no hash",
        ),
        ("file is missing", packed("rm plain deep/hard && touch -r ../now deep"), "archive lacks 2"),
        ("file is extra", packed("touch extra"), "not in the host's list"),
        (
            "content differs",
            packed("touch -r plain ../t && printf CONTENT >plain && touch -r ../t plain"),
            "./deep/hard: its content is not the host's",
        ),
        (
            "length differs",
            packed("touch -r plain ../t && printf more >>plain && touch -r ../t plain"),
            "size is 11, on the host 7",
        ),
        (
            "size is without end",
            packed(
                "truncate -s 8T extra && touch -r plain ../t && rm plain && mv extra plain && touch -r ../t plain",
            ),
            "size is 8796093022208",
        ),
        ("mode differs", packed("chmod 0755 set-uid"), "mode is 755, on the host 4750"),
        ("time differs", packed("touch -d @5 set-uid"), "time is 5"),
        (
            "target differs",
            packed("touch -h -r dangling ../t && ln -sfn /other dangling && touch -h -r ../t dangling"),
            "./dangling: its content",
        ),
        ("type differs", packed("rm -f fifo && touch fifo"), "type is f, on the host p"),
        ("linked to another", packed("ln -f ./-rf plain"), "hard link to something else"),
        (
            "hole filled",
            packed(
                "touch -r sparse ../t && printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none && touch -r ../t sparse",
            ),
            "its content is not the host's",
        ),
        ("no token", Box::new(|f| repack(f, "server", "rm token")), "the token is not in it"),
        ("no datastore", Box::new(|f| repack(f, "server", "rm db/state.db")), "there is no datastore"),
        (
            "damaged datastore",
            Box::new(|f| repack(f, "server", "printf garbage | dd of=db/state.db conv=notrunc status=none")),
            "the datastore cannot be read",
        ),
        (
            "objects file is gone",
            Box::new(|f| fs::remove_file(f.path().join("objects/secrets.json")).unwrap()),
            "objects/secrets.json",
        ),
        (
            "secrets not in manifest",
            manifest(|m| drop(m.objects.remove("secrets.json"))),
            "objects/secrets.json is missing",
        ),
        (
            "flux objects not in manifest",
            manifest(|m| m.objects.retain(|file, _| !file.starts_with("git"))),
            "is missing",
        ),
        (
            "a secret lacks",
            Box::new(|f| {
                reseal(f, "objects/secrets.json", br#"{"kind":"SecretList","apiVersion":"v1","items":[{"metadata":{"name":"first","namespace":"oas"}}]}"#);
            }),
            "oas/second is not in the saved objects",
        ),
        (
            "count differs",
            manifest(|m| m.objects.get_mut("secrets.json").unwrap().count = 3),
            "holds 2 objects, the manifest says 3",
        ),
        (
            "a new volume",
            Box::new(|f| {
                reseal(f, "objects/persistentvolumes.json", br#"{"kind":"PersistentVolumeList","apiVersion":"v1","items":[{"metadata":{"name":"pvc-1"}},{"metadata":{"name":"pvc-2"},"spec":{"local":{"path":"/x"}}}]}"#);
            }),
            "volume pvc-2 is in the cluster and has no archive",
        ),
        (
            "files swapped in the manifest",
            manifest(|m| {
                let server = m.parts[0].archive.clone();
                m.parts[2].archive = server;
            }),
            "the manifest calls",
        ),
    ];
    if rustix::process::getuid().is_root() {
        table.push(("owner differs", packed("chown 34 'with blank'"), "owner is 34:33, on the host 33:33"));
    }
    let copied = whole().await;
    assert!(proof_of(&copied.folder).is_ok());
    for (name, change, expected) in table {
        let root = tempfile::tempdir().unwrap();
        let folder = again(&copied.folder, root.path());
        let _ = fs::remove_file(folder.path().join("proof.json"));
        change(&folder);
        let failure = proof_of(&folder).expect_err(name);
        assert_eq!(failure.cause, "backup-not-proven", "{name}: {}", failure.message);
        assert!(failure.message.contains(expected), "{name}: {}", failure.message);
        assert!(!folder.path().join("proof.json").exists(), "{name}: a proof was written");
    }
}

fn again(folder: &Folder, root: &Path) -> Folder {
    fs::create_dir(root.join("acme")).unwrap();
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(folder.path())
        .arg(root.join("acme"))
        .status()
        .unwrap();
    assert!(done.success());
    Folder::open(root, folder.cluster(), folder.id()).unwrap()
}

#[tokio::test]
async fn five_faults_are_told_and_all_are_counted() {
    let copied = whole().await;
    repack(&copied.folder, "volumes/pvc-1", "for n in 1 2 3 4 5 6 7; do touch new-$n; done");
    let failure = proof_of(&copied.folder).unwrap_err();
    assert!(failure.message.contains("is not proven: 7 faults:"), "{}", failure.message);
    assert_eq!(failure.message.matches("not in the host's list").count(), 5);
}

#[tokio::test]
async fn an_etcd_datastore_is_copied_but_not_called_proven() {
    let host = Host::new();
    host.odd_volume();
    fs::remove_file(host.path("k3s/server/db/state.db")).unwrap();
    fs::create_dir_all(host.path("k3s/server/db/etcd/member")).unwrap();
    fs::write(host.path("k3s/server/db/etcd/member/wal"), "x").unwrap();
    let what = host.what();
    let copied = copy_of(host, what, |_| {}).await;
    assert_eq!(copied.result, Ok(()));
    assert_eq!(proof_of(&copied.folder).unwrap_err().cause, "etcd-not-provable");
}

#[tokio::test]
async fn a_failure_before_the_stop_leaves_k3s_alone() {
    type Fault = fn(&Host);
    let table: [(&str, Fault, &str); 4] = [
        ("the API does not answer", |host| fs::remove_dir_all(host.path("api")).unwrap(), "command-failed"),
        (
            "one kind does not answer",
            |host| fs::remove_file(host.path("api/_api_v1_configmaps")).unwrap(),
            "command-failed",
        ),
        (
            "a volume's folder is not there",
            |host| fs::remove_dir_all(host.path("volumes/a b")).unwrap(),
            "command-failed",
        ),
        ("more data than room", |host| host.program("du", "echo '99999999999999 total'"), "disk-full-here"),
    ];
    for (name, fault, expected) in table {
        let host = Host::new();
        host.odd_volume();
        fault(&host);
        let what = host.what();
        let copied = copy_of(host, what, |_| {}).await;
        assert_eq!(cause(&copied.result), expected, "{name}: {:?}", copied.result);
        assert_eq!(copied.host.systemctl_log(), "", "{name}");
        assert!(proof_of(&copied.folder).is_err(), "{name}");
    }
}

#[tokio::test]
async fn k3s_is_started_again_whatever_goes_wrong_while_it_is_stopped() {
    type Fault = fn(&Host);
    let table: [(&str, Fault, &str, &str); 7] = [
        (
            "the stop fails",
            |host| host.program("k3s-killall.sh", "exit 1"),
            "command-failed",
            "k3s-killall.sh",
        ),
        ("tar fails", |host| host.program("tar", "exit 2"), "command-failed", "tar -C"),
        (
            "a file changes while tar reads",
            |host| {
                host.program(
                    "tar",
                    "PATH=/usr/bin:/bin tar \"$@\"; echo 'tar: ./x: file changed as we read it' >&2; exit 1",
                );
            },
            "command-failed",
            "file changed as we read it",
        ),
        ("the list fails", |host| host.program("sha256sum", "exit 1"), "command-failed", "find"),
        (
            "k3s does not stop",
            |host| host.program("k3s-killall.sh", "echo active >$HOST/state"),
            "k3s-not-stopped",
            "active",
        ),
        (
            "somebody starts k3s",
            |host| host.program("tar", "systemctl start k3s; PATH=/usr/bin:/bin tar \"$@\""),
            "k3s-not-stopped",
            "active",
        ),
        (
            "the watchdog fires",
            |host| {
                host.program(
                    "tar",
                    ": >$HOST/spool/timer-k3s-20261122T101500Z-abcd/fired; PATH=/usr/bin:/bin tar \"$@\"",
                );
            },
            "watchdog-fired",
            "not consistent",
        ),
    ];
    for (name, fault, expected, said) in table {
        let host = Host::new();
        host.odd_volume();
        fault(&host);
        let what = host.what();
        let copied = copy_of(host, what, |_| {}).await;
        let Err(Trouble::Failed(failure)) = &copied.result else { panic!("{name}: {:?}", copied.result) };
        assert_eq!(failure.cause, expected, "{name}: {}", failure.message);
        assert!(failure.message.contains(said), "{name}: {}", failure.message);
        assert!(copied.host.k3s_runs(), "{name}");
        assert!(copied.host.systemctl_log().contains("start k3s"), "{name}");
        assert!(!copied.host.path("spool").exists(), "{name}: the watchdog is still there");
        assert!(copied.folder.manifest().is_err(), "{name}: a manifest was written");
    }
}

#[tokio::test]
async fn a_full_disk_here_fails_the_copy_and_starts_k3s() {
    let host = Host::new();
    host.odd_volume();
    let what = host.what();
    let copied = copy_of(host, what, |folder| {
        symlink("/dev/full", folder.path().join("volumes/pvc-1.tar.zst")).unwrap();
    })
    .await;
    let Err(Trouble::Failed(failure)) = &copied.result else { panic!("{:?}", copied.result) };
    assert_eq!(failure.cause, "this-machine");
    assert!(failure.message.contains("No space left"), "{}", failure.message);
    assert!(copied.host.k3s_runs());
    assert!(!copied.host.path("spool").exists());
}

#[tokio::test]
async fn k3s_that_does_not_start_is_the_loudest_message_and_the_watchdog_goes_on() {
    let host = Host::new();
    host.odd_volume();
    host.program("tar", "exit 2");
    fs::write(host.path("broken"), "").unwrap();
    let what = host.what();
    let copied = copy_of(host, what, |_| {}).await;
    let Err(Trouble::Failed(failure)) = &copied.result else { panic!("{:?}", copied.result) };
    assert_eq!(failure.cause, "k3s-not-started");
    for part in ["K3S IS STOPPED", "systemctl start k3s", "Job for k3s.service failed", "tar -C"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    fs::remove_file(copied.host.path("broken")).unwrap();
    assert!(comes_true(|| copied.host.k3s_runs()).await);
}

#[tokio::test]
async fn a_connection_lost_while_k3s_is_stopped_is_in_doubt_and_the_watchdog_starts_k3s() {
    for at in ["killall", "tar -C", "is-active k3s"] {
        let host = Host::new();
        host.odd_volume();
        *host.fault.lock().unwrap() = Some((at, RemoteError::Lost("cut".into())));
        let what = host.what();
        let copied = copy_of(host, what, |_| {}).await;
        let Err(Trouble::InDoubt(failure)) = &copied.result else { panic!("{at}: {:?}", copied.result) };
        assert_eq!(failure.cause, "connection-lost", "{at}");
        assert!(failure.message.contains("its watchdog starts k3s by 20"), "{at}: {}", failure.message);
        assert!(!copied.host.k3s_runs(), "{at}");
        expire(&copied.host);
        assert!(comes_true(|| copied.host.k3s_runs()).await, "{at}");
    }
}

#[tokio::test]
async fn a_copy_that_takes_too_long_fails_and_is_not_in_doubt_once_k3s_runs_again() {
    let host = Host::new();
    host.odd_volume();
    *host.fault.lock().unwrap() = Some(("tar -C", RemoteError::Deadline(Duration::from_secs(900))));
    let what = host.what();
    let copied = copy_of(host, what, |_| {}).await;
    let Err(Trouble::Failed(failure)) = &copied.result else { panic!("{:?}", copied.result) };
    assert_eq!(failure.cause, "deadline");
    assert!(failure.message.ends_with("k3s was started again"), "{}", failure.message);
    assert!(copied.host.k3s_runs());
    assert!(!copied.host.path("spool").exists());
}

#[tokio::test]
async fn a_copy_that_takes_longer_than_its_step_may_is_given_up_and_k3s_started() {
    let host = Host::new();
    host.odd_volume();
    // Without end, until nobody reads it any more.
    host.program("tar", "PATH=/usr/bin:/bin exec cat /dev/zero");
    let what = host.what();
    let copied = copy_within(Duration::from_secs(3), host, what, |_| {}).await;
    let Err(Trouble::Failed(failure)) = &copied.result else { panic!("{:?}", copied.result) };
    assert_eq!(failure.cause, "deadline");
    assert!(copied.host.k3s_runs());
    assert!(!copied.host.path("spool").exists());
}

/// Ends the lease, as time would.
fn expire(host: &Host) {
    fs::write(host.path("spool/timer-k3s-20261122T101500Z-abcd/lease"), "0").unwrap();
}

/// Looks again and again, for ten seconds at most.
async fn comes_true(is: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if is() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

async fn ask(host: &Host, command: &Command) -> bool {
    host.run(command, &mut std::io::sink()).await.unwrap().success()
}

#[tokio::test]
async fn a_watchdog_armed_twice_runs_once_and_ends_when_it_is_disarmed() {
    let host = Host::new();
    let spool = host.path("spool with blank");
    let watchdog = Timer::starts_k3s(spool.to_str().unwrap(), "twice");
    let arm = watchdog.arm(Duration::from_secs(60), Duration::from_secs(600));
    let (first, second) = tokio::join!(ask(&host, &arm), ask(&host, &arm));
    assert!(first && second);
    let pid = fs::read_to_string(spool.join("timer-k3s-twice/pid")).unwrap();
    assert!(ask(&host, &arm).await);
    assert_eq!(fs::read_to_string(spool.join("timer-k3s-twice/pid")).unwrap(), pid);
    let session = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
    assert_eq!(session.split(' ').nth(5), Some(pid.trim()), "it leads a session of its own");
    assert!(ask(&host, &watchdog.is_waiting()).await);
    assert!(ask(&host, &watchdog.disarm()).await);
    assert!(!spool.exists());
    // Whoever adopts it may reap it late; what is left until then has no command line.
    let left = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    assert!(left.is_empty(), "it has ended");
    assert_eq!(host.systemctl_log(), "");
    assert!(ask(&host, &watchdog.disarm()).await, "disarming twice does no harm");
}

#[tokio::test]
async fn tar_renews_the_lease_every_ten_megabytes() {
    let host = Host::new();
    let volume = host.path("volumes/large");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("data"), vec![7; 25_000_000]).unwrap();
    let renew = Command::new("echo >>").arg(host.path("it's renewed").to_str().unwrap());
    let archive = fleet::backup::sums::archive_command(volume.to_str().unwrap(), &renew);
    let done = host.stream(&archive, &mut tokio::io::sink()).await.unwrap();
    assert!(done.success(), "{}", done.complaint());
    assert_eq!(fs::read(host.path("it's renewed")).unwrap().len(), 2);
}

#[tokio::test]
async fn a_watchdog_fires_when_its_lease_or_its_own_time_is_over_and_goes_on_until_k3s_starts() {
    for (lease, longest) in [(0, 600), (600, 0)] {
        let host = Host::new();
        fs::write(host.path("state"), "inactive\n").unwrap();
        let spool = host.path("spool");
        let watchdog = Timer::starts_k3s(spool.to_str().unwrap(), "short");
        // It may have fired, and ended, before this asks whether it lives.
        let _ = ask(&host, &watchdog.arm(Duration::from_secs(lease), Duration::from_secs(longest))).await;
        assert!(comes_true(|| host.k3s_runs()).await);
        assert!(!ask(&host, &watchdog.is_waiting()).await);
        assert!(ask(&host, &watchdog.disarm()).await);
    }
}

/// A full or broken disk is where k3s must be started, not where the one who starts it may give up.
#[tokio::test]
async fn a_watchdog_that_can_write_nothing_starts_k3s_all_the_same() {
    for fault in ["mkdir fired", "rm -r ../timer-k3s-short"] {
        let host = Host::new();
        fs::write(host.path("state"), "inactive\n").unwrap();
        let spool = host.path("spool");
        let watchdog = Timer::starts_k3s(spool.to_str().unwrap(), "short");
        assert!(ask(&host, &watchdog.arm(Duration::from_secs(600), Duration::from_secs(600))).await);
        let folder = spool.join("timer-k3s-short");
        let broken = std::process::Command::new("sh").args(["-c", fault]).current_dir(&folder).status();
        assert!(broken.unwrap().success());
        if folder.exists() {
            fs::write(folder.join("lease"), "0").unwrap();
        }
        assert!(comes_true(|| host.k3s_runs()).await, "{fault}");
    }
}

#[test]
fn the_list_and_the_verification_of_backups_say_what_is_proven() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let copied = runtime.block_on(whole());
    let fleet = |words: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("fleet").unwrap();
        let done =
            command.arg("--backups").arg(copied.backups.path()).arg("backup").args(words).output().unwrap();
        (
            done.status.code().unwrap(),
            String::from_utf8(done.stdout).unwrap(),
            String::from_utf8(done.stderr).unwrap(),
        )
    };
    let (code, out, _) = fleet(&["list"]);
    assert_eq!(code, 0);
    assert!(out.contains("20261122T101500Z-abcd") && out.contains("not yet"), "{out}");

    let (code, out, err) = fleet(&["verify", "acme"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("proven"), "{out}");
    let (_, out, _) = fleet(&["list", "acme", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows[0]["id"], "20261122T101500Z-abcd");
    assert!(rows[0]["proven"].is_string(), "{out}");

    for (words, said) in [
        (&["verify", "nobody"][..], "known: acme"),
        (&["verify", "../acme"], "known: acme"),
        (&["verify", "acme", "20200101T000000Z-aaaa"], "known: 20261122T101500Z-abcd"),
        (&["list", "nobody"], "known: acme"),
    ] {
        let (code, _, err) = fleet(words);
        assert_eq!(code, 64, "{words:?}");
        assert!(err.contains(said), "{words:?}: {err}");
    }

    repack(&copied.folder, "volumes/pvc-1", "rm set-uid");
    let (code, out, err) =
        fleet(&["verify", "acme", backup::of_cluster(copied.backups.path(), "acme").unwrap()[0].id()]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.contains("./set-uid"), "{out}{err}");
    let (_, out, _) = fleet(&["list"]);
    assert!(
        !out.contains("2026-") || out.contains("changed since"),
        "a proof of another manifest is none: {out}"
    );
}

/// Needs root, as `disk_full` does.
#[test]
fn a_backup_that_there_is_no_room_to_look_into_is_not_called_damaged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let copied = runtime.block_on(whole());
    let disk = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=2m tmpfs "$1" && cp -a "$2"/. "$1" && { cat /dev/zero >"$1/rest" || :; } &&
exec "$3" --backups "$1" backup verify acme"#;
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(disk.path()).arg(copied.backups.path());
    let done = command.arg(env!("CARGO_BIN_EXE_fleet")).output().unwrap();
    let out = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(3), "{out}{}", String::from_utf8_lossy(&done.stderr));
    assert!(out.contains("no room is left in") && !out.contains("is not proven"), "{out}");
}
