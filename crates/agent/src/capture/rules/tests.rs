//! The order of the rules, seen through their text.

use super::*;
use crate::capture::print;

fn text(options: &CaptureOptions, family: Family, chain: &str) -> Vec<String> {
    let table = table(options, family);
    let chain = table.chains.iter().find(|c| c.name == chain).expect("the chain exists");
    chain.rules.iter().map(|rule| print::rule(rule, &table)).collect()
}

#[test]
fn outbound_by_user_in_istios_order() {
    let options = CaptureOptions::new(Exempt::Uid(1337));
    assert_eq!(
        text(&options, Family::Ip, "outbound"),
        [
            r#"oifname "lo" ip saddr 127.0.0.6/32 return"#,
            r#"oifname "lo" ip daddr != 127.0.0.1/32 meta l4proto tcp tcp dport != 53 tcp dport != 15008 meta skuid 1337 jump in_redirect"#,
            r#"oifname "lo" meta l4proto tcp tcp dport != 53 meta skuid != 1337 return"#,
            "meta skuid 1337 return",
            r#"oifname "lo" ip daddr != 127.0.0.1/32 meta l4proto tcp tcp dport != 53 tcp dport != 15008 meta skgid 1337 jump in_redirect"#,
            r#"oifname "lo" meta l4proto tcp tcp dport != 53 meta skgid != 1337 return"#,
            "meta skgid 1337 return",
            "meta l4proto tcp tcp dport 53 redirect to :15053",
            "meta l4proto udp udp dport 53 redirect to :15053",
            "ip daddr 127.0.0.1/32 return",
            "jump redirect",
        ]
    );
}

#[test]
fn mark_takes_the_place_of_user_and_group() {
    let options = CaptureOptions::new(Exempt::Mark(1337));
    let rules = text(&options, Family::Ip6, "outbound");
    assert_eq!(rules.iter().filter(|rule| rule.contains("meta mark")).count(), 3);
    assert!(rules.iter().all(|rule| !rule.contains("skuid") && !rule.contains("skgid")));
    assert_eq!(rules[0], r#"oifname "lo" ip6 saddr ::6/128 return"#);
}

#[test]
fn exclusions_come_first_and_inclusions_replace_the_rest() {
    let mut options = CaptureOptions::new(Exempt::Mark(1337));
    options.exclude_outbound_ports = vec![9000];
    options.exclude_outbound_ranges = vec!["10.1.0.0/16".parse().expect("a range")];
    options.include_outbound_ranges = Ranges::List(vec![
        "10.0.0.0/8".parse().expect("a range"),
        "fd00::/8".parse().expect("a range"),
    ]);
    options.include_outbound_ports = vec![7000];
    let rules = text(&options, Family::Ip, "outbound");
    assert_eq!(rules[0], "meta l4proto tcp tcp dport 9000 return");
    assert_eq!(rules[1], "meta l4proto udp udp dport 9000 return");
    assert_eq!(
        rules[rules.len() - 3..],
        [
            "ip daddr 10.1.0.0/16 return",
            "meta l4proto tcp tcp dport 7000 jump redirect",
            "ip daddr 10.0.0.0/8 jump redirect",
        ]
    );
}

#[test]
fn inbound_spares_own_ports() {
    let mut options = CaptureOptions::new(Exempt::Uid(1337));
    options.exclude_inbound_ports = vec![22];
    let expected = [15008, 15090, 15021, 15020, 22]
        .map(|port| format!("meta l4proto tcp tcp dport {port} return"));
    let rules = text(&options, Family::Ip, "inbound");
    assert_eq!(rules[..5], expected);
    assert_eq!(rules[5], "meta l4proto tcp jump in_redirect");
    options.include_inbound_ports = Ports::List(vec![80]);
    assert_eq!(text(&options, Family::Ip, "inbound").len(), 2);
}

#[test]
fn without_dns_there_are_no_zones_and_no_dns_rules() {
    let mut options = CaptureOptions::new(Exempt::Uid(1337));
    options.dns_port = None;
    let table = table(&options, Family::Ip);
    assert!(!table.has_zones());
    assert!(text(&options, Family::Ip, "outbound").iter().all(|rule| !rule.contains("53")));
}
