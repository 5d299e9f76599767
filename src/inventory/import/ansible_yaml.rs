//! Ansible inventories in YAML, as its `yaml` plugin reads them.

use std::path::Path;

use super::ansible::{Tree, Var, Vars};
use super::value::{Node, Value, yaml};
use super::{Asked, Found, ImportError, Notes, Source, is_vault};

pub(super) const SOURCE: Source = Source {
    id: "ansible-yaml",
    about: "an Ansible inventory in YAML, with group_vars and host_vars beside it",
    read,
};

/// Deepest that groups may stand inside of each other.
const DEEP: usize = 64;

fn read(asked: &Asked) -> Result<Found, ImportError> {
    let mut notes = Notes::default();
    let tree = parse(&asked.path, &super::text(&asked.path)?, &mut notes)?;
    let mut found = tree.found(&asked.path, asked.path.parent(), asked)?;
    found.notes.0.extend(notes.0);
    Ok(found)
}

/// The groups and hosts that a file describes.
pub(super) fn parse(file: &Path, text: &str, notes: &mut Notes) -> Result<Tree, ImportError> {
    if is_vault(text) {
        return Err(ImportError::at(
            file.display(),
            "the file is encrypted by ansible-vault: decrypt a copy first",
        ));
    }
    let read = yaml(file, text)?;
    let Some(groups) = read.map() else {
        return Err(ImportError::at(
            file.display(),
            "this is no inventory: groups stand at the top, as in `all:`",
        ));
    };
    if read.get("plugin").is_some() {
        let what = "this configures an inventory plugin: `ansible-inventory -i FILE --list` works it out, and \
                    `fleet inventory import program` reads what that prints";
        return Err(ImportError::at(file.display(), what));
    }
    let mut reading = Reading { file, tree: Tree::default(), notes };
    for (name, group) in groups {
        reading.group(name, group, 0)?;
    }
    Ok(reading.tree)
}

struct Reading<'a> {
    file: &'a Path,
    tree: Tree,
    notes: &'a mut Notes,
}

impl Reading<'_> {
    fn place(&self, node: &Node) -> String {
        format!("{}:{}", self.file.display(), node.line)
    }

    fn group(&mut self, name: &str, said: &Node, depth: usize) -> Result<(), ImportError> {
        let place = self.place(said);
        if depth > DEEP {
            return Err(ImportError::at(place, "groups stand inside of each other too deep"));
        }
        let sections = match &said.value {
            Value::Null => &[][..],
            Value::Map(sections) => sections,
            _ => {
                self.notes.add(place, "this is no group and is passed over");
                return Ok(());
            }
        };
        self.tree.group(name);
        for (key, section) in sections {
            let place = self.place(section);
            if !matches!(key.as_str(), "hosts" | "children" | "vars") {
                self.notes.add(
                    place,
                    format!("`{key}` of a group is none of hosts, children and vars and is passed over"),
                );
                continue;
            }
            // One word alone is an entry of which nothing is said.
            let alone;
            let entries = match &section.value {
                Value::Null => continue,
                Value::Map(entries) => entries.as_slice(),
                Value::Text(word) => {
                    alone = [(word.clone(), Node { value: Value::Null, line: section.line })];
                    &alone[..]
                }
                _ => return Err(ImportError::at(place, format!("`{key}` of a group must be a map"))),
            };
            for (entry, said) in entries {
                self.entry(name, key, entry, said, depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        group: &str,
        key: &str,
        name: &str,
        said: &Node,
        depth: usize,
    ) -> Result<(), ImportError> {
        let place = self.place(said);
        let fault = |why: String| ImportError::at(&place, why);
        match key {
            "children" => {
                self.group(name, said, depth + 1)?;
                if group == name {
                    return Err(fault(format!("group `{group}` contains itself")));
                }
                self.tree.child(group, name);
                Ok(())
            }
            "vars" => {
                let var = Var { value: said.value.clone(), place: place.clone() };
                self.tree.group_var(group, name, var).map_err(fault)
            }
            _ => {
                let said = match &said.value {
                    Value::Null => &[][..],
                    Value::Map(vars) => vars,
                    _ => {
                        return Err(fault(
                            "behind a host stands a map of its variables, or nothing".to_owned(),
                        ));
                    }
                };
                let var = |(name, node): &(String, Node)| {
                    (name.clone(), Var { value: node.value.clone(), place: self.place(node) })
                };
                let vars: Vars = said.iter().map(var).collect();
                self.tree.hosts(name, group, &vars, &place).map_err(fault)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(text: &str) -> String {
        let read = parse(Path::new("hosts.yml"), text, &mut Notes::default());
        read.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn faults_are_told_with_their_line_and_never_with_what_may_be_a_secret() {
        for (text, line, why) in [
            ("all:\n  hosts:\n    - web", ":3", "must be a map"),
            ("all:\n  hosts:\n    web: 7", ":3", "behind a host"),
            ("all:\n  hosts:\n    web[1:: {}", ":3", "no host"),
            ("all:\n  vars:\n    p: \"hunter2\n", "", "no YAML"),
            ("all:\n  children:\n    all:\n", ":3", "contains itself"),
            ("- web", "", "no inventory"),
            ("plugin: x", "", "inventory plugin"),
            ("$ANSIBLE_VAULT;1.1;AES256\n00", "", "encrypted"),
        ] {
            let told = told(text);
            assert!(told.starts_with(&format!("hosts.yml{line}")) && told.contains(why), "{text}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read_or_refused(text in "( {0,4}(all|hosts|children|vars|web|[&*!][a-z]|.{0,5}):( .{0,6})?\n){0,9}") {
            if let Ok(tree) = parse(Path::new("hosts"), &text, &mut Notes::default()) {
                let _ = tree.found(Path::new("hosts"), None, &Asked::default());
            }
        }
    }
}
