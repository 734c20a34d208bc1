//! Responses to DNS packets, without sockets: what can be said from the table, and what must be
//! forwarded. Anything may arrive here; nothing makes it panic.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA},
    },
};
use rand::seq::SliceRandom as _;

use super::table::{Addresses, Lookup, Table};

/// Life of an answer in a resolver's cache, in seconds (Istio's).
const TTL: u32 = 30;
/// The largest response over UDP that we offer, whatever the client allows: fits an Ethernet frame.
const UDP_LIMIT: usize = 1232;
/// A DNS header.
const HEADER: usize = 12;

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Send these bytes back.
    Reply(Vec<u8>),
    /// Ask a resolver; if none answers, send these bytes back.
    Forward { name: String, failure: Vec<u8> },
    /// Say nothing: it is no query.
    Ignore,
}

/// How the packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Looks at one packet. Without a table nothing is known yet, and the client shall try again.
pub(crate) fn answer(packet: &[u8], table: Option<&Table>, transport: Transport) -> Outcome {
    let Ok(query) = Message::from_vec(packet) else { return malformed(packet) };
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return reply(&query, ResponseCode::NotImp, vec![], transport);
    }
    let [question] = query.queries.as_slice() else {
        return reply(&query, ResponseCode::FormErr, vec![], transport);
    };
    let Some(table) = table else {
        return reply(&query, ResponseCode::ServFail, vec![], transport);
    };
    let name = question.name().to_ascii();
    match table.lookup(&name) {
        Lookup::Known(addresses) => {
            let records = records(question, addresses);
            reply(&query, ResponseCode::NoError, records, transport)
        }
        Lookup::Missing => reply(&query, ResponseCode::NXDomain, vec![], transport),
        Lookup::Elsewhere => match reply(&query, ResponseCode::ServFail, vec![], transport) {
            Outcome::Reply(failure) => Outcome::Forward { name, failure },
            other => other,
        },
    }
}

/// The same response with another code: what a forwarder says when there is nobody to ask.
pub(crate) fn with_code(response: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut bytes = response.to_vec();
    if let Some(flags) = bytes.get_mut(3) {
        *flags = (*flags & 0xf0) | (code.low() & 0x0f);
    }
    bytes
}

/// A format error, if there is at least an id to refer to and it is no response.
fn malformed(packet: &[u8]) -> Outcome {
    let (Some(&[high, low]), Some(flags), true) =
        (packet.first_chunk::<2>(), packet.get(2), packet.len() >= HEADER)
    else {
        return Outcome::Ignore;
    };
    if flags & 0x80 != 0 {
        return Outcome::Ignore;
    }
    let id = u16::from_be_bytes([high, low]);
    let error = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    error.to_vec().map_or(Outcome::Ignore, Outcome::Reply)
}

fn records(question: &Query, addresses: &Addresses) -> Vec<Record> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    if matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
        let kind = question.query_type();
        if matches!(kind, RecordType::A | RecordType::ANY) {
            v4.clone_from(&addresses.v4);
        }
        if matches!(kind, RecordType::AAAA | RecordType::ANY) {
            v6.clone_from(&addresses.v6);
        }
    }
    // Round robin over clients that take the first.
    v4.shuffle(&mut rand::rng());
    v6.shuffle(&mut rand::rng());
    let record = |data| Record::from_rdata(question.name().clone(), TTL, data);
    let v4 = v4.into_iter().map(|address| record(RData::A(A(address))));
    let v6 = v6.into_iter().map(|address| record(RData::AAAA(AAAA(address))));
    v4.chain(v6).collect()
}

fn reply(
    query: &Message,
    code: ResponseCode,
    records: Vec<Record>,
    transport: Transport,
) -> Outcome {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = code == ResponseCode::NoError;
    response.metadata.response_code = code;
    response.add_queries(query.queries.iter().cloned());
    response.add_answers(records);
    let limit = match (&query.edns, transport) {
        (_, Transport::Tcp) => usize::from(u16::MAX),
        (None, Transport::Udp) => 512,
        (Some(_), Transport::Udp) => usize::from(query.max_payload()).min(UDP_LIMIT),
    };
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        response.set_edns(edns);
    }
    loop {
        match response.to_vec() {
            Ok(bytes) if bytes.len() <= limit => return Outcome::Reply(bytes),
            // Keeps as many addresses as fit: enough for a client that does not ask again by TCP.
            _ if !response.answers.is_empty() => {
                let keep = response.answers.len() / 2;
                response.answers.truncate(keep);
                response.metadata.truncation = true;
            }
            Ok(bytes) => return Outcome::Reply(bytes),
            Err(error) => {
                tracing::debug!(%error, "a DNS response could not be written");
                return Outcome::Ignore;
            }
        }
    }
}

/// Whether the second packet is a response to the first one's question.
pub(crate) fn same_question(query: &[u8], response: &[u8]) -> bool {
    let (Ok(query), Ok(response)) = (Message::from_vec(query), Message::from_vec(response)) else {
        return false;
    };
    let question = |message: &Message| -> Option<(Name, RecordType)> {
        let question = message.queries.first()?;
        Some((question.name().to_lowercase(), question.query_type()))
    };
    response.metadata.message_type == MessageType::Response
        && question(&query) == question(&response)
}

#[cfg(test)]
mod tests;
