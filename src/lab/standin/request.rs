//! The stand-ins' way to the lab: blocking HTTP over loopback, as little of it as is needed.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::Done;

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that is used for several requests.
#[derive(Debug)]
pub(super) struct Server {
    address: String,
    stream: BufReader<TcpStream>,
}

/// An answer: HTTP status and body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Server {
    pub(super) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address: address.to_owned(), stream: BufReader::new(stream) })
    }

    pub(super) fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the server's answer is no HTTP");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
        let mut length = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(broken());
            }
            let Some((name, value)) = line.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| broken())?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }
}

/// Asks the lab to do what a program does.
pub(super) fn ask_lab(folder: &Path, program: &str, words: &[String]) -> Done {
    let asked = || -> io::Result<Done> {
        let address = fs::read_to_string(folder.join("lab-address"))?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let answer = Server::connect(address.trim())?.ask(
            "POST",
            &format!("/{name}/{program}"),
            "application/json",
            json!(words).to_string().as_bytes(),
        )?;
        let answer = answer.json();
        let text = |name: &str| answer[name].as_str().unwrap_or("").to_owned();
        let code = answer["code"].as_u64().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        Ok(Done { out: text("out"), err: text("err"), code })
    };
    asked().unwrap_or_else(|error| {
        Done::failed(125, format!("{program}: the lab of this simulated host does not answer: {error}\n"))
    })
}
