//! What a host asks beside, or after, a password.

use std::borrow::Cow;
use std::sync::Mutex;

use russh::server::{Auth, Handler, Response};
use russh::{MethodKind, MethodSet};

use super::*;
use crate::inventory::SecretRef;

const PASSWORD: &str = "hunter2";

/// Asks these questions, round by round, and keeps the answers.
#[derive(Clone)]
struct Asker {
    rounds: Vec<Vec<(&'static str, bool)>>,
    heard: Arc<Mutex<Vec<String>>>,
    /// When the last password was heard that is never answered.
    unanswered: Arc<Mutex<Option<tokio::time::Instant>>>,
    ways: Vec<MethodKind>,
    round: usize,
    cutter: Arc<Mutex<Option<wire::Cutter>>>,
}

impl Asker {
    fn new(rounds: &[&[(&'static str, bool)]]) -> Self {
        let rounds = rounds.iter().map(|round| round.to_vec()).collect();
        let ways = vec![MethodKind::KeyboardInteractive];
        Self {
            rounds,
            heard: Arc::default(),
            unanswered: Arc::default(),
            ways,
            round: 0,
            cutter: Arc::default(),
        }
    }
}

impl Handler for Asker {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        let left = Some(MethodSet::from(self.ways.as_slice()));
        Ok(Auth::Reject { proceed_with_methods: left, partial_success: false })
    }

    /// It never answers to a password, as far as the library tells: so does a host that wants another password.
    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Self::Error> {
        self.heard.lock().unwrap().push(password.to_owned());
        *self.unanswered.lock().unwrap() = Some(tokio::time::Instant::now());
        std::future::pending().await
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        for answer in response.into_iter().flatten() {
            self.heard.lock().unwrap().push(String::from_utf8(answer.to_vec()).unwrap());
        }
        let Some(round) = self.rounds.get(self.round) else { return Ok(Auth::Accept) };
        self.round += 1;
        let prompts = round.iter().map(|(text, echo)| (Cow::Borrowed(*text), *echo)).collect::<Vec<_>>();
        Ok(Auth::Partial {
            name: Cow::Borrowed(""),
            instructions: Cow::Borrowed("Your \u{1b}[31mpassword has expired"),
            prompts: Cow::Owned(prompts),
        })
    }
}

/// Logs in with a password; each test with an address of its own, because what a host refused is remembered.
async fn log_in(asker: &Asker, address: &str) -> Result<Line, RemoteError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    crate::files::write_whole(&file, PASSWORD.as_bytes()).unwrap();
    log_in_with(asker, address, SecretRef::File(file)).await
}

async fn log_in_with(asker: &Asker, address: &str, password: SecretRef) -> Result<Line, RemoteError> {
    let host_key = random_key();
    let host = Host {
        address: address.to_owned(),
        host_key: Some(host_key.public_key().to_openssh().unwrap()),
        password: Some(password),
        ..oak()
    };
    let (near, far) = tokio::io::duplex(64 << 10);
    let (far, cutter) = wire::cuttable(far);
    *asker.cutter.lock().unwrap() = Some(cutter);
    let config = russh::server::Config {
        keys: vec![host_key],
        auth_rejection_time: Duration::ZERO,
        inactivity_timeout: None,
        ..Default::default()
    };
    let asker = asker.clone();
    tokio::spawn(async move {
        if let Ok(running) = run_stream(Arc::new(config), far, asker).await {
            let _ = running.await;
        }
    });
    let known = HostKeys::read(&host).await.unwrap();
    shake_hands(&host, near, known, Keys::default()).await
}

async fn refusal(asker: &Asker, address: &str) -> String {
    match log_in(asker, address).await {
        Err(RemoteError::Auth(error)) => {
            assert!(!error.contains(PASSWORD), "{error}");
            error
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_hidden_question_is_answered_and_what_is_only_told_is_read() {
    let asker = Asker::new(&[&[], &[("Password: ", false)], &[]]);
    log_in(&asker, "198.51.100.1").await.unwrap();
    assert_eq!(*asker.heard.lock().unwrap(), [PASSWORD]);
}

#[tokio::test]
async fn a_question_whose_answer_is_shown_is_not_answered() {
    let asker = Asker::new(&[&[("Token\u{7}: ", true)]]);
    let error = refusal(&asker, "198.51.100.2").await;
    assert!(error.contains("asks for what may be shown") && error.contains("\"Token·:\""), "{error}");
    assert!(error.contains("telling \"Your ·[31mpassword has expired\""), "{error}");
    assert_eq!(asker.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn several_questions_at_once_are_not_answered() {
    let asker = Asker::new(&[&[("Password: ", false), ("Token: ", false)]]);
    let error = refusal(&asker, "198.51.100.3").await;
    assert!(error.contains("asks several things at once: \"Password:\", \"Token:\""), "{error}");
    assert_eq!(asker.heard.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_second_question_after_the_password_is_not_answered() {
    let asker = Asker::new(&[&[("Password: ", false)], &[("New password: ", false)]]);
    let error = refusal(&asker, "198.51.100.4").await;
    assert!(error.contains("another thing after the password: \"New password:\""), "{error}");
    assert_eq!(*asker.heard.lock().unwrap(), [PASSWORD]);
}

#[tokio::test]
async fn a_host_that_tells_things_without_end_is_given_up() {
    let asker = Asker::new(&[&[][..]; 100]);
    let error = refusal(&asker, "198.51.100.5").await;
    assert!(error.contains("asks on and on"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_not_answered_is_given_up_and_not_sent_again() {
    let asker = Asker { ways: vec![MethodKind::Password], ..Asker::new(&[]) };
    let error = refusal(&asker, "198.51.100.6").await;
    // Reading the password's file takes no time of the clock that counts here, but may let it run on.
    let waited = asker.unanswered.lock().unwrap().map(|heard| heard.elapsed());
    assert!(error.contains("did not answer to the password from file"), "{error}");
    assert!(
        error.contains("wants the password changed") && error.contains("ssh -p 22 root@198.51.100.6"),
        "{error}"
    );
    assert!(waited.is_some_and(|waited| waited <= Duration::from_secs(11)), "{waited:?}");
    assert_eq!(asker.heard.lock().unwrap().len(), 1);
}

// A person at a prompt may take longer than the host waits.
#[tokio::test]
async fn a_password_that_came_after_the_host_had_hung_up_was_not_sent_and_may_be_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let typed = folder.path().join("typed");
    assert!(std::process::Command::new("mkfifo").arg(&typed).status().unwrap().success());
    let password = SecretRef::Command(format!("cat {}", typed.display()));
    let asker = Asker::new(&[&[("Password: ", false)]]);
    let hang_up = async {
        // Whoever opens the pipe for writing waits until it is asked for the password.
        let opened = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(typed));
        let mut typing = opened.await.unwrap().unwrap();
        asker.cutter.lock().unwrap().take();
        tokio::task::spawn_blocking(move || typing.write_all(PASSWORD.as_bytes()).unwrap()).await.unwrap();
    };
    let (ended, ()) = tokio::join!(log_in_with(&asker, "198.51.100.9", password.clone()), hang_up);
    let Err(RemoteError::Auth(error)) = ended else { panic!("{ended:?}") };
    assert!(error.contains("hung up while the password was fetched"), "{error}");

    log_in_with(&asker, "198.51.100.9", password).await.unwrap();
    assert_eq!(*asker.heard.lock().unwrap(), [PASSWORD]);
}
