//! Sending the user's password to a host's login, as an answer to nothing else than its one question.

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse, Prompt};
use secrecy::{ExposeSecret, SecretString};

use crate::remote::printable;
use crate::ssh::client::Client;

/// Rounds of questions in one keyboard-interactive login: the password, and some that only tell something.
const MOST_ROUNDS: usize = 5;
/// Characters of a host's question that a message repeats.
const LONGEST_QUESTION: usize = 200;

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
    fn what_a_host_asks_is_shown_short_and_harmless() {
        let prompts = [Prompt { prompt: format!("\u{1b}[31mCode{}", "!".repeat(500)), echo: true }];
        let said = say_questions("\r\nlook", &prompts, false);
        assert!(said.contains("\"·[31mCode!") && said.ends_with("telling \"look\""), "{said}");
        assert!(said.len() < 400, "{said}");
    }
}
