//! Verbs that change or delete objects which are there: `patch`, `annotate`, `label`, `scale`, `delete`, and `exec`, which leaves a mark.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::Done;
use super::super::typed::{Typed, named, pretty};
use super::{Complaint, Session, refusal};
use crate::lab::flux::DONE_INSIDE;
use crate::lab::program;
use crate::remote::quote;

/// How long `delete` waits for an object to go.
const GONE: Duration = Duration::from_secs(60);

impl Session {
    pub(super) fn patch(
        &mut self,
        typed: &Typed,
        words: &[String],
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "patch")?;
        let resource = self.resource(&kinds)?;
        let name = names.first().ok_or("error: resource(s) were provided, but no name was specified")?;
        let change: Value = serde_json::from_str(&typed.patch)
            .map_err(|error| format!("error: unable to parse {:?}: {error}", typed.patch))?;
        let kind = match typed.patch_type.as_str() {
            "merge" => "application/merge-patch+json",
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            other => {
                return Err(format!("error: --type must be one of [json merge strategic], not {other:?}"));
            }
        };
        let path = format!("{}/{name}", typed.place(&resource));
        let before = self.found(&path)?;
        let answer = self.ask("PATCH", &path, kind, &change)?;
        if answer.status >= 400 {
            return Err(refusal(&answer, ""));
        }
        let after = answer.json();
        done.out = if typed.output == "json" {
            pretty(&after)
        } else {
            let unchanged = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"];
            format!("{} patched{}\n", resource.called(&after), if unchanged { " (no change)" } else { "" })
        };
        Ok(())
    }

    pub(super) fn delete(
        &mut self,
        typed: &Typed,
        words: &[String],
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "delete")?;
        let resource = self.resource(&kinds)?;
        let place = typed.place(&resource);
        let mut complaints = Vec::new();
        for path in self.chosen(typed, &place, &names)? {
            let answer =
                self.ask("DELETE", &path, "application/json", &json!({"propagationPolicy": "Background"}))?;
            match answer.status {
                404 if typed.ignore_missing => continue,
                400.. => {
                    complaints.push(refusal(&answer, ""));
                    continue;
                }
                _ => {}
            }
            let name = path.rsplit('/').next().unwrap_or("");
            done.print(&format!("{} {name:?} deleted\n", resource.singular()));
            let began = Instant::now();
            while !typed.no_wait && self.fetch(&path)?.status != 404 {
                if began.elapsed() > GONE {
                    complaints.push(format!("error: timed out waiting for the condition on {name}"));
                    break;
                }
                pause();
            }
        }
        if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
    }

    /// `annotate` and `label`.
    pub(super) fn mark(
        &mut self,
        typed: &Typed,
        verb: &str,
        words: &[String],
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let is_mark = |word: &&String| word.contains('=') || word.ends_with('-');
        let (marks, words): (Vec<&String>, Vec<&String>) = words.iter().partition(is_mark);
        let words: Vec<String> = words.into_iter().cloned().collect();
        let (kinds, names) = named(&words, verb)?;
        let resource = self.resource(&kinds)?;
        let place = typed.place(&resource);
        let part = if verb == "annotate" { "annotations" } else { "labels" };
        let mut change = json!({});
        for mark in marks {
            match mark.split_once('=') {
                Some((name, value)) => change[name] = json!(value),
                None => change[mark.trim_end_matches('-')] = Value::Null,
            }
        }
        for path in self.chosen(typed, &place, &names)? {
            let before = self.found(&path)?;
            let clash = change.as_object().into_iter().flatten().find(|(name, value)| {
                let old = &before["metadata"][part][name.as_str()];
                !value.is_null() && !old.is_null() && old != *value
            });
            if let (Some((name, _)), false) = (clash, typed.overwrite) {
                let old = before["metadata"][part][name.as_str()].as_str().unwrap_or("");
                return Err(format!(
                    "error: --overwrite is false but found the following declared {part}: '{name}' already has a value ({old})"
                ));
            }
            let answer = self.ask(
                "PATCH",
                &path,
                "application/merge-patch+json",
                &json!({"metadata": {part: change}}),
            )?;
            if answer.status >= 400 {
                return Err(refusal(&answer, ""));
            }
            let word = if verb == "annotate" { "annotated" } else { "labeled" };
            done.print(&format!("{} {word}\n", resource.called(&answer.json())));
        }
        Ok(())
    }

    /// There are no containers to run anything in: what was to be done is written on the workload. Nextcloud's `occ` alone has a stand-in,
    /// and a script that asks it is run by a real shell.
    pub(super) fn exec(&mut self, typed: &Typed, words: &[String], done: &mut Done) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "exec")?;
        let resource = self.resource(&kinds)?;
        let name = names.first().ok_or("error: pod, type/name or --filename must be specified")?;
        if typed.inside.is_empty() {
            return Err("error: you must specify at least one command for the container".to_owned());
        }
        let path = format!("{}/{name}", typed.place(&resource));
        let body = json!({"metadata": {"annotations": {DONE_INSIDE: typed.inside.join(" ")}}});
        let answer = self.ask("PATCH", &path, "application/merge-patch+json", &body)?;
        if answer.status >= 400 {
            return Err(refusal(&answer, ""));
        }
        match &typed.inside[..] {
            [shell, option, script, rest @ ..]
                if shell == "sh" && option == "-c" && script.contains("php occ") =>
            {
                self.inside(script, rest, done)
            }
            _ => Ok(()),
        }
    }

    /// In a container that runs as the owner of Nextcloud's files.
    fn inside(&self, script: &str, words: &[String], done: &mut Done) -> Result<(), Complaint> {
        let wrong = |error: std::io::Error| format!("error: the lab has no container: {error}");
        let folder = self.folder.join("container");
        let (bin, www) = (folder.join("bin"), folder.join("www"));
        fs::create_dir_all(&www).and_then(|()| fs::create_dir_all(&bin)).map_err(wrong)?;
        let [fleet, host] = [std::env::current_exe().map_err(wrong)?, self.folder.clone()]
            .map(|path| quote(&path.to_string_lossy()));
        let php = format!("#!/bin/sh\nexec {fleet} lab stand-in --host {host} php \"$@\"\n");
        program(&bin.join("php"), php).map_err(wrong)?;
        program(&bin.join("id"), "#!/bin/sh\necho 33\n").map_err(wrong)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let script = script.replace("/var/www/html", &quote(&www.to_string_lossy()));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .args(words)
            .env("PATH", format!("{}:{path}", bin.display()))
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(wrong)?;
        done.out = String::from_utf8_lossy(&output.stdout).into_owned();
        done.err = String::from_utf8_lossy(&output.stderr).into_owned();
        done.code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
        if done.code != 0 {
            let ended = format!("command terminated with exit code {}\n", done.code);
            done.err.push_str(&ended);
        }
        Ok(())
    }

    pub(super) fn scale(
        &mut self,
        typed: &Typed,
        words: &[String],
        done: &mut Done,
    ) -> Result<(), Complaint> {
        let (kinds, names) = named(words, "scale")?;
        let resource = self.resource(&kinds)?;
        let replicas = typed.replicas.ok_or(
            "error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        )?;
        for path in self.chosen(typed, &typed.place(&resource), &names)? {
            let before = self.found(&path)?;
            let body = json!({"spec": {"replicas": replicas}});
            let answer =
                self.ask("PATCH", &format!("{path}/scale"), "application/merge-patch+json", &body)?;
            if answer.status >= 400 {
                return Err(refusal(&answer, ""));
            }
            done.print(&format!("{} scaled\n", resource.called(&before)));
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the stand-in is a process of its own, without a runtime")]
fn pause() {
    std::thread::sleep(Duration::from_millis(25));
}
