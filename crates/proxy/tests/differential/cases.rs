//! Reads `cases.txt`: a call a line, with the differences that are meant below it.

use crate::script::{self, Step};

/// A difference that is meant.
#[derive(Clone, Debug)]
pub(crate) struct Meant {
    pub(crate) key: String,
    /// Whether it must be there; else it depends on which of two things comes first.
    pub(crate) always: bool,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// Bytes on a connection that speaks HTTP/1.1, or that may not.
    Http1 {
        bytes: Vec<Step>,
        head_only: bool,
    },
    Http2 {
        method: String,
        path: String,
        headers: Vec<(String, String)>,
        body: String,
    },
    Tcp(Vec<Step>),
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) listener: String,
    pub(crate) call: Call,
    pub(crate) meant: Vec<Meant>,
}

/// Reads the file beside this one.
pub(crate) fn read() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/cases.txt");
    let text = std::fs::read_to_string(path).expect(path);
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let meant = line.trim_start();
        let always = meant.starts_with("! ");
        if let Some(meant) = meant.strip_prefix("! ").or_else(|| meant.strip_prefix("? ")) {
            let (keys, reason) = meant.split_once(": ").expect(line);
            assert!(reason.len() > 10, "{line}: a difference needs its reason");
            for key in keys.split(", ").map(str::to_owned) {
                cases.last_mut().expect(line).meant.push(Meant { key, always });
            }
        } else {
            let case = case(line);
            assert!(cases.iter().all(|other| other.name != case.name), "{line}: twice");
            cases.push(case);
        }
    }
    cases
}

fn case(line: &str) -> Case {
    let (name, rest) = line.split_once(' ').expect(line);
    let (listener, rest) = rest.trim_start().split_once(' ').expect(line);
    let rest = rest.trim_start();
    let (kind, what) = rest.split_once(' ').unwrap_or((rest, ""));
    let call = match kind {
        "raw" => Call::Http1 { bytes: script::parse(what), head_only: false },
        "tcp" => Call::Tcp(script::parse(what)),
        "h2" => {
            let request = Request::read(what);
            let Request { method, path, headers, body } = request;
            Call::Http2 { method, path, headers, body }
        }
        _ => Request::read(rest).http1(),
    };
    Case { name: name.to_owned(), listener: listener.to_owned(), call, meant: Vec::new() }
}

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    /// `METHOD path + name: value + … >> body`.
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once(" >> ").unwrap_or((text, ""));
        let mut parts = head.split(" + ");
        let (method, path) = parts.next().and_then(|line| line.split_once(' ')).expect(text);
        let mut headers: Vec<(String, String)> = parts
            .map(|header| header.split_once(": ").expect(text))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if !headers.iter().any(|(name, _)| name == "host") {
            headers.insert(0, ("host".to_owned(), "app.test".to_owned()));
        }
        let (method, path) = (method.to_owned(), path.trim().to_owned());
        Self { method, path, headers, body: body.to_owned() }
    }

    fn http1(self) -> Call {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        Call::Http1 { bytes: vec![Step::Send(text.into_bytes())], head_only: self.method == "HEAD" }
    }
}
