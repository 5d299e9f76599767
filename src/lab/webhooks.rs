//! Webhooks that are asked before something is written. Those of the lab find nothing wrong with anything; but one whose service is gone
//! cannot be asked, and then nothing is written, as by a real API with `failurePolicy: Fail`.

use serde_json::{Value, json};

use super::kinds::{Kind, SERVICE, WEBHOOKS};
use super::refusal::Refusal;
use super::store::Store;

/// Asks the webhooks that watch objects of this kind.
pub(super) fn ask(store: &Store, kind: Kind) -> Result<(), Refusal> {
    let all = store.list(WEBHOOKS, None).flat_map(|(_, object)| each(&object["webhooks"]));
    for webhook in all {
        let service = &webhook["clientConfig"]["service"];
        let name = |field: &str| service[field].as_str().unwrap_or("");
        let (namespace, service) = (name("namespace"), name("name"));
        if watches(webhook, kind) && store.peek(SERVICE, namespace, service).is_none() {
            let webhook = webhook["name"].as_str().unwrap_or("");
            let message = format!(
                "Internal error occurred: failed calling webhook {webhook:?}: Post \"https://{service}.{namespace}.svc:443/?timeout=10s\": \
                 service {service:?} not found"
            );
            return Err(Refusal::new(500, "InternalError", message));
        }
    }
    Ok(())
}

fn watches(webhook: &Value, kind: Kind) -> bool {
    let about = kind.about();
    each(&webhook["rules"]).any(|rule| {
        let names = |field: &str, name: &str| each(&rule[field]).any(|said| *said == json!(name));
        names("apiGroups", about.group) && names("resources", about.plural)
    })
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
