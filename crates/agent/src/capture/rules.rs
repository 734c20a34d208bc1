//! The rules, as values: which packets go to the proxy. Pure; the order is Istio's (its iptables
//! chains, REDIRECT mode), so what is excluded there is excluded here.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::options::{CaptureOptions, Exempt, Ports, Ranges};

/// Ports of the proxy's and agent's own servers, never redirected when they come in.
const OWN_PORTS: [u16; 3] = [15090, 15021, 15020];
/// Port of HBONE, which the proxy itself serves.
const HBONE_PORT: u16 = 15008;
const DNS: u16 = 53;
/// Conntrack zone of what the proxy's DNS forwarder asks upstream.
const ZONE_UPSTREAM: u16 = 1;
/// Conntrack zone of what workloads ask the DNS proxy. Apart from the other one so that a
/// forwarded query whose source port equals a recent query's is not redirected back to the proxy.
const ZONE_WORKLOAD: u16 = 2;

/// An address family of nf_tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A transport protocol by its IP number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proto {
    Tcp,
    Udp,
}

/// One test of a packet. The flag says whether it must equal (true) or differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    InInterface(String),
    OutInterface(String),
    Proto(Proto),
    SourcePort(u16),
    DestinationPort(u16, bool),
    Source(IpNet),
    Destination(IpNet, bool),
    Uid(u32, bool),
    Gid(u32, bool),
    Mark(u32, bool),
}

/// What happens to a packet that passes all of a rule's tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Return,
    Jump(&'static str),
    Redirect(u16),
    Zone(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) matches: Vec<Match>,
    pub(crate) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting,
    Output,
}

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) kind: &'static str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) chains: Vec<Chain>,
}

/// The table of one family.
pub(crate) fn table(options: &CaptureOptions, family: Family) -> Table {
    let nat = |hook| Some(Base { kind: "nat", hook, priority: -100 });
    let raw = |hook| Some(Base { kind: "filter", hook, priority: -300 });
    let chain = |name, base, rules| Chain { name, base, rules };
    let mut chains = vec![
        chain("redirect", None, vec![tcp(vec![], Action::Redirect(options.outbound_port))]),
        chain("in_redirect", None, vec![tcp(vec![], Action::Redirect(options.inbound_port))]),
        chain("inbound", None, inbound(options)),
        chain("outbound", None, outbound(options, family)),
        chain("prerouting", nat(Hook::Prerouting), vec![tcp(vec![], Action::Jump("inbound"))]),
        chain("output", nat(Hook::Output), vec![rule(vec![], Action::Jump("outbound"))]),
    ];
    if let Some(port) = options.dns_port {
        chains.push(chain("raw_output", raw(Hook::Output), zones(options.exempt, port)));
        chains.push(chain(
            "raw_prerouting",
            raw(Hook::Prerouting),
            vec![rule(
                vec![Match::Proto(Proto::Udp), Match::SourcePort(DNS)],
                Action::Zone(ZONE_UPSTREAM),
            )],
        ));
    }
    Table { family, chains }
}

impl Table {
    pub(crate) fn has_zones(&self) -> bool {
        self.chains.iter().any(Chain::is_raw)
    }

    /// The same without conntrack zones, for a kernel that lacks them.
    pub(crate) fn without_zones(&self) -> Self {
        let chains = self.chains.iter().filter(|chain| !chain.is_raw()).cloned().collect();
        Self { family: self.family, chains }
    }
}

impl Chain {
    fn is_raw(&self) -> bool {
        self.name.starts_with("raw_")
    }
}

fn inbound(options: &CaptureOptions) -> Vec<Rule> {
    let port = |port| vec![Match::DestinationPort(port, true)];
    let mut rules: Vec<Rule> = options
        .exclude_interfaces
        .iter()
        .map(|name| rule(vec![Match::InInterface(name.clone())], Action::Return))
        .collect();
    rules.push(tcp(port(HBONE_PORT), Action::Return));
    let redirect = Action::Jump("in_redirect");
    match &options.include_inbound_ports {
        Ports::All => {
            let excluded = OWN_PORTS.iter().chain(&options.exclude_inbound_ports);
            rules.extend(excluded.map(|&excluded| tcp(port(excluded), Action::Return)));
            rules.push(tcp(vec![], redirect));
        }
        Ports::List(ports) => {
            rules.extend(ports.iter().map(|&included| tcp(port(included), redirect.clone())));
        }
    }
    rules
}

fn outbound(options: &CaptureOptions, family: Family) -> Vec<Rule> {
    let mut rules: Vec<Rule> = options
        .exclude_interfaces
        .iter()
        .map(|name| rule(vec![Match::OutInterface(name.clone())], Action::Return))
        .collect();
    for &port in &options.exclude_outbound_ports {
        for proto in [Proto::Tcp, Proto::Udp] {
            let matches = vec![Match::Proto(proto), Match::DestinationPort(port, true)];
            rules.push(rule(matches, Action::Return));
        }
    }
    rules.extend(own_traffic(options, family));
    if let Some(dns_port) = options.dns_port {
        for proto in [Proto::Tcp, Proto::Udp] {
            let matches = vec![Match::Proto(proto), Match::DestinationPort(DNS, true)];
            rules.push(rule(matches, Action::Redirect(dns_port)));
        }
    }
    let loopback = Match::Destination(family.loopback(), true);
    rules.push(rule(vec![loopback], Action::Return));
    rules.extend(destinations(options, family));
    rules
}

/// The rules that keep the proxy's traffic from being captured again, and a workload's call to
/// itself through its own Service from skipping the inbound listener.
fn own_traffic(options: &CaptureOptions, family: Family) -> Vec<Rule> {
    let lo = || Match::OutInterface("lo".to_owned());
    // The proxy reaches the application from this address: already inspected.
    let mut rules = vec![rule(vec![lo(), Match::Source(family.proxy_source())], Action::Return)];
    let tests: Vec<fn(u32, bool) -> Match> = match options.exempt {
        Exempt::Uid(_) => vec![Match::Uid, Match::Gid],
        Exempt::Mark(_) => vec![Match::Mark],
    };
    let (Exempt::Uid(id) | Exempt::Mark(id)) = options.exempt;
    for own in tests {
        // Proxy -> its own workload's address (a Service that resolved to this very pod).
        let mut to_self = vec![lo(), Match::Destination(family.loopback(), false)];
        to_self.push(Match::Proto(Proto::Tcp));
        if options.dns_port.is_some() {
            to_self.push(Match::DestinationPort(DNS, false));
        }
        to_self.extend([Match::DestinationPort(HBONE_PORT, false), own(id, true)]);
        rules.push(rule(to_self, Action::Jump("in_redirect")));
        // Workload -> itself: direct.
        let mut local = vec![lo()];
        if options.dns_port.is_some() {
            local.extend([Match::Proto(Proto::Tcp), Match::DestinationPort(DNS, false)]);
        }
        local.push(own(id, false));
        rules.push(rule(local, Action::Return));
        rules.push(rule(vec![own(id, true)], Action::Return));
    }
    rules
}

fn destinations(options: &CaptureOptions, family: Family) -> Vec<Rule> {
    let redirect = || Action::Jump("redirect");
    let of_family = |net: &&IpNet| family.has(net.addr());
    let to = |net: &IpNet| vec![Match::Destination(*net, true)];
    let mut rules: Vec<Rule> = options
        .exclude_outbound_ranges
        .iter()
        .filter(of_family)
        .map(|net| rule(to(net), Action::Return))
        .collect();
    rules.extend(
        options
            .include_outbound_ports
            .iter()
            .map(|&port| tcp(vec![Match::DestinationPort(port, true)], redirect())),
    );
    match &options.include_outbound_ranges {
        Ranges::All => rules.push(rule(vec![], redirect())),
        Ranges::List(nets) => {
            rules.extend(nets.iter().filter(of_family).map(|net| rule(to(net), redirect())));
        }
    }
    rules
}

fn zones(exempt: Exempt, dns_port: u16) -> Vec<Rule> {
    let (own, other): (Vec<Vec<Match>>, Vec<Match>) = match exempt {
        Exempt::Uid(id) => (
            vec![vec![Match::Uid(id, true)], vec![Match::Gid(id, true)]],
            vec![Match::Uid(id, false), Match::Gid(id, false)],
        ),
        Exempt::Mark(mark) => (vec![vec![Match::Mark(mark, true)]], vec![Match::Mark(mark, false)]),
    };
    let udp = |port: Match, who: &[Match], zone| {
        let mut matches = vec![Match::Proto(Proto::Udp), port];
        matches.extend_from_slice(who);
        rule(matches, Action::Zone(zone))
    };
    let mut rules = Vec::new();
    for own in &own {
        rules.push(udp(Match::DestinationPort(DNS, true), own, ZONE_UPSTREAM));
        rules.push(udp(Match::SourcePort(dns_port), own, ZONE_WORKLOAD));
    }
    rules.push(udp(Match::DestinationPort(DNS, true), &other, ZONE_WORKLOAD));
    rules
}

fn rule(matches: Vec<Match>, action: Action) -> Rule {
    Rule { matches, action }
}

fn tcp(mut matches: Vec<Match>, action: Action) -> Rule {
    matches.insert(0, Match::Proto(Proto::Tcp));
    rule(matches, action)
}

impl Family {
    fn loopback(self) -> IpNet {
        match self {
            Self::Ip => IpNet::from(IpAddr::from([127, 0, 0, 1])),
            Self::Ip6 => IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])),
        }
    }

    fn proxy_source(self) -> IpNet {
        match self {
            Self::Ip => IpNet::from(IpAddr::from([127, 0, 0, 6])),
            Self::Ip6 => IpNet::from(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6u16])),
        }
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::Ip)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        })
    }
}

#[cfg(test)]
mod tests;
