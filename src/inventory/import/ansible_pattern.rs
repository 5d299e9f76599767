//! A host pattern of Ansible's, `www[01:50].example.org:2222`: the hosts that it stands for, and their port.

/// Most hosts that one pattern, or a whole inventory, may stand for: a range with a slip of the finger has more.
pub(super) const MOST: usize = 20_000;

/// Most ranges of one pattern: a name has no room for more.
const MOST_RANGES: usize = 16;

/// The hosts of a pattern, and the port behind it.
pub(super) fn read(pattern: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let shown = || format!("`{pattern}` is no host");
    if pattern.trim().is_empty() || pattern.ends_with(':') || pattern == "---" {
        return Err(shown());
    }
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (host, port) = match pattern.rsplit_once(':') {
        Some((host, port)) if digits(port) && host.starts_with('[') && host.ends_with(']') => {
            (&host[1..host.len() - 1], Some(port))
        }
        Some((host, port)) if digits(port) && !outside(host).contains(':') => (host, Some(port)),
        _ => (pattern, None),
    };
    let port = port.map(|port| port.parse().map_err(|_| format!("`{port}` is no port"))).transpose()?;
    // What Ansible does not take for a host name stays whole, the port too.
    let (host, port) = if is_host(host) { (host, port) } else { (pattern, None) };
    if host.matches('[').count() > MOST_RANGES {
        return Err(format!("a pattern has more than {MOST_RANGES} ranges"));
    }
    let mut names = Vec::new();
    expand(host, &mut names).map_err(|why| format!("{}: {why}", shown()))?;
    Ok((names, port))
}

/// A text without what stands in square brackets.
fn outside(text: &str) -> String {
    let mut depth = 0_usize;
    let keep = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    text.chars().filter(keep).collect()
}

/// Whether a text is a host name or an address, ranges included.
fn is_host(text: &str) -> bool {
    if text.contains(':') && !text.contains('[') {
        return text.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let plain = |c: char| c.is_alphanumeric() || "_-[]:".contains(c);
        !label.is_empty()
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with(['-', '_'])
    };
    text.split('.').all(label)
}

/// Expands the first range of a text, then those behind it.
fn expand(text: &str, names: &mut Vec<String>) -> Result<(), String> {
    let Some((head, rest)) = text.split_once('[') else {
        if names.len() == MOST {
            return Err(format!("it stands for more than {MOST} hosts"));
        }
        names.push(text.to_owned());
        return Ok(());
    };
    let (range, tail) = rest.split_once(']').ok_or("`[` is not closed")?;
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds[..] {
        [begin, end] => (begin, end, "1"),
        [begin, end, step] => (begin, end, step),
        _ => return Err(format!("[{range}] is no range: [BEGIN:END] or [BEGIN:END:STEP]")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    let step: usize = step.parse().ok().filter(|step| *step > 0).ok_or("the step of a range is no number")?;
    if begin.len() > 1 && begin.starts_with('0') && begin.len() != end.len() {
        return Err(format!("begin and end of [{range}] must have as many digits"));
    }
    let width = if begin.starts_with('0') { begin.len() } else { 0 };
    let backwards = || format!("[{range}] ends before it begins");
    let letters = || ('a'..='z').chain('A'..='Z');
    let letter = |text: &str| letters().position(|letter| text.chars().eq([letter]));
    if let (Some(first), Some(last)) = (letter(begin), letter(end)) {
        if first > last {
            return Err(backwards());
        }
        for letter in letters().take(last + 1).skip(first).step_by(step) {
            expand(&format!("{head}{letter}{tail}"), names)?;
        }
        return Ok(());
    }
    let number =
        |text: &str| text.parse::<u64>().map_err(|_| format!("[{range}] is no range of numbers or letters"));
    let (first, last) = (number(begin)?, number(end)?);
    // Ansible passes over it without a word. Here no host is lost in silence, and behind a long range this one would be asked without end.
    if first > last {
        return Err(backwards());
    }
    for number in (first..=last).step_by(step) {
        expand(&format!("{head}{number:0width$}{tail}"), names)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_stand_for_the_hosts_that_ansible_makes_of_them() {
        let names = |pattern| read(pattern).map(|(names, port)| (names.join(" "), port));
        let good = |names: &str, port| Ok((names.to_owned(), port));
        assert_eq!(names("www[08:11].a"), good("www08.a www09.a www10.a www11.a", None));
        assert_eq!(names("db-[a:f:2]"), good("db-a db-c db-e", None));
        assert_eq!(names("x[1:2]y[:1]:22"), good("x1y0 x1y1 x2y0 x2y1", Some(22)));
        assert_eq!(names("[2001:db8::1]:2222"), good("2001:db8::1", Some(2222)));
        assert_eq!(names("2001:db8::1"), good("2001:db8::1", None));
        assert_eq!(names("web_:22"), good("web_:22", None));
        for bad in
            ["", "a:", "a[1:", "a[1]", "a[01:100]", "a[z:b]", "a[1:2:0]", "a[1:99999999999]", "a[é:2]", "---"]
        {
            assert!(names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_that_would_be_read_without_end_is_refused() {
        let empty = "a[0:9999999999999][0:9999999999999][2:1]";
        assert!(read(empty).unwrap_err().contains("[2:1] ends before it begins"));
        let deep = format!("a{}", "[1:1]".repeat(1_000_000));
        assert!(read(&deep).unwrap_err().contains("more than 16 ranges"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_pattern_is_read_or_refused(pattern in "[\\[\\]:a-c0-9.é-]{0,12}") {
            let _ = read(&pattern);
        }
    }
}
