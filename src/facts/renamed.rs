//! What 0.8 calls what 0.7 had: OpenAppStack became Stackspin (facts sections 3.3 and 3.4).

use super::secrets::Secret;
use crate::plan::Object;

/// The namespaces that go, each with the one that takes its place.
pub const NAMESPACES: [(&str, &str); 2] = [("oas", "stackspin"), ("oas-apps", "stackspin-apps")];

/// Whether 0.8 does not have this namespace any more.
#[must_use]
pub fn goes(namespace: &str) -> bool {
    NAMESPACES.iter().any(|(old, _)| *old == namespace)
}

/// What 0.8 calls a namespace.
#[must_use]
pub fn namespace(old: &str) -> &str {
    NAMESPACES.iter().find(|(name, _)| *name == old).map_or(old, |(_, new)| new)
}

/// An object as 0.8 calls it: `oas/oas-x` is `stackspin/stackspin-x`.
#[must_use]
pub fn object(old: &Object) -> Object {
    let name = match old.name.strip_prefix("oas-") {
        Some(rest) => format!("stackspin-{rest}"),
        None => old.name.clone(),
    };
    Object { kind: old.kind.clone(), namespace: namespace(&old.namespace).to_owned(), name }
}

/// Whether a Secret of 0.7 is carried over under its new name: Stackspin's own credentials, and whatever else is called so in the namespaces
/// that go. One that a controller makes is made anew.
#[must_use]
pub fn is_carried(secret: &Secret) -> bool {
    let Secret { namespace, name, managed, .. } = secret;
    let variables = namespace == "flux-system" && name.ends_with("-variables");
    name.starts_with("oas-") && !managed && (goes(namespace) || variables || name.ends_with("-override"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_namespaces_of_openappstack_become_stackspins_and_others_stay() {
        let renamed = |namespace: &str, name: &str| object(&Object::secret(namespace, name)).to_string();
        assert_eq!(renamed("oas", "oas-prometheus-basic-auth"), "stackspin/stackspin-prometheus-basic-auth");
        assert_eq!(renamed("oas-apps", "oas-wekan-override"), "stackspin-apps/stackspin-wekan-override");
        assert_eq!(renamed("kube-system", "oas-x-override"), "kube-system/stackspin-x-override");
        assert_eq!(renamed("flux-system", "extra"), "flux-system/extra");
    }

    #[test]
    fn what_a_controller_makes_and_what_is_called_otherwise_is_not_carried() {
        let of = |namespace: &str, name: &str, managed| {
            let secret =
                Secret { namespace: namespace.into(), name: name.into(), managed, ..Secret::default() };
            is_carried(&secret)
        };
        assert!(of("flux-system", "oas-wekan-variables", false) && of("oas", "oas-x", false));
        assert!(of("kube-system", "oas-x-override", false));
        assert!(!of("flux-system", "oas-token-abc", false) && !of("kube-system", "oas-x", false));
        assert!(!of("oas", "oas-x", true) && !of("oas-apps", "registry", false));
    }
}
