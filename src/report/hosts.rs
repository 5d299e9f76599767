//! Sets of hosts for people: `ash, web[1-40], zoo`.

use crate::remote::printable;

/// Names that are written at most; the others are counted.
const WRITTEN: usize = 40;

/// The names, in the order given: runs of numbers in brackets, and no more of them than can be read.
pub(super) fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    named_in(names, WRITTEN)
}

/// [`named`] with at most so many names or runs.
pub(super) fn named_in<'a>(names: impl IntoIterator<Item = &'a str>, written: usize) -> String {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for name in names {
        if runs.last_mut().is_none_or(|run| !run.takes(name)) {
            runs.push(Run { first: name, last: name, names: 1 });
        }
    }
    // Two in brackets are harder to read than two names.
    let mut words: Vec<(usize, String)> = Vec::new();
    for run in &runs {
        match run.names {
            2 => words.extend([(1, run.first.to_owned()), (1, run.last.to_owned())]),
            names => words.push((names, run.text())),
        }
    }
    let hidden: usize = words.iter().skip(written).map(|(names, _)| names).sum();
    let mut text = words.iter().take(written).map(|(_, word)| printable(word)).collect::<Vec<_>>().join(", ");
    if hidden > 0 {
        text = format!("{text} and {hidden} more");
    }
    text
}

/// Names that differ only in a number at their end, and count up by one.
struct Run<'a> {
    first: &'a str,
    last: &'a str,
    names: usize,
}

impl<'a> Run<'a> {
    /// Takes the name in, if it is the next one.
    fn takes(&mut self, name: &'a str) -> bool {
        let ((stem, digits), (last_stem, last_digits)) = (split(name), split(self.last));
        let number = |digits: &str| digits.parse::<u64>().ok();
        // `9` goes on with `10`, and `09` with `10`; `9` does not go on with `010`.
        let written_alike =
            digits.len() == last_digits.len() || (!digits.starts_with('0') && !last_digits.starts_with('0'));
        let follows = stem == last_stem
            && written_alike
            && number(digits)
                .zip(number(last_digits))
                .is_some_and(|(next, last)| last.checked_add(1) == Some(next));
        if follows {
            self.last = name;
            self.names += 1;
        }
        follows
    }

    fn text(&self) -> String {
        if self.names == 1 {
            return self.first.to_owned();
        }
        let ((stem, first), (_, last)) = (split(self.first), split(self.last));
        format!("{stem}[{first}-{last}]")
    }
}

/// A name's stem and the digits at its end.
fn split(name: &str) -> (&str, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, &name[stem.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_count_up_are_one_word() {
        let set = |names: &[&str]| named(names.iter().copied());
        assert_eq!(set(&[]), "");
        assert_eq!(set(&["ash"]), "ash");
        assert_eq!(set(&["ash", "web1", "web2", "web3", "zoo"]), "ash, web[1-3], zoo");
        assert_eq!(set(&["web1", "web2"]), "web1, web2");
        assert_eq!(set(&["web1", "web3", "web4", "web5"]), "web1, web[3-5]");
        assert_eq!(set(&["n08", "n09", "n10", "n11"]), "n[08-11]");
        assert_eq!(set(&["n8", "n9", "n10"]), "n[8-10]");
        assert_eq!(set(&["n9", "n010", "n011"]), "n9, n010, n011");
        assert_eq!(set(&["7", "8", "9"]), "[7-9]");
        assert_eq!(set(&["a99999999999999999999", "b1"]), "a99999999999999999999, b1");
    }

    #[test]
    fn a_set_too_long_to_read_is_counted() {
        let names: Vec<String> = (0..50).map(|index| format!("host{}", index * 2)).collect();
        let text = named_in(names.iter().map(String::as_str), 3);
        assert_eq!(text, "host0, host2, host4 and 47 more");
    }
}
