//! What is wrong with an inventory, told so that a person finds it: file, line, column, the line itself, a way out.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::remote::printable;

/// Longest part of a source line that is shown, in characters.
const EXCERPT: usize = 120;

/// Everything that is wrong with an inventory, in order of file and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryError {
    faults: Vec<Fault>,
}

impl InventoryError {
    /// Faults, put in order. Several at one place with the same words are told once.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|a, b| (a.order, &a.what).cmp(&(b.order, &b.what)));
        faults.dedup();
        Self { faults }
    }

    /// The faults; never empty.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl std::error::Error for InventoryError {}

impl fmt::Display for InventoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => write!(f, "the inventory has a fault")?,
            n => write!(f, "the inventory has {n} faults")?,
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n\n{fault}"))
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, or the path that is none.
    pub file: PathBuf,
    /// Where in the file; `None` where the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong, in one line.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Number of the file and byte in it, to sort by.
    order: (usize, usize),
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in characters.
    pub column: usize,
    /// The line, secrets masked; `None` where it may hold a secret that cannot be told apart.
    excerpt: Option<Excerpt>,
}

/// A line with the part that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Characters before the caret, and carets.
    caret: (usize, usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file.display().to_string());
        let Some(place) = &self.place else {
            write!(f, "{file}: {}", self.what)?;
            return self.help.iter().try_for_each(|help| write!(f, "\n  = {help}"));
        };
        let margin = " ".repeat(place.line.to_string().len());
        write!(f, "{file}:{}:{}: {}", place.line, place.column, self.what)?;
        if let Some(Excerpt { text, caret: (before, width) }) = &place.excerpt {
            write!(f, "\n  {} | {text}", place.line)?;
            write!(f, "\n  {margin} | {}{}", " ".repeat(*before), "^".repeat(*width))?;
        }
        self.help.iter().try_for_each(|help| write!(f, "\n  {margin} = {help}"))
    }
}

/// One file of an inventory, as text.
#[derive(Debug)]
pub(super) struct Page {
    /// Its number among the inventory's files.
    pub(super) number: usize,
    /// Its path, as found from the path that was typed.
    pub(super) path: PathBuf,
    /// Its text.
    pub(super) text: String,
    /// Where values stand that may be secrets although none may be here: never shown.
    pub(super) masked: Vec<Range<usize>>,
    /// The operator's home, for `~/`.
    pub(super) home: Option<PathBuf>,
}

impl Page {
    /// A fault of this page at these bytes.
    pub(super) fn fault(&self, at: &Range<usize>, what: impl Into<String>, help: Option<String>) -> Fault {
        let place = Place { excerpt: Some(self.excerpt(at)), ..self.place(at.start) };
        Fault {
            file: self.path.clone(),
            place: Some(place),
            what: printable(&what.into()),
            help: help.map(|help| printable(&help)),
            order: (self.number, at.start),
        }
    }

    /// A fault whose line is not shown, because what stands there cannot be told from a secret.
    pub(super) fn blind_fault(&self, at: &Range<usize>, what: impl Into<String>) -> Fault {
        Fault { place: Some(self.place(at.start)), ..self.fault(at, what, None) }
    }

    /// `file:line`, for messages.
    pub(super) fn spot(&self, at: &Range<usize>) -> String {
        printable(&format!("{}:{}", self.path.display(), self.place(at.start).line))
    }

    /// The folder that relative paths start from.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or_else(|| Path::new(""))
    }

    /// The line that a byte stands in, and where it begins.
    pub(super) fn line(&self, byte: usize) -> (usize, &str) {
        let begin = self.before(byte).rfind('\n').map_or(0, |newline| newline + 1);
        (begin, self.text[begin..].split('\n').next().unwrap_or_default())
    }

    /// The text before a byte; all of it where there is no such byte.
    fn before(&self, byte: usize) -> &str {
        self.text.get(..byte).unwrap_or(&self.text)
    }

    fn place(&self, byte: usize) -> Place {
        let before = self.before(byte);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place { line, column, excerpt: None }
    }

    fn excerpt(&self, at: &Range<usize>) -> Excerpt {
        let (begin, line) = self.line(at.start);
        let (mut shown, mut from, mut to) = (Vec::new(), None, None);
        let mut mask: Option<&Range<usize>> = None;
        for (offset, c) in line.char_indices() {
            let byte = begin + offset;
            if byte >= at.start && from.is_none() {
                from = Some(shown.len());
            }
            if byte >= at.end && to.is_none() {
                to = Some(shown.len());
            }
            let secret = self.masked.iter().find(|range| range.contains(&byte));
            match secret {
                Some(_) if secret == mask => {}
                Some(_) => shown.extend("***".chars()),
                None if c == '\r' => {}
                None => shown.extend(printable(c.encode_utf8(&mut [0; 4])).chars()),
            }
            mask = secret;
        }
        let from = from.unwrap_or(shown.len());
        let to = to.unwrap_or(shown.len()).max(from + 1);
        // A long line is shown around its caret.
        let cut = if shown.len() > EXCERPT { from.saturating_sub(40) } else { 0 };
        let end = shown.len().min(cut + EXCERPT);
        let lead = if cut > 0 { "…" } else { "" };
        let tail = if end < shown.len() { "…" } else { "" };
        let text: String = shown[cut..end].iter().collect();
        let before = from - cut + lead.chars().count();
        Excerpt {
            text: format!("{lead}{text}{tail}").trim_end().to_owned(),
            caret: (before, (to.min(end.max(from + 1))) - from),
        }
    }
}

/// A fault of a whole file, or of a path that is none.
pub(super) fn whole(number: usize, file: &Path, what: impl Into<String>, help: Option<&str>) -> Fault {
    Fault {
        file: file.to_owned(),
        place: None,
        what: printable(&what.into()),
        help: help.map(str::to_owned),
        order: (number, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { number: 0, path: "a.toml".into(), text: text.to_owned(), masked: Vec::new(), home: None }
    }

    #[test]
    fn a_fault_shows_its_line_and_points_at_it() {
        let fault = page("x = 1\n\tpört = 2\r\n").fault(&(7..12), "what", Some("help".into()));
        assert_eq!(fault.to_string(), "a.toml:2:2: what\n  2 |  pört = 2\n    |  ^^^^\n    = help");
    }

    #[test]
    fn a_masked_value_is_not_shown_and_the_caret_still_fits() {
        let mut page = page("p = \"hunter2\", q = 1");
        page.masked.push(4..13);
        let fault = page.fault(&(15..16), "what", None).to_string();
        assert_eq!(fault, "a.toml:1:16: what\n  1 | p = ***, q = 1\n    |          ^");
    }

    #[test]
    fn a_long_line_is_shown_around_its_caret() {
        let text = format!("{}KEY{}", "a".repeat(500), "b".repeat(500));
        let fault = page(&text).fault(&(500..503), "what", None).to_string();
        let lines: Vec<&str> = fault.lines().collect();
        assert!(lines[1].chars().count() < 140, "{fault}");
        let at = lines[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[1].chars().skip(at).take(3).collect::<String>(), "KEY");
        assert!(lines[2].ends_with("^^^") && !lines[2].ends_with("^^^^"));
    }

    #[test]
    fn places_outside_of_the_text_are_its_end() {
        assert!(page("").fault(&(7..9), "what", None).to_string().starts_with("a.toml:1:1: what"));
    }
}
