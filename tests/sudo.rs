//! Users other than root, against Debian's own sudo and a real sshd. The server sees a passwd, a shadow and a sudoers of its own, in a
//! mount namespace: this machine's are not touched. That needs root.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod sshd;

use std::fs;
use std::io::{Write, sink};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::inventory::{Host, SecretRef, Sudo};
use fleet::remote::{Command, Exit, Output, Remote, RemoteError};
use fleet::ssh::{Session, connect};
use sshd::{Options, Sshd};

const USER: &str = "fleet-operator";
const PASSWORD: &str = "correct horse 42";
/// Of [`PASSWORD`], as `openssl passwd -6` gives it.
const HASH: &str =
    "$6$fleettest$R0aD0r.U.UWN4Jv3lpg1v43rDI0oyhI1uENHx/5KNCYKfx4q1tl6XKVjGsEw6pwvT/DEBD2ySrhqzzxIufwRa.";
const MIB: usize = 1 << 20;

/// A host whose one user is not root.
struct Other {
    sshd: Sshd,
    folder: tempfile::TempDir,
}

impl Other {
    /// Its sudoers file says this, besides where to log.
    fn new(sudoers: &str) -> Self {
        Self::with("/bin/sh", sudoers, String::new())
    }

    fn with(shell: &str, sudoers: &str, config: String) -> Self {
        assert!(
            Path::new("/usr/bin/sudo").exists(),
            "sudo is not here: install Debian's sudo (apt-get install sudo)"
        );
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(60_999), Some(60_999)).unwrap();
        let file = |name: &str, text: String, mode: u32| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let grown = |path: &str, line: &str| fs::read_to_string(path).unwrap() + line + "\n";
        let passwd = format!("{USER}:x:60999:60999::{}:{shell}", home.display());
        let sudoers = format!(
            "Defaults logfile={log}, !syslog, lecture=never\nroot ALL=(ALL) ALL\n{sudoers}\n",
            log = folder.path().join("sudo.log").display()
        );
        let files = vec![
            ("/etc/passwd", file("passwd", grown("/etc/passwd", &passwd), 0o644)),
            ("/etc/group", file("group", grown("/etc/group", &format!("{USER}:x:60999:")), 0o644)),
            (
                "/etc/shadow",
                file("shadow", grown("/etc/shadow", &format!("{USER}:{HASH}:19000:0:99999:7:::")), 0o640),
            ),
            ("/etc/sudoers", file("sudoers", sudoers, 0o440)),
        ];
        file("password", format!("{PASSWORD}\n"), 0o600);
        file("wrong", "battery staple\n".to_owned(), 0o600);
        let sshd = Sshd::start_with(&Options { files, user: Some(USER), config, ..Options::default() });
        Self { sshd, folder }
    }

    fn host(&self, sudo: Sudo) -> Host {
        Host { sudo, ..self.sshd.host() }
    }

    /// With the password in this file.
    fn secret(&self, name: &str) -> Sudo {
        Sudo::Password(SecretRef::File(self.folder.path().join(name)))
    }

    async fn meet(&self, sudo: Sudo) -> Session {
        connect(&self.host(sudo)).await.unwrap()
    }

    /// What a first command through sudo is refused with.
    async fn refusal(&self, sudo: Sudo) -> RemoteError {
        let session = self.meet(sudo).await;
        let error = session.run(&Command::new("touch").arg(self.path("ran")), &mut sink()).await.unwrap_err();
        assert!(!error.in_doubt(), "{error}");
        assert!(!self.folder.path().join("ran").exists(), "it ran");
        error
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn sudo_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("sudo.log")).unwrap_or_default()
    }
}

async fn ask(session: &Session, command: Command) -> Output {
    session.run(&command, &mut sink()).await.unwrap()
}

/// Every byte there is, in no short period, line ends and all.
fn bytes() -> Vec<u8> {
    (0..5 * MIB).map(|n| u8::try_from((n * n + (n >> 3)) % 256).unwrap()).collect()
}

/// What every way through sudo must do.
async fn commands_are_roots(other: &Other, sudo: Sudo) {
    let session = other.meet(sudo).await;
    let file = other.path("of-root");
    let line = Command::new("umask 077; id -u >")
        .arg(&file)
        .fixed("&& cat")
        .arg(&file)
        .fixed("| tr 0 r; echo err >&2; exit 7");
    let output = ask(&session, line).await;
    // The whole line is root's: the redirection too. Its last command says how it ended.
    assert_eq!((output.exit.clone(), output.text()), (Exit::Code(7), "r\n".into()), "{output:?}");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&file).unwrap()), 0);
    let input = bytes();
    let output = ask(&session, Command::new("cat").stdin(input.clone()).limit(8 * MIB)).await;
    assert!(output.success() && output.stdout == input, "{} bytes came back", output.stdout.len());
    assert_eq!(ask(&session, Command::new("cat")).await.stdout, b"", "no input is an empty input");
    let file = other.folder.path().join("binary");
    fs::write(&file, &input).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut got = Vec::new();
    let output = session.stream(&Command::new("cat").arg(other.path("binary")), &mut got).await.unwrap();
    assert!(output.success() && got == input, "{} bytes came", got.len());
    session.close().await;
}

#[tokio::test]
async fn a_sudo_that_asks_for_nothing_makes_whole_lines_roots() {
    let other = Other::new(&format!("{USER} ALL=(root) NOPASSWD: ALL"));
    commands_are_roots(&other, Sudo::Free).await;
}

#[tokio::test]
async fn a_sudo_that_asks_for_a_password_gets_it_on_standard_input() {
    let other = Other::new(&format!("{USER} ALL=(root) ALL"));
    commands_are_roots(&other, other.secret("password")).await;
}

#[tokio::test]
async fn a_sudo_with_a_terminal_of_its_own_changes_no_byte() {
    let other = Other::new(&format!("Defaults use_pty\n{USER} ALL=(root) ALL"));
    commands_are_roots(&other, other.secret("password")).await;
}

// The password must not become the first line of what the command reads.
#[tokio::test]
async fn a_password_that_sudo_does_not_ask_for_reaches_neither_input_nor_output() {
    let other = Other::new(&format!("{USER} ALL=(root) NOPASSWD: ALL"));
    commands_are_roots(&other, other.secret("password")).await;
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_said_to_be_wrong() {
    let other = Other::new(&format!("{USER} ALL=(root) ALL"));
    for _ in 0..2 {
        let error = other.refusal(other.secret("wrong")).await;
        let RemoteError::Auth(why) = &error else { panic!("{error}") };
        assert!(why.contains("sudo refused the password") && why.contains("sudo_password"), "{why}");
        assert!(!why.contains("battery"), "{why}");
    }
    let log = other.sudo_log();
    assert_eq!(log.matches("incorrect password attempt").count(), 1, "{log}");
    assert!(log.contains("1 incorrect password attempt"), "{log}");
}

#[tokio::test]
async fn each_way_in_which_sudo_says_no_is_told_with_what_to_change() {
    let may = format!("{USER} ALL=(root) ALL");
    let cases = [
        ("password wanted", Other::new(&may).refusal(Sudo::Free).await, "`sudo_password`"),
        (
            "not in sudoers",
            {
                let other = Other::new("");
                other.refusal(other.secret("password")).await
            },
            "ALL=(root)",
        ),
        (
            "requiretty",
            Other::new(&format!("Defaults requiretty\n{USER} ALL=(root) NOPASSWD: ALL"))
                .refusal(Sudo::Free)
                .await,
            "!requiretty",
        ),
    ];
    for (case, error, advice) in cases {
        assert!(matches!(&error, RemoteError::Refused(why) if why.contains(advice)), "{case}: {error}");
    }
}

#[tokio::test]
async fn a_host_without_sudo_is_refused_and_doas_is_no_substitute() {
    for (program, advice) in [("nothing", "install it"), ("doas", "never from standard input")] {
        let bin = tempfile::tempdir().unwrap();
        fs::set_permissions(bin.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(bin.path().join(program), "#!/bin/sh\n").unwrap();
        fs::set_permissions(bin.path().join(program), fs::Permissions::from_mode(0o755)).unwrap();
        let other = Other::with("/bin/sh", "", format!("SetEnv PATH={}", bin.path().display()));
        let error = other.refusal(Sudo::Free).await;
        assert!(matches!(&error, RemoteError::Refused(why) if why.contains(advice)), "{program}: {error}");
    }
}

/// Tells when something was written.
struct Bell(Option<tokio::sync::oneshot::Sender<()>>, Vec<u8>);

impl Write for Bell {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(bell) = self.0.take() {
            bell.send(()).unwrap();
        }
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_password_is_in_no_process_and_no_log() {
    for sudoers in ["ALL", "NOPASSWD: ALL"] {
        let other = Other::new(&format!("{USER} ALL=(root) {sudoers}"));
        let session = other.meet(other.secret("password")).await;
        let (bell, heard) = tokio::sync::oneshot::channel();
        let mut log = Bell(Some(bell), Vec::new());
        let gate = other.path("gate");
        let line =
            Command::new("echo begun; until test -e").arg(&gate).fixed("; do sleep 0.02; done; cat; env");
        let (output, ()) = tokio::join!(session.run(&line, &mut log), async {
            heard.await.unwrap();
            let mut seen = 0;
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                for name in ["cmdline", "environ"] {
                    let text = fs::read(entry.path().join(name)).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    seen += usize::from(text.contains(&gate));
                    assert!(!text.contains(PASSWORD), "{} {name}", entry.path().display());
                }
            }
            assert!(seen > 0, "the command was not among the processes");
            fs::write(&gate, "").unwrap();
        });
        let output = output.unwrap();
        assert!(output.success() && output.text().starts_with("begun\n"), "{output:?}");
        for said in [
            format!("{output:?} {session:?}"),
            String::from_utf8_lossy(&log.1).into(),
            other.sudo_log(),
            other.sshd.log(),
        ] {
            assert!(!said.contains(PASSWORD) && !said.contains("correct"), "{said}");
        }
    }
}

// A login shell gives way to a POSIX one, and what its files print is nobody's output.
#[tokio::test]
async fn every_login_shell_runs_the_same_lines() {
    let shells = ["/bin/sh", "/bin/bash", "/bin/dash", "/usr/bin/zsh", "/usr/bin/ksh", "/usr/bin/fish"];
    for shell in shells.into_iter().filter(|shell| Path::new(shell).exists()) {
        let other = Other::with(shell, &format!("{USER} ALL=(root) NOPASSWD: ALL"), String::new());
        let home = other.folder.path().join("home");
        fs::write(home.join(".bashrc"), "printf 'no line end'; echo motd >&2; set -x\n").unwrap();
        fs::write(home.join(".zshenv"), "echo zsh says hello; echo motd >&2\n").unwrap();
        fs::create_dir_all(home.join(".config/fish")).unwrap();
        fs::write(home.join(".config/fish/config.fish"), "echo fish says hello; echo motd >&2\n").unwrap();
        for sudo in [Sudo::Never, Sudo::Free] {
            let session = other.meet(sudo).await;
            let word = "a'b\\c\\\\d!e $x `y` \"z\" \\n ! é * ? {a,b} ~ # ^ % & ; |\nsecond line\\";
            let line = Command::new("test -z \"${x:-}\" && printf '%s\\0'").arg(word).fixed("; echo err >&2");
            let output = ask(&session, line).await;
            assert_eq!(output.text(), format!("{word}\0"), "{shell}");
            assert_eq!(output.stderr, b"err\n", "{shell}");
        }
    }
}

// sshd starts whatever the account has for a shell.
#[tokio::test]
async fn a_closed_account_has_run_nothing_and_says_so() {
    let other = Other::with("/usr/sbin/nologin", "", String::new());
    let session = other.meet(Sudo::Never).await;
    let error =
        session.run(&Command::new("true").deadline(Duration::from_secs(20)), &mut sink()).await.unwrap_err();
    assert!(matches!(&error, RemoteError::Refused(why) if why.contains("not available")), "{error}");
    assert!(!error.in_doubt());
}
