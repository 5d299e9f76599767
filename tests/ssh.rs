//! The SSH room against a real OpenSSH server. What a real one cannot be made to do is in `src/ssh/tests/`.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod agent;
mod sshd;
mod traced;

use std::fs;
use std::io::sink;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use agent::{Agent, again, outside};
use fleet::inventory::{Host, SecretRef};
use fleet::remote::{Command, Exit, Output, Remote, RemoteError};
use fleet::ssh::{Session, connect};
use sshd::{Options, Sshd};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use traced::Traced;

const MIB: usize = 1 << 20;

async fn ask(session: &Session, command: Command) -> Output {
    session.run(&command, &mut sink()).await.unwrap()
}

fn fingerprint(public_key_file: &Path) -> String {
    let output = std::process::Command::new(sshd::find("ssh-keygen"))
        .arg("-lf")
        .arg(public_key_file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

// ---- commands

#[tokio::test]
async fn a_command_gives_stdout_stderr_and_exit_status_apart() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let output = ask(&session, Command::new("echo out; echo err >&2; exit 7")).await;
    assert_eq!(output.exit, Exit::Code(7));
    assert_eq!(output.stdout, b"out\n");
    assert!(output.stderr.ends_with(b"err\n"), "{:?}", output.stderr);
    assert_eq!(session.host_key(), fingerprint(&sshd.dir().join("host_ed25519.pub")));
    session.close().await;
}

#[tokio::test]
async fn a_command_that_a_signal_ends_says_which() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    assert_eq!(
        ask(&session, Command::new("exec sh -c 'kill -TERM $$'")).await.exit,
        Exit::Signal("TERM".to_owned())
    );
}

#[tokio::test]
async fn many_commands_go_over_one_connection() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    for _ in 0..20 {
        assert!(ask(&session, Command::new("true")).await.success());
    }
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn commands_side_by_side_keep_their_outputs_apart() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let (one, two) = tokio::join!(
        ask(&session, Command::new("head -c 3000000 /dev/zero | tr '\\0' 1").limit(4 * MIB)),
        ask(&session, Command::new("head -c 3000000 /dev/zero | tr '\\0' 2").limit(4 * MIB)),
    );
    assert!(one.stdout.len() == 3_000_000 && one.stdout.iter().all(|byte| *byte == b'1'));
    assert!(two.stdout.len() == 3_000_000 && two.stdout.iter().all(|byte| *byte == b'2'));
}

#[tokio::test]
async fn input_reaches_the_command_whole() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let input: Vec<u8> = (0..5 * MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let output = ask(&session, Command::new("cat").stdin(input.clone()).limit(8 * MIB)).await;
    assert!(output.success());
    assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
    assert_eq!(ask(&session, Command::new("cat")).await.stdout, b"", "no input is an empty input");
}

// Trap 1.4: a writer that waits for room never wakes once its reader is gone.
#[tokio::test]
async fn a_reader_that_leaves_early_does_not_hang_its_feeder_or_the_next_command() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let output = ask(&session, Command::new("head -c 10").stdin(vec![b'x'; 64 * MIB])).await;
    assert_eq!((output.exit, output.stdout.as_slice()), (Exit::Code(0), &b"xxxxxxxxxx"[..]));
    assert!(ask(&session, Command::new("true")).await.success());
}

// Trap 1.4: the outcome of such a command is in doubt, and its connection is as good as before.
#[tokio::test]
async fn a_command_without_end_is_given_up_at_its_deadline_and_the_connection_lives() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let command = Command::new("exec sleep 30").deadline(Duration::from_millis(500));
    let error = session.run(&command, &mut sink()).await.unwrap_err();
    assert_eq!(error, RemoteError::Deadline(Duration::from_millis(500)));
    assert!(error.in_doubt());
    assert!(ask(&session, Command::new("true")).await.success());
}

// Trap 1.4: sshd allows ten sessions on a connection, and a channel that is dropped without CLOSE keeps its own.
#[tokio::test]
async fn thirty_commands_that_time_out_do_not_use_up_the_hosts_sessions() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let began = Instant::now();
    let mut given_up = 0;
    while given_up < 30 {
        // It dies of the closed channel, but the host notices that a moment later, and refuses until then.
        let command = Command::new("exec yes").deadline(Duration::from_millis(50));
        match session.run(&command, &mut sink()).await.unwrap_err() {
            RemoteError::Deadline(_) => given_up += 1,
            RemoteError::Refused(_) if began.elapsed() < Duration::from_secs(60) => {}
            other => panic!("after {given_up}: {other}"),
        }
    }
}

// Trap 1.6: nothing on this side ends a remote process, and one that neither reads nor writes keeps its session.
#[tokio::test]
async fn when_commands_that_were_given_up_hold_every_session_the_host_says_so_and_nothing_is_in_doubt() {
    let home = tempfile::tempdir().unwrap();
    let config = "MaxSessions 2".to_owned();
    let sshd =
        Sshd::start_with(&Options { config, home: Some(home.path().to_owned()), ..Options::default() });
    let session = connect(&sshd.host()).await.unwrap();
    // One that is given up before its login shell has come to it is never begun, and holds nothing.
    let mut begun = 0;
    while begun < 2 {
        let command = Command::new("echo begun; exec sleep 60").deadline(Duration::from_millis(500));
        let mut log = Vec::new();
        session.run(&command, &mut log).await.unwrap_err();
        begun += usize::from(!log.is_empty());
    }
    let error = session.run(&Command::new("true"), &mut sink()).await.unwrap_err();
    let RemoteError::Refused(why) = &error else { panic!("{error}") };
    assert!(why.contains("MaxSessions") && !error.in_doubt(), "{why}");
}

// Trap 1.4: a child that outlives its command keeps the output open; the output is not whole until it ends.
#[tokio::test]
async fn a_command_that_leaves_its_output_to_a_child_is_not_over() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let command = Command::new("sleep 30 & echo done").deadline(Duration::from_secs(1));
    let error = session.run(&command, &mut sink()).await.unwrap_err();
    assert!(matches!(error, RemoteError::Deadline(_)), "{error}");
    let command = Command::new("sleep 30 </dev/null >/dev/null 2>&1 & echo done");
    assert_eq!(ask(&session, command).await.text(), "done\n");
}

#[tokio::test]
async fn output_beyond_the_limit_is_counted_and_all_of_it_is_in_the_log() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let command = Command::new("head -c 5000 /dev/zero; head -c 700 /dev/zero >&2").limit(100);
    let mut log = Vec::new();
    let output = session.run(&command, &mut log).await.unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len(), output.dropped), (100, 100, 5500));
    assert_eq!(log.len(), 5700);
}

#[tokio::test]
async fn a_folder_put_first_on_the_hosts_path_is_found_first() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("k3s");
    fs::write(&program, "#!/bin/sh\necho stand-in \"$@\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let sshd = Sshd::start_with(&Options { path_prefix: Some(dir.path().to_owned()), ..Options::default() });
    let session = connect(&sshd.host()).await.unwrap();
    assert_eq!(
        ask(&session, Command::new("k3s kubectl get").arg("a b")).await.text(),
        "stand-in kubectl get a b\n"
    );
}

#[tokio::test]
async fn words_known_only_at_run_time_arrive_as_they_are() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let words =
        ["", "it's", "$(reboot)", "`id`", "a\nb", "*", "~", "-n", "\\", "\"", "!x", "é\u{202e}", "a;b|c&d"];
    let output = ask(&session, Command::new("printf '%s\\0'").args(words)).await;
    let back: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().split_terminator('\0').collect();
    assert_eq!(back, words);
}

// ---- streams

// Trap 0.5: proof of completeness.
#[tokio::test]
async fn a_stream_is_whole_with_end_of_file_and_exit_status_zero() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let mut sink = Vec::new();
    let output =
        session.stream(&Command::new("head -c 52428800 /dev/zero; echo note >&2"), &mut sink).await.unwrap();
    assert!(output.success() && output.stdout.is_empty());
    assert_eq!(sink.len(), 50 * MIB);
    assert!(output.stderr.ends_with(b"note\n"));
}

#[tokio::test]
async fn a_stream_whose_command_fails_is_no_success() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let mut sink = Vec::new();
    let output = session.stream(&Command::new("head -c 1000 /dev/zero; exit 3"), &mut sink).await.unwrap();
    assert_eq!((output.exit.clone(), output.success(), sink.len()), (Exit::Code(3), false, 1000));
}

#[tokio::test]
async fn a_sink_that_fails_ends_its_stream_and_the_connection_goes_on() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    for _ in 0..10 {
        let (mut sink, reader) = tokio::io::duplex(16);
        drop(reader);
        let error = session.stream(&Command::new("exec cat /dev/zero"), &mut sink).await.unwrap_err();
        assert!(matches!(error, RemoteError::Here(_)), "{error}");
        let command = Command::new("echo on").deadline(Duration::from_secs(20));
        assert_eq!(ask(&session, command).await.text(), "on\n");
    }
}

#[tokio::test]
async fn a_sink_that_never_takes_anything_is_given_up_and_the_connection_goes_on() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    for _ in 0..10 {
        // A pipe that nobody reads: full after sixteen bytes.
        let (mut sink, _reader) = tokio::io::duplex(16);
        let flood = Command::new("exec cat /dev/zero").deadline(Duration::from_millis(200));
        let error = session.stream(&flood, &mut sink).await.unwrap_err();
        assert!(matches!(error, RemoteError::Deadline(_)), "{error}");
        let command = Command::new("echo on").deadline(Duration::from_secs(20));
        assert_eq!(ask(&session, command).await.text(), "on\n");
    }
}

#[tokio::test]
async fn a_source_reaches_the_command_whole_behind_its_own_input() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let bytes: Vec<u8> = (0..9 * MIB).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let command = Command::new("cat").stdin(b"first".to_vec()).limit(16 * MIB);
    let output = session.send(&command, &mut &bytes[..], &mut sink()).await.unwrap();
    assert!(output.success() && output.stdout == [b"first", &bytes[..]].concat());
    let early = session.send(&Command::new("head -c 3; exit 7"), &mut &bytes[..], &mut sink()).await.unwrap();
    assert_eq!((early.exit, early.stdout.as_slice()), (Exit::Code(7), &b"\x00\x01\x02"[..]));
    assert!(ask(&session, Command::new("true")).await.success());
}

/// A disk that cannot be read any further.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::ErrorKind::InvalidData.into()))
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_this_machines_trouble_and_the_connection_goes_on() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let mut source = (&b"half"[..]).chain(Broken);
    let error = session.send(&Command::new("cat; sleep 60"), &mut source, &mut sink()).await.unwrap_err();
    assert!(matches!(error, RemoteError::Here(_)), "{error}");
    assert!(ask(&session, Command::new("true")).await.success());
}

#[tokio::test]
async fn a_stream_whose_sshd_is_killed_is_a_loss_and_no_short_success() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let mut sink = Vec::new();
    // The shell's parent is the sshd of this connection.
    let command = Command::new("head -c 1000000 /dev/zero; kill -9 $PPID; sleep 5");
    let error = session.stream(&command, &mut sink).await.unwrap_err();
    assert!(matches!(error, RemoteError::Lost(_)) && error.in_doubt(), "{error}");
    // The next command makes the connection again.
    assert!(ask(&session, Command::new("true")).await.success());
}

// ---- host keys

fn with_known_hosts(sshd: &Sshd, text: &str) -> Host {
    let file = sshd.dir().join("known_hosts");
    fs::write(&file, text).unwrap();
    Host { host_key: None, known_hosts: vec![sshd.dir().join("none"), file], ..sshd.host() }
}

#[tokio::test]
async fn a_host_in_known_hosts_is_taken_plain_and_hashed_by_openssh() {
    let sshd = Sshd::start();
    let cluster = with_known_hosts(&sshd, &format!("{} {}\n", sshd.known_as(), sshd.host_key("ed25519")));
    connect(&cluster).await.unwrap();
    let file = &cluster.known_hosts[1];
    let status = std::process::Command::new(sshd::find("ssh-keygen"))
        .args(["-H", "-f"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert!(fs::read_to_string(file).unwrap().starts_with("|1|"));
    connect(&cluster).await.unwrap();
}

// Trap 1.3: the library's own check finds an RSA-only host unknown when its server has other keys too.
#[tokio::test]
async fn a_host_known_by_one_type_of_key_shows_that_one_though_it_has_others() {
    let sshd =
        Sshd::start_with(&Options { host_keys: vec!["ed25519", "ecdsa", "rsa"], ..Options::default() });
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let line = format!("{} {}\n", sshd.known_as(), sshd.host_key(kind));
        let session = connect(&with_known_hosts(&sshd, &line)).await.unwrap();
        assert_eq!(session.host_key(), fingerprint(&sshd.dir().join(format!("host_{kind}.pub"))));
        let pinned = Host { host_key: Some(sshd.host_key(kind)), ..sshd.host() };
        connect(&pinned).await.unwrap();
    }
}

// Trap 0.4: the library's own check accepts a revoked key.
#[tokio::test]
async fn a_revoked_host_key_is_refused_by_name() {
    let sshd = Sshd::start();
    let key = sshd.host_key("ed25519");
    let text = format!("{name} {key}\n@revoked {name} {key}\n", name = sshd.known_as());
    let Err(RemoteError::HostKey(error)) = connect(&with_known_hosts(&sshd, &text)).await else {
        panic!("taken")
    };
    assert!(error.contains("is revoked") && error.contains("known_hosts:2"), "{error}");
}

#[tokio::test]
async fn an_unknown_host_is_refused_and_the_line_it_advises_lets_it_in() {
    let sshd = Sshd::start();
    let cluster = with_known_hosts(&sshd, "");
    let Err(RemoteError::HostKey(error)) = connect(&cluster).await else { panic!("taken") };
    assert!(error.contains(&fingerprint(&sshd.dir().join("host_ed25519.pub"))), "{error}");
    let line = error.split(": ").last().unwrap();
    connect(&with_known_hosts(&sshd, line)).await.unwrap();
    let pin = error.split('"').nth(1).unwrap().to_owned();
    connect(&Host { host_key: Some(pin), ..cluster }).await.unwrap();
    assert!(!sshd.log().contains("Failed publickey"), "no key is shown to a host that is not known");
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let sshd = Sshd::start();
    let other = sshd.dir().join("other");
    sshd::keygen("ed25519", &other, "");
    let public = other.with_extension("pub");
    let pinned = Host { host_key: Some(sshd::public(&public)), ..sshd.host() };
    let line = format!("{} {}\n", sshd.known_as(), sshd::public(&public));
    for cluster in [pinned, with_known_hosts(&sshd, &line)] {
        let Err(RemoteError::HostKey(error)) = connect(&cluster).await else { panic!("taken") };
        assert!(error.contains("has changed"), "{error}");
        assert!(error.contains(&fingerprint(&public)), "{error}");
        assert!(error.contains(&fingerprint(&sshd.dir().join("host_ed25519.pub"))), "{error}");
    }
}

// ---- logging in

#[tokio::test]
async fn key_files_are_tried_in_order_until_one_is_taken() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        sshd::keygen(kind, &sshd.dir().join(kind), "");
    }
    sshd.authorize(&sshd.dir().join("rsa.pub"));
    let identity = ["missing", "ed25519", "ecdsa", "rsa"].map(|name| sshd.dir().join(name)).to_vec();
    connect(&Host { identity, ..sshd.host() }).await.unwrap();
    assert!(sshd.log().contains("Accepted publickey") && sshd.log().contains("RSA SHA256"), "{}", sshd.log());
}

#[tokio::test]
async fn a_refused_login_names_every_key_and_what_the_host_takes() {
    let sshd = Sshd::start();
    let stranger = sshd.dir().join("stranger");
    sshd::keygen("ed25519", &stranger, "");
    let missing = sshd.dir().join("missing");
    let identity = vec![stranger.clone(), missing.clone()];
    let Err(RemoteError::Auth(error)) = connect(&Host { identity, ..sshd.host() }).await else {
        panic!("logged in")
    };
    assert!(error.contains(&fingerprint(&stranger.with_extension("pub"))), "{error}");
    assert!(error.contains("It takes: publickey"), "{error}");
    assert!(error.contains(&format!("cannot read key file {}", missing.display())), "{error}");
    assert!(!error.contains("PRIVATE KEY"), "{error}");
}

// Trap 1.6: MaxAuthTries 6 turns a refusal into what looks like a lost connection.
#[tokio::test]
async fn ten_wrong_keys_end_in_a_refusal_because_five_are_offered_at_most() {
    let sshd = Sshd::start();
    let identity: Vec<_> = (0..10).map(|n| sshd.dir().join(format!("wrong{n}"))).collect();
    for file in &identity {
        sshd::keygen("ed25519", file, "");
    }
    let Err(RemoteError::Auth(error)) = connect(&Host { identity, ..sshd.host() }).await else {
        panic!("logged in")
    };
    assert!(error.contains("refused every key"), "{error}");
    assert_eq!(error.matches("was not offered").count(), 5, "{error}");
}

// Trap 1.6: and where the host is stricter, the cut-off is told from a refusal.
#[tokio::test]
async fn a_host_that_cuts_off_after_too_many_keys_is_told_from_one_that_refuses() {
    let sshd = Sshd::start_with(&Options { config: "MaxAuthTries 2".to_owned(), ..Options::default() });
    let identity: Vec<_> = (0..4).map(|n| sshd.dir().join(format!("wrong{n}"))).collect();
    for file in &identity {
        sshd::keygen("ed25519", file, "");
    }
    let Err(RemoteError::Auth(error)) = connect(&Host { identity, ..sshd.host() }).await else {
        panic!("logged in")
    };
    assert!(
        error.contains("cut the connection off") && error.contains("Too many authentication failures"),
        "{error}"
    );
    assert!(!error.contains("refused every key"), "{error}");
}

#[tokio::test]
async fn a_host_that_wants_more_than_a_key_is_told_from_one_that_refuses() {
    let config = "AuthenticationMethods publickey,password\nPasswordAuthentication yes".to_owned();
    let sshd = Sshd::start_with(&Options { config, ..Options::default() });
    let Err(RemoteError::Auth(error)) = connect(&sshd.host()).await else { panic!("logged in") };
    assert!(error.contains("wants more than a key") && error.contains("password"), "{error}");
}

#[tokio::test]
async fn a_private_key_that_others_may_read_is_not_used() {
    let sshd = Sshd::start();
    let id = sshd.dir().join("id");
    for mode in [0o644, 0o640, 0o620] {
        fs::set_permissions(&id, fs::Permissions::from_mode(mode)).unwrap();
        let Err(RemoteError::Here(error)) = connect(&sshd.host()).await else { panic!("used") };
        assert!(error.contains(&format!("mode {mode:04o}")) && error.contains("chmod 600"), "{error}");
    }
    assert!(!sshd.log().contains("Connection from"), "the host is not knocked at: {}", sshd.log());
}

#[tokio::test]
async fn a_missing_key_file_and_no_key_at_all_are_this_machines_trouble() {
    let sshd = Sshd::start();
    let missing = vec![sshd.dir().join("missing")];
    let Err(RemoteError::Here(error)) = connect(&Host { identity: missing, ..sshd.host() }).await else {
        panic!("logged in")
    };
    assert!(error.contains("cannot read key file"), "{error}");
    let Err(RemoteError::Here(error)) = connect(&Host { identity: Vec::new(), ..sshd.host() }).await else {
        panic!("logged in")
    };
    assert!(error.contains("names no key file"), "{error}");
}

fn locked(sshd: &Sshd, passphrase: &str) -> Host {
    let id = sshd.dir().join("locked");
    sshd::keygen("ed25519", &id, passphrase);
    sshd.authorize(&id.with_extension("pub"));
    Host { identity: vec![id], ..sshd.host() }
}

fn secret(sshd: &Sshd, text: &str) -> SecretRef {
    let file = sshd.dir().join("passphrase");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    SecretRef::File(file)
}

#[tokio::test]
async fn an_encrypted_key_opens_with_the_passphrase_that_the_inventory_refers_to() {
    let sshd = Sshd::start();
    let cluster =
        Host { passphrase: Some(secret(&sshd, "correct horse\n")), ..locked(&sshd, "correct horse") };
    connect(&cluster).await.unwrap();
    // Asked for once in the life of the process, however many clusters share the key.
    fs::remove_file(sshd.dir().join("passphrase")).unwrap();
    connect(&cluster).await.unwrap();
}

#[tokio::test]
async fn a_wrong_passphrase_is_said_and_not_shown() {
    let sshd = Sshd::start();
    let cluster =
        Host { passphrase: Some(secret(&sshd, "battery staple\n")), ..locked(&sshd, "correct horse") };
    let Err(RemoteError::Here(error)) = connect(&cluster).await else { panic!("logged in") };
    assert!(error.contains("the passphrase does not open key file"), "{error}");
    assert!(!error.contains("battery"), "{error}");
}

#[tokio::test]
async fn an_encrypted_key_without_a_passphrase_says_what_is_missing() {
    let sshd = Sshd::start();
    let Err(RemoteError::Here(error)) = connect(&locked(&sshd, "correct horse")).await else {
        panic!("logged in")
    };
    assert!(error.contains("is encrypted") && error.contains("`passphrase`"), "{error}");
}

// ---- the agent; its socket is named by the environment, so each test runs itself again with one

/// Runs a test of this file again, with an agent that holds new keys of these names. In the inner run this gives the folder with them.
fn with_agent(test: &str, keys: &[&str]) -> Option<PathBuf> {
    if let Some(dir) = outside() {
        return Some(dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = keys.iter().map(|key| dir.path().join(key)).collect();
    for file in &files {
        sshd::keygen("ed25519", file, "");
    }
    let socket = dir.path().join("agent");
    let _agent = Agent::start(&socket, &files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    again(test, &socket, dir.path());
    None
}

#[tokio::test]
async fn the_agent_signs_when_no_file_does() {
    if let Some(outside) = with_agent("the_agent_signs_when_no_file_does", &["one", "two", "three"]) {
        let sshd = Sshd::start();
        sshd.authorize(&outside.join("three.pub"));
        let cluster = Host { identity: Vec::new(), agent: true, ..sshd.host() };
        let session = connect(&cluster).await.unwrap();
        assert!(ask(&session, Command::new("true")).await.success());
        let Err(RemoteError::Here(_)) = connect(&Host { agent: false, ..cluster }).await else {
            panic!("the agent was asked though the inventory does not allow it")
        };
    }
}

#[tokio::test]
async fn the_agents_key_of_a_locked_file_is_offered_first() {
    let keys = ["k1", "k2", "k3", "k4", "k5", "k6", "k7"];
    if let Some(outside) = with_agent("the_agents_key_of_a_locked_file_is_offered_first", &keys) {
        let sshd = Sshd::start();
        // The seventh would never be offered in the agent's own order.
        sshd.authorize(&outside.join("k7.pub"));
        let file = sshd.dir().join("k7");
        fs::copy(outside.join("k7"), &file).unwrap();
        let locking = std::process::Command::new(sshd::find("ssh-keygen"))
            .args(["-q", "-p", "-P", "", "-N", "correct horse", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .status();
        assert!(locking.unwrap().success());
        connect(&Host { identity: vec![file], agent: true, ..sshd.host() }).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_with_only_wrong_keys_is_named_in_the_refusal() {
    if with_agent("an_agent_with_only_wrong_keys_is_named_in_the_refusal", &["wrong"]).is_some() {
        let sshd = Sshd::start();
        let cluster = Host { identity: Vec::new(), agent: true, ..sshd.host() };
        let Err(RemoteError::Auth(error)) = connect(&cluster).await else { panic!("logged in") };
        assert!(error.contains("agent's key for tests (ssh-ed25519 SHA256:"), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_is_both_in_a_file_and_in_the_agent_is_offered_once() {
    if let Some(outside) =
        with_agent("a_key_that_is_both_in_a_file_and_in_the_agent_is_offered_once", &["both"])
    {
        let sshd = Sshd::start();
        let file = outside.join("both");
        let cluster = Host { identity: vec![file.clone()], agent: true, ..sshd.host() };
        let Err(RemoteError::Auth(error)) = connect(&cluster).await else { panic!("logged in") };
        assert_eq!(error.matches(&fingerprint(&file.with_extension("pub"))).count(), 1, "{error}");
    }
}

// ---- logging

// Trap 1.1: at debug the library prints what an agent signs and what hosts send.
#[tokio::test]
async fn the_library_is_silent_even_where_everything_is_traced() {
    let traced = Traced::begin();
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    let command = Command::new("cat; echo hunter3 >&2").stdin(b"hunter2".to_vec()).sensitive();
    assert_eq!(ask(&session, command).await.stdout, b"hunter2");
    session.close().await;
    let said = traced.said();
    assert!(!said.contains("hunter") && !said.contains("104, 117, 110, 116"), "{said}");
    assert!(!said.contains("russh"), "{said}");
}

// ---- deadlines on the way in

// Trap 1.6: the library waits for ever for a banner.
#[tokio::test]
async fn a_port_that_takes_connections_and_says_nothing_is_given_up() {
    let sshd = Sshd::start();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let cluster = Host { port, connect_timeout: Duration::from_millis(300), ..sshd.host() };
    let began = Instant::now();
    let error = connect(&cluster).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(&error, RemoteError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("no SSH began"), "{error}");
}

#[tokio::test]
async fn a_host_that_hangs_up_at_once_is_said_to_have_done_so_before_any_login() {
    let sshd = Sshd::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cluster = Host { port, ..sshd.host() };
    let (result, _) = tokio::join!(connect(&cluster), async { listener.accept().await.map(drop) });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("before any login") && error.contains("MaxStartups"), "{error}");
}

#[tokio::test]
async fn a_closed_port_and_a_name_without_address_say_so() {
    let sshd = Sshd::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = connect(&Host { port: closed, ..sshd.host() }).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    let nowhere = Host { address: "nowhere.invalid".to_owned(), ..sshd.host() };
    let error = connect(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("name"), "{error}");
    assert_eq!(error.kind(), "unreachable");
}

#[tokio::test]
async fn a_closed_session_is_gone_from_the_host() {
    let sshd = Sshd::start();
    let session = connect(&sshd.host()).await.unwrap();
    // A whole conversation first: a host that is still saying hello notices a broken pipe instead of the goodbye.
    assert!(ask(&session, Command::new("true")).await.success());
    session.close().await;
    sshd.wait_for_log("Received disconnect");
}

// Trap 0.8: the library's defaults cost a delay at each login, half the throughput, and more than half of it over a long line.
#[tokio::test(flavor = "multi_thread")]
async fn the_fast_cipher_and_a_wide_window_are_asked_for() {
    let sshd = Sshd::start_with(&Options { config: "LogLevel DEBUG1".to_owned(), ..Options::default() });
    let session = connect(&sshd.host()).await.unwrap();
    assert!(ask(&session, Command::new("true")).await.success());
    sshd.wait_for_log("server->client cipher: aes256-gcm@openssh.com");
    sshd.wait_for_log(" win 4194304 max ");
}
