//! k3s' datastore: a real sqlite file in kine's schema. While k3s is stopped it holds exactly the cluster's objects, and
//! k3s starts from what it holds. The values are JSON; a real one's are mostly protobuf.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use super::kinds::Kind;
use super::store::{Key, Store};

/// Kine's table and indexes.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS kine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER, deleted INTEGER,
    create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name);
CREATE INDEX IF NOT EXISTS kine_name_id_index ON kine (name, id);
CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision);
";

/// Where the datastore keeps an object: `/registry/secrets/oas/x`.
#[must_use]
pub(super) fn place(key: &Key) -> String {
    let registry = key.kind.about().registry;
    if key.namespace.is_empty() {
        format!("/registry/{registry}/{}", key.name)
    } else {
        format!("/registry/{registry}/{}/{}", key.namespace, key.name)
    }
}

/// Writes what has changed since the last time.
pub(super) fn write(path: &Path, store: &mut Store) -> rusqlite::Result<()> {
    let dirty = store.take_dirty();
    if dirty.is_empty() && path.exists() {
        return Ok(());
    }
    write_keys(path, store, &dirty)
}

fn write_keys(path: &Path, store: &Store, keys: &BTreeSet<Key>) -> rusqlite::Result<()> {
    let mut database = Connection::open(path)?;
    database.execute_batch("PRAGMA synchronous = OFF;")?;
    database.execute_batch(SCHEMA)?;
    let transaction = database.transaction()?;
    {
        let mut last = transaction.prepare("SELECT MAX(id) FROM kine WHERE name = ?1")?;
        let mut forget = transaction.prepare("DELETE FROM kine WHERE name = ?1")?;
        let mut insert = transaction.prepare(
            "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value)
             VALUES (?1, ?2, 0, ?3, ?4, 0, ?5, NULL)",
        )?;
        for key in keys {
            let name = place(key);
            let previous: Option<i64> = last.query_row([&name], |row| row.get(0)).optional()?.flatten();
            // Kine compacts in time; here at once, so that a row is an object.
            forget.execute([&name])?;
            if let Some(object) = store.get(key) {
                let previous = previous.unwrap_or(0);
                insert.execute(params![
                    name,
                    i64::from(previous == 0),
                    previous,
                    previous,
                    object.to_string()
                ])?;
            }
        }
    }
    transaction.commit()?;
    database.close().map_err(|(_, error)| error)
}

/// What a datastore holds: the objects and the highest revision.
pub(super) type Held = (BTreeMap<Key, Arc<Value>>, u64);

/// Reads the objects; an error where the file is no datastore.
pub(super) fn read(path: &Path) -> rusqlite::Result<Held> {
    let database = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = database.prepare(
        "SELECT value FROM kine WHERE id IN (SELECT MAX(id) FROM kine GROUP BY name) AND deleted = 0 AND name LIKE '/registry/%'",
    )?;
    let mut objects = BTreeMap::new();
    let mut highest = 0;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let value = row.get_ref(0)?;
        let bytes = value.as_bytes().unwrap_or_default();
        let Ok(object) = serde_json::from_slice::<Value>(bytes) else { continue };
        let revision = object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
        highest = highest.max(revision.unwrap_or(0));
        if let Some(key) = key(&object) {
            objects.insert(key, Arc::new(object));
        }
    }
    Ok((objects, highest))
}

fn key(object: &Value) -> Option<Key> {
    let kind = Kind::called(object["kind"].as_str()?)?;
    let metadata = &object["metadata"];
    Some(Key::new(kind, metadata["namespace"].as_str().unwrap_or(""), metadata["name"].as_str()?))
}
