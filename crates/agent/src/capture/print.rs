//! The rules as text, in nft's syntax, for people (`capture --print`).

use std::fmt::Write as _;

use super::{
    TABLE,
    rules::{Action, Chain, Hook, Match, Proto, Rule, Table},
};

/// One table.
pub(crate) fn table(table: &Table) -> String {
    let mut out = format!("table {} {TABLE} {{\n", table.family);
    for chain in &table.chains {
        push_chain(&mut out, table, chain);
    }
    out.push_str("}\n");
    out
}

fn push_chain(out: &mut String, table: &Table, chain: &Chain) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\tchain {} {{", chain.name);
    if let Some(base) = chain.base {
        let hook = match base.hook {
            Hook::Prerouting => "prerouting",
            Hook::Output => "output",
        };
        let _ = writeln!(
            out,
            "\t\ttype {} hook {hook} priority {}; policy accept;",
            base.kind, base.priority
        );
    }
    for rule in &chain.rules {
        let _ = writeln!(out, "\t\t{}", self::rule(rule, table));
    }
    out.push_str("\t}\n");
}

/// One rule.
pub(crate) fn rule(rule: &Rule, table: &Table) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut proto = "th";
    for test in &rule.matches {
        if let Match::Proto(p) = test {
            proto = p.name();
        }
        words.push(self::test(test, proto, table));
    }
    words.push(match &rule.action {
        Action::Return => "return".to_owned(),
        Action::Jump(chain) => format!("jump {chain}"),
        Action::Redirect(port) => format!("redirect to :{port}"),
        Action::Zone(zone) => format!("ct zone set {zone}"),
    });
    words.join(" ")
}

fn test(test: &Match, proto: &str, table: &Table) -> String {
    let ip = table.family;
    let not = |equal: &bool| if *equal { "" } else { "!= " };
    match test {
        Match::InInterface(name) => format!("iifname \"{name}\""),
        Match::OutInterface(name) => format!("oifname \"{name}\""),
        Match::Proto(proto) => format!("meta l4proto {}", proto.name()),
        Match::SourcePort(port) => format!("{proto} sport {port}"),
        Match::DestinationPort(port, equal) => format!("{proto} dport {}{port}", not(equal)),
        Match::Source(net) => format!("{ip} saddr {net}"),
        Match::Destination(net, equal) => format!("{ip} daddr {}{net}", not(equal)),
        Match::Uid(id, equal) => format!("meta skuid {}{id}", not(equal)),
        Match::Gid(id, equal) => format!("meta skgid {}{id}", not(equal)),
        Match::Mark(mark, equal) => format!("meta mark {}{mark:#x}", not(equal)),
    }
}

impl Proto {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
