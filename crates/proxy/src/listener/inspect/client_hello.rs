//! Reads server name and ALPN of a TLS `ClientHello` (RFC 8446, section 4.1.2; RFC 6066, section 3;
//! RFC 7301). Takes nothing else for granted and never needs more than one hello's bytes.

/// The longest hello that is looked at, in bytes, as Envoy's default.
const MAX_HELLO: usize = 16 * 1024;
/// Most records that a hello may be split into.
const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// What a `ClientHello` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// The server name, in lower case.
    pub server_name: Option<String>,
    /// ALPN names that are text.
    pub alpn: Vec<String>,
}

/// What some first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HelloParse {
    /// Not TLS, whatever follows.
    NotTls,
    /// More bytes are needed.
    Incomplete,
    /// A whole hello.
    Hello(ClientHello),
}

/// Looks at the first bytes of a connection.
pub(crate) fn parse_client_hello(bytes: &[u8]) -> HelloParse {
    match handshake_bytes(bytes) {
        Records::NotTls => HelloParse::NotTls,
        Records::Incomplete => HelloParse::Incomplete,
        Records::Hello(body) => match read_hello(&body) {
            Some(hello) => HelloParse::Hello(hello),
            None => HelloParse::NotTls,
        },
    }
}

enum Records {
    NotTls,
    Incomplete,
    Hello(Vec<u8>),
}

/// Joins the handshake message that may be spread over several records.
fn handshake_bytes(mut bytes: &[u8]) -> Records {
    let mut message = Vec::new();
    loop {
        if bytes.first().is_some_and(|kind| *kind != HANDSHAKE)
            || bytes.get(1).is_some_and(|major| *major != 3)
        {
            return Records::NotTls;
        }
        let Some((header, rest)) = bytes.split_at_checked(RECORD_HEADER) else {
            return Records::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > MAX_HELLO {
            return Records::NotTls;
        }
        let here = rest.len().min(length);
        message.extend_from_slice(&rest[..here]);
        match message_state(&message) {
            Records::Incomplete if here == length => bytes = &rest[here..],
            other => return other,
        }
    }
}

fn message_state(message: &[u8]) -> Records {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Records::NotTls;
    }
    let Some(header) = message.first_chunk::<4>() else { return Records::Incomplete };
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    if length > MAX_HELLO {
        return Records::NotTls;
    }
    match message.get(4..4 + length) {
        Some(body) => Records::Hello(body.to_vec()),
        None => Records::Incomplete,
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vec8(&mut self) -> Option<Reader<'a>> {
        let length = self.u8()?;
        self.take(usize::from(length)).map(Reader)
    }

    fn vec16(&mut self) -> Option<Reader<'a>> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Reader)
    }
}

fn read_hello(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    reader.vec8()?;
    reader.vec16()?;
    reader.vec8()?;
    let mut hello = ClientHello::default();
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = reader.vec16()?;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vec16()?;
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = read_server_name(content)?,
            EXTENSION_ALPN => hello.alpn = read_alpn(content)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The outer `None` says that the extension is malformed.
#[expect(clippy::option_option, reason = "malformed and absent are different findings")]
fn read_server_name(mut content: Reader<'_>) -> Option<Option<String>> {
    if content.0.is_empty() {
        return Some(None);
    }
    let mut list = content.vec16()?;
    while !list.0.is_empty() {
        let kind = list.u8()?;
        let name = list.vec16()?;
        if kind == 0 {
            let text = std::str::from_utf8(name.0).ok()?;
            // A name with control characters is no host name and would forge log lines.
            let clean = text.bytes().all(|byte| byte.is_ascii_graphic());
            return clean.then(|| Some(text.to_ascii_lowercase()));
        }
    }
    Some(None)
}

fn read_alpn(mut content: Reader<'_>) -> Option<Vec<String>> {
    let mut list = content.vec16()?;
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let name = list.vec8()?;
        if let Ok(text) = std::str::from_utf8(name.0) {
            names.push(text.to_owned());
        }
    }
    Some(names)
}
