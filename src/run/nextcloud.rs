//! Nextcloud's users, and their files given to who they are since 0.8 (guide, "Your SSO users will have new usernames"; facts section 6.2;
//! guide row G7).

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::job::{self, Place};
use super::scribe::Scribe;
use super::unasked;
use super::window::ended;
use crate::event::{Failure, Outcome, What};
use crate::files::make_folder;
use crate::form::count;
use crate::inventory::Cluster;
use crate::journal::Journal;
use crate::plan::{Action, Class, Step};
use crate::remote::{Command, Remote, RemoteError, printable};
use crate::state::{ClusterFolder, step_log};

mod map;
pub use map::{Pair, Standing, read};

/// The step's id; each pair has a number behind it.
pub const STEP: &str = "nextcloud/transfer-files";
/// Where to read on.
pub const READ: &str = "docs/cleanup.md#when-files-are-not-transferred";
/// What a question may take: each user's costs a start of PHP.
const ASKED: Duration = Duration::from_secs(300);

/// In Nextcloud's container. `occ` refuses to run as anybody but the owner of Nextcloud's files; who the container runs as is its image's
/// business. What a program is given stands in the environment, for not every `su` passes words on.
const AS_OWNER: &str = r#"cd /var/www/html || exit 1
as() { if [ "$(id -u)" = 0 ]; then su -s /bin/sh www-data -c "$1"; else sh -c "$1"; fi; }
"#;
/// Every user, as JSON. Without a limit it lists five hundred.
const USERS: &str = "as 'php occ user:list --limit=1000000 --output=json'";
/// What the mark of each of these users says, with its number before it.
const MARKS: &str = r#"n=0
for A; do
    n=$((n + 1)); export A
    printf '%s %s\n' "$n" "$(as 'php occ user:setting -- "$A" stackspin-fleet transfer' 2>/dev/null | head -n 1)"
done"#;
/// The mark says what was begun before it is, and what is done after. It stays with the user's own settings, whoever comes next.
const TRANSFER: &str = r#"export A="$1" B="$2"
as 'php occ user:setting -- "$A" stackspin-fleet transfer "begun $B"' || exit 1
as 'php occ files:transfer-ownership -- "$A" "$B"' || exit 1
as 'php occ user:setting -- "$A" stackspin-fleet transfer "done $B"'"#;

/// A script in Nextcloud's container, with these words.
fn inside<W: AsRef<str>>(script: &str, words: impl IntoIterator<Item = W>) -> Command {
    Command::new("k3s kubectl exec -c nextcloud deployment/nc-nextcloud -n stackspin-apps -- sh -c")
        .arg(format!("{AS_OWNER}{script}"))
        .arg("occ")
        .args(words)
        .deadline(ASKED)
        .limit(16 << 20)
}

/// The users of Nextcloud: the name that each shows, by id. `Ok(Err)` is why they cannot be told.
pub async fn users<R: Remote>(remote: &R) -> Result<Result<BTreeMap<String, String>, Failure>, RemoteError> {
    let command = inside(USERS, [""; 0]);
    let output = remote.ask(&command, &mut io::sink()).await?;
    let failed =
        |why: String| Failure::new("no-nextcloud", format!("Nextcloud cannot be asked: {why}")).read(READ);
    if !output.success() {
        return Ok(Err(failed(format!("{}, {}", output.exit, output.complaint()))));
    }
    if output.dropped > 0 {
        return Ok(Err(failed("its list of users is larger than 16 MiB".to_owned())));
    }
    Ok(read_users(&output.text()).ok_or_else(|| failed("its list of users cannot be read".to_owned())))
}

/// PHP writes an empty map as a list, and apps may say something before it.
fn read_users(answer: &str) -> Option<BTreeMap<String, String>> {
    let line = answer.lines().rev().find(|line| line.starts_with(['{', '[']))?;
    if line.trim() == "[]" { Some(BTreeMap::new()) } else { serde_json::from_str(line).ok() }
}

/// How the pairs of a map stand, in its order. Changes nothing.
pub async fn look<R: Remote>(
    remote: &R,
    pairs: &[Pair],
) -> Result<Result<Vec<(Pair, Standing)>, Failure>, RemoteError> {
    let users = match users(remote).await? {
        Ok(users) => users,
        Err(failure) => return Ok(Err(failure)),
    };
    let pairs = map::resolve(pairs, &users);
    let there: Vec<String> =
        pairs.iter().map(|pair| pair.old.clone()).filter(|old| users.contains_key(old)).collect();
    let output = remote.ask(&inside(MARKS, &there), &mut io::sink()).await?;
    let text = output.text();
    let marks: Vec<&str> =
        text.lines().filter_map(|line| line.split_once(' ')).map(|(_, mark)| mark).collect();
    let numbered =
        text.lines().zip(1..).all(|(line, n)| line.split(' ').next() == Some(n.to_string().as_str()));
    if !output.success() || marks.len() != there.len() || !numbered {
        let said =
            format!("what was transferred before cannot be told: {}, {}", output.exit, output.complaint());
        return Ok(Err(Failure::new("no-nextcloud", said).read(READ)));
    }
    let marks: BTreeMap<String, &str> = there.into_iter().zip(marks).collect();
    let standing = |pair: Pair| {
        let standing = map::standing(&pair, &users, marks.get(pair.old.as_str()).copied());
        (pair, standing)
    };
    Ok(Ok(pairs.into_iter().map(standing).collect()))
}

/// What is wanted of a cluster.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The map.
    pub map: Vec<Pair>,
    /// Those whose files are to be transferred, as they were shown.
    pub shown: Vec<Pair>,
    /// Whether one that was begun or done before is done again.
    pub again: bool,
    /// How long one user's files may take.
    pub each: Duration,
}

/// The pairs whose files are to be transferred.
#[must_use]
pub fn wanting(found: &[(Pair, Standing)], again: bool) -> Vec<Pair> {
    let wanted = |standing: &Standing| match standing {
        Standing::Ready => true,
        Standing::Transferred(_) | Standing::Begun(_) => again,
        Standing::NoUser(_) => false,
    };
    found.iter().filter(|(_, standing)| wanted(standing)).map(|(pair, _)| pair.clone()).collect()
}

/// Transfers one user's files after the other; one that fails leaves the others. The cluster's trouble is an [`Outcome`]; `Err` is this
/// machine's own.
pub async fn carry<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    wanted: &Wanted,
    folder: &ClusterFolder,
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let found = match look(remote, &wanted.map).await {
        Ok(Ok(found)) => found,
        Ok(Err(failure)) => return Ok(Outcome::Refused { failure }),
        Err(error) => return Ok(unasked(&error)),
    };
    if wanting(&found, wanted.again) != wanted.shown {
        let said = "users or transfers have changed since they were shown: look again, and type it again";
        return Ok(Outcome::Refused { failure: Failure::new("transfer-changed", said).read(READ) });
    }
    remote.changes();
    let mut first = None;
    for (pair, number) in wanted.shown.iter().zip(1..) {
        match transfer(remote, cluster, (pair, number), wanted.each, folder, journal).await? {
            Outcome::Done => {}
            // With the line lost nothing is begun that could not be followed.
            doubt @ Outcome::InDoubt { .. } => return Ok(doubt),
            failed => first = first.or(Some(failed)),
        }
    }
    let text = format!("{} asked for", count(wanted.shown.len(), "transfer"));
    journal.record(What::Noted { step: STEP.to_owned(), text })?;
    Ok(first.unwrap_or(Outcome::Done))
}

async fn transfer<R: Remote>(
    remote: &R,
    cluster: &Cluster,
    (Pair { old, new }, number): (&Pair, usize),
    each: Duration,
    folder: &ClusterFolder,
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let command = inside(TRANSFER, [old, new]);
    let title = printable(&format!("Transfer the files of {old} to {new}"));
    let step =
        Step::new(format!("{STEP}-{number}"), &title, Class::Irreversible, Action::Job(command.clone()));
    let step = step.takes(Duration::from_secs(60), each);
    journal.record(What::StepStarted {
        step: step.id.clone(),
        title,
        class: step.class,
        expected_seconds: step.expected.as_secs(),
    })?;
    let log = folder.path().join(step_log(&step.id));
    log.parent().map_or(Ok(()), make_folder)?;
    let began = Instant::now();
    let mut scribe = Scribe::new(journal, &step.id, &log)?;
    let run = folder.run();
    let place = Place { run: &run, cluster: &cluster.name, spool: &cluster.paths.spool };
    let done = match job::carry(remote, &step, &command, place, &mut scribe).await {
        Ok(()) => scribe.note(format!("{old}: the files are in a folder of their own in {new}'s files")),
        failed => failed,
    };
    ended(&step.id, done, began, journal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_whatever_stands_before_them() {
        let read = |text: &str| read_users(text).map(|users| users.len());
        assert_eq!(read("{\"admin\":\"Admin\",\"oas-editor\":\"Editor\"}\n"), Some(2));
        assert_eq!(read("An app has something to say\n{\"admin\":\"\"}"), Some(1));
        assert_eq!(read("[]\n"), Some(0));
        assert_eq!(read("[\"admin\"]"), None);
        assert_eq!(read(""), None);
    }

    /// The scripts as a shell of the container meets them: as root through `su`, as the owner without; names are words and nothing else.
    #[test]
    fn names_reach_occ_as_they_are_whoever_the_container_runs_as() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        program("php", "#!/bin/sh\nprintf '<%s>' \"$@\" >>\"$SAID\"; echo >>\"$SAID\"; echo done 'x y'\n");
        program(
            "su",
            "#!/bin/sh\n[ \"$1 $2 $3 $4\" = '-s /bin/sh www-data -c' ] && echo su >>\"$SAID\" && exec sh -c \"$5\"\n",
        );
        let hostile = ["-o'h \"$(reboot)`x", "new; rm -rf /"];
        for (uid, su) in [("0", true), ("33", false)] {
            let said = folder.path().join(format!("said-{uid}"));
            program("id", &format!("#!/bin/sh\necho {uid}\n"));
            let run = |script: &str, words: &[&str]| {
                let script = format!("{AS_OWNER}{script}").replace("/var/www/html", "/");
                let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
                let mut command = std::process::Command::new("sh");
                command.args(["-c", &script, "occ"]).args(words).env("PATH", path).env("SAID", &said);
                let output = command.output().unwrap();
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            run(USERS, &[]);
            assert_eq!(run(MARKS, &hostile), "1 done x y\n2 done x y\n");
            run(TRANSFER, &hostile);
            let said = std::fs::read_to_string(said).unwrap();
            assert_eq!(said.contains("su\n"), su);
            let [old, new] = hostile;
            let mark = |user: &str| format!("<occ><user:setting><--><{user}><stackspin-fleet><transfer>");
            let lines = [
                "<occ><user:list><--limit=1000000><--output=json>".to_owned(),
                mark(old),
                mark(new),
                format!("{}<begun {new}>", mark(old)),
                format!("<occ><files:transfer-ownership><--><{old}><{new}>"),
                format!("{}<done {new}>", mark(old)),
            ];
            assert_eq!(said.lines().filter(|line| *line != "su").collect::<Vec<_>>(), lines);
        }
    }
}
