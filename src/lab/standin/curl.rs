//! `curl`, as far as it asks whether something on the web answers.

use std::path::Path;

use super::{Done, request};

/// Options of curl that take a value.
const WITH_VALUE: [&str; 24] = [
    "--noproxy",
    "--proxy",
    "--interface",
    "--max-redirs",
    "--proto",
    "--proto-redir",
    "--retry-delay",
    "-o",
    "--output",
    "-w",
    "--write-out",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--resolve",
    "-X",
    "--request",
    "-H",
    "--header",
    "-A",
    "--user-agent",
    "--retry",
    "-u",
    "--cacert",
];

/// Does what `curl` with these words does: every URL is answered by the lab.
pub(super) fn run(folder: &Path, words: &[String]) -> Done {
    let (mut urls, mut output, mut format) = (Vec::new(), None, String::new());
    let (mut fail, mut show, mut silent, mut head) = (false, false, false, false);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value)),
            _ => (word, None),
        };
        if WITH_VALUE.contains(&name) {
            let value = joined.or_else(|| words.next()).unwrap_or("");
            match name {
                "-o" | "--output" => output = Some(value.to_owned()),
                "-w" | "--write-out" => value.clone_into(&mut format),
                _ => {}
            }
        } else if let Some(long) = word.strip_prefix("--") {
            match long {
                "fail" => fail = true,
                "show-error" => show = true,
                "silent" => silent = true,
                "head" => head = true,
                _ => {}
            }
        } else if let Some(short) = word.strip_prefix('-') {
            // The last of `-sSo` may take a value.
            for (at, letter) in short.char_indices() {
                match letter {
                    'f' => fail = true,
                    'S' => show = true,
                    's' => silent = true,
                    'I' => head = true,
                    'o' | 'w' | 'm' | 'X' | 'H' | 'A' | 'u' => {
                        let rest = &short[at + letter.len_utf8()..];
                        let value = if rest.is_empty() { words.next().unwrap_or("") } else { rest };
                        match letter {
                            'o' => output = Some(value.to_owned()),
                            'w' => value.clone_into(&mut format),
                            _ => {}
                        }
                        break;
                    }
                    _ => {}
                }
            }
        } else {
            urls.push(word.to_owned());
        }
    }
    let mut done = Done::default();
    for url in urls {
        one(
            folder,
            &url,
            &mut done,
            Wanted { output: output.as_deref(), format: &format, fail, head, quiet: silent && !show },
        );
    }
    done
}

/// What is wanted of an answer.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    output: Option<&'a str>,
    format: &'a str,
    fail: bool,
    head: bool,
    quiet: bool,
}

fn one(folder: &Path, url: &str, done: &mut Done, wanted: Wanted<'_>) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or("").split(':').next().unwrap_or("");
    let answer = request::ask_lab(folder, "web", &[host.to_owned()]);
    let status: u16 = if answer.code == 0 { answer.out.parse().unwrap_or(0) } else { 0 };
    let complaint = if answer.code != 0 {
        done.code = answer.code;
        Some(answer.err)
    } else if wanted.fail && status >= 400 {
        done.code = 22;
        Some(format!("The requested URL returned error: {status}"))
    } else {
        None
    };
    if let Some(complaint) = &complaint {
        if !wanted.quiet {
            done.err.push_str(&["curl: (", &done.code.to_string(), ") ", complaint, "\n"].concat());
        }
    } else if wanted.output.is_none() {
        done.print(&if wanted.head {
            format!("HTTP/2 {status}\r\n\r\n")
        } else {
            format!("<p>{status}</p>\n")
        });
    }
    done.print(
        &wanted
            .format
            .replace("%{http_code}", &format!("{status:03}"))
            .replace("%{response_code}", &format!("{status:03}"))
            .replace("%{ssl_verify_result}", "0")
            .replace("%{exitcode}", &done.code.to_string())
            .replace("%{errormsg}", complaint.as_deref().unwrap_or(""))
            .replace("%{url_effective}", url)
            .replace("%{url}", url)
            .replace("%{time_total}", "0.042")
            .replace("\\n", "\n")
            .replace("\\t", "\t"),
    );
}
