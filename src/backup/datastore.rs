//! k3s' datastore, read with SQLite itself: is it whole, and does it hold the very objects that the API told?
//!
//! k3s keeps its objects in a table `kine` of `server/db/state.db`: a row for each revision of each key, the last one counts
//! (`docs/backup.md#the-datastore`).

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// The kinds whose names are compared: file of the saved objects, prefix of the keys. Secrets and volumes are what a restore
/// cannot do without; Flux's objects say what a cluster is.
pub const COMPARED: &[(&str, &str)] = &[
    ("secrets.json", "/registry/secrets/"),
    ("persistentvolumes.json", "/registry/persistentvolumes/"),
    ("persistentvolumeclaims.json", "/registry/persistentvolumeclaims/"),
    ("gitrepositories.source.toolkit.fluxcd.io.json", "/registry/source.toolkit.fluxcd.io/gitrepositories/"),
    (
        "kustomizations.kustomize.toolkit.fluxcd.io.json",
        "/registry/kustomize.toolkit.fluxcd.io/kustomizations/",
    ),
    ("helmreleases.helm.toolkit.fluxcd.io.json", "/registry/helm.toolkit.fluxcd.io/helmreleases/"),
];

/// A datastore that was found whole.
#[derive(Debug)]
pub struct Datastore {
    connection: Connection,
}

impl Datastore {
    /// Opens a copy of `state.db` (its `-wal` beside it) and checks all of it. The error is a sentence.
    pub fn open(state: &Path) -> Result<Self, String> {
        let said = |error: rusqlite::Error| format!("the datastore cannot be read: {error}");
        let connection =
            Connection::open_with_flags(state, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(said)?;
        let verdict: String =
            connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(said)?;
        if verdict == "ok" {
            Ok(Self { connection })
        } else {
            Err(format!("SQLite finds the datastore damaged: {verdict}"))
        }
    }

    /// The keys below a prefix that are there, the prefix taken off: `namespace/name`.
    pub fn names(&self, prefix: &str) -> Result<BTreeSet<String>, String> {
        let read = || -> rusqlite::Result<BTreeSet<String>> {
            let mut statement = self.connection.prepare(
                "SELECT name FROM (SELECT name, deleted, MAX(id) FROM kine \
                 WHERE substr(name, 1, length(?1)) = ?1 GROUP BY name) WHERE deleted = 0",
            )?;
            let names = statement.query_map([prefix], |row| row.get::<_, String>(0))?;
            names.map(|name| name.map(|name| name.strip_prefix(prefix).unwrap_or(&name).to_owned())).collect()
        };
        read().map_err(|error| format!("the datastore does not tell its objects: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_revision_of_a_key_counts_also_when_it_is_still_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        let writer = Connection::open(&state).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode=WAL;
                 CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, deleted INTEGER);
                 INSERT INTO kine (name, deleted) VALUES
                   ('/registry/secrets/oas/a', 0), ('/registry/secrets/oas/b', 0), ('/registry/secrets/oas/b', 1),
                   ('/registry/secrets/oas/c', 1), ('/registry/secrets/oas/c', 0), ('/registry/secretsandmore/x', 0);",
            )
            .unwrap();
        // The writer is still there, so the log was not folded in: a copy takes both files.
        let copy = folder.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for name in ["state.db", "state.db-wal"] {
            std::fs::copy(folder.path().join(name), copy.join(name)).unwrap();
        }
        let datastore = Datastore::open(&copy.join("state.db")).unwrap();
        let names = datastore.names("/registry/secrets/").unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["oas/a", "oas/c"]);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.db");
        std::fs::write(&state, "not a database at all, not at all, not at all").unwrap();
        assert!(Datastore::open(&state).unwrap_err().contains("cannot be read"));
    }
}
