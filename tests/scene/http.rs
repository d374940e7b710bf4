//! A client of the HTTP interface: one request, one connection, one answer, as `curl` does it.

use std::time::Duration;

use serde_json::Value;
use testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::program::Running;

/// Where an interface listens.
pub(crate) struct Http {
    address: String,
}

impl Http {
    /// That of a program that has said where it listens.
    pub(crate) async fn of(api: &Running) -> Self {
        const SAID: &str = "HTTP API at http://";
        api.has_said(SAID).await;
        let said = api.said();
        let (_, rest) = said.split_once(SAID).unwrap();
        let address: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || ".:".contains(*c))
            .collect();
        Self { address }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &body.to_string()).await
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: billing\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .unwrap()
            .unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Waits until an answer is as expected, and returns it.
    pub(crate) async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let there = until(path, PATIENCE, async || {
            let answer = self.get(path).await;
            holds(&answer).then_some(answer)
        });
        match there.await {
            Ok(answer) => answer,
            Err(error) => panic!("{error}: {}", self.get(path).await),
        }
    }
}

/// What an address answers to a GET, whatever it is; nothing when nobody listens yet.
pub(crate) async fn text(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
