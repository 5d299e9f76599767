//! The operator's own values: ConfigMaps and Secrets named `oas-*-override` or `stackspin-*-override` (facts section 3.4).
