//! The user's password: fetched when a host asks for it, sent to a host once.

use std::sync::{Mutex as Lock, PoisonError};

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse, Prompt};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::inventory::{Host, SecretRef};
use crate::remote::printable;
use crate::ssh::client::Client;

/// Rounds of questions in one keyboard-interactive login: the password, and some that only tell something.
const MOST_ROUNDS: usize = 5;
/// Characters of a host's question that a message repeats.
const LONGEST_QUESTION: usize = 200;

/// Passwords that were fetched, or why not, for as long as the process lives: a hundred clusters with one password must not
/// ask the operator a hundred times.
static FETCHED: Mutex<Vec<Fetched>> = Mutex::const_new(Vec::new());

struct Fetched {
    user: String,
    reference: SecretRef,
    password: Result<SecretString, String>,
}

/// Where which password was sent and not taken. It is not sent there again: hosts lock a user out after a few wrong ones.
static REFUSED: Lock<Vec<(String, SecretRef)>> = Lock::new(Vec::new());

/// The user's password. Waiting for another host's asking is waiting for the same answer.
pub(super) async fn fetch(user: &str, reference: &SecretRef) -> Result<SecretString, String> {
    let mut fetched = FETCHED.lock().await;
    if let Some(known) = fetched.iter().find(|known| known.user == user && known.reference == *reference) {
        return known.password.clone();
    }
    let (from, what) = (reference.clone(), format!("password of the SSH user {user}"));
    let job = tokio::task::spawn_blocking(move || from.fetch(&what).map_err(|error| error.to_string()));
    let password = job.await.map_err(|error| error.to_string()).flatten();
    fetched.push(Fetched { user: user.to_owned(), reference: reference.clone(), password: password.clone() });
    password
}

/// Whether this host did not take this password before.
pub(super) fn was_refused(host: &Host, reference: &SecretRef) -> bool {
    let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    refused.iter().any(|(login, known)| *login == host.login() && known == reference)
}

/// Remembers that this host did not take this password.
pub(super) fn remember_refused(host: &Host, reference: &SecretRef) {
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner).push((host.login(), reference.clone()));
}

/// Where a password comes from, for messages. A command is not repeated: people do write secrets into commands.
pub(super) fn say(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Command(_) => "a command".to_owned(),
        other => other.to_string(),
    }
}

/// How a host took the password.
pub(super) enum Answer {
    /// As any other try.
    Judged(AuthResult),
    /// It asked something that is not answered; the login cannot go on.
    Asked(String),
}

/// Sends it by the method `password`.
pub(super) async fn by_password(
    handle: &mut Handle<Client>,
    user: &str,
    password: &SecretString,
) -> Result<Answer, russh::Error> {
    handle.authenticate_password(user, password.expose_secret()).await.map(Answer::Judged)
}

/// Sends it as the answer to the one question that asks for it, by the method `keyboard-interactive`.
pub(super) async fn by_question(
    handle: &mut Handle<Client>,
    user: &str,
    password: &SecretString,
) -> Result<Answer, russh::Error> {
    use KeyboardInteractiveAuthResponse::{Failure, InfoRequest, Success};
    let mut answered = false;
    let mut response = handle.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..MOST_ROUNDS {
        let answers = match response {
            Success => return Ok(Answer::Judged(AuthResult::Success)),
            Failure { remaining_methods, partial_success } => {
                return Ok(Answer::Judged(AuthResult::Failure { remaining_methods, partial_success }));
            }
            InfoRequest { instructions, prompts, .. } => match prompts.as_slice() {
                // Some hosts only tell something.
                [] => Vec::new(),
                [prompt] if !prompt.echo && !answered => {
                    answered = true;
                    vec![password.expose_secret().to_owned()]
                }
                _ => return Ok(Answer::Asked(say_questions(&instructions, &prompts, answered))),
            },
        };
        response = handle.authenticate_keyboard_interactive_respond(answers).await?;
    }
    Ok(Answer::Asked("asks on and on".to_owned()))
}

/// Why these questions are not answered, with the host's words made harmless.
fn say_questions(instructions: &str, prompts: &[Prompt], answered: bool) -> String {
    let clean = |text: &str| {
        let short: String = printable(text.trim()).chars().take(LONGEST_QUESTION).collect();
        format!("\"{short}\"")
    };
    let questions: Vec<String> = prompts.iter().take(3).map(|prompt| clean(&prompt.prompt)).collect();
    let told = if instructions.trim().is_empty() {
        String::new()
    } else {
        format!(", telling {}", clean(instructions))
    };
    let why = if prompts.len() > 1 {
        "several things at once"
    } else if answered {
        "another thing after the password"
    } else {
        "for what may be shown on a screen, so not for a password"
    };
    format!("asks {why}: {}{told}", questions.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_a_command_gives_is_named_without_the_command() {
        assert_eq!(say(&SecretRef::Command("echo hunter2".into())), "a command");
        assert_eq!(say(&SecretRef::Env("FLEET_PASSWORD".into())), "variable FLEET_PASSWORD");
    }

    #[test]
    fn what_a_host_asks_is_shown_short_and_harmless() {
        let prompts = [Prompt { prompt: format!("\u{1b}[31mCode{}", "!".repeat(500)), echo: true }];
        let said = say_questions("\r\nlook", &prompts, false);
        assert!(said.contains("\"·[31mCode!") && said.ends_with("telling \"look\""), "{said}");
        assert!(said.len() < 400, "{said}");
    }
}
