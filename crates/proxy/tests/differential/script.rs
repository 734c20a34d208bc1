//! Bytes to send with pauses and endings in between, written as text: `\r`, `\n`, `\t`, `\0`,
//! `\xHH`, `\\`, `|` for CR LF, `{wait MS}`, `{close}`, `{reset}`, `{read}`, `{fill N}`.

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Milliseconds.
    Wait(u64),
    /// Ends this direction.
    Close,
    /// Ends the connection with a reset.
    Reset,
    /// Waits for bytes.
    Read,
}

/// Reads a script.
pub(crate) fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '|' => bytes.extend_from_slice(b"\r\n"),
            '\\' => rest = escape(rest, &mut bytes),
            '{' => {
                let (command, after) = rest.split_once('}').expect("a closing brace");
                rest = after;
                if let Some(count) = command.strip_prefix("fill ") {
                    bytes.resize(bytes.len() + count.parse::<usize>().expect("a count"), b'a');
                    continue;
                }
                if !bytes.is_empty() {
                    steps.push(Step::Send(std::mem::take(&mut bytes)));
                }
                steps.push(match command.split_once(' ') {
                    Some(("wait", time)) => Step::Wait(time.parse().expect("milliseconds")),
                    None if command == "close" => Step::Close,
                    None if command == "reset" => Step::Reset,
                    None if command == "read" => Step::Read,
                    _ => panic!("{command}: no such command"),
                });
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if !bytes.is_empty() {
        steps.push(Step::Send(bytes));
    }
    steps
}

fn escape<'a>(rest: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let (byte, length) = match rest.as_bytes()[0] {
        b'r' => (b'\r', 1),
        b'n' => (b'\n', 1),
        b't' => (b'\t', 1),
        b'0' => (0, 1),
        b'x' => (u8::from_str_radix(&rest[1..3], 16).expect("two digits"), 3),
        other => (other, 1),
    };
    bytes.push(byte);
    &rest[length..]
}
