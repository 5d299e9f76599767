//! The saved objects against the manifest, the datastore and the archives.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::datastore::{COMPARED, Datastore};
use super::super::manifest::{Manifest, What};
use super::super::objects::{self, List};
use super::Reading;

impl Reading<'_> {
    /// The datastore's copy, opened, where it is one that can be looked into.
    pub(super) fn datastore(&mut self, manifest: &Manifest, scratch: &Path) -> Option<Datastore> {
        let state = scratch.join("state.db");
        if manifest.part(&What::Server).is_none() {
            self.faults.add("k3s' server folder has no archive");
        } else if state.exists() {
            self.etcd = false;
            return Datastore::open(&state).map_err(|fault| self.faults.add(fault)).ok();
        } else if self.etcd {
            self.faults
                .add("the datastore is etcd: its files are copied, but what is in them cannot be proven");
        } else {
            self.faults.add("there is no datastore in the archive of k3s' server folder");
        }
        None
    }

    /// The saved objects against the manifest, the datastore and the archives.
    pub(super) fn all_objects(
        &mut self,
        manifest: &Manifest,
        archived: &BTreeSet<&str>,
        datastore: Option<&Datastore>,
    ) {
        for (file, prefix) in COMPARED {
            if !manifest.objects.contains_key(*file) {
                // Only the core's kinds are in every cluster; but a kind that the API does not know has no objects.
                let stored = datastore.map_or(Ok(BTreeSet::new()), |datastore| datastore.names(prefix));
                if prefix.matches('/').count() == 3 || stored != Ok(BTreeSet::new()) {
                    self.faults.add(format!("objects/{file} is missing"));
                }
            }
        }
        for (file, saved) in &manifest.objects {
            let path = format!("objects/{file}");
            if file.contains('/') {
                self.faults.add(format!("the manifest names a strange file: {file}"));
                continue;
            }
            self.hashed(&path, saved.bytes, &saved.sha256);
            let list = match objects::read(&self.folder.path().join(&path)) {
                Ok(list) => list,
                Err(error) => {
                    self.faults.add(format!("{path}: {error}"));
                    continue;
                }
            };
            let count = list.items.len() as u64;
            if count != saved.count {
                self.faults.add(format!("{path} holds {count} objects, the manifest says {}", saved.count));
            }
            if let Some((_, prefix)) = COMPARED.iter().find(|(known, _)| known == file)
                && let Some(datastore) = datastore
            {
                self.compare_names(&path, &list, datastore.names(prefix));
            }
            if file == "persistentvolumes.json" {
                for item in &list.items {
                    if item.folder().is_some() && !archived.contains(item.metadata.name.as_str()) {
                        self.faults.add(format!(
                            "volume {} is in the cluster and has no archive",
                            item.metadata.name
                        ));
                    }
                }
            }
        }
    }

    fn compare_names(&mut self, path: &str, list: &List, stored: Result<BTreeSet<String>, String>) {
        let stored = match stored {
            Ok(stored) => stored,
            Err(fault) => return self.faults.add(fault),
        };
        let saved: BTreeSet<String> = list
            .items
            .iter()
            .map(|item| match &item.metadata {
                metadata if metadata.namespace.is_empty() => metadata.name.clone(),
                metadata => format!("{}/{}", metadata.namespace, metadata.name),
            })
            .collect();
        self.objects += saved.intersection(&stored).count() as u64;
        for (name, where_not) in saved
            .difference(&stored)
            .map(|name| (name, "the datastore"))
            .chain(stored.difference(&saved).map(|name| (name, "the saved objects")))
        {
            self.faults.add(format!("{path}: {name} is not in {where_not}"));
        }
    }
}
