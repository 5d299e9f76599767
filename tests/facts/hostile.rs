//! Readers never panic, whatever a host says.

use fleet::facts::Known;
use fleet::facts::kubernetes::Groups;
use proptest::prelude::*;
use serde_json::Value;

use super::{NEXT, READERS, folder};

/// A recorded answer with something torn out of it, put into it or turned round.
fn torn() -> impl Strategy<Value = (usize, String)> {
    let cases: Vec<(usize, String)> = READERS
        .iter()
        .enumerate()
        .flat_map(|(index, (fact, _))| {
            std::fs::read_dir(folder().join(fact))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
                .map(move |path| (index, std::fs::read_to_string(path).unwrap()))
                .collect::<Vec<_>>()
        })
        .collect();
    (proptest::sample::select(cases), any::<prop::sample::Index>(), 0..40_usize, ".{0,8}").prop_map(
        |((reader, text), at, length, instead)| {
            let mut chars: Vec<char> = text.chars().collect();
            let start = at.index(chars.len() + 1);
            let end = (start + length).min(chars.len());
            chars.splice(start..end, instead.chars());
            (reader, chars.into_iter().collect())
        },
    )
}

/// Objects of the right kinds whose parts are of any shape.
fn objects() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "conditions",
        "phase",
        "rules",
        "capacity",
        "storage",
        "hostPath",
        "path",
        "claimRef",
        "name",
        "data",
        "jobTemplate",
        "spec",
        "template",
        "containers",
        "args",
        "history",
        "artifact",
        "revision",
        "ref",
        "type",
    ]);
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    });
    let kind = prop::sample::select(vec![
        "Node",
        "Pod",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "GitRepository",
        "Kustomization",
        "HelmRelease",
        "CronJob",
        "Job",
        "Deployment",
        "Ingress",
        "Namespace",
        "Certificate",
        "ConfigMap",
        "Secret",
    ]);
    (kind, value.clone(), value.clone(), value).prop_map(|(kind, spec, status, data)| {
        let metadata = serde_json::json!({"name": "a", "namespace": "b"});
        serde_json::json!({"items": [{"kind": kind, "metadata": metadata, "spec": spec, "status": status, "data": data}]})
            .to_string()
    })
}

/// A reader's answer as it is kept and shown: no character that a terminal acts upon.
fn harmless(found: Result<Value, String>) {
    if let Err(why) = found {
        let kept = serde_json::to_value(Known::<Value>::from(Err(why))).unwrap();
        let text = kept["unknown"].as_str().unwrap();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        for (_, read) in READERS {
            harmless(read(&[&text, &text, &text]));
        }
        let _ = Groups::read(&text);
    }

    #[test]
    fn torn_answers_are_read_or_refused((reader, text) in torn()) {
        let mut said: Vec<&str> = text.split(NEXT).collect();
        said.resize(said.len().max(3), "");
        harmless(READERS[reader].1(&said));
    }

    #[test]
    fn objects_of_any_shape_are_read_or_refused(text in objects()) {
        for (_, read) in READERS {
            harmless(read(&[&text, &text, r#"{"groups":[]}"#]));
        }
    }
}
