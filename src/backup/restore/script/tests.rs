use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::*;
use crate::plan::{Onto, RestorePart};

const RUN: &str = "20261122T101500Z-abcd";

/// A folder with k3s' own and two volumes, the second of which is not live, and the programs that a swap calls.
struct Host {
    folder: tempfile::TempDir,
}

/// What stands for `mv`: at the how-manieth call what happens.
#[derive(Debug, Clone, Copy)]
enum At {
    Dies(usize),
    DiesAfter(usize),
    Fails(usize),
    Never,
}

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["server", "one"] {
            fs::create_dir(host.path(name)).unwrap();
            fs::write(host.path(name).join("old"), "").unwrap();
        }
        for name in ["server", "one", "two"] {
            let beside = host.path(&format!("{name}{BESIDE}"));
            fs::create_dir(&beside).unwrap();
            fs::write(beside.join("new"), "").unwrap();
        }
        fs::create_dir(host.path("bin")).unwrap();
        fs::write(host.path("k3s"), "active\n").unwrap();
        host.program("k3s-killall.sh", "exit 0");
        host.program("sync", "exit 0");
        // A k3s that finds no folder makes one.
        host.program(
            "systemctl",
            r#"cd "${0%/*}/.."
case $1 in
    start) echo active >k3s; for x in server one two; do [ -d $x ] || { mkdir $x && : >$x/stray; }; done ;;
    stop) echo inactive >k3s ;;
    is-active) cat k3s; grep -q '^active' k3s ;;
esac"#,
        );
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn folders(&self) -> Vec<PutBack> {
        ["server", "one", "two"]
            .iter()
            .map(|name| PutBack {
                stem: (*name).into(),
                claim: String::new(),
                folder: self.path(name).display().to_string(),
                ..PutBack::default()
            })
            .collect()
    }

    /// All of them, or the volumes alone.
    fn restore(&self, own: bool) -> Restore {
        let server = self.path("server").display().to_string();
        Restore {
            part: RestorePart::Swap,
            backup: String::new(),
            spool: String::new(),
            machine_id: None,
            k3s: None,
            folders: self.folders().split_off(usize::from(!own)),
            onto: (!own).then(|| Onto { of: "oak".into(), server }),
        }
    }

    fn run(&self, command: &Command, at: At) -> Output {
        let count = self.path("bin/count");
        let _ = fs::remove_file(&count);
        let act = match at {
            At::Dies(at) => format!("[ $n != {at} ] || {{ kill -9 $PPID; exit; }}; /bin/mv \"$@\""),
            At::DiesAfter(at) => format!("/bin/mv \"$@\"; [ $n != {at} ] || kill -9 $PPID"),
            At::Fails(at) => format!("[ $n != {at} ] || exit 1; /bin/mv \"$@\""),
            At::Never => "/bin/mv \"$@\"".to_owned(),
        };
        self.program(
            "mv",
            &format!(
                "n=0; [ ! -e {0} ] || read -r n <{0}; n=$((n + 1)); echo $n >{0}\n{act}",
                count.display()
            ),
        );
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        // In a shell of its own, as every line is sent.
        std::process::Command::new("sh").arg("-c").arg(command.line()).env("PATH", path).output().unwrap()
    }

    fn has(&self, name: &str, file: &str) -> bool {
        self.path(name).join(file).exists()
    }

    #[track_caller]
    fn is_swapped(&self, own: bool, about: &str) {
        let all = ["server", "one", "two"];
        if !own {
            assert!(self.has("server", "old") && !self.has("server", "stray"), "{about}: k3s keeps its own");
            assert!(!self.path("server.fleet-hidden").exists(), "{about}");
        }
        for name in all.into_iter().skip(usize::from(!own)) {
            assert!(
                self.has(name, "new") && !self.has(name, "old") && !self.has(name, "stray"),
                "{about}: {name}"
            );
            assert!(!self.path(&format!("{name}{BESIDE}")).exists(), "{about}: {name}");
        }
        for name in all.into_iter().take(2).skip(usize::from(!own)) {
            assert!(self.has(&format!("{name}{BEFORE}{RUN}"), "old"), "{about}: {name} is kept");
        }
        assert_eq!(fs::read_to_string(self.path("k3s")).unwrap(), "active\n", "{about}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_swap_that_dies_at_any_rename_is_brought_to_its_end_though_k3s_was_started_in_between() {
    dies_at_any_rename(true);
}

#[test]
fn so_is_one_of_volumes_alone_and_k3s_finds_its_own_folder_again() {
    dies_at_any_rename(false);
}

fn dies_at_any_rename(own: bool) {
    let mut died = 0;
    for number in 1..10 {
        for at in [At::Dies(number), At::DiesAfter(number)] {
            for boots in [false, true] {
                let host = Host::new();
                let (swap, finish) = (swap(RUN, &host.restore(own)), finish(RUN, &host.restore(own)));
                let about = format!("{at:?}, starts {boots}, own {own}");
                if host.run(&swap, at).status.success() {
                    host.is_swapped(own, &about);
                    continue;
                }
                died += 1;
                if boots {
                    // What a real k3s would do at a start of the host, and the workload of no cluster writes nothing.
                    host.run(&Command::new("systemctl start k3s"), At::Never);
                }
                // The watchdog finishes what was begun; a resume does all of it.
                let first =
                    if own { format!("server{BEFORE}{RUN}") } else { "server.fleet-hidden".to_owned() };
                let begun = host.path(&first).exists();
                assert!(host.run(&finish, At::Never).status.success(), "{about}");
                assert!(begun || host.has("server", "old"), "{about}: nothing is begun by the watchdog");
                assert!(host.run(&swap, At::Never).status.success(), "{about}");
                host.is_swapped(own, &about);
                // Once more changes nothing.
                let names_now = names(host.folder.path());
                assert!(host.run(&swap, At::Never).status.success(), "{about}");
                assert_eq!(names(host.folder.path()), names_now);
                host.is_swapped(own, &about);
            }
        }
    }
    assert!(died >= 20, "it never died: {died}");
}

#[test]
fn a_rename_that_fails_takes_all_of_them_back() {
    for (own, number) in (1..7).map(|number| (true, number)).chain((1..6).map(|number| (false, number))) {
        let host = Host::new();
        let about = format!("own {own}, {number}");
        let output = host.run(&swap(RUN, &host.restore(own)), At::Fails(number));
        assert!(!output.status.success(), "{about}");
        assert!(host.has("server", "old") && host.has("one", "old") && !host.has("two", "new"), "{about}");
        for name in ["server", "one", "two"] {
            assert!(host.has(&format!("{name}{BESIDE}"), "new"), "{about}: {name}");
        }
        assert_eq!(fs::read_to_string(host.path("k3s")).unwrap(), "active\n", "{about}");
        assert!(host.run(&swap(RUN, &host.restore(own)), At::Never).status.success(), "{about}");
        host.is_swapped(own, &format!("after {about}"));
    }
}

#[test]
fn nothing_is_stopped_where_something_was_not_unpacked_or_k3s_goes_on_running() {
    let host = Host::new();
    fs::remove_dir_all(host.path(&format!("one{BESIDE}"))).unwrap();
    host.program("k3s-killall.sh", "echo killed >>\"${0%/*}/../killed\"");
    assert!(!host.run(&swap(RUN, &host.restore(true)), At::Never).status.success());
    assert!(!host.path("killed").exists() && host.has("server", "old"));
    assert_eq!(fs::read_to_string(host.path("k3s")).unwrap(), "active\n");
    assert!(!names(host.folder.path()).iter().any(|name| name.contains(BEFORE)));

    let host = Host::new();
    host.program("k3s-killall.sh", "echo active >\"${0%/*}/../k3s\"");
    assert!(!host.run(&swap(RUN, &host.restore(true)), At::Never).status.success());
    assert!(host.has("server", "old") && host.has("one", "old"));
}

#[test]
fn what_a_host_has_room_for_is_read_and_anything_else_is_strange() {
    let text = "restore machine 4c1f\nrestore k3s k3s version v1.21.5+k3s2 (af)\nrestore at 1 2049 1000 0 -\nrestore no 2 it is a symbolic link\nrestore end\n";
    let looked = Looked::read(text, 2).unwrap();
    assert_eq!((looked.machine.as_str(), looked.k3s.as_str()), ("4c1f", "v1.21.5+k3s2"));
    assert_eq!(looked.folders[0], Ok(Place { device: "2049".into(), free: 1000, inodes: None }));
    assert_eq!(looked.folders[1], Err("it is a symbolic link".into()));
    for strange in [
        text.replace("end", ""),
        text.replace("at 1", "at 2"),
        text.replace("1000", "?"),
        text.replace("restore no 2 it is a symbolic link\n", ""),
        text.replace("0 -", "7 -"),
    ] {
        assert!(Looked::read(&strange, 2).is_err(), "{strange}");
    }
}
