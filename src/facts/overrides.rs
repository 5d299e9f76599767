//! The operator's own values: ConfigMaps and Secrets named `oas-*-override` or `stackspin-*-override` (facts section 3.4).

use super::kubernetes::List;
use super::secrets::Secret;
use crate::plan::Object;
use crate::remote::Command;

/// Asks for the ConfigMaps. The API cannot choose by a part of a name.
#[must_use]
pub fn ask() -> Command {
    // Values of overrides may hold passwords.
    Command::new("k3s kubectl get configmaps -A -o json").limit(64 << 20).sensitive()
}

/// Picks the overrides, in order of namespace and name: ConfigMaps first.
#[must_use]
pub fn read(configmaps: &List, secrets: &[Secret]) -> Vec<Object> {
    let mut maps: Vec<Object> = configmaps
        .of("ConfigMap")
        .map(|item| Object {
            kind: "configmaps".to_owned(),
            namespace: item.metadata.namespace.clone(),
            name: item.metadata.name.clone(),
        })
        .filter(|object| is_override(&object.name))
        .collect();
    maps.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let secrets = secrets
        .iter()
        .filter(|secret| is_override(&secret.name))
        .map(|secret| Object::secret(&secret.namespace, &secret.name));
    maps.into_iter().chain(secrets).collect()
}

fn is_override(name: &str) -> bool {
    let bare = name.strip_prefix("oas-").or_else(|| name.strip_prefix("stackspin-"));
    bare.and_then(|bare| bare.strip_suffix("-override")).is_some_and(|app| !app.is_empty())
}
