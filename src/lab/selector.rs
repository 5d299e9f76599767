//! Label and field selectors, as the API takes them.

use serde_json::Value;

use super::kinds::{self, Kind};
use super::refusal::Refusal;

/// A selector over labels and fields.
#[derive(Debug, Default)]
pub(super) struct Selector {
    terms: Vec<Term>,
}

#[derive(Debug)]
struct Term {
    at: At,
    test: Test,
}

#[derive(Debug)]
enum At {
    Label(String),
    Field(&'static [&'static str]),
}

#[derive(Debug)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    There,
    NotThere,
}

impl Selector {
    /// Reads both selectors of a request; either may be empty.
    pub(super) fn read(kind: Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut terms = Vec::new();
        for text in split(labels) {
            terms.push(label(text).ok_or_else(|| {
                Refusal::bad_request(format!(
                    "unable to parse requirement: found {text:?}, expected: identifier"
                ))
            })?);
        }
        for text in split(fields) {
            let (name, value, same) = comparison(text)
                .ok_or_else(|| Refusal::bad_request(format!("invalid field selector: {text:?}")))?;
            let path: &[&str] = match (name, kind) {
                ("metadata.name", _) => &["metadata", "name"],
                ("metadata.namespace", _) => &["metadata", "namespace"],
                ("type", kinds::SECRET) => &["type"],
                ("status.phase", kinds::POD | kinds::NAMESPACE) => &["status", "phase"],
                ("spec.nodeName", kinds::POD) => &["spec", "nodeName"],
                _ => {
                    return Err(Refusal::bad_request(format!(
                        "Unable to find {:?} that match label selector {labels:?}, field selector {fields:?}: field label not supported: {name}",
                        format!("/v1, Resource={}", kind.about().plural)
                    )));
                }
            };
            let values = vec![value.to_owned()];
            terms.push(Term {
                at: At::Field(path),
                test: if same { Test::In(values) } else { Test::NotIn(values) },
            });
        }
        Ok(Self { terms })
    }

    /// Whether an object is selected.
    #[must_use]
    pub(super) fn takes(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let value = match &term.at {
                At::Label(name) => &object["metadata"]["labels"][name.as_str()],
                At::Field(path) => path.iter().fold(object, |at, name| &at[*name]),
            };
            match &term.test {
                Test::In(values) => value.as_str().is_some_and(|value| values.iter().any(|one| one == value)),
                Test::NotIn(values) => {
                    !value.as_str().is_some_and(|value| values.iter().any(|one| one == value))
                }
                Test::There => !value.is_null(),
                Test::NotThere => value.is_null(),
            }
        })
    }
}

/// Terms at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut terms, mut begin, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                terms.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[begin..]);
    terms.into_iter().map(str::trim).filter(|term| !term.is_empty()).collect()
}

/// `a=b`, `a==b`, `a!=b`: name, value, whether equal is wanted.
fn comparison(text: &str) -> Option<(&str, &str, bool)> {
    if let Some((name, value)) = text.split_once("!=") {
        return Some((name.trim(), value.trim(), false));
    }
    let (name, value) = text.split_once("==").or_else(|| text.split_once('='))?;
    Some((name.trim(), value.trim(), true))
}

fn label(text: &str) -> Option<Term> {
    if let Some((name, value, same)) = comparison(text) {
        let values = vec![value.to_owned()];
        let judge = if same { Test::In(values) } else { Test::NotIn(values) };
        return Some(Term { at: At::Label(name.to_owned()), test: judge });
    }
    if let Some((head, list)) = text.split_once('(') {
        let values = list.strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        let name = words.next()?.to_owned();
        let judge = match words.next()? {
            "in" => Test::In(values),
            "notin" => Test::NotIn(values),
            _ => return None,
        };
        return Some(Term { at: At::Label(name), test: judge });
    }
    let (name, judge) = match text.strip_prefix('!') {
        Some(name) => (name, Test::NotThere),
        None => (text, Test::There),
    };
    Some(Term { at: At::Label(name.to_owned()), test: judge })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_take_what_kubectl_would_get() {
        let secret =
            json!({"type": "Opaque", "metadata": {"name": "x", "labels": {"app": "a", "tier": "b"}}});
        let takes = |labels, fields| Selector::read(kinds::SECRET, labels, fields).unwrap().takes(&secret);
        assert!(takes("app=a,tier in (b, c)", "type!=helm.sh/release.v1"));
        assert!(takes("app", "metadata.name=x"));
        assert!(!takes("!app", ""));
        assert!(!takes("app!=a", ""));
        assert!(!takes("tier notin (b)", ""));
        assert!(!takes("", "type!=Opaque"));
        let refused = Selector::read(kinds::CONFIG_MAP, "", "type!=Opaque").unwrap_err();
        assert!(refused.message.contains("field label not supported: type"), "{}", refused.message);
    }
}
