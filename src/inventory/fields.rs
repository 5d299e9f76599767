//! Reading one TOML table: each value by key, type and rule; what does not fit becomes a fault and reading goes on.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::{Fault, Page};
use crate::form::meant;

/// What people type for a key that has another name here.
pub(super) const ALSO_CALLED: [(&str, &str); 10] = [
    ("host", "address"),
    ("hostname", "address"),
    ("ip", "address"),
    ("key", "identity"),
    ("login", "user"),
    ("username", "user"),
    ("proxyjump", "jump"),
    ("bastion", "jump"),
    ("become", "sudo"),
    ("timeout", "connect_timeout_seconds"),
];

/// One table of a page.
pub(super) struct Fields<'a> {
    /// The page.
    pub(super) page: &'a Page,
    /// What the table is, for messages: `cluster acme`.
    pub(super) of: String,
    /// The table.
    pub(super) table: &'a DeTable<'a>,
    /// Where faults go.
    pub(super) faults: &'a mut Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// The same for a table inside of this one.
    pub(super) fn inner<'b>(&'b mut self, of: String, table: &'b DeTable<'b>) -> Fields<'b> {
        Fields { page: self.page, of, table, faults: self.faults }
    }

    /// Keeps a fault.
    pub(super) fn fault(&mut self, at: &Range<usize>, what: impl Into<String>, help: Option<String>) {
        self.faults.push(self.page.fault(at, what, help));
    }

    /// Keeps a fault for every key that is none of these. A key of `only_clusters` belongs to a single cluster.
    pub(super) fn only(&mut self, keys: &[&str], only_clusters: &[&str]) {
        for (key, value) in self.table {
            let word: &str = key.get_ref();
            if keys.contains(&word) {
                continue;
            }
            let help = if only_clusters.contains(&word) {
                format!("`{word}` belongs to a single cluster: write it under [clusters.NAME]")
            } else if let Some(known) = nearest(word, keys) {
                format!("did you mean `{known}`?")
            } else if value.get_ref().is_table() && self.of.starts_with("cluster") {
                "a name with dots is written in quotes: [clusters.\"acme.example.org\"]".to_owned()
            } else {
                format!("known here: {}", keys.join(", "))
            };
            let what = format!("unknown key `{word}` in {}", self.of);
            self.fault(&key.span(), what, Some(help));
        }
    }

    /// The value of a key, as it stands.
    pub(super) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Where a key stands.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or(0..0, |(key, _): (&Spanned<DeString<'_>>, _)| key.span())
    }

    /// A text that keeps a rule, with its place.
    pub(super) fn text<T>(
        &mut self,
        key: &str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let value = self.value(key)?;
        self.one(key, value, &rule)
    }

    /// A text, or a list of texts, that each keep a rule.
    pub(super) fn texts<T>(
        &mut self,
        key: &str,
        rule: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Spanned<T>>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(_) => self.one(key, value, &rule).map(|one| vec![one]),
            DeValue::Array(list) => {
                Some(list.iter().filter_map(|value| self.one(key, value, &rule)).collect())
            }
            _ => {
                self.wrong_type(key, value, "a text or a list of texts");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "`true` or `false`, without quotes");
        }
        flag
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number, without quotes");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let good = number.filter(|number| range.contains(number));
        if good.is_none() {
            let what = format!("`{key}` of {} must be from {} to {}", self.of, range.start(), range.end());
            self.fault(&value.span(), what, None);
        }
        good
    }

    /// A table.
    pub(super) fn table(&mut self, key: &str) -> Option<&'a DeTable<'a>> {
        let value = self.value(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        table
    }

    /// Keeps the fault that a value is of the wrong type.
    pub(super) fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let what = format!("`{key}` of {} must be {wanted}, not {found}", self.of);
        self.fault(&value.span(), what, None);
    }

    fn one<T>(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        rule: &impl Fn(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "a text");
            return None;
        };
        let kept = match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(format!("it holds the control character U+{:04X}", u32::from(c))),
            None => rule(text),
        };
        match kept {
            Ok(kept) => Some(Spanned::new(value.span(), kept)),
            Err(why) => {
                self.fault(&value.span(), format!("bad `{key}` of {}: {why}", self.of), None);
                None
            }
        }
    }
}

fn nearest<'k>(word: &str, keys: &[&'k str]) -> Option<&'k str> {
    let alias = ALSO_CALLED.iter().find(|(other, _)| *other == word).map(|(_, key)| *key);
    let alias = alias.and_then(|alias| keys.iter().find(|key| **key == alias));
    alias.copied().or_else(|| meant(word, keys.iter().copied()))
}
