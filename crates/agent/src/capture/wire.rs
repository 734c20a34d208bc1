//! nf_tables' netlink messages as bytes: headers, attributes, expressions
//! (`linux/netfilter/nf_tables.h`). Only what capture's rules need.

use ipnet::IpNet;

use super::{
    TABLE,
    rules::{Action, Chain, Family, Hook, Match, Proto, Rule, Table},
};

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DEL_TABLE: u16 = (SUBSYSTEM << 8) | 2;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
const VERDICT_RETURN: i32 = -5;
const VERDICT_JUMP: i32 = -3;

/// A batch of messages, which the kernel applies whole or not at all.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
    last: usize,
    /// What each message does, in words, by sequence number.
    labels: Vec<(u32, String)>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0, last: 0, labels: Vec::new() };
        // The batch's own header names the subsystem in its resource id, in network order.
        batch.message((BATCH_BEGIN, REQUEST), (0, SUBSYSTEM), "begin of the batch", &[]);
        batch
    }

    /// Ends the batch: its bytes, the sequence number that the kernel acknowledges when all is
    /// well, and the words for each number.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u32, Vec<(u32, String)>) {
        let acknowledged = self.sequence;
        if let Some(flags) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&with_ack.to_ne_bytes());
        }
        self.message((BATCH_END, REQUEST), (0, SUBSYSTEM), "end of the batch", &[]);
        (self.bytes, acknowledged, self.labels)
    }

    /// Makes sure that the table is gone: made first, because deleting what is absent fails.
    pub(crate) fn delete_table(&mut self, family: Family) {
        let name = Attributes::new().text(1, TABLE);
        let label = format!("remove table {family} {TABLE}");
        self.message((NEW_TABLE, REQUEST | CREATE), (number(family), 0), &label, &name.0);
        self.message((DEL_TABLE, REQUEST), (number(family), 0), &label, &name.0);
    }

    pub(crate) fn add_table(&mut self, table: &Table) {
        let family = (number(table.family), 0);
        let name = Attributes::new().text(1, TABLE);
        self.message((NEW_TABLE, REQUEST | CREATE), family, "add the table", &name.0);
        for chain in &table.chains {
            let label = format!("add chain {}", chain.name);
            self.message((NEW_CHAIN, REQUEST | CREATE), family, &label, &self::chain(chain).0);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                let label = format!("add rule {} {}", chain.name, super::print::rule(rule, table));
                let body = Attributes::new()
                    .text(1, TABLE)
                    .text(2, chain.name)
                    .nested(4, expressions(rule, table.family));
                self.message((NEW_RULE, REQUEST | CREATE | APPEND), family, &label, &body.0);
            }
        }
    }

    fn message(
        &mut self,
        (kind, flags): (u16, u16),
        (family, resource): (u8, u16),
        label: &str,
        body: &[u8],
    ) {
        self.last = self.bytes.len();
        self.sequence += 1;
        self.labels.push((self.sequence, label.to_owned()));
        let length = u32::try_from(20 + body.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        self.bytes.extend_from_slice(body);
    }
}

/// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
fn number(family: Family) -> u8 {
    match family {
        Family::Ip => 2,
        Family::Ip6 => 10,
    }
}

/// A run of netlink attributes, each padded to four bytes.
struct Attributes(Vec<u8>);

impl Attributes {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, value: &str) -> Self {
        let mut value = value.as_bytes().to_vec();
        value.push(0);
        self.bytes(kind, &value)
    }

    /// A number in network order, as nf_tables' own attributes are.
    fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    fn nested(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    fn expression(self, name: &str, data: Self) -> Self {
        self.nested(1, Self::new().text(1, name).nested(2, data))
    }
}

fn chain(chain: &Chain) -> Attributes {
    let attributes = Attributes::new().text(1, TABLE).text(3, chain.name);
    let Some(base) = chain.base else { return attributes };
    let hook = match base.hook {
        Hook::Prerouting => 0,
        Hook::Output => 3,
    };
    let place = Attributes::new().number(1, hook).bytes(2, &base.priority.to_be_bytes());
    attributes.nested(4, place).number(5, 1).text(7, base.kind)
}

fn expressions(rule: &Rule, family: Family) -> Attributes {
    let tested =
        rule.matches.iter().fold(Attributes::new(), |out, test| self::test(out, test, family));
    match &rule.action {
        Action::Return => tested.expression("immediate", verdict(VERDICT_RETURN, None)),
        Action::Jump(chain) => tested.expression("immediate", verdict(VERDICT_JUMP, Some(chain))),
        Action::Redirect(port) => tested
            .expression(
                "immediate",
                Attributes::new().number(1, REG_1).nested(2, value(&port.to_be_bytes())),
            )
            .expression("redir", Attributes::new().number(1, REG_1)),
        Action::Zone(zone) => tested
            .expression(
                "immediate",
                Attributes::new().number(1, REG_1).nested(2, value(&zone.to_ne_bytes())),
            )
            .expression("ct", Attributes::new().number(2, 17).number(4, REG_1)),
    }
}

fn verdict(code: i32, chain: Option<&str>) -> Attributes {
    let mut verdict = Attributes::new().bytes(1, &code.to_be_bytes());
    if let Some(chain) = chain {
        verdict = verdict.text(2, chain);
    }
    let data = Attributes::new().nested(2, verdict);
    Attributes::new().number(1, REG_VERDICT).nested(2, data)
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(1, bytes)
}

fn test(out: Attributes, test: &Match, family: Family) -> Attributes {
    const META_MARK: u32 = 3;
    const META_IIFNAME: u32 = 6;
    const META_OIFNAME: u32 = 7;
    const META_SKUID: u32 = 10;
    const META_SKGID: u32 = 11;
    const META_L4PROTO: u32 = 16;
    match test {
        Match::InInterface(name) => meta(out, META_IIFNAME, &interface(name), true),
        Match::OutInterface(name) => meta(out, META_OIFNAME, &interface(name), true),
        Match::Proto(Proto::Tcp) => meta(out, META_L4PROTO, &[6], true),
        Match::Proto(Proto::Udp) => meta(out, META_L4PROTO, &[17], true),
        Match::SourcePort(port) => compare(payload(out, 2, (0, 2)), &port.to_be_bytes(), true),
        Match::DestinationPort(port, equal) => {
            compare(payload(out, 2, (2, 2)), &port.to_be_bytes(), *equal)
        }
        Match::Source(net) => address(out, net, if family == Family::Ip { 12 } else { 8 }, true),
        Match::Destination(net, equal) => {
            address(out, net, if family == Family::Ip { 16 } else { 24 }, *equal)
        }
        Match::Uid(id, equal) => meta(out, META_SKUID, &id.to_ne_bytes(), *equal),
        Match::Gid(id, equal) => meta(out, META_SKGID, &id.to_ne_bytes(), *equal),
        Match::Mark(mark, equal) => meta(out, META_MARK, &mark.to_ne_bytes(), *equal),
    }
}

fn meta(out: Attributes, key: u32, expected: &[u8], equal: bool) -> Attributes {
    compare(
        out.expression("meta", Attributes::new().number(1, REG_1).number(2, key)),
        expected,
        equal,
    )
}

/// Loads a part of the packet, at an offset and of a length, from the network (1) or transport (2)
/// header on.
fn payload(out: Attributes, base: u32, (offset, length): (u32, u32)) -> Attributes {
    out.expression(
        "payload",
        Attributes::new().number(1, REG_1).number(2, base).number(3, offset).number(4, length),
    )
}

fn compare(out: Attributes, expected: &[u8], equal: bool) -> Attributes {
    out.expression(
        "cmp",
        Attributes::new().number(1, REG_1).number(2, u32::from(!equal)).nested(3, value(expected)),
    )
}

fn address(out: Attributes, net: &IpNet, offset: u32, equal: bool) -> Attributes {
    let (network, mask): (Vec<u8>, Vec<u8>) = match net {
        IpNet::V4(net) => (net.network().octets().into(), net.netmask().octets().into()),
        IpNet::V6(net) => (net.network().octets().into(), net.netmask().octets().into()),
    };
    let length = u32::try_from(network.len()).unwrap_or_default();
    let mut out = payload(out, 1, (offset, length));
    if net.prefix_len() != net.max_prefix_len() {
        let zero = vec![0; network.len()];
        out = out.expression(
            "bitwise",
            Attributes::new()
                .number(1, REG_1)
                .number(2, REG_1)
                .number(3, length)
                .nested(4, value(&mask))
                .nested(5, value(&zero)),
        );
    }
    compare(out, &network, equal)
}

/// An interface's name as the kernel keeps it: `IFNAMSIZ` bytes, zero padded.
fn interface(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    for (to, from) in padded.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    padded
}
