//! The lab's two HTTP servers: a cluster's API, and the address at which stand-ins find the lab.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::api::{self, Body};
use super::faults::Fault;
use super::host::{Host, Power, State};
use super::standin;

/// Serves a cluster's API whenever k3s runs, for as long as the lab does. When k3s stops, the port closes and every
/// connection ends.
pub(super) async fn api(host: Arc<Host>, mut listener: Option<TcpListener>) {
    let mut state = host.follow();
    loop {
        let there = |state: &State| state.power == Power::Running && !state.faults.contains(&Fault::ApiAway);
        if state.wait_for(there).await.is_err() {
            return;
        }
        let listening = match listener.take() {
            Some(listener) => Ok(listener),
            None => host.api.listen_again().await,
        };
        let listener = match listening {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("the lab cannot listen on port {}: {error}", host.api.number());
                return;
            }
        };
        while there(&state.borrow()) {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let host = host.clone();
                        let mut state = host.follow();
                        tokio::spawn(async move {
                            let answer = service_fn(move |request| api::answer(host.clone(), request));
                            let _ = stream.set_nodelay(true);
                            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                            tokio::select! {
                                _ = connection => {}
                                _ = state.wait_for(|state| !there(state)) => {}
                            }
                        });
                    }
                }
                changed = state.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Serves the stand-ins of all hosts.
pub(super) async fn control(hosts: Arc<BTreeMap<String, Arc<Host>>>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(called(hosts.clone(), stream));
    }
}

async fn called(hosts: Arc<BTreeMap<String, Arc<Host>>>, stream: TcpStream) {
    let answer = service_fn(move |request| program(hosts.clone(), request));
    // A stand-in that is killed leaves its connection half open: that is usual.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// `POST /HOST/PROGRAM` with the arguments as a JSON list.
async fn program(
    hosts: Arc<BTreeMap<String, Arc<Host>>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let words: Vec<String> = serde_json::from_slice(&body).unwrap_or_default();
    let (name, program) = path.trim_start_matches('/').split_once('/').unwrap_or(("", ""));
    let done = match hosts.get(name) {
        Some(host) => standin::answer(host, program, &words).await,
        None => standin::Done::failed(127, format!("the lab has no host {name:?}\n")),
    };
    let text = json!({"out": done.out, "err": done.err, "code": done.code}).to_string();
    Ok(api::respond(200, "application/json", text))
}
