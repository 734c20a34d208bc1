//! The parts that this program plays when the runtime starts it.

use std::fs;
use std::net::TcpListener;
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

/// Plays the part that the arguments ask for; `None` when they ask for the tests.
pub(crate) fn dispatch(arguments: &[String]) -> Option<u8> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["internal", "boot", "--options", options] => Some(local::boot::boot(options)),
        ["internal", "init", "--options", options] => Some(local::boot::init(options)),
        ["internal", "runtime", "--options", options] => {
            Some(local::runtime::run(serde_json::from_str(options).unwrap()))
        }
        ["control", ..] => control(&words),
        ["agent", "capture", ..] => Some(0),
        ["explain"] => {
            println!("{}", super::cases::cannot_run().unwrap_or_default());
            Some(0)
        }
        ["agent", ..] => agent(&words),
        _ => None,
    }
}

fn option<'a>(words: &[&'a str], name: &str) -> &'a str {
    let at = words.iter().position(|word| *word == name).unwrap();
    words[at + 1]
}

/// A control plane that is ready, and has an authority.
fn control(words: &[&str]) -> Option<u8> {
    let authority = Path::new(option(words, "--ca-dir")).join("root-cert.pem");
    fs::write(authority, "root").unwrap();
    let socket = option(words, "--debug-socket");
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        answer(&mut stream, "[]");
    }
    None
}

/// An agent that is ready at once; as a gateway it answers `gateway` on the host's sockets.
fn agent(words: &[&str]) -> Option<u8> {
    let token = fs::read_to_string(option(words, "--token")).unwrap();
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(fs::read_to_string(option(words, "--root-cert")).unwrap(), "root");
    println!("agent as uid {} for {}", nix::unistd::getuid(), std::env::var("POD_NAME").unwrap());
    if let Some(at) = words.iter().position(|word| *word == "--listen-fd") {
        let number: RawFd = words[at + 1].split_once('=').unwrap().1.parse().unwrap();
        std::thread::spawn(move || serve_gateway(number));
    }
    let ready = TcpListener::bind("0.0.0.0:15021").unwrap();
    for stream in ready.incoming() {
        answer(&mut stream.unwrap(), "ready");
    }
    None
}

fn serve_gateway(number: RawFd) {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let socket = pidfd_getfd(this, number, PidfdGetfdFlags::empty()).unwrap();
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                answer(&mut stream, "gateway");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn answer(stream: &mut (impl std::io::Read + std::io::Write), body: &str) {
    let mut buffer = [0; 1024];
    let _ = stream.read(&mut buffer);
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}
